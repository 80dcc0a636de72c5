//! What a run may find when it starts, for the targets whose input is a part of it.

use std::sync::LazyLock;

use cdr_model::progress::{Parameters, Places, Sinks};
use cdr_model::resume::{Decision, Destination, Facts, LocalIndex, Wish, decide, stands};
use cdr_model::{LineEnd, Plan, Scenario, Shard};
use chrono::NaiveDate;

/// Plans that differ in what a cursor may be: whole, one shard of several, without an end, and with
/// the end of the calendar at its end.
pub static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let plan = |scenario: &Scenario, number, of| {
        Plan::new(scenario, Shard::new(number, of).expect("a shard")).expect("a plan")
    };
    let late = NaiveDate::from_ymd_opt(9999, 12, 30).and_then(|day| day.and_hms_opt(0, 0, 0));
    let late = Scenario { start: late.expect("a time"), ..Scenario::default() };
    let usual = Scenario::default();
    vec![
        plan(&usual, 1, 1),
        plan(&usual, 2, 8),
        plan(&usual, 1, 1).without_end(),
        plan(&usual, 1024, 1024).without_end(),
        plan(&late, 1, 1),
        plan(&late, 3, 3).without_end(),
    ]
});

/// The parameters of a run like any other.
pub static PARAMETERS: LazyLock<Parameters> =
    LazyLock::new(|| Parameters::new(&Scenario::default(), LineEnd::Lf).with("RUN_NAME", "cdr"));

/// The places of a run like any other.
pub static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let places = [("kafka", "kafka"), ("sftp", "cdr_data@sftp:22/upload")];
    places.map(|(sink, place)| (sink.to_owned(), place.to_owned())).into()
});

const WISHES: [Wish; 3] = [Wish::Continue, Wish::Restart, Wish::TrustIndex];

/// A plan, a wish and a choice of sinks, drawn from an input as a whole: so each is tried with many
/// inputs, and one input always with the same.
pub struct Choice(u64);

impl Choice {
    /// FNV-1a of the input.
    pub fn of(bytes: &[u8]) -> Choice {
        Choice(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// One of `count` things.
    pub fn below(&mut self, count: usize) -> usize {
        let (chosen, count) = (self.0 >> 32, count as u64);
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (chosen % count) as usize
    }

    /// Decides about what was found.
    pub fn decide(
        &mut self,
        parameters: &Parameters,
        places: &Places,
        destination: Option<Destination>,
        local: LocalIndex,
    ) {
        let used = 1 + self.below(7);
        let sinks = Sinks { kafka: used & 1 != 0, sftp: used & 2 != 0, directory: used & 4 != 0 };
        let facts = Facts {
            plan: &PLANS[self.below(PLANS.len())],
            parameters,
            sinks,
            places,
            destination,
            local,
            index_file: "idx_data.dat",
            wish: WISHES[self.below(WISHES.len())],
        };
        check_decision(&facts, &decide(&facts));
    }
}

fn check_decision(facts: &Facts<'_>, decision: &Decision) {
    if let Some(destination) = &facts.destination {
        let _ = stands(decision, destination);
    }
    match decision {
        Decision::Start => {}
        Decision::Continue(cursors) | Decision::Adopt(cursors) => {
            let Sinks { kafka, sftp, directory } = facts.sinks;
            assert!(!kafka || cursors.kafka.is_some(), "{cursors:?}");
            assert!(!sftp || cursors.sftp.is_some(), "{cursors:?}");
            assert!(!directory || cursors.directory.is_some(), "{cursors:?}");
            let record = cursors.kafka.map(|cursor| cursor.part);
            for part in [record, cursors.sftp, cursors.directory].into_iter().flatten() {
                assert!(facts.plan.owns(part), "{cursors:?}");
            }
            let complete = cursors.complete_before(facts.sinks).expect("a sink");
            assert!(!facts.plan.is_done(complete), "{cursors:?}");
            let _ = facts.plan.parts_before(complete);
            let _ = facts.plan.part(complete).file_name(cdr_model::Stream::Data);
        }
        Decision::Finished => assert_ne!(facts.wish, Wish::Restart),
        Decision::Refuse(conflict) => assert!(!conflict.to_string().is_empty()),
    }
}
