//! Any bytes as a progress record: refused or understood, and then decided about.

use cdr_model::progress::{Progress, RecordCursor};
use cdr_model::resume::{Destination, IndexOwner, LocalIndex};

use crate::offered::{Choice, PARAMETERS, PLACES, PLANS};

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
    let destination = destination(&progress);
    let mut indices = indices(&progress);
    let local = indices.swap_remove(choice.below(indices.len()));
    choice.decide(&progress.parameters, &progress.places, Some(destination.clone()), local);
    choice.decide(&progress.parameters, &PLACES, Some(destination.clone()), LocalIndex::Absent);
    choice.decide(&PARAMETERS, &PLACES, Some(destination), LocalIndex::Absent);
}

/// What is counted up of a progress that a run goes on with.
fn check_fitting(progress: &Progress) {
    for (topic, counts) in &progress.delivered {
        assert!(counts.iter().sum::<i64>() >= 0, "{topic}");
    }
}

/// A cluster whose topics end where the progress says, or where it does not.
fn destination(progress: &Progress) -> Destination {
    let begin = &progress.begin_offsets;
    let end_offsets = progress.delivered.iter().map(|(topic, counts)| {
        let begin = |partition| begin.get(topic).and_then(|begin| begin.get(partition));
        let ends = counts
            .iter()
            .enumerate()
            .map(|(partition, &count)| begin(partition).copied().unwrap_or(0).saturating_add(count));
        (topic.clone(), Some(ends.collect()))
    });
    Destination {
        end_offsets: end_offsets.collect(),
        settled: progress.finished,
        progress: Some(progress.clone()),
        ..Destination::default()
    }
}

/// Index files that may lie beside the run: none, and some near where the progress is.
fn indices(progress: &Progress) -> Vec<LocalIndex> {
    let parameters = progress.parameters.clone();
    let owner = IndexOwner { parameters, places: progress.places.clone() };
    let part = |cursor: RecordCursor| cursor.part;
    let near = [Some(progress.begin.part), progress.cursors.kafka.map(part), progress.cursors.sftp];
    let complete = near.into_iter().flatten().flat_map(|last| {
        let owner = owner.clone();
        [None, Some(owner)].map(|owner| LocalIndex::Complete { last, owner })
    });
    [LocalIndex::Absent].into_iter().chain(complete).collect()
}
