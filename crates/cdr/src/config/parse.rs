//! Reads the texts that have a form of their own. Each function gives None for what is not allowed;
//! the registry says what is.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use rust_decimal::Decimal;

use super::values::{Pace, Shard, StartTime};

/// `now`, a date, or a date and time of whole seconds with a space or `T` between them.
pub(super) fn start(text: &str) -> Option<StartTime> {
    if text == "now" {
        return Some(StartTime::Now);
    }
    let time = match text.len() {
        10 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN),
        19 => {
            let format = if text.contains('T') { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
            NaiveDateTime::parse_from_str(text, format).ok()?
        }
        _ => return None,
    };
    // A second of 60 is read as a leap second, which no file name could hold.
    let allowed = (1970..=2199).contains(&time.year()) && time.nanosecond() == 0;
    allowed.then_some(StartTime::At(time))
}

/// `max`, `realtime` or a factor with an `x`.
pub(super) fn pace(text: &str) -> Option<Pace> {
    match text.trim() {
        "max" => Some(Pace::Max),
        "realtime" => Some(Pace::Factor(1.0)),
        factor => {
            let factor: f64 = factor.strip_suffix('x')?.parse().ok()?;
            (0.001..=1e6).contains(&factor).then_some(Pace::Factor(factor))
        }
    }
}

/// `i/n` with 1 <= i <= n <= 1024.
pub(super) fn shard(text: &str) -> Option<Shard> {
    let (index, count) = text.trim().split_once('/')?;
    let shard = Shard { index: index.parse().ok()?, count: count.parse().ok()? };
    (1 <= shard.index && shard.index <= shard.count && shard.count <= 1024).then_some(shard)
}

/// `host:port`; an IPv6 address stands in brackets.
pub(super) fn broker(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let host_is_fine = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host) && !host.contains([':', '[', ']', '/', '=']),
    };
    let port_is_fine = port.parse::<u16>().is_ok_and(|port| port > 0);
    (host_is_fine && port_is_fine).then(|| text.to_owned())
}

/// 1 to 6 digits.
pub(super) fn prefix(text: &str) -> Option<String> {
    let fine = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.to_owned())
}

/// A host name or address, not looked up.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Not empty.
pub(super) fn is_given(text: &str) -> bool {
    !text.is_empty()
}

/// The name of a run. One that ends like a shard would be that shard's transactional id.
pub(super) fn is_run_name(text: &str) -> bool {
    is_name(text, 64) && !ends_like_a_shard(text)
}

/// `…-2-of-8`
fn ends_like_a_shard(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((rest, count)) = text.rsplit_once("-of-") else { return false };
    let index = rest.rsplit_once('-').map(|(_, index)| index);
    is_number(count) && index.is_some_and(is_number)
}

/// The name of a topic, by Kafka's rules.
pub(super) fn is_topic(text: &str) -> bool {
    is_name(text, 249) && text != "." && text != ".."
}

/// The name of a consumer group: Kafka takes any text that is not empty.
pub(super) fn is_group(text: &str) -> bool {
    (1..=249).contains(&text.len()) && !text.contains(char::is_control)
}

/// A user name for HTTP basic authentication, in which a colon ends it.
pub(super) fn is_api_user(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control())
}

/// 0 to 1,000,000 with at most six decimals.
pub(super) fn amount(text: &str) -> Option<Decimal> {
    let amount = Decimal::from_str_exact(text.trim()).ok()?;
    let fine = !amount.is_sign_negative() && amount <= Decimal::from(1_000_000) && amount.scale() <= 6;
    fine.then_some(amount)
}

fn is_name(text: &str, length_max: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=length_max).contains(&text.len()) && text.bytes().all(allowed)
}
