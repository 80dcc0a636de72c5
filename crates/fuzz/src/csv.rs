//! A CSV file is read back as what it was made of, and any damage to it is found.

use cdr::verify::{WrongFile, difference};
use cdr_model::{FileFormat, LineEnd};
use csv::{ReaderBuilder, StringRecord, Terminator, WriterBuilder};
use serde_json::Value;

use crate::fixture::{Fixture, Numbers};
use crate::records::expected;

/// Generates a few lines of a file, reads them, and compares them with what the rest of the bytes
/// makes of them.
pub fn check(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let line_end = if numbers.byte() & 1 == 0 { LineEnd::Lf } else { LineEnd::CrLf };
    let Some(fixture) = Fixture::new(&mut numbers) else { return };
    let file = file(&fixture, line_end);
    check_rows(&fixture, line_end, &file);
    let changed = changed(file.clone(), &mut numbers);
    check_verdict(&file, &changed);
}

fn file(fixture: &Fixture, line_end: LineEnd) -> Vec<u8> {
    let Fixture { generator, part, stream, range } = fixture;
    let (mut file, format) = (Vec::new(), FileFormat::Csv(line_end));
    format.header(*stream, &mut file);
    format.body(generator, *stream, part, range.clone(), &mut file);
    format.footer(*stream, &mut file);
    file
}

/// What somebody else's parser reads are the records, and what somebody else's writer makes of them
/// is the file.
fn check_rows(fixture: &Fixture, line_end: LineEnd, file: &[u8]) {
    let fields: Vec<&str> = fixture.stream.fields().iter().map(|field| field.name).collect();
    let mut reader = ReaderBuilder::new().from_reader(file);
    assert_eq!(reader.headers().expect("a header line"), fields);
    let rows: Vec<StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
    let expected = expected(fixture);
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        let texts: Vec<String> = fields.iter().map(|&name| csv_text(name, &expected[name])).collect();
        assert_eq!(row, texts);
    }
    let terminator = match line_end {
        LineEnd::Lf => Terminator::Any(b'\n'),
        LineEnd::CrLf => Terminator::CRLF,
    };
    let mut writer = WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
    writer.write_record(&fields).expect("a header line");
    rows.iter().for_each(|row| writer.write_record(row).expect("a row"));
    assert_eq!(writer.into_inner().expect("a file"), file);
}

/// A value as CSV has it: without quotes, and a space between date and time.
fn csv_text(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if ["event_datetime", "start_time"].contains(&name) => {
            text.replacen('T', " ", 1)
        }
        Value::String(text) => text.clone(),
        number => number.to_string(),
    }
}

/// The file after as many changes as the bytes hold: what may happen to it on its way, and what may
/// be done to it by hand.
fn changed(mut file: Vec<u8>, numbers: &mut Numbers<'_>) -> Vec<u8> {
    while let [kind, ..] = *numbers.0 {
        numbers.byte();
        let (at, value) = (usize::from(numbers.u16()) % (file.len() + 1), numbers.byte());
        match kind % 6 {
            0 if at < file.len() => file[at] = value,
            1 if at < file.len() => file[at] ^= 1 << (value % 8),
            2 => file.insert(at, value),
            3 if at < file.len() => drop(file.remove(at)),
            4 => file.truncate(at),
            5 => file.rotate_left(at),
            _ => {}
        }
    }
    file
}

fn check_verdict(file: &[u8], changed: &[u8]) {
    match difference(&file.to_vec(), changed) {
        None => assert!(file == changed, "called right, and is not"),
        Some(WrongFile::Shorter { expected, found }) => {
            assert_eq!((expected, found), (file.len() as u64, changed.len() as u64));
            assert!(file.starts_with(changed) && file.len() > changed.len());
        }
        Some(WrongFile::Longer { expected }) => {
            assert_eq!(expected, file.len() as u64);
            assert!(changed.starts_with(file) && changed.len() > file.len());
        }
        Some(WrongFile::Differs { line }) => {
            let lines =
                |of: &[u8]| of.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            let (right, wrong): (Vec<_>, Vec<_>) = (lines(file), lines(changed));
            let same = right.iter().zip(&wrong).take_while(|(right, wrong)| right == wrong).count();
            assert_eq!(line, same as u64 + 1, "the first line that differs");
        }
        Some(WrongFile::Missing) => panic!("there are two contents"),
    }
}
