//! What a run simulates, and from which time on.

use cdr_model::progress::{Parameters, Progress};
use cdr_model::resume::LocalIndex;
use cdr_model::{Plan, Scenario, Shard};
use chrono::{NaiveDateTime, SubsecRound as _, TimeDelta, Utc};

use crate::config::Config;
use crate::setup;

/// What is simulated, and how it is cut into parts.
pub struct RunPlan {
    pub scenario: Scenario,
    pub plan: Plan,
    pub parameters: Parameters,
}

impl RunPlan {
    /// # Errors
    /// A scenario that cannot be simulated.
    pub fn new(config: &Config, start: NaiveDateTime) -> anyhow::Result<RunPlan> {
        let scenario = setup::scenario(config, start);
        let plan = Plan::new(&scenario, config.run.shard)?;
        let plan = if config.run.follow { plan.without_end() } else { plan };
        let parameters = setup::parameters(config, &scenario);
        Ok(RunPlan { scenario, plan, parameters })
    }

    /// The same over all shards.
    ///
    /// # Errors
    /// As `new`.
    pub fn whole(config: &Config, start: NaiveDateTime) -> anyhow::Result<RunPlan> {
        let run = RunPlan::new(config, start)?;
        Ok(RunPlan { plan: run.plan.for_shard(Shard::WHOLE), ..run })
    }
}

/// The base time that a run has noted when it began: in its progress, or else beside its index file.
pub(super) fn noted_start(recorded: Option<&Progress>, local: &LocalIndex) -> Option<NaiveDateTime> {
    let local = match local {
        LocalIndex::Complete { owner, .. } => owner.as_ref().map(|owner| &owner.parameters),
        _ => None,
    };
    let known = recorded.map(|progress| &progress.parameters).or(local)?;
    NaiveDateTime::parse_from_str(known.get("START")?, "%Y-%m-%d %H:%M:%S").ok()
}

/// The base time of a run that begins now: the first window begins one interval after it.
///
/// # Errors
/// A scenario that cannot be simulated.
pub(super) fn begin_now(config: &Config) -> anyhow::Result<NaiveDateTime> {
    let now = Utc::now().naive_utc().trunc_subsecs(0);
    let interval_s = RunPlan::new(config, now)?.plan.interval_s();
    Ok(now - TimeDelta::seconds(i64::try_from(interval_s)?))
}
