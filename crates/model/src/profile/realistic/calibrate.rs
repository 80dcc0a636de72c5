//! Lengths such that all calls obey their law, those included that had to end early.

use super::calls::Calls;
use super::law::Durations;
use super::memo::{Entry, Memo};
use crate::random::{below, mix};
use crate::stream::Stream;

/// Calls whose rooms are looked at to calibrate the law: windows of one ward's calls.
const WINDOWS: i64 = 64;
const CALLS: i64 = 256;
const ROUNDS: u32 = 8;

impl Calls {
    /// Calls that have to end because a party is in the next one would make all calls too short. So
    /// lengths are drawn from a law whose calls, once some of them are cut, obey the wanted one.
    pub(super) fn calibrate(&mut self) {
        let samples = self.samples();
        let count = samples.len() as f64;
        let seconds = Durations::MAX as usize + 1;
        let wanted: Vec<f64> = (0..seconds).map(|d| self.law.share(d as u32)).collect();
        let mut shares = wanted.clone();
        for _ in 0..ROUNDS {
            let mut change = vec![0.0; seconds + 1];
            let mut inverse = vec![0.0; seconds + 1];
            for &(draw, room) in &samples {
                let raw = self.calibrated.of(draw);
                if raw > room {
                    change[room as usize] += 1.0;
                    change[raw as usize] -= 1.0;
                    if room > 0 {
                        inverse[room as usize] += 1.0 / shares[room as usize].max(1e-9);
                    }
                }
            }
            // The share of calls up to each length, as they are now.
            let (mut cut, mut rest) = (0.0, inverse.iter().sum::<f64>());
            let mut before = 0.0f64;
            for d in 0..seconds {
                cut += change[d];
                rest -= inverse[d];
                let now = shares[d] + (cut + shares[d] * rest) / count;
                shares[d] = (shares[d] + wanted[d] - now).clamp(before, 1.0);
                before = shares[d];
            }
            let last = shares[seconds - 1].max(1e-9);
            shares.iter_mut().for_each(|share| *share /= last);
            self.calibrated = Durations::of_shares(shares.iter().copied());
        }
    }

    /// Draws and rooms of calls of the run's first week, in windows of one ward each.
    fn samples(&self) -> Vec<(u32, u32)> {
        let (chain, wards) = (&self.chain, &self.chain.wards);
        let mut memo = Memo::new(wards.count(), &chain.daily);
        let mut samples = Vec::with_capacity((WINDOWS * CALLS) as usize);
        let turns = wards.turn_of(chain.daily.first_week(Stream::Voice));
        let step = ((turns - CALLS) / WINDOWS).max(1);
        for window in 0..WINDOWS {
            let ward = below(mix(window as u64) as u32, wards.count());
            let mut cell = chain.daily.cell_at(Stream::Voice, chain.daily.begin(0));
            for turn in 0..CALLS {
                let dealt = wards.dealt(ward, window * step + turn);
                chain.daily.go_to(Stream::Voice, dealt.record, &mut cell);
                let Entry { time, pair } = self.entry(&mut memo, ward, dealt, &cell);
                let room = self.room(&mut memo, dealt, time, pair, Durations::MAX, &cell);
                samples.push((self.length_draw(dealt.record), room));
            }
        }
        samples
    }
}
