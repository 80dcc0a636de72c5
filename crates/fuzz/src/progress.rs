//! Any bytes as a progress record: refused or understood, and then decided about.

use cdr_model::PerStream;
use cdr_model::progress::{Progress, RecordCursor};
use cdr_model::resume::{IndexOwner, KafkaState, LocalIndex};

use crate::offered::{Choice, PARAMETERS, PLANS, TARGETS};

/// Reads the bytes as the value of a message in `cdr_progress`.
pub fn check(bytes: &[u8]) {
    let Ok(progress) = serde_json::from_slice::<Progress>(bytes) else { return };
    let text = serde_json::to_vec(&progress).expect("JSON");
    assert_eq!(serde_json::from_slice::<Progress>(&text).expect("what was written"), progress);

    for plan in &*PLANS {
        if progress.fits(plan) {
            check_fitting(&progress);
        }
    }
    let mut choice = Choice::of(bytes);
    let state = state(&progress);
    let mut indices = indices(&progress);
    let local = indices.swap_remove(choice.below(indices.len()));
    choice.decide(&progress.parameters, &progress.targets, Some(state.clone()), local);
    choice.decide(&progress.parameters, &TARGETS, Some(state.clone()), LocalIndex::Absent);
    choice.decide(&PARAMETERS, &TARGETS, Some(state), LocalIndex::Absent);
}

/// What is counted up of a progress that a run goes on with.
fn check_fitting(progress: &Progress) {
    for (stream, counts) in progress.delivered.iter() {
        assert!(counts.iter().sum::<i64>() >= 0, "{stream}");
    }
}

/// A cluster whose topics end where the progress has them, or elsewhere.
fn state(progress: &Progress) -> KafkaState {
    let ends = |stream| {
        let (begin, counts) = (&progress.begin_offsets[stream], &progress.delivered[stream]);
        let end = |(partition, &count): (usize, &i64)| {
            begin.get(partition).copied().unwrap_or(0).saturating_add(count)
        };
        (!counts.is_empty()).then(|| counts.iter().enumerate().map(end).collect())
    };
    KafkaState {
        end_offsets: PerStream::from_fn(ends),
        no_open_transactions: progress.finished,
        progress: Some(progress.clone()),
        ..KafkaState::default()
    }
}

/// Index files that may lie beside the run: none, and some near where the progress is.
fn indices(progress: &Progress) -> Vec<LocalIndex> {
    let parameters = progress.parameters.clone();
    let owner = IndexOwner { parameters, targets: progress.targets.clone() };
    let part = |cursor: RecordCursor| cursor.part;
    let sftp = progress.cursors.files.get("sftp").copied();
    let near = [Some(progress.begin.part), progress.cursors.records.map(part), sftp];
    let complete = near.into_iter().flatten().flat_map(|last| {
        let owner = owner.clone();
        [None, Some(owner)].map(|owner| LocalIndex::Complete { last, owner })
    });
    [LocalIndex::Absent].into_iter().chain(complete).collect()
}
