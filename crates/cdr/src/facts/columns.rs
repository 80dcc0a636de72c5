//! Which columns of a record hold what.

use std::borrow::Cow;

use cdr_model::Fact;

use super::value;
use crate::processing::message::{Unusable, shown};

/// What is read of a record. A call has a start and a length, or an end; a session has a start and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Msisdn,
    Tower,
    Called,
    Seconds,
    CallStart,
    CallEnd,
    Up,
    Down,
    DataType,
    SessionStart,
}

impl Column {
    pub const ALL: [Column; 10] = [
        Column::Msisdn,
        Column::Tower,
        Column::Called,
        Column::Seconds,
        Column::CallStart,
        Column::CallEnd,
        Column::Up,
        Column::Down,
        Column::DataType,
        Column::SessionStart,
    ];

    /// Its name in our own records, and in `--columns`.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Msisdn => "msisdn",
            Column::Tower => "tower_id",
            Column::Called => "dest_nr",
            Column::Seconds => "call_duration_sec",
            Column::CallStart => "start_time",
            Column::CallEnd => "end_time",
            Column::Up => "up_bytes",
            Column::Down => "down_bytes",
            Column::DataType => "data_type",
            Column::SessionStart => "event_datetime",
        }
    }
}

/// For each [`Column`], those of a record that are read for it. Several are put together, with a space
/// between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    of: [Vec<String>; Column::ALL.len()],
    /// Whether somebody has named them: then all of them must be there.
    pub named: bool,
}

impl Columns {
    /// Reads `msisdn=CALLER,start_time=DATE+TIME`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Columns, String> {
        let mut columns = Columns { of: std::array::from_fn(|_| Vec::new()), named: true };
        for pair in text.split(',') {
            let (name, of) = pair.split_once('=').ok_or_else(|| {
                format!("{pair:?} is no pair; write msisdn=CALLER, where CALLER is their column")
            })?;
            let column = Column::ALL.into_iter().find(|column| column.name() == name.trim());
            let column = column.ok_or_else(|| {
                let names = Column::ALL.map(Column::name).join(", ");
                format!("there is no column {name:?} to read; there are {names}")
            })?;
            if !columns.of(column).is_empty() {
                return Err(format!("{name} is named twice"));
            }
            columns.of[column as usize] = of.split('+').map(|one| one.trim().to_owned()).collect();
        }
        columns.kind().map(|_| columns)
    }

    /// Those that are read for one.
    pub fn of(&self, column: Column) -> &[String] {
        &self.of[column as usize]
    }

    fn kind(&self) -> Result<Kind, String> {
        Kind::by(|column| !self.of(column).is_empty())
    }
}

impl Default for Columns {
    /// Those of our own records.
    fn default() -> Columns {
        Columns { of: Column::ALL.map(|column| vec![column.name().to_owned()]), named: false }
    }
}

/// How records of others look.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub columns: Columns,
    /// Of strftime.
    pub time_format: Option<String>,
    /// Between the columns of a file; a comma, where there is none.
    pub delimiter: Option<u8>,
    /// Whether a file's first line is a record.
    pub headless: bool,
}

/// What a record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Call,
    Session,
}

impl Kind {
    /// By the columns that there are.
    pub fn by(has: impl Fn(Column) -> bool) -> Result<Kind, String> {
        let all = |columns: &[Column]| columns.iter().all(|column| has(*column));
        let any = |columns: &[Column]| columns.iter().any(|column| has(*column));
        if all(&[Column::Msisdn, Column::CallStart]) && any(&[Column::Seconds, Column::CallEnd]) {
            return Ok(Kind::Call);
        }
        if all(&[Column::Msisdn, Column::SessionStart]) && any(&[Column::Up, Column::Down]) {
            return Ok(Kind::Session);
        }
        Err("a call has the columns msisdn, start_time and call_duration_sec or end_time; a session has \
             msisdn, event_datetime and up_bytes or down_bytes"
            .to_owned())
    }
}

/// A record by its columns.
pub trait Row {
    /// What stands in them; nothing, where the record has them not.
    fn text(&self, column: Column) -> Option<Cow<'_, str>>;
}

/// The texts of some columns, put together; nothing, unless all are there.
pub fn together<'a, T>(of: &[T], text: impl FnMut(&T) -> Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let mut texts = of.iter().map(text);
    match of.len() {
        0 | 1 => texts.next()?,
        _ => texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(" ").into()),
    }
}

