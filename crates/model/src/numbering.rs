//! Telephone numbers by country: which digits a mobile number there begins with.

use std::fmt;

/// The mobile numbers of a country: its code, prefixes after it, digits after those.
type Known = (u16, &'static str, u8);

/// Source: the national numbering plans notified to the ITU under Recommendation E.164.
const KNOWN: &[Known] = &[
    (1, "2013 2125 3054 3127 4152 6045 6178 7023 8186 9174", 6),
    SOUTH_AFRICA,
    (31, "61 62 63 64 65 68", 7),
    (33, "60 61 62 64 65 66 67 68 74 75 76 77 78", 7),
    (34, "60 61 62 63 64 65 66 67 68 69 71 72 73 74", 7),
    (44, "71 72 73 74 75 78", 8),
    (49, "151 152 157 160 162 163 170 171 172 173 174 175 176 178", 8),
    (55, "119 219 319 419 519 619 719 819", 8),
    (61, "40 41 42 43", 7),
    (91, "70 72 75 78 80 81 82 90 93 96 97 98 99", 8),
    (234, "703 706 803 806 807 808 810 813 814 816 903 906", 7),
    (254, "70 71 72 73 74 75 79", 7),
];

const SOUTH_AFRICA: Known = (27, "60 61 62 63 64 65 66 71 72 73 74 76 78 79 81 82 83 84", 7);

/// The longest number that E.164 allows, in digits, country code included.
pub(crate) const E164_DIGITS_MAX: usize = 15;

/// The mobile numbers of one country: every prefix followed by a fixed count of digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberingPlan {
    country_code: u16,
    prefixes: Vec<String>,
    pub(crate) subscriber_digits: u8,
}

/// Why a numbering plan cannot serve.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NumberingPlanError {
    #[error("COUNTRY_CODE {0} is not between 1 and 999")]
    CountryCode(u16),
    #[error(
        "no mobile prefixes are known for COUNTRY_CODE {code}; set MOBILE_PREFIXES and SUBSCRIBER_DIGITS, \
         or choose one of {}",
        known_codes()
    )]
    UnknownCountry { code: u16 },
    #[error("MOBILE_PREFIXES: \"{0}\" is not 1 to 6 decimal digits")]
    Prefix(String),
    #[error(
        "MOBILE_PREFIXES: \"{shorter}\" begins \"{longer}\", so that two subscribers could share a number"
    )]
    PrefixOverlap { shorter: String, longer: String },
    #[error("SUBSCRIBER_DIGITS {0} is not between 1 and 9")]
    SubscriberDigits(u8),
    #[error(
        "COUNTRY_CODE, MOBILE_PREFIXES and SUBSCRIBER_DIGITS make numbers of {digits} digits, and E.164 allows \
         15; give shorter prefixes or fewer digits"
    )]
    TooLong { digits: usize },
}

fn known_codes() -> String {
    KNOWN.iter().map(|(code, ..)| code.to_string()).collect::<Vec<_>>().join(", ")
}

impl Default for NumberingPlan {
    /// South Africa.
    fn default() -> Self {
        let (country_code, prefixes, subscriber_digits) = SOUTH_AFRICA;
        NumberingPlan { country_code, prefixes: list(prefixes), subscriber_digits }
    }
}

impl NumberingPlan {
    /// The plan of a country; `prefixes` and `subscriber_digits`, where given, replace the known ones.
    ///
    /// # Errors
    /// A country that is not known, where either is missing; prefixes that are not digits or that
    /// overlap; numbers longer than E.164 allows.
    pub fn new(
        country_code: u16,
        prefixes: Option<Vec<String>>,
        subscriber_digits: Option<u8>,
    ) -> Result<Self, NumberingPlanError> {
        if !(1..=999).contains(&country_code) {
            return Err(NumberingPlanError::CountryCode(country_code));
        }
        let (prefixes, subscriber_digits) = match KNOWN.iter().find(|known| known.0 == country_code) {
            Some(&(_, known, digits)) => {
                (prefixes.unwrap_or_else(|| list(known)), subscriber_digits.unwrap_or(digits))
            }
            None => prefixes
                .zip(subscriber_digits)
                .ok_or(NumberingPlanError::UnknownCountry { code: country_code })?,
        };
        let plan = NumberingPlan { country_code, prefixes, subscriber_digits };
        plan.validate()?;
        Ok(plan)
    }

    fn validate(&self) -> Result<(), NumberingPlanError> {
        if !(1..=9).contains(&self.subscriber_digits) {
            return Err(NumberingPlanError::SubscriberDigits(self.subscriber_digits));
        }
        if self.prefixes.is_empty() {
            return Err(NumberingPlanError::Prefix(String::new()));
        }
        for (i, (prefix, lead)) in self.prefixes.iter().zip(self.leads()).enumerate() {
            if !(1..=6).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_digit()) {
                return Err(NumberingPlanError::Prefix(prefix.clone()));
            }
            let mut others = self.prefixes[..i].iter().chain(&self.prefixes[i + 1..]);
            if let Some(longer) = others.find(|other| other.starts_with(prefix)) {
                let (shorter, longer) = (prefix.clone(), longer.clone());
                return Err(NumberingPlanError::PrefixOverlap { shorter, longer });
            }
            let digits = lead.len() + usize::from(self.subscriber_digits);
            if digits > E164_DIGITS_MAX {
                return Err(NumberingPlanError::TooLong { digits });
            }
        }
        Ok(())
    }

    /// How many different numbers the plan has.
    pub fn capacity(&self) -> u64 {
        self.prefixes.len() as u64 * self.numbers_per_prefix()
    }

    pub(crate) fn numbers_per_prefix(&self) -> u64 {
        10u64.pow(self.subscriber_digits.into())
    }

    /// Country code and prefix of every range, for example `2782`.
    pub(crate) fn leads(&self) -> impl Iterator<Item = String> + '_ {
        self.prefixes.iter().map(|prefix| format!("{}{prefix}", self.country_code))
    }
}

impl fmt::Display for NumberingPlan {
    /// Writes the plan in one line, for fingerprints and `cdr config`: `27(60,61,…)+7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})+{}", self.country_code, self.prefixes.join(","), self.subscriber_digits)
    }
}

fn list(prefixes: &str) -> Vec<String> {
    prefixes.split(' ').map(str::to_owned).collect()
}
