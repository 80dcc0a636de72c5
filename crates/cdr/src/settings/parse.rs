//! Forms of text that several settings have.

/// Not empty.
pub fn is_given(text: &str) -> bool {
    !text.is_empty()
}

/// A host name or address, not looked up.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Up to so many of `A-Z a-z 0-9 . _ -`.
pub fn is_name(text: &str, length_max: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=length_max).contains(&text.len()) && text.bytes().all(allowed)
}

/// What [`is_topic`] accepts.
pub const TOPIC: &str = "a topic name of 1 to 249 characters A-Z a-z 0-9 . _ -";

/// The name of a topic, by Kafka's rules.
pub fn is_topic(text: &str) -> bool {
    is_name(text, 249) && text != "." && text != ".."
}
