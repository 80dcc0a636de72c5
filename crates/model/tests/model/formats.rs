//! What the parsers of others read from CSV and JSON is exactly what the records hold.

use std::fmt;

use cdr_model::{
    DataRecord, LineEnd, MessageFormat, Micros, NumberingPlan, Population, Scenario, Stream, VoiceRecord,
};
use chrono::NaiveDateTime;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Fixture, for_all, names, prod};

/// A record's fields in order, as JSON has them.
type Fields = Vec<(String, Value)>;

fn named(stream: Stream, values: Vec<Value>) -> Fields {
    let expected = match stream {
        Stream::Data => {
            "msisdn,tower_id,up_bytes,down_bytes,data_type,ip_address,website_url,event_datetime"
        }
        _ => "msisdn,tower_id,call_type,dest_nr,call_duration_sec,start_time",
    };
    assert_eq!(names(stream).join(","), expected);
    expected.split(',').map(str::to_owned).zip(values).collect()
}

fn time(time: Micros) -> String {
    time.to_civil().expect("a civil time").format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn data_fields(people: &Population, record: DataRecord) -> Fields {
    let values = vec![
        json!(people.subscriber(record.subscriber).to_string()),
        json!(record.tower),
        json!(record.up_bytes),
        json!(record.down_bytes),
        json!(record.data_type.name()),
        json!(record.ip_address.to_string()),
        json!(people.site(record.site)),
        json!(time(record.event_time)),
    ];
    named(Stream::Data, values)
}

fn voice_fields(people: &Population, record: VoiceRecord) -> Fields {
    let values = vec![
        json!(people.subscriber(record.subscriber).to_string()),
        json!(record.tower),
        json!(record.call_type.name()),
        json!(people.called(record.called).to_string()),
        json!(record.duration_s),
        json!(time(record.start_time)),
    ];
    named(Stream::Voice, values)
}

/// The fields of a part's records, from the records themselves.
fn expected(fixture: &Fixture, stream: Stream, part: u64) -> Vec<Fields> {
    let part = fixture.part(part);
    let (all, people) = (0..fixture.count(stream, &part), fixture.generator.population());
    let data = fixture.records(stream, &part, all.clone()).into_iter();
    let voice = fixture.records(stream, &part, all).into_iter();
    let data = data.map(|record| data_fields(people, record));
    data.chain(voice.map(|record| voice_fields(people, record))).collect()
}

/// A JSON object that keeps the order of its members, and every member that is there twice.
struct Ordered(Fields);

impl<'de> serde::Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The compact text of an object, by `serde_json` alone.
fn compact(fields: &Fields) -> String {
    let members = fields.iter().map(|(name, value)| format!("{}:{value}", json!(name)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn check_json(fixture: &Fixture, stream: Stream, part: u64) {
    let expected = expected(fixture, stream, part);
    let messages = String::from_utf8(fixture.messages(stream, part)).expect("UTF-8");
    assert_eq!(messages.lines().count(), expected.len());
    for (message, expected) in messages.lines().zip(expected) {
        let (key, value) = message.split_once('\t').expect("a key and a value");
        let Ordered(fields) = serde_json::from_str(value).expect(value);
        assert_eq!(fields, expected);
        assert_eq!(compact(&fields), value);
        assert_eq!(fields[0], ("msisdn".to_owned(), json!(key)));
    }
}

fn check_times_of_messages(fixture: &Fixture, stream: Stream, part: u64) {
    let part = fixture.part(part);
    let mut index = 0;
    let count = fixture.count(stream, &part);
    MessageFormat::Json.encode(&fixture.generator, stream, &part, 0..count, |message| {
        assert_eq!(message.time, fixture.generator.time(stream, &part, index));
        assert_eq!(MessageFormat::Json.time_of(message.value), Some(message.time));
        index += 1;
    });
    assert_eq!(index, count);
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

fn check_csv(fixture: &Fixture, stream: Stream, part: u64, line_end: LineEnd) {
    let file = fixture.csv(stream, part, line_end);
    let mut reader = csv::ReaderBuilder::new().from_reader(&file[..]);
    assert_eq!(reader.headers().expect("a header line"), names(stream));
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
    let expected = expected(fixture, stream, part);
    assert_eq!(rows.len(), expected.len());
    for (row, fields) in rows.iter().zip(&expected) {
        let texts: Vec<String> = fields.iter().map(|(name, value)| csv_text(name, value)).collect();
        assert_eq!(row, texts);
    }
    assert_eq!(file, rewritten(stream, &rows, line_end));
}

/// The file that the `csv` crate makes of the rows, with quotes where RFC 4180 needs them.
fn rewritten(stream: Stream, rows: &[csv::StringRecord], line_end: LineEnd) -> Vec<u8> {
    let terminator = match line_end {
        LineEnd::Lf => csv::Terminator::Any(b'\n'),
        LineEnd::CrLf => csv::Terminator::CRLF,
    };
    let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
    writer.write_record(names(stream)).expect("a header line");
    rows.iter().for_each(|row| writer.write_record(row).expect("a row"));
    writer.into_inner().expect("a file")
}

fn check_part(fixture: &Fixture, part: u64) {
    for stream in fixture.plan.streams() {
        check_json(fixture, stream, part);
        check_times_of_messages(fixture, stream, part);
        check_csv(fixture, stream, part, LineEnd::Lf);
        check_csv(fixture, stream, part, LineEnd::CrLf);
    }
}

#[test]
fn the_contracts_runs_parse_to_their_records() {
    for (scenario, parts) in [(Scenario::default(), [0, 1, 85]), (prod(), [0, 431, 863])] {
        let fixture = Fixture::new(scenario);
        parts.into_iter().for_each(|part| check_part(&fixture, part));
    }
}

#[test]
fn any_world_parses_to_its_records() {
    let numbering = (1..=999u16, 0..=999u32, 1..=9u8).prop_map(|(code, prefix, digits)| {
        NumberingPlan::new(code, Some(vec![prefix.to_string()]), Some(digits)).expect("a plan")
    });
    let fixtures = (any::<u64>(), 1..=u16::MAX, 1..300u16, numbering, 1..30u32, 1..10_000_000u64);
    for_all(60, fixtures, |(seed, towers, sites, numbering, line_count, total_seconds)| {
        let (subscribers, destinations) = (5, 5);
        let scenario = Scenario {
            seed,
            towers,
            sites,
            numbering,
            line_count,
            total_seconds: total_seconds.max(line_count.into()),
            subscribers,
            destinations,
            ..Scenario::default()
        };
        let fixture = Fixture::new(scenario);
        check_part(&fixture, 0);
        check_part(&fixture, fixture.plan.files() - 1);
    });
}

#[test]
fn integers_are_numbers_and_everything_else_is_a_string() {
    let fixture = Fixture::new(Scenario::default());
    for stream in fixture.plan.streams() {
        let messages = String::from_utf8(fixture.messages(stream, 0)).expect("UTF-8");
        for message in messages.lines() {
            let value = message.split_once('\t').expect("a key and a value").1;
            let Ordered(fields) = serde_json::from_str(value).expect(value);
            for (name, value) in fields {
                let number =
                    ["tower_id", "up_bytes", "down_bytes", "call_duration_sec"].contains(&name.as_str());
                assert_eq!((value.is_u64(), value.is_string()), (number, !number), "{name}: {value}");
            }
        }
    }
}

#[test]
fn csv_and_json_of_a_record_agree() {
    let fixture = Fixture::new(prod());
    for stream in fixture.plan.streams() {
        let file = fixture.csv(stream, 7, LineEnd::Lf);
        let mut rows = csv::Reader::from_reader(&file[..]);
        let messages = String::from_utf8(fixture.messages(stream, 7)).expect("UTF-8");
        for (row, message) in rows.records().zip(messages.lines()) {
            let value = message.split_once('\t').expect("a key and a value").1;
            let Ordered(fields) = serde_json::from_str(value).expect(value);
            let texts: Vec<String> = fields.iter().map(|(name, value)| csv_text(name, value)).collect();
            assert_eq!(row.expect("a row"), texts);
        }
        assert_eq!(messages.lines().count(), 1_000);
    }
}

#[test]
fn times_parse_in_both_formats_to_the_records_time() {
    let fixture = Fixture::new(Scenario::default());
    let part = fixture.part(0);
    let file = fixture.csv(Stream::Voice, 0, LineEnd::Lf);
    let mut rows = csv::Reader::from_reader(&file[..]);
    let messages = String::from_utf8(fixture.messages(Stream::Voice, 0)).expect("UTF-8");
    let records = fixture.voice(&part, 0..1_000);
    for ((row, message), record) in rows.records().zip(messages.lines()).zip(records) {
        let csv = row.expect("a row")[5].to_owned();
        let value: Value =
            serde_json::from_str(message.split_once('\t').expect("a value").1).expect(message);
        let json = value["start_time"].as_str().expect("a text").to_owned();
        assert_eq!((csv.len(), json.len()), (26, 26));
        let csv = NaiveDateTime::parse_from_str(&csv, "%Y-%m-%d %H:%M:%S%.6f").expect("a time");
        let json = NaiveDateTime::parse_from_str(&json, "%Y-%m-%dT%H:%M:%S%.6f").expect("a time");
        assert_eq!(Micros::from_civil(csv), record.start_time);
        assert_eq!(csv, json);
    }
}

#[test]
fn names_of_line_ends_are_those_of_the_configuration() {
    assert_eq!([LineEnd::Lf, LineEnd::CrLf].map(|end| end.to_string()), ["lf", "crlf"]);
    assert_eq!(LineEnd::default(), LineEnd::Lf);
}
