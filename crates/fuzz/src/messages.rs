//! Any bytes as a message of a topic: usage within bounds, or a short reason why not.

use cdr::processing::message::read;
use cdr_model::usage::{Hour, Interaction, Used};
use cdr_model::{MessageFormat, Stream};
use serde_json::json;

/// Longer than any reason, which shows no more than the beginning of what it is about.
const REASON_MAX: usize = 1_000;

/// Reads the bytes as the stream processor does.
pub fn check(bytes: &[u8]) {
    for stream in Stream::ALL {
        match read(MessageFormat::Json, stream, bytes) {
            Ok(interaction) => check_usable(stream, interaction),
            Err(reason) => assert!(reason.to_string().len() < REASON_MAX, "{reason}"),
        }
    }
}

/// What was understood is the same when it is written as `cdr run` writes it.
fn check_usable(stream: Stream, interaction: Interaction) {
    let Interaction { msisdn, tower, time, used } = interaction;
    assert!((1..1_000_000_000_000_000).contains(&msisdn) && tower > 0, "{interaction:?}");
    assert!(Hour::of(time).begin() <= time, "{interaction:?}");
    let (msisdn, time) = (msisdn.to_string(), time.to_string().replace(' ', "T"));
    let message = match used {
        Used::Data { data_type, up_bytes, down_bytes } => json!({
            "msisdn": msisdn, "tower_id": tower, "up_bytes": up_bytes, "down_bytes": down_bytes,
            "data_type": data_type.name(), "event_datetime": time,
        }),
        Used::Call { call_type, seconds } => json!({
            "msisdn": msisdn, "tower_id": tower, "call_type": call_type.name(),
            "call_duration_sec": seconds, "start_time": time,
        }),
    };
    assert_eq!(
        read(MessageFormat::Json, stream, message.to_string().as_bytes()),
        Ok(interaction),
        "{message}"
    );
}
