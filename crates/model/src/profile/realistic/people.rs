//! How active people are.
//!
//! A community has one member of each of 128 classes of activity; in which place it stands, is the
//! community's own. So a draw of a class and of a community gives a person, without a list of them.

use super::law::Choice;
use super::math::{normal, normal_quantile};
use super::ties::Order;
use super::wards::{COMMUNITY, Member, Wards};
use crate::random::{GOLDEN_GAMMA, below, key, mix, more};

/// Nobody makes more records in a day than this, on average.
const PER_DAY_MAX: f64 = 60.0;

/// How much of how many sessions somebody has shows in how often they call, and the other way round.
const CORRELATION: f64 = 0.6;

/// How active the people of the classes are in one stream.
#[derive(Clone, Debug)]
pub struct People {
    salt: u64,
    classes: Choice,
    wards: Wards,
}

impl People {
    /// Those who call.
    pub fn of_calls(seed: u64, wards: &Wards, sigma: f64, per_day: f64) -> People {
        People::new(seed, wards, means(sigma), per_day)
    }

    /// The same people as users of data: who calls more has more sessions, by and large.
    pub fn of_sessions(seed: u64, wards: &Wards, sigma: f64, per_day: f64) -> People {
        let own = (1.0 - CORRELATION * CORRELATION).sqrt();
        let level = |class: u32| {
            let draw = (mix(u64::from(class) ^ 0x6461_7461) >> 11) as f64 / (1u64 << 53) as f64;
            let calls = normal_quantile((f64::from(class) + 0.5) / f64::from(COMMUNITY));
            CORRELATION * calls + own * normal_quantile(draw.clamp(1e-6, 1.0 - 1e-6))
        };
        let mut order: Vec<(f64, u32)> = (0..COMMUNITY).map(|class| (level(class), class)).collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut weights = vec![0.0; COMMUNITY as usize];
        for (mean, (_, class)) in means(sigma).into_iter().zip(order) {
            weights[class as usize] = mean;
        }
        People::new(seed, wards, weights, per_day)
    }

    /// `per_day`: records of one person in a day, on average.
    fn new(seed: u64, wards: &Wards, weights: Vec<f64>, per_day: f64) -> People {
        let average = weights.iter().sum::<f64>() / f64::from(COMMUNITY);
        let most = average * (PER_DAY_MAX / per_day).max(1.0);
        let classes = Choice::new(weights.into_iter().map(|weight| weight.min(most)));
        People { salt: mix(seed ^ 0x7065_6F70), classes, wards: wards.clone() }
    }

    /// Somebody of a class, by a draw of the class and one of the community.
    #[inline]
    pub fn somebody(&self, ward: u32, class: u32, community: u32) -> Member {
        let community = below(community, self.wards.communities());
        let position = self.order(ward, community).of(class);
        Member { ward, community, position }
    }

    /// The class of a draw.
    #[inline]
    pub fn class(&self, draw: u32) -> u32 {
        self.classes.of(draw)
    }

    #[inline]
    fn order(&self, ward: u32, community: u32) -> Order {
        let number = self.wards.community(ward, community);
        Order::new(more(self.salt ^ number.wrapping_mul(GOLDEN_GAMMA), key(1)))
    }
}

/// The mean activity of each class, of a lognormal law.
fn means(sigma: f64) -> Vec<f64> {
    // Of the law's mean, the share that those below a class's upper bound have.
    let share = |class: u32| match class {
        0 => 0.0,
        COMMUNITY => 1.0,
        _ => normal(normal_quantile(f64::from(class) / f64::from(COMMUNITY)) - sigma),
    };
    (0..COMMUNITY).map(|class| share(class + 1) - share(class)).collect()
}
