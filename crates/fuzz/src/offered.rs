//! What a run may find when it starts, for the targets whose input is a part of it.

use std::sync::LazyLock;

use cdr_model::progress::{KAFKA, Parameters, SinkTargets};
use cdr_model::resume::{Decision, Facts, KafkaState, LocalIndex, StartMode, decide, is_final};
use cdr_model::{FileFormat, MessageFormat, Plan, Scenario, Shard};
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
pub static PARAMETERS: LazyLock<Parameters> = LazyLock::new(|| {
    let formats = (FileFormat::default(), MessageFormat::default());
    Parameters::new(&Scenario::default(), formats.0, formats.1).with("RUN_NAME", "cdr")
});

/// The targets of a run like any other.
pub static TARGETS: LazyLock<SinkTargets> = LazyLock::new(|| {
    let targets = [("kafka", "kafka"), ("sftp", "cdr_data@sftp:22/upload")];
    targets.map(|(sink, target)| (sink.to_owned(), target.to_owned())).into()
});

const MODES: [StartMode; 3] = [StartMode::Continue, StartMode::Restart, StartMode::TrustIndex];

/// A plan, a start mode and a choice of sinks, drawn from an input as a whole: so each is tried with many
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
        targets: &SinkTargets,
        kafka: Option<KafkaState>,
        local: LocalIndex,
    ) {
        let used = 1 + self.below(7);
        let mut used_targets = targets.clone();
        for (nth, sink) in [KAFKA, "sftp", "directory"].into_iter().enumerate() {
            match used & (1 << nth) != 0 {
                true => drop(used_targets.entry(sink.to_owned()).or_default()),
                false => drop(used_targets.remove(sink)),
            }
        }
        let facts = Facts {
            plan: &PLANS[self.below(PLANS.len())],
            parameters,
            targets: &used_targets,
            kafka,
            local,
            index_file: "idx_data.dat",
            mode: MODES[self.below(MODES.len())],
        };
        check_decision(&facts, &decide(&facts));
    }
}

fn check_decision(facts: &Facts<'_>, decision: &Decision) {
    if let Some(state) = &facts.kafka {
        let _ = is_final(decision, state);
    }
    match decision {
        Decision::Start => {}
        Decision::Continue(cursors) | Decision::Adopt(cursors) => {
            for sink in facts.targets.keys() {
                let part = cursors.parts().find(|(name, _)| name == sink);
                assert!(part.is_some_and(|(_, part)| facts.plan.owns(part)), "{sink}: {cursors:?}");
            }
            let complete = cursors.complete_before(facts.targets).expect("a sink");
            assert!(!facts.plan.is_done(complete), "{cursors:?}");
            let _ = facts.plan.parts_before(complete);
            let _ = facts.plan.part(complete).file_name(cdr_model::Stream::Data, FileFormat::default());
        }
        Decision::Finished => assert_ne!(facts.mode, StartMode::Restart),
        Decision::Refuse(conflict) => assert!(!conflict.to_string().is_empty()),
    }
}
