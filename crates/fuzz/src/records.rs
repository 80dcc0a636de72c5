//! A message is JSON that holds exactly what its record does.

use std::any::Any;

use cdr_model::{DataRecord, MessageFormat, Micros, Population, Record, Records, Stream, VoiceRecord};
use serde_json::{Map, Value, json};

use crate::fixture::{Fixture, Numbers};

/// Generates a few records of the scenario that the bytes describe, and reads their messages.
pub fn check(bytes: &[u8]) {
    let Some(fixture) = Fixture::new(&mut Numbers(bytes)) else { return };
    let mut expected = expected(&fixture).into_iter();
    let Fixture { generator, part, stream, range } = &fixture;
    MessageFormat::Json.encode(generator, *stream, part, range.clone(), |message| {
        let expected = expected.next().expect("no more messages than records");
        let text = std::str::from_utf8(message.value).expect("UTF-8");
        let found: Value = serde_json::from_str(text).expect("JSON");
        let found = found.as_object().expect("an object");
        assert_eq!(found, &expected, "{text}");
        // A member that is there twice would have been read once.
        assert_eq!(text.len(), json!(expected).to_string().len(), "{text}");
        assert_eq!(found["msisdn"].as_str().map(str::as_bytes), Some(message.key.as_bytes()));
        assert!(part.start <= message.time && message.time < part.end(), "{text}");
    });
    assert_eq!(expected.next(), None, "as many messages as records");
}

/// What the records hold, by the names of their fields.
pub fn expected(fixture: &Fixture) -> Vec<Map<String, Value>> {
    let Fixture { generator, part, stream, range } = fixture;
    let mut named = Named { people: generator.population(), records: Vec::new() };
    generator.each(*stream, part, range.clone(), &mut named);
    named.records
}

/// Takes records by their own fields, not as they describe themselves.
struct Named<'a> {
    people: &'a Population,
    records: Vec<Map<String, Value>>,
}

impl Records for Named<'_> {
    fn take<R: Record>(&mut self, record: &R) {
        let record: &dyn Any = record;
        let data = record.downcast_ref().map(|record| of_data(self.people, record));
        let voice = || record.downcast_ref().map(|record| of_voice(self.people, record));
        self.records.push(data.or_else(voice).expect("a record of either stream"));
    }
}

fn of_data(people: &Population, record: &DataRecord) -> Map<String, Value> {
    named(
        Stream::Data,
        vec![
            json!(people.subscriber(record.subscriber).to_string()),
            json!(record.tower),
            json!(record.up_bytes),
            json!(record.down_bytes),
            json!(record.data_type.name()),
            json!(record.ip_address.to_string()),
            json!(people.site(record.site)),
            json!(time(record.event_time)),
        ],
    )
}

fn of_voice(people: &Population, record: &VoiceRecord) -> Map<String, Value> {
    named(
        Stream::Voice,
        vec![
            json!(people.subscriber(record.subscriber).to_string()),
            json!(record.tower),
            json!(record.call_type.name()),
            json!(people.called(record.called).to_string()),
            json!(record.duration_s),
            json!(time(record.start_time)),
        ],
    )
}

fn named(stream: Stream, values: Vec<Value>) -> Map<String, Value> {
    let fields = stream.fields();
    assert_eq!(fields.len(), values.len());
    fields.iter().map(|field| field.name.to_owned()).zip(values).collect()
}

fn time(time: Micros) -> String {
    time.to_civil().expect("a civil time").format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}
