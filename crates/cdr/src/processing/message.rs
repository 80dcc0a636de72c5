//! A message's value → the usage that it reports; or why it cannot be used.
//!
//! The messages that this pipeline writes are read without making a copy of anything. Whatever is
//! not of that form is read once more leniently: the older pipeline wrote all values as text, a
//! space in times, a `Z` behind them, or dictionaries as Python prints them.

use std::borrow::Cow;

use cdr_model::usage::{Interaction, Used};
use cdr_model::{CallType, DataType, MessageFormat, Micros, Stream};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::python;

/// Most digits of an E.164 number.
const MSISDN_DIGITS_MAX: usize = 15;

/// Most bytes, or seconds, that one record may report: sums of millions still fit the numbers of a
/// database, which end at 9.2 × 10^18.
const AMOUNT_MAX: u64 = 1_000_000_000_000;

/// Of a value that is shown to people.
const SHOWN_MAX: usize = 60;

/// Why a message cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("messages of {0} report no usage")]
    Stream(Stream),
    #[error("it has no value")]
    Empty,
    #[error("it is neither a JSON object nor a Python dictionary: {0}")]
    NoObject(String),
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("field {field} is {found}, not {expected}")]
    Field { field: &'static str, found: String, expected: &'static str },
}

/// Whether a stream's messages report usage.
pub fn reports_usage(stream: Stream) -> bool {
    read(MessageFormat::default(), stream, b"") != Err(Unusable::Stream(stream))
}

/// Reads a message of a stream's topic.
pub fn read(format: MessageFormat, stream: Stream, value: &[u8]) -> Result<Interaction, Unusable> {
    match stream {
        Stream::Data => read_as(format, value, data, lenient_data, "event_datetime"),
        Stream::Voice => read_as(format, value, voice, lenient_voice, "start_time"),
        #[cfg(feature = "test-additions")]
        Stream::Signal => Err(Unusable::Stream(stream)),
    }
}

/// `quick` takes the messages that this pipeline writes, `lenient` what any of the older forms uses; `time`
/// is the field with the time.
fn read_as<'a, M: Deserialize<'a>>(
    format: MessageFormat,
    value: &'a [u8],
    quick: fn(M) -> Option<Interaction>,
    lenient: fn(&Fields) -> Result<Used, Unusable>,
    time: &'static str,
) -> Result<Interaction, Unusable> {
    let message = match format {
        // An array of the values in their order would do for the quick way.
        MessageFormat::Json if value.trim_ascii_start().starts_with(b"{") => {
            serde_json::from_slice(value).ok()
        }
        _ => None,
    };
    message.and_then(quick).map_or_else(|| leniently(format, value, lenient, time), Ok)
}

/// The fields of a message of any of the forms.
pub fn fields(format: MessageFormat, value: &[u8]) -> Result<Map<String, Value>, Unusable> {
    if value.is_empty() {
        return Err(Unusable::Empty);
    }
    let text = String::from_utf8_lossy(value);
    let Fields(fields) = match format {
        MessageFormat::Json => Fields::of_object(&text)?,
        #[cfg(feature = "test-additions")]
        MessageFormat::Pairs => Fields::of_pairs(&text)?,
    };
    Ok(fields)
}

/// What is used of a message of `cdr_data`.
#[derive(Deserialize)]
struct DataMessage<'a> {
    msisdn: &'a str,
    tower_id: u32,
    up_bytes: u64,
    down_bytes: u64,
    data_type: &'a str,
    event_datetime: &'a str,
}

fn data(message: DataMessage<'_>) -> Option<Interaction> {
    let (up_bytes, down_bytes) = (amount(message.up_bytes)?, amount(message.down_bytes)?);
    let data_type = DataType::from_name(message.data_type)?;
    interaction(
        message.msisdn,
        message.tower_id,
        message.event_datetime,
        Used::Data { data_type, up_bytes, down_bytes },
    )
}

/// What is used of a message of `cdr_voice`.
#[derive(Deserialize)]
struct VoiceMessage<'a> {
    msisdn: &'a str,
    tower_id: u32,
    call_type: &'a str,
    call_duration_sec: u64,
    start_time: &'a str,
}

fn voice(message: VoiceMessage<'_>) -> Option<Interaction> {
    let seconds = amount(message.call_duration_sec)?;
    let call_type = CallType::from_name(message.call_type)?;
    interaction(message.msisdn, message.tower_id, message.start_time, Used::Call { call_type, seconds })
}

fn interaction(msisdn: &str, tower: u32, time: &str, used: Used) -> Option<Interaction> {
    let time = Micros::parse(time.as_bytes())?;
    Some(Interaction { msisdn: self::msisdn(msisdn)?, tower: self::tower(tower)?, time, used })
}

/// E.164 digits, which never begin with 0, as a number.
pub fn msisdn(text: &str) -> Option<u64> {
    let plausible = (1..=MSISDN_DIGITS_MAX).contains(&text.len()) && !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (plausible && digits).then(|| text.parse().ok()).flatten()
}