/// What a record says.
pub fn read(kind: Kind, row: &impl Row, time_format: Option<&str>) -> Result<Fact, Unusable> {
    let row = Reader { row, time_format };
    let who = row.needed(Column::Msisdn, "a number or a name", value::person)?;
    // There may be no tower, and nobody who was called.
    let tower = row.text(Column::Tower).and_then(|text| value::tower(&text));
    match kind {
        Kind::Call => {
            let time = row.time(Column::CallStart)?;
            let called = row.text(Column::Called).and_then(|text| value::person(&text));
            let seconds = match row.text(Column::Seconds) {
                Some(_) => row.needed(Column::Seconds, "seconds", value::seconds)?,
                None => row.until(time)?,
            };
            Ok(Fact::Call { caller: who, called, tower, time, seconds })
        }
        Kind::Session => {
            let time = row.time(Column::SessionStart)?;
            let name = row.text(Column::DataType);
            let data_type = name.and_then(|name| cdr_model::DataType::from_name(&name));
            let (up, down) = (row.amount(Column::Up)?, row.amount(Column::Down)?);
            Ok(Fact::Session { who, tower, time, data_type, up, down })
        }
    }
}

struct Reader<'a, R> {
    row: &'a R,
    time_format: Option<&'a str>,
}

impl<R: Row> Reader<'_, R> {
    /// What stands there, unless it is empty.
    fn text(&self, column: Column) -> Option<Cow<'_, str>> {
        self.row.text(column).filter(|text| !text.is_empty())
    }

    fn needed<T>(
        &self,
        column: Column,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Unusable> {
        let text = self.text(column).ok_or(Unusable::Missing(column.name()))?;
        read(&text).ok_or_else(|| Unusable::Field {
            field: column.name(),
            found: format!("{:?}", shown(&text)),
            expected,
        })
    }

    fn time(&self, column: Column) -> Result<cdr_model::Micros, Unusable> {
        let expected = match self.time_format {
            Some(_) => "a time in the given format",
            None => "a time as 2024-01-01 01:01:15.291148, or of another form, given by --time-format",
        };
        self.needed(column, expected, |text| value::time(text, self.time_format))
    }

    /// Seconds from a time to the call's end.
    fn until(&self, time: cdr_model::Micros) -> Result<u32, Unusable> {
        let micros = self.time(Column::CallEnd)?.0 - time.0;
        let seconds = u32::try_from((micros + 500_000).div_euclid(1_000_000)).ok();
        seconds.ok_or_else(|| Unusable::Field {
            field: Column::CallEnd.name(),
            found: format!("{} s behind the start", micros.div_euclid(1_000_000)),
            expected: "0 to 4294967295 s",
        })
    }

    /// 0, where there is none.
    fn amount(&self, column: Column) -> Result<u64, Unusable> {
        match self.text(column) {
            Some(_) => self.needed(column, "a whole number of bytes", value::bytes),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Row for HashMap<&str, &str> {
        fn text(&self, column: Column) -> Option<Cow<'_, str>> {
            self.get(column.name()).map(|text| Cow::Borrowed(*text))
        }
    }

    fn call(pairs: &[(&'static str, &'static str)]) -> Result<Fact, Unusable> {
        let mut row = HashMap::from([("msisdn", "12"), ("start_time", "2024-01-01 00:00:00")]);
        row.extend(pairs.iter().copied());
        read(Kind::Call, &row, None)
    }

    fn seconds_of(fact: Result<Fact, Unusable>) -> Result<u32, String> {
        match fact.map_err(|error| error.to_string())? {
            Fact::Call { seconds, .. } => Ok(seconds),
            Fact::Session { .. } => Err("a session".to_owned()),
        }
    }

    #[test]
    fn a_call_has_a_length_or_an_end() {
        assert_eq!(seconds_of(call(&[("call_duration_sec", "85")])), Ok(85));
        assert_eq!(seconds_of(call(&[("end_time", "2024-01-01 00:01:25")])), Ok(85));
        let error = seconds_of(call(&[("end_time", "2023-12-31 23:59:59")])).unwrap_err();
        assert_eq!(error, "field end_time is -1 s behind the start, not 0 to 4294967295 s");
        let error = seconds_of(call(&[("call_duration_sec", "long")])).unwrap_err();
        assert_eq!(error, "field call_duration_sec is \"long\", not seconds");
        assert_eq!(seconds_of(call(&[])).unwrap_err(), "field end_time is missing");
    }

    #[test]
    fn columns_are_mapped_by_pairs() {
        let columns = Columns::parse("msisdn=A,start_time=Date+Time, call_duration_sec = S ").unwrap();
        assert_eq!(columns.of(Column::CallStart), ["Date", "Time"]);
        assert_eq!(columns.of(Column::Seconds), ["S"]);
        assert!(columns.of(Column::Tower).is_empty());
        for (wrong, reason) in [
            ("", "is no pair"),
            ("msisdn", "is no pair"),
            ("caller=A", "there is no column \"caller\" to read; there are msisdn, tower_id"),
            ("msisdn=A,msisdn=B", "msisdn is named twice"),
            ("msisdn=A", "a call has the columns msisdn, start_time and call_duration_sec or end_time"),
        ] {
            let error = Columns::parse(wrong).unwrap_err();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }
}
