//! Sums → charges.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;

use crate::settings::{parsed, settings};

const BYTES_PER_GB: u64 = 1_000_000_000;
const SECONDS_PER_MINUTE: u64 = 60;

/// Digits of a charge behind the point.
const CENTS: u32 = 2;

settings! {
    /// What usage costs. Data is billed per byte, calls per second.
    #[derive(Copy, Eq)]
    pub struct Tariff in "tariff" {
        /// price of 10^9 bytes of data, both directions
        pub zar_per_gb: Decimal = parsed("ZAR_PER_GB", AMOUNT, amount).value("ZAR").default("49"),
        /// price of a minute of a call, billed per second
        pub zar_per_minute: Decimal = parsed("ZAR_PER_MINUTE", AMOUNT, amount).value("ZAR").default("1"),
        /// rate of exchange
        pub wak_per_zar: Decimal = parsed("WAK_PER_ZAR", AMOUNT, amount).value("WAK").default("1.0"),
    }
}

const AMOUNT: &str = "an amount from 0 to 1000000 with at most 6 decimals";

fn amount(text: &str) -> Option<Decimal> {
    let amount = Decimal::from_str_exact(text.trim()).ok()?;
    let fine = !amount.is_sign_negative() && amount <= Decimal::from(1_000_000) && amount.scale() <= 6;
    fine.then_some(amount)
}

/// What is charged, to the cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Charge {
    pub zar: Decimal,
    pub wak: Decimal,
}

impl Tariff {
    /// Charges bytes of data and seconds of calls: exactly, and rounded once at the end, a half away from
    /// zero. Charges that were rounded for each record would be 0 for all data.
    pub fn charge(&self, bytes: u64, seconds: u64) -> Charge {
        let gigabytes = Decimal::from(bytes) / Decimal::from(BYTES_PER_GB);
        // Divided at the end, since a third of a minute has no end.
        let per_minute = Decimal::from(SECONDS_PER_MINUTE);
        let zar =
            gigabytes * self.zar_per_gb * per_minute + Decimal::from(seconds) * self.zar_per_minute;
        let wak = zar.checked_mul(self.wak_per_zar).map(|wak| wak / per_minute);
        let zar = zar / per_minute;
        // Beyond any subscriber's sums that may lack the last digit.
        let wak = wak.unwrap_or_else(|| zar * self.wak_per_zar);
        Charge { zar: to_the_cent(zar), wak: to_the_cent(wak) }
    }
}

fn to_the_cent(amount: Decimal) -> Decimal {
    let mut amount = amount.round_dp_with_strategy(CENTS, RoundingStrategy::MidpointAwayFromZero);
    amount.rescale(CENTS);
    amount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: u64, seconds: u64, zar: &str, wak: &str) {
        check_at(Decimal::from(2), bytes, seconds, zar, wak);
    }

    fn check_at(wak_per_zar: Decimal, bytes: u64, seconds: u64, zar: &str, wak: &str) {
        let tariff = Tariff { zar_per_gb: Decimal::from(49), zar_per_minute: Decimal::ONE, wak_per_zar };
        let charge = tariff.charge(bytes, seconds);
        assert_eq!((charge.zar.to_string(), charge.wak.to_string()), (zar.to_owned(), wak.to_owned()));
    }

    #[test]
    fn data_is_billed_per_byte_and_calls_per_second() {
        check(0, 0, "0.00", "0.00");
        check(1_000_000_000, 0, "49.00", "98.00");
        check(0, 60, "1.00", "2.00");
        check(0, 89, "1.48", "2.97");
        check(1_100_000_000, 90, "55.40", "110.80");
    }

    #[test]
    fn amounts_are_rounded_once_and_a_half_goes_up() {
        // 0.0049 and 0.0051 ZAR; 0.005 is a half.
        check(100_000, 0, "0.00", "0.01");
        check(104_082, 0, "0.01", "0.01");
        check(0, 3, "0.05", "0.10");
        check(500_000_000, 0, "24.50", "49.00");
        check(0, 27, "0.45", "0.90");
    }

    #[test]
    fn a_third_of_a_minute_is_exact() {
        // 1.005 WAK.
        check_at(Decimal::new(3_015, 3), 0, 20, "0.33", "1.01");
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        check(u64::MAX / 4, u64::MAX / 4, "76861659613071367.99", "153723319226142735.98");
    }
}