/// Reads `2024-01-01`.
pub fn date(text: &str) -> Option<NaiveDate> {
    // Beyond the year 9999 there is a sign.
    text.parse().ok().filter(|date: &NaiveDate| date.to_string() == text && text.len() == 10)
}

fn tower(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

/// Bytes or seconds that one record may report.
pub fn amount(number: u64) -> Option<u64> {
    (number <= AMOUNT_MAX).then_some(number)
}

#[cold]
fn leniently(
    format: MessageFormat,
    value: &[u8],
    lenient: fn(&Fields) -> Result<Used, Unusable>,
    time: &'static str,
) -> Result<Interaction, Unusable> {
    let fields = Fields(fields(format, value)?);
    let used = lenient(&fields)?;
    Ok(Interaction {
        msisdn: fields
            .get("msisdn", "1 to 15 digits that do not begin with 0", |value| msisdn(&digits(value)?))?,
        tower: fields.get("tower_id", "a whole number from 1 to 4294967295", |value| {
            tower(u32::try_from(whole(value)?).ok()?)
        })?,
        time: fields
            .get(time, "a time as 2024-01-01T01:01:15.291148", |value| self::time(value.as_str()?))?,
        used,
    })
}

fn lenient_data(fields: &Fields) -> Result<Used, Unusable> {
    Ok(Used::Data {
        data_type: fields.get("data_type", DATA_TYPES, |value| DataType::from_name(value.as_str()?))?,
        up_bytes: fields.amount("up_bytes")?,
        down_bytes: fields.amount("down_bytes")?,
    })
}

fn lenient_voice(fields: &Fields) -> Result<Used, Unusable> {
    Ok(Used::Call {
        call_type: fields.get("call_type", CALL_TYPES, |value| CallType::from_name(value.as_str()?))?,
        seconds: fields.amount("call_duration_sec")?,
    })
}

const DATA_TYPES: &str = "video, audio, image, text or application";
const CALL_TYPES: &str = "voice or video";
const AMOUNT: &str = "a whole number from 0 to 1000000000000";

struct Fields(Map<String, Value>);

impl Fields {
    fn of_object(text: &str) -> Result<Fields, Unusable> {
        let object = serde_json::from_str(text).or_else(|error| {
            // The parser's own words may hold all of a value.
            let reason =
                || Unusable::NoObject(format!("{} ({})", shown(text), shown(&error.to_string())));
            python::dictionary(text).ok_or_else(reason)
        })?;
        Ok(Fields(object))
    }

    #[cfg(feature = "test-additions")]
    fn of_pairs(text: &str) -> Result<Fields, Unusable> {
        let pairs = text.split_terminator('|').map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.into()))
        });
        let pairs: Option<_> = pairs.collect();
        pairs.map(Fields).ok_or_else(|| Unusable::NoObject(shown(text).into_owned()))
    }

    fn amount(&self, field: &'static str) -> Result<u64, Unusable> {
        self.get(field, AMOUNT, |value| amount(whole(value)?))
    }

    fn get<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Unusable> {
        let value = self.0.get(field).ok_or(Unusable::Missing(field))?;
        read(value).ok_or_else(|| Unusable::Field {
            field,
            found: shown(&value.to_string()).into_owned(),
            expected,
        })
    }
}

