//! Who and what appears in the records: index in, text out, the same for the same scenario.

use std::collections::HashSet;

use fake::Fake;
use fake::faker::company::en::BsNoun;
use fake::faker::internet::en::DomainSuffix;
use fake::faker::name::en::LastName;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::numbering::E164_DIGITS_MAX;
use crate::random::{below_wide, mix};
use crate::scenario::Scenario;
use crate::text::{FixedText, ten_digits};

/// How few and how many digits a number has, country code included.
pub(crate) const MSISDN_DIGITS: [usize; 2] = [3, E164_DIGITS_MAX];

/// Room for a lead of nine digits and ten more, so that digits can be written in one piece.
const MSISDN_ROOM: usize = 24;

/// Longest website URL in bytes; the generated ones stay below it.
const URL_ROOM: usize = 64;

/// A telephone number in E.164 digits without `+`, 3 to 15 of them.
pub type Msisdn = FixedText<MSISDN_ROOM>;

impl Msisdn {
    /// The digits as a number.
    pub fn number(&self) -> u64 {
        self.as_bytes().iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }
}

/// Whose number was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// Index of a subscriber.
    Subscriber(u32),
    /// Index of a number that is no subscriber's.
    Destination(u32),
}

/// Everyone and everything that the records of a scenario name.
///
/// Numbers are computed, not stored, so that ten million subscribers cost no more memory than ten.
#[derive(Clone, Debug)]
pub struct Population {
    subscribers: u32,
    numbers: Numbers,
    pub(crate) sites: Vec<FixedText<URL_ROOM>>,
}

impl Population {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Population {
            subscribers: scenario.subscribers,
            numbers: Numbers::new(scenario),
            sites: sites(scenario.seed, scenario.sites),
        }
    }

    /// The number of a subscriber, unique among all subscribers and destinations.
    #[inline]
    pub fn subscriber(&self, index: u32) -> Msisdn {
        self.numbers.at(index.into())
    }

    /// The number of a destination; no subscriber has it.
    #[inline]
    pub fn destination(&self, index: u32) -> Msisdn {
        self.numbers.at(u64::from(self.subscribers) + u64::from(index))
    }

    /// The number that was called.
    #[inline]
    pub fn called(&self, called: Called) -> Msisdn {
        match called {
            Called::Subscriber(index) => self.subscriber(index),
            Called::Destination(index) => self.destination(index),
        }
    }

    /// The website's URL, `http(s)://…/`.
    pub fn site(&self, index: u16) -> &str {
        self.sites[usize::from(index)].as_str()
    }
}

/// A bijection from indices to numbers of the plan: `(factor * index + offset) mod capacity`.
#[derive(Clone, Debug)]
struct Numbers {
    /// Country code and prefix of each range.
    leads: Vec<Msisdn>,
    per_lead: u64,
    digits: usize,
    capacity: u64,
    factor: u64,
    offset: u64,
}

impl Numbers {
    fn new(scenario: &Scenario) -> Self {
        let plan = &scenario.numbering;
        let capacity = plan.capacity();
        let salt = mix(scenario.seed ^ 0x6D73_6973_646E);
        // Below 2^31, so that its product with an index of up to 33 bits fits 64 bits.
        let bound = capacity.min(1 << 31);
        let drawn = |nth: u64| {
            let wanted = bound / 4 + below_wide(mix(salt.wrapping_add(nth << 32)), bound / 2);
            (wanted.max(1)..).find(|&n| gcd(n, capacity) == 1).unwrap_or(1)
        };
        let factor = (0..100).map(drawn).find(|&n| spreads(n, capacity)).unwrap_or_else(|| drawn(0));
        Numbers {
            leads: plan.leads().map(|lead| FixedText::new(&[&lead])).collect(),
            per_lead: plan.numbers_per_prefix(),
            digits: plan.subscriber_digits.into(),
            capacity,
            factor,
            offset: below_wide(mix(salt ^ 1), capacity),
        }
    }

    #[inline]
    fn at(&self, index: u64) -> Msisdn {
        let product = self.factor * index % self.capacity;
        let sum = product + self.offset;
        let number = if sum >= self.capacity { sum - self.capacity } else { sum };
        // Taken apart, since writing into the text where it stands takes a fifth longer.
        let FixedText { mut bytes, len: lead } = self.leads[(number / self.per_lead) as usize];
        let tail = ten_digits((number % self.per_lead) as u32);
        let (lead, from) = (usize::from(lead), 10 - self.digits);
        bytes[lead..lead + 10].copy_from_slice(&tail[from..from + 10]);
        FixedText { bytes, len: (lead + self.digits) as u8 }
    }
}

/// Whether multiples of the factor spread evenly over the numbers: no few steps come back so close
/// to where they began that 50,000 numbers would crowd around a few places and miss some prefixes.
fn spreads(factor: u64, capacity: u64) -> bool {
    (1..capacity.isqrt().min(1_000)).all(|steps| {
        let there = factor * steps % capacity;
        there.min(capacity - there) * steps * 64 > capacity
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Draws different websites from invented company names, from a generator that is stable across
/// versions. There are millions of such names, so that few draws repeat one.
fn sites(seed: u64, count: u16) -> Vec<FixedText<URL_ROOM>> {
    let mut rng = ChaCha8Rng::seed_from_u64(mix(seed ^ 0x7369_7465));
    let mut drawn = HashSet::new();
    let urls = std::iter::repeat_with(|| site(&mut rng)).filter(|url| drawn.insert(url.clone()));
    urls.take(count.into()).map(|url| FixedText::new(&[&url])).collect()
}

fn site(rng: &mut ChaCha8Rng) -> String {
    let scheme = if rng.random_bool(0.8) { "https" } else { "http" };
    let www = if rng.random_bool(0.5) { "www." } else { "" };
    let name = host_label(LastName().fake_with_rng::<&str, _>(rng));
    let suffix: &str = DomainSuffix().fake_with_rng(rng);
    let second = if rng.random_bool(0.5) {
        host_label(LastName().fake_with_rng::<&str, _>(rng))
    } else {
        host_label(BsNoun().fake_with_rng::<&str, _>(rng))
    };
    format!("{scheme}://{www}{name}-{second}.{suffix}/")
}

/// Only what may stand in a host name, in lower case; 20 letters are plenty.
fn host_label(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).take(20);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}
