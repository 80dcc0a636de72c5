//! The uniform profile: every value is drawn evenly from its range.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::even::{Draw, Even};
use crate::field::Records;
use crate::part::Part;
use crate::population::Called;
use crate::random::{below, mix};
use crate::record::{DataRecord, VoiceRecord};
use crate::scenario::Scenario;
use crate::service::{CallType, DataType};
use crate::stream::{PerStream, Stream};

/// Bytes of a data session, each direction: 100,000 to 1,000,000.
const BYTES_MIN: u32 = 100_000;
const BYTES_SPAN: u32 = 900_001;

/// Seconds of a call: 1 to 1,800.
const CALL_SECONDS_MAX: u32 = 1_800;

/// How many there are of what records name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uniform {
    rhythm: Even,
    subscribers: u32,
    destinations: u32,
    towers: u32,
    sites: u32,
}

impl Uniform {
    pub fn new(scenario: &Scenario) -> Self {
        Uniform {
            rhythm: Even::new(scenario, PerStream::from_fn(words_per_record)),
            subscribers: scenario.subscribers,
            destinations: scenario.destinations,
            towers: scenario.towers.into(),
            sites: scenario.sites.into(),
        }
    }

    /// Records come evenly.
    pub fn rhythm(&self) -> &Even {
        &self.rhythm
    }

    /// Makes the records of a part whose indices are in `range`.
    #[inline]
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        let draws = self.rhythm.draw(stream, part, range);
        match stream {
            Stream::Data => draws.for_each(|draw| records.take(&self.data(draw))),
            Stream::Voice => draws.for_each(|draw| records.take(&self.voice(draw))),
            #[cfg(feature = "test-additions")]
            Stream::Signal => draws.for_each(|draw| records.take(&self.signal(draw))),
        }
    }

    #[inline(always)]
    fn data(&self, draw: Draw) -> DataRecord {
        let (who, volume, place, when) = (draw.word(0), draw.word(1), draw.word(2), draw.time_word);
        DataRecord {
            subscriber: below(high(who), self.subscribers),
            tower: 1 + below(low(who), self.towers) as u16,
            up_bytes: BYTES_MIN + below(high(volume), BYTES_SPAN),
            down_bytes: BYTES_MIN + below(low(volume), BYTES_SPAN),
            data_type: DataType::ALL[below(low(when), DataType::ALL.len() as u32) as usize],
            ip_address: public_ipv4(high(place)),
            site: below(low(place), self.sites) as u16,
            event_time: draw.time(),
        }
    }

    #[inline(always)]
    fn voice(&self, draw: Draw) -> VoiceRecord {
        let (who, whom, when) = (draw.word(0), draw.word(1), draw.time_word);
        VoiceRecord {
            subscriber: below(high(who), self.subscribers),
            tower: 1 + below(low(who), self.towers) as u16,
            call_type: CallType::ALL[below(low(when), CallType::ALL.len() as u32) as usize],
            called: Called::Destination(below(high(whom), self.destinations)),
            duration_s: 1 + below(low(whom), CALL_SECONDS_MAX) as u16,
            start_time: draw.time(),
        }
    }

    #[cfg(feature = "test-additions")]
    fn signal(&self, draw: Draw) -> crate::additions::SignalRecord {
        let who = draw.word(0);
        crate::additions::SignalRecord {
            subscriber: below(high(who), self.subscribers),
            signal_dbm: below(low(who), 100),
            time: draw.time(),
        }
    }
}

/// Random words that one record takes, of which the last gives its time.
fn words_per_record(stream: Stream) -> u64 {
    match stream {
        Stream::Data => 4,
        Stream::Voice => 3,
        #[cfg(feature = "test-additions")]
        Stream::Signal => 2,
    }
}

#[inline(always)]
fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline(always)]
fn low(word: u64) -> u32 {
    word as u32
}

/// First octets with public addresses: 1 to 223 without 10 (private) and 127 (loopback).
static PUBLIC_FIRST_OCTETS: [u8; 221] = {
    let mut octets = [0; 221];
    let (mut octet, mut at) = (1, 0);
    while octet < 224 {
        if octet != 10 && octet != 127 {
            octets[at] = octet;
            at += 1;
        }
        octet += 1;
    }
    octets
};

/// Maps random bits to an address that IANA's special-purpose registry (RFC 6890) does not list.
#[inline]
fn public_ipv4(bits: u32) -> Ipv4Addr {
    let mut bits = bits;
    loop {
        let first = u64::from(bits) * PUBLIC_FIRST_OCTETS.len() as u64;
        let octet = PUBLIC_FIRST_OCTETS[(first >> 32) as usize];
        // The low half of that product is uniform again, and independent of the octet.
        let address = u32::from(octet) << 24 | (first as u32) >> 8;
        if !is_special(address) {
            return Ipv4Addr::from_bits(address);
        }
        bits = mix(bits.into()) as u32;
    }
}

/// Maps random bits to a network of 65,536 public addresses.
pub(super) fn public_network(bits: u32) -> u32 {
    let mut bits = bits;
    loop {
        let network = u32::from(public_ipv4(bits)) & 0xFFFF_0000;
        // None of which the registry lists a part.
        if !matches!(network >> 24, 100 | 169 | 172 | 192 | 198 | 203) {
            return network;
        }
        bits = mix(bits.into()) as u32;
    }
}

/// Whether a range inside the public first octets is reserved all the same.
#[inline]
fn is_special(address: u32) -> bool {
    const SPECIAL: [(u32, u32); 13] = [
        (0x6440_0000, 10), // 100.64.0.0/10: shared, behind carrier-grade NAT
        (0xA9FE_0000, 16), // 169.254.0.0/16: link-local
        (0xAC10_0000, 12), // 172.16.0.0/12: private
        (0xC000_0000, 24), // 192.0.0.0/24: IETF protocol assignments
        (0xC000_0200, 24), // 192.0.2.0/24: documentation
        (0xC01F_C400, 24), // 192.31.196.0/24: AS112
        (0xC034_C100, 24), // 192.52.193.0/24: automatic multicast tunnelling
        (0xC058_6300, 24), // 192.88.99.0/24: 6to4 relay, deprecated
        (0xC0A8_0000, 16), // 192.168.0.0/16: private
        (0xC0AF_3000, 24), // 192.175.48.0/24: AS112
        (0xC612_0000, 15), // 198.18.0.0/15: benchmarks
        (0xC633_6400, 24), // 198.51.100.0/24: documentation
        (0xCB00_7100, 24), // 203.0.113.0/24: documentation
    ];
    let inside = |&(network, bits): &(u32, u32)| (address ^ network) >> (32 - bits) == 0;
    matches!(address >> 24, 100 | 169 | 172 | 192 | 198 | 203) && SPECIAL.iter().any(inside)
}