/// A number's digits, given as text or as a number.
fn digits(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.trim().into()),
        Value::Number(number) => Some(number.as_u64()?.to_string().into()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<u64> {
    let digits = digits(value)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `2024-01-01 01:01:15`, with `T` for the space, up to six digits of a second, and `Z` behind.
pub fn time(text: &str) -> Option<Micros> {
    let text = text.trim();
    let text = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    Micros::parse(format!("{seconds}.{fraction:0<6}").as_bytes())
}

/// A value, shortened for people.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl Unusable {
    /// A word for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Unusable::Stream(_) => "stream",
            Unusable::Empty => "empty",
            Unusable::NoObject(_) => "no_object",
            Unusable::Missing(_) => "missing_field",
            Unusable::Field { .. } => "invalid_field",
        }
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::{Generator, MessageFormat, PartIndex, Plan, Scenario, Shard};

    use super::*;

    const DATA: &str = r#"{"msisdn":"27711903591","tower_id":1882,"up_bytes":448567,"down_bytes":735964,"data_type":"text","ip_address":"76.222.26.56","website_url":"https://x.com/","event_datetime":"2024-01-01T00:03:20.170110"}"#;

    fn expected() -> Interaction {
        Interaction {
            msisdn: 27_711_903_591,
            tower: 1_882,
            time: Micros::parse(b"2024-01-01 00:03:20.170110").unwrap(),
            used: Used::Data { data_type: DataType::Text, up_bytes: 448_567, down_bytes: 735_964 },
        }
    }

    #[test]
    fn every_message_of_the_generator_is_read_as_its_record() {
        let scenario = Scenario::default();
        let part = Plan::new(&scenario, Shard::WHOLE).unwrap().part(PartIndex(7));
        let generator = Generator::new(&scenario).unwrap();
        for stream in scenario.streams.iter() {
            let (mut truth, mut found) = (Vec::new(), Vec::new());
            generator.interactions(stream, &part, |one| truth.push(one));
            let all = 0..generator.count(stream, part.index);
            MessageFormat::Json.encode(&generator, stream, &part, all, |message| {
                found.push(read(MessageFormat::Json, stream, message.value).unwrap());
            });
            assert_eq!(found, truth);
        }
    }

    fn check_same(value: &str) {
        assert_eq!(read(MessageFormat::Json, Stream::Data, value.as_bytes()), Ok(expected()), "{value}");
    }

    #[test]
    fn the_older_pipelines_variants_are_understood() {
        check_same(DATA);
        check_same(&DATA.replace("1882", "\"1882\"").replace("448567", "\"448567\""));
        check_same(&DATA.replace("\"27711903591\"", "27711903591"));
        check_same(&DATA.replace('T', " "));
        check_same(&DATA.replace("170110\"", "170110Z\""));
        check_same(&DATA.replace("170110\"", "17011+00:00\""));
        check_same(&DATA.replace('"', "'").replace(',', ", ").replace("':", "': "));
    }

    #[test]
    fn a_call_as_a_dictionary_of_texts_is_understood() {
        let value = "{'msisdn': '27828375646', 'tower_id': '584', 'call_type': 'voice', 'dest_nr': None, \
                     'call_duration_sec': '157', 'start_time': '2024-01-01 00:03:20'}";
        let call = read(MessageFormat::Json, Stream::Voice, value.as_bytes()).unwrap();
        assert_eq!(call.used, Used::Call { call_type: CallType::Voice, seconds: 157 });
        assert_eq!(call.time.to_string(), "2024-01-01 00:03:20.000000");
    }

    fn check_unusable(value: &str, reason: &str) {
        let error = read(MessageFormat::Json, Stream::Data, value.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{value}");
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_field() {
        check_unusable("", "it has no value");
        check_unusable("{}", "field data_type is missing");
        check_unusable(&DATA.replace("tower_id", "tower"), "field tower_id is missing");
        check_unusable(
            &DATA.replace("1882", "0"),
            "field tower_id is 0, not a whole number from 1 to 4294967295",
        );
        check_unusable(&DATA.replace("448567", "-1"), &format!("field up_bytes is -1, not {AMOUNT}"));
        check_unusable(&DATA.replace("448567", "1.5"), &format!("field up_bytes is 1.5, not {AMOUNT}"));
        check_unusable(
            &DATA.replace("\"text\"", "\"sms\""),
            &format!("field data_type is \"sms\", not {DATA_TYPES}"),
        );
        check_unusable(
            &DATA.replace("448567", "1000000000001"),
            &format!("field up_bytes is 1000000000001, not {AMOUNT}"),
        );
        for msisdn in ["", "027", "2771190359x", "1234567890123456"] {
            let value = DATA.replace("27711903591", msisdn);
            check_unusable(
                &value,
                &format!("field msisdn is \"{msisdn}\", not 1 to 15 digits that do not begin with 0"),
            );
        }
        for time in [
            "",
            "2024-01-01",
            "2024-02-30T00:00:00",
            "2024-01-01T00:03:20.1701101",
            "2024-01-01T00:03:20.",
        ] {
            let value = DATA.replace("2024-01-01T00:03:20.170110", time);
            check_unusable(
                &value,
                &format!("field event_datetime is \"{time}\", not a time as 2024-01-01T01:01:15.291148"),
            );
        }
    }

    /// All that is used, in the order of the fields.
    const VALUES: &str = r#"["27711903591",1882,448567,735964,"text","2024-01-01T00:03:20.170110"]"#;

    #[test]
    fn what_is_no_object_is_shown_shortened() {
        for value in ["null", "[1]", VALUES, "12", "\"x\"", "{'a': }", "{\"a\":1", "\u{fffd}"] {
            let error = read(MessageFormat::Json, Stream::Data, value.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), "no_object", "{value}: {error}");
        }
        for (text, begin) in [("ü".repeat(1_000), "ü"), (format!("{:?}", "ü".repeat(1_000)), "\"ü")]
        {
            let error =
                read(MessageFormat::Json, Stream::Data, text.as_bytes()).unwrap_err().to_string();
            let ends = format!("Python dictionary: {begin}");
            assert!(error.contains(&ends) && error.contains("ü… ("), "{error}");
            assert!(error.chars().count() < 3 * SHOWN_MAX, "{error}");
        }
        assert_eq!(
            read(MessageFormat::Json, Stream::Data, b"\xff\xfe").unwrap_err().kind(),
            "no_object"
        );
    }
}
