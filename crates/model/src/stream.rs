//! The record streams, and a value for each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// A record stream: a kind of record with CSV files and a topic of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Mobile data usage, `cdr_data`.
    Data,
    /// Voice and video calls, `cdr_voice`.
    Voice,
    /// Known to tests alone: it shows what it takes to add a stream.
    #[cfg(feature = "test-additions")]
    Signal,
}

impl Stream {
    /// Every stream that there is, in the order in which the product always names them.
    pub const ALL: [Stream; Stream::COUNT] = [
        Stream::Data,
        Stream::Voice,
        #[cfg(feature = "test-additions")]
        Stream::Signal,
    ];

    /// How many there are.
    pub const COUNT: usize = 2 + cfg!(feature = "test-additions") as usize;

    /// The stream's name, which begins its file names and is the default of its topic's name:
    /// `cdr_data` or `cdr_voice`.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Data => "cdr_data",
            Stream::Voice => "cdr_voice",
            #[cfg(feature = "test-additions")]
            Stream::Signal => "cdr_signal",
        }
    }

    /// Makes the random numbers of the streams differ.
    pub(crate) const fn salt(self) -> u64 {
        match self {
            Stream::Data => 0x6364_725F_6461_7461,
            Stream::Voice => 0x6364_725F_766F_6963,
            #[cfg(feature = "test-additions")]
            Stream::Signal => 0x6364_725F_7369_676E,
        }
    }

    /// The name on the command line and in settings: `data` or `voice`.
    pub fn short_name(self) -> &'static str {
        self.name().trim_start_matches("cdr_")
    }

    /// The stream of this name, long or short.
    pub fn from_name(name: &str) -> Option<Stream> {
        Stream::ALL.into_iter().find(|stream| stream.name() == name || stream.short_name() == name)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for each stream.
///
/// Written by serde as a map by the streams' names. Streams whose value is the default are left out,
/// and those that are missing get it: what was written before a stream was added is still read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerStream<T>([T; Stream::COUNT]);

impl<T> PerStream<T> {
    /// Makes the value of each stream.
    pub fn from_fn(mut make: impl FnMut(Stream) -> T) -> Self {
        PerStream(Stream::ALL.map(&mut make))
    }

    /// The streams with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, &T)> {
        Stream::ALL.into_iter().zip(&self.0)
    }

    /// The same, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Stream, &mut T)> {
        Stream::ALL.into_iter().zip(&mut self.0)
    }

    /// The values, in the order of the streams.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> Index<Stream> for PerStream<T> {
    type Output = T;

    #[inline]
    fn index(&self, stream: Stream) -> &T {
        &self.0[stream as usize]
    }
}

impl<T> IndexMut<Stream> for PerStream<T> {
    #[inline]
    fn index_mut(&mut self, stream: Stream) -> &mut T {
        &mut self.0[stream as usize]
    }
}

impl<T: Default + PartialEq + Serialize> Serialize for PerStream<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = self.iter().filter(|(_, value)| **value != T::default());
        serializer.collect_map(written.map(|(stream, value)| (stream.name(), value)))
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for PerStream<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut by_name = BTreeMap::<String, T>::deserialize(deserializer)?;
        let values = PerStream::from_fn(|stream| by_name.remove(stream.name()).unwrap_or_default());
        match by_name.keys().next() {
            Some(name) => Err(D::Error::custom(format!("there is no stream {name:?}"))),
            None => Ok(values),
        }
    }
}

/// Some of the streams: those that a scenario generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams(PerStream<bool>);

impl Streams {
    /// These streams.
    pub fn of(streams: &[Stream]) -> Streams {
        Streams(PerStream::from_fn(|stream| streams.contains(&stream)))
    }

    /// Whether the stream is one of them.
    pub fn contains(self, stream: Stream) -> bool {
        self.0[stream]
    }

    /// They, in order.
    pub fn iter(self) -> impl Iterator<Item = Stream> + Clone {
        Stream::ALL.into_iter().filter(move |&stream| self.contains(stream))
    }
}

impl Default for Streams {
    /// The contract's two.
    fn default() -> Streams {
        Streams::of(&[Stream::Data, Stream::Voice])
    }
}

impl fmt::Display for Streams {
    /// Writes the short names: `data,voice`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Stream::short_name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_by_name_and_defaults_left_out() {
        let mut counts = PerStream::<u32>::default();
        assert_eq!(serde_json::to_string(&counts).unwrap(), "{}");
        counts[Stream::Voice] = 7;
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"cdr_voice":7}"#);
        assert_eq!(serde_json::from_str::<PerStream<u32>>(&text).unwrap(), counts);
    }

    #[test]
    fn a_stream_that_is_not_known_is_refused() {
        for text in [r#"{"cdr_fax":7}"#, r#"{"voice":7}"#] {
            let error = serde_json::from_str::<PerStream<u32>>(text).unwrap_err().to_string();
            assert!(error.contains("there is no stream"), "{error}");
        }
    }

    #[test]
    fn streams_are_known_by_both_their_names() {
        for stream in Stream::ALL {
            assert_eq!(Stream::from_name(stream.name()), Some(stream));
            assert_eq!(Stream::from_name(stream.short_name()), Some(stream));
        }
        assert_eq!(Stream::from_name("fax"), None);
    }

    #[test]
    fn some_streams_keep_the_order_of_all() {
        let both = Streams::of(&[Stream::Voice, Stream::Data]);
        assert_eq!(both, Streams::default());
        assert_eq!(both.to_string(), "data,voice");
        assert_eq!(Streams::of(&[Stream::Voice]).iter().collect::<Vec<_>>(), [Stream::Voice]);
    }
}
