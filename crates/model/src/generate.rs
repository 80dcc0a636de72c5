//! Part → records: every record a function of (scenario, stream, part, index).

use std::net::Ipv4Addr;
use std::ops::Range;

use crate::plan::Part;
use crate::population::Population;
use crate::random::{Words, below, below_wide, mix};
use crate::record::{CallType, DataRecord, DataType, Stream, VoiceRecord};
use crate::scenario::{Scenario, ScenarioError};
use crate::time::Micros;

/// Bytes of a data session in the uniform profile, both directions: 100,000 to 1,000,000.
const BYTES_MIN: u32 = 100_000;
const BYTES_SPAN: u32 = 900_001;

/// Seconds of a call in the uniform profile: 1 to 1,800.
const CALL_SECONDS_MAX: u32 = 1_800;

/// Generates the records of any part, alone.
#[derive(Clone, Debug)]
pub struct Generator {
    scenario: Scenario,
    population: Population,
}

impl Generator {
    /// Draws the population; takes some milliseconds, whatever the length of the run.
    ///
    /// # Errors
    /// A scenario that is not valid.
    pub fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        scenario.validate()?;
        Ok(Generator { population: Population::new(scenario), scenario: scenario.clone() })
    }

    /// Who and what the records' indices stand for.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// The data records of a part whose indices are in `range`, in time order.
    pub fn data(&self, part: &Part, range: Range<u32>) -> impl Iterator<Item = DataRecord> + use<'_> {
        let words = Words::new(self.scenario.seed, Stream::Data, part.index.0);
        let mut slots = Slots::new(part, range.start);
        (range.start..range.end.min(part.line_count))
            .map(move |index| self.data_record(words, index, slots.next_slot()))
    }

    /// The voice records of a part whose indices are in `range`, in time order.
    pub fn voice(&self, part: &Part, range: Range<u32>) -> impl Iterator<Item = VoiceRecord> + use<'_> {
        let words = Words::new(self.scenario.seed, Stream::Voice, part.index.0);
        let mut slots = Slots::new(part, range.start);
        (range.start..range.end.min(part.line_count))
            .map(move |index| self.voice_record(words, index, slots.next_slot()))
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        let words = Words::new(self.scenario.seed, stream, part.index.0);
        let slot = Slots::new(part, index).next_slot();
        match stream {
            Stream::Data => slot.time(words.at(u64::from(index) * DATA_WORDS + DATA_TIME)),
            Stream::Voice => slot.time(words.at(u64::from(index) * VOICE_WORDS + VOICE_TIME)),
        }
    }

    #[inline]
    fn data_record(&self, words: Words, index: u32, slot: Slot) -> DataRecord {
        let at = u64::from(index) * DATA_WORDS;
        let (who, volume, where_to, when) =
            (words.at(at), words.at(at + 1), words.at(at + 2), words.at(at + DATA_TIME));
        DataRecord {
            subscriber: below(high(who), self.scenario.subscribers),
            tower: 1 + below(low(who), self.scenario.towers.into()) as u16,
            up_bytes: BYTES_MIN + below(high(volume), BYTES_SPAN),
            down_bytes: BYTES_MIN + below(low(volume), BYTES_SPAN),
            data_type: DataType::ALL[below(low(when), DataType::ALL.len() as u32) as usize],
            ip_address: public_ipv4(high(where_to)),
            site: below(low(where_to), self.scenario.sites.into()) as u16,
            event_time: slot.time(when),
        }
    }

    #[inline]
    fn voice_record(&self, words: Words, index: u32, slot: Slot) -> VoiceRecord {
        let at = u64::from(index) * VOICE_WORDS;
        let (who, whom, when) = (words.at(at), words.at(at + 1), words.at(at + VOICE_TIME));
        VoiceRecord {
            subscriber: below(high(who), self.scenario.subscribers),
            tower: 1 + below(low(who), self.scenario.towers.into()) as u16,
            call_type: CallType::ALL[below(low(when), CallType::ALL.len() as u32) as usize],
            destination: below(high(whom), self.scenario.destinations),
            duration_s: 1 + below(low(whom), CALL_SECONDS_MAX) as u16,
            start_time: slot.time(when),
        }
    }
}

/// Random words that one data record takes, and which of them gives its time.
const DATA_WORDS: u64 = 4;
const DATA_TIME: u64 = 3;

/// Random words that one voice record takes, and which of them gives its time.
const VOICE_WORDS: u64 = 3;
const VOICE_TIME: u64 = 2;

#[inline]
fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline]
fn low(word: u64) -> u32 {
    word as u32
}

/// The share of a window in which one record's time is drawn.
///
/// Each record has its own slot, so that records are in time order, evenly spread, and each
/// record's time is known without those before it.
#[derive(Clone, Copy)]
struct Slot {
    start: Micros,
    width: u64,
}

impl Slot {
    /// Slots narrower than a microsecond have a width of 0: several records share a time.
    #[inline]
    fn time(self, word: u64) -> Micros {
        self.start + below_wide(word, self.width)
    }
}

/// The slots of a part, one after the other.
struct Slots {
    start: Micros,
    whole: u64,
    rest: u64,
    count: u64,
    index: u64,
    from: u64,
}

impl Slots {
    fn new(part: &Part, index: u32) -> Self {
        let (micros, count) = (part.interval_s * 1_000_000, u64::from(part.line_count));
        let mut slots = Slots {
            start: part.start,
            whole: micros / count,
            rest: micros % count,
            count,
            index: index.into(),
            from: 0,
        };
        slots.from = slots.bound();
        slots
    }

    /// Where the slot at `self.index` begins: `index * micros / count` without overflow.
    #[inline]
    fn bound(&self) -> u64 {
        self.whole * self.index + self.rest * self.index / self.count
    }

    #[inline]
    fn next_slot(&mut self) -> Slot {
        self.index += 1;
        let (from, to) = (self.from, self.bound());
        self.from = to;
        Slot { start: self.start + from, width: to - from }
    }
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

/// Whether a range inside the public first octets is reserved all the same.
#[inline]
fn is_special(address: u32) -> bool {
    const SPECIAL: [(u8, u32, u32); 12] = [
        (100, 0x6440_0000, 10), // 100.64.0.0/10: shared, behind carrier-grade NAT
        (169, 0xA9FE_0000, 16), // 169.254.0.0/16: link-local
        (172, 0xAC10_0000, 12), // 172.16.0.0/12: private
        (192, 0xC000_0000, 24), // 192.0.0.0/24: IETF protocol assignments
        (192, 0xC000_0200, 24), // 192.0.2.0/24: documentation
        (192, 0xC01F_C400, 24), // 192.31.196.0/24: AS112
        (192, 0xC034_C100, 24), // 192.52.193.0/24: automatic multicast tunnelling
        (192, 0xC058_6300, 24), // 192.88.99.0/24: 6to4 relay, deprecated
        (192, 0xC0A8_0000, 16), // 192.168.0.0/16: private
        (192, 0xC0AF_3000, 24), // 192.175.48.0/24: AS112
        (198, 0xC612_0000, 15), // 198.18.0.0/15: benchmarks
        (198, 0xC633_6400, 24), // 198.51.100.0/24: documentation
    ];
    let octet = (address >> 24) as u8;
    if !matches!(octet, 100 | 169 | 172 | 192 | 198 | 203) {
        return false;
    }
    let inside = |network: u32, bits: u32| (address ^ network) >> (32 - bits) == 0;
    let listed = SPECIAL.iter().any(|&(first, network, bits)| first == octet && inside(network, bits));
    listed || inside(0xCB00_7100, 24) // 203.0.113.0/24: documentation
}
