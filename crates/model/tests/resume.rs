//! The decision where a run begins, row by row.

use cdr_model::progress::{Cursors, PROGRESS_VERSION, Parameters, Progress, RecordCursor, SinkTargets};
use cdr_model::resume::{
    Conflict, Decision, Facts, IndexOwner, KafkaState, LocalIndex, StartMode, decide, is_final,
};
use cdr_model::{FileFormat, MessageFormat, PartIndex, PerStream, Plan, Scenario, Shard, Stream};

/// The sinks of a run.
type Sinks = &'static [&'static str];

const KAFKA: Sinks = &["kafka"];
const BOTH: Sinks = &["kafka", "sftp"];
const FILES: Sinks = &["sftp"];

/// One row of the table: everything that a test may vary.
struct Row {
    sinks: Sinks,
    mode: StartMode,
    local: LocalIndex,
    progress: Option<Progress>,
    other_split: Option<u32>,
    begun_with: Option<Parameters>,
    unreadable: Option<&'static str>,
    ends: Option<Vec<i64>>,
    /// Where the files go now.
    sftp: &'static str,
    shard: Shard,
    endless: bool,
}

impl Default for Row {
    fn default() -> Self {
        Row {
            sinks: BOTH,
            mode: StartMode::Continue,
            local: LocalIndex::Absent,
            progress: None,
            other_split: None,
            begun_with: None,
            unreadable: None,
            sftp: "a",
            ends: Some(vec![1_000_000; 3]),
            shard: Shard::WHOLE,
            endless: false,
        }
    }
}

fn check(row: Row, expected: Decision) {
    let scenario = Scenario::default();
    let plan = Plan::new(&scenario, row.shard).unwrap();
    let plan = if row.endless { plan.without_end() } else { plan };
    let mut end_offsets = PerStream::from_fn(|_| Some(vec![1_000_000; 3]));
    end_offsets[Stream::Data] = row.ends.clone();
    let kafka = row.sinks.contains(&"kafka").then(|| KafkaState {
        progress: row.progress,
        unreadable: row.unreadable.map(str::to_owned),
        other_split: row.other_split,
        begun_with: row.begun_with,
        begun_ms: None,
        end_offsets,
        no_open_transactions: true,
    });
    let parameters = parameters();
    let targets = targets(row.sinks, row.sftp);
    let facts = Facts {
        plan: &plan,
        parameters: &parameters,
        targets: &targets,
        kafka,
        local: row.local,
        index_file: "idx_data.dat",
        mode: row.mode,
    };
    assert_eq!(decide(&facts), expected);
}

fn targets(sinks: Sinks, sftp: &str) -> SinkTargets {
    let target = |sink: &str| if sink == "sftp" { sftp.to_owned() } else { sink.to_owned() };
    sinks.iter().map(|sink| ((*sink).to_owned(), target(sink))).collect()
}

/// An index file that this program wrote for these sinks.
fn owned(last: u64, sinks: Sinks) -> LocalIndex {
    let owner = IndexOwner { parameters: parameters(), targets: targets(sinks, "a") };
    LocalIndex::Complete { last: PartIndex(last), owner: Some(owner) }
}

fn parameters() -> Parameters {
    of_scenario(&Scenario::default())
}

fn of_scenario(scenario: &Scenario) -> Parameters {
    Parameters::new(scenario, FileFormat::default(), MessageFormat::Json).with("RUN_NAME", "cdr")
}

/// An index file that another run wrote for these sinks.
fn of_another(last: u64, sinks: Sinks) -> LocalIndex {
    let parameters = parameters().with("RUN_NAME", "other");
    let owner = IndexOwner { parameters, targets: targets(sinks, "a") };
    LocalIndex::Complete { last: PartIndex(last), owner: Some(owner) }
}

fn index(last: u64) -> LocalIndex {
    LocalIndex::Complete { last: PartIndex(last), owner: None }
}

fn records(part: u64, data: u32, voice: u32) -> Option<RecordCursor> {
    let mut delivered = PerStream::default();
    (delivered[Stream::Data], delivered[Stream::Voice]) = (data, voice);
    Some(RecordCursor { part: PartIndex(part), delivered })
}

fn files(part: u64) -> Option<PartIndex> {
    Some(PartIndex(part))
}

fn progress(records: Option<RecordCursor>, sftp: Option<PartIndex>) -> Option<Progress> {
    let of_data = |counts: [i64; 3]| {
        PerStream::from_fn(|stream| if stream == Stream::Data { counts.to_vec() } else { Vec::new() })
    };
    let sinks = match (records, sftp) {
        (Some(_), Some(_)) => BOTH,
        (Some(_), None) => KAFKA,
        (None, _) => FILES,
    };
    Some(Progress {
        version: PROGRESS_VERSION,
        run: "cdr".to_owned(),
        shard: "1/1".to_owned(),
        begun_ms: 1,
        parameters: parameters(),
        targets: targets(sinks, "a"),
        cursors: cursors_of(records, &[("sftp", sftp)]),
        begin: RecordCursor::default(),
        begin_offsets: of_data([50, 0, 0]),
        delivered: of_data([300; 3]),
        finished: false,
    })
}

fn cursors_of(records: Option<RecordCursor>, files: &[(&str, Option<PartIndex>)]) -> Cursors {
    let files = files.iter().filter_map(|(sink, part)| Some(((*sink).to_owned(), (*part)?)));
    Cursors { records, files: files.collect() }
}

fn cursors(records: Option<RecordCursor>, sftp: Option<PartIndex>) -> Decision {
    Decision::Continue(cursors_of(records, &[("sftp", sftp)]))
}

#[test]
fn nothing_known_starts() {
    check(Row::default(), Decision::Start);
    check(Row { sinks: FILES, ..Row::default() }, Decision::Start);
}

#[test]
fn progress_continues_each_sink_where_it_was() {
    let row = Row { progress: progress(records(5, 400, 300), files(3)), ..Row::default() };
    check(row, cursors(records(5, 400, 300), files(3)));
}

#[test]
fn the_destination_outranks_a_local_file_that_is_behind() {
    let progress = progress(records(5, 0, 0), files(3));
    check(Row { local: index(0), progress, ..Row::default() }, cursors(records(5, 0, 0), files(3)));
}

#[test]
fn the_destination_outranks_a_local_file_that_is_unreadable() {
    let local = || LocalIndex::Unreadable("it is empty".to_owned());
    check(Row { local: local(), ..Row::default() }, Decision::Start);
    let progress = progress(records(5, 0, 0), files(3));
    check(Row { local: local(), progress, ..Row::default() }, cursors(records(5, 0, 0), files(3)));
}

#[test]
fn a_sink_that_is_new_to_the_run_begins_at_its_first_part() {
    let progress = progress(records(86, 0, 0), None);
    check(Row { progress, ..Row::default() }, cursors(records(86, 0, 0), files(0)));
}

#[test]
fn a_sink_that_is_not_used_keeps_its_cursor_and_holds_nothing_up() {
    let behind = progress(records(5, 0, 0), files(3));
    check(Row { sinks: KAFKA, progress: behind, ..Row::default() }, cursors(records(5, 0, 0), files(3)));
    let done = progress(records(86, 0, 0), files(3));
    check(Row { sinks: KAFKA, progress: done, ..Row::default() }, Decision::Finished);
}

#[test]
fn everything_delivered_is_finished() {
    let row = Row { progress: progress(records(86, 0, 0), files(86)), ..Row::default() };
    check(row, Decision::Finished);
}

#[test]
fn a_finished_run_is_continued_by_following() {
    let progress = progress(records(86, 0, 0), files(86));
    check(Row { endless: true, progress, ..Row::default() }, cursors(records(86, 0, 0), files(86)));
}

#[test]
fn a_restart_starts_whatever_is_known() {
    let mode = StartMode::Restart;
    let local = index(40);
    let progress = progress(records(5, 0, 0), files(3));
    check(Row { mode, local, progress, ends: None, ..Row::default() }, Decision::Start);
    let local = LocalIndex::Unreadable("x".to_owned());
    check(Row { sinks: FILES, mode, local, ..Row::default() }, Decision::Start);
}

#[test]
fn other_parameters_are_refused() {
    let mut other = progress(records(5, 0, 0), files(3)).unwrap();
    other.parameters = of_scenario(&Scenario { line_count: 500, ..Scenario::default() });
    let expected = other.parameters.differences(&parameters());
    assert_eq!(expected.len(), 1);
    assert_eq!(
        Conflict::ParametersDiffer(expected.clone()).to_string(),
        "the progress of this run was made with other parameters: LINE_COUNT was 500, now 1000. Set them as \
         they were to continue it, use another --run-name and --index-file for a second run, or begin again with \
         --restart"
    );
    let refused = || Decision::Refuse(Conflict::ParametersDiffer(expected.clone()));
    let owner = IndexOwner { parameters: other.parameters.clone(), targets: targets(BOTH, "a") };
    let local = LocalIndex::Complete { last: PartIndex(3), owner: Some(owner) };
    check(Row { progress: Some(other), ..Row::default() }, refused());
    check(Row { sinks: FILES, local: local.clone(), ..Row::default() }, refused());
    check(Row { local, ..Row::default() }, refused());
}

#[test]
fn a_local_file_ahead_of_the_destination_is_refused() {
    let ahead =
        |index, reached| Decision::Refuse(Conflict::IndexAhead { index: PartIndex(index), reached });
    check(Row { local: index(41), ..Row::default() }, ahead(41, None));
    let progress = progress(records(5, 0, 0), files(3));
    check(Row { local: index(5), progress, ..Row::default() }, ahead(5, files(5)));
}

#[test]
fn a_local_file_that_names_the_part_before_the_cursor_is_not_ahead() {
    let progress = progress(records(5, 0, 0), files(5));
    check(Row { local: index(4), progress, ..Row::default() }, cursors(records(5, 0, 0), files(5)));
}

#[test]
fn the_user_can_trust_the_local_file() {
    let mode = StartMode::TrustIndex;
    let expected = || Decision::Adopt(cursors_of(records(42, 0, 0), &[("sftp", files(42))]));
    check(Row { mode, local: index(41), ..Row::default() }, expected());
    let behind = || progress(records(5, 0, 0), files(3));
    check(Row { mode, local: index(41), progress: behind(), ..Row::default() }, expected());
    let lost = Row { mode, local: index(2), progress: behind(), ends: None, ..Row::default() };
    let cursors_3 = cursors_of(records(3, 0, 0), &[("sftp", files(3))]);
    check(lost, Decision::Adopt(cursors_3));
    check(Row { mode, ..Row::default() }, Decision::Refuse(Conflict::NoIndexToTrust));
}

#[test]
fn a_topic_that_is_gone_or_shorter_than_the_progress_is_refused() {
    let lost = |partition, end| {
        let (topic, delivered) = ("cdr_data".to_owned(), 300);
        Decision::Refuse(Conflict::TopicLost { topic, partition, delivered, end })
    };
    let row = |ends| Row { progress: progress(records(5, 0, 0), files(3)), ends, ..Row::default() };
    check(row(None), lost(0, None));
    check(row(Some(vec![349, 300, 300])), lost(0, Some(349)));
    check(row(Some(vec![350, 300])), lost(2, None));
    check(row(Some(vec![350, 300, 300])), cursors(records(5, 0, 0), files(3)));
}

#[test]
fn another_split_into_shards_is_refused() {
    let row = || Row { other_split: Some(1), shard: Shard::new(2, 8).unwrap(), ..Row::default() };
    check(row(), Decision::Refuse(Conflict::OtherSplit(1)));
    let progress = progress(records(1, 0, 0), files(1));
    check(Row { progress, ..row() }, Decision::Refuse(Conflict::OtherSplit(1)));
}

#[test]
fn a_shard_that_has_not_begun_starts_with_the_parameters_of_the_others() {
    let row = |begun_with| Row {
        begun_with: Some(begun_with),
        shard: Shard::new(2, 2).unwrap(),
        ..Row::default()
    };
    check(row(parameters()), Decision::Start);
    let other = of_scenario(&Scenario { seed: 2, ..Scenario::default() });
    let differences = other.differences(&parameters());
    check(row(other), Decision::Refuse(Conflict::ParametersDiffer(differences)));
}

#[test]
fn progress_that_does_not_fit_the_plan_is_refused() {
    let invalid = || Decision::Refuse(Conflict::ProgressInvalid);
    let of = |records| Row { sinks: KAFKA, progress: progress(records, None), ..Row::default() };
    check(of(records(5, 1_001, 0)), invalid());
    check(of(records(u64::MAX, 0, 0)), invalid());
    let shard = Shard::new(1, 2).unwrap();
    check(Row { shard, ..of(records(5, 0, 0)) }, invalid());
}

#[test]
fn progress_whose_counts_no_topic_can_have_is_refused() {
    let of = |begin: &[i64], delivered: &[i64]| {
        let mut progress = progress(records(5, 0, 0), files(3)).unwrap();
        progress.begin_offsets[Stream::Data] = begin.to_owned();
        progress.delivered[Stream::Data] = delivered.to_owned();
        Row { progress: Some(progress), ..Row::default() }
    };
    let invalid = || Decision::Refuse(Conflict::ProgressInvalid);
    check(of(&[0], &[i64::MAX, 1]), invalid());
    check(of(&[1], &[i64::MAX]), invalid());
    check(of(&[i64::MAX, i64::MAX], &[]), invalid());
    check(of(&[0], &[-1]), invalid());
    check(of(&[-1], &[0]), invalid());
}

#[test]
fn without_kafka_the_local_file_decides() {
    let row = |local| Row { sinks: FILES, local, ..Row::default() };
    check(row(index(41)), cursors(None, files(42)));
    check(row(index(85)), Decision::Finished);
    let beyond =
        |index| Decision::Refuse(Conflict::IndexBeyondPlan { index: PartIndex(index), parts: 86 });
    check(row(index(86)), beyond(86));
    check(row(index(u64::MAX)), beyond(u64::MAX));
    let unreadable = || "idx_data.dat: it is empty".to_owned();
    let refused = Decision::Refuse(Conflict::IndexUnreadable(unreadable()));
    check(row(LocalIndex::Unreadable(unreadable())), refused);
}

#[test]
fn without_kafka_a_shard_accepts_only_its_own_parts() {
    let row = |last| {
        let shard = Shard::new(2, 4).unwrap();
        Row { sinks: FILES, shard, local: index(last), ..Row::default() }
    };
    check(row(41), cursors(None, files(45)));
    check(row(40), Decision::Refuse(Conflict::IndexBeyondPlan { index: PartIndex(40), parts: 22 }));
}

#[test]
fn trusting_the_local_file_changes_nothing_where_nothing_contradicts_it() {
    let progress = progress(records(5, 400, 300), files(3));
    let row = Row { mode: StartMode::TrustIndex, local: index(2), progress, ..Row::default() };
    check(row, cursors(records(5, 400, 300), files(3)));
}

#[test]
fn a_sink_that_the_local_file_does_not_count_begins_at_its_first_part() {
    let both = &["sftp", "directory"];
    let expected = cursors_of(None, &[("sftp", files(42)), ("directory", files(0))]);
    check(Row { sinks: both, local: owned(41, FILES), ..Row::default() }, Decision::Continue(expected));
    check(Row { local: owned(41, FILES), ..Row::default() }, cursors(records(0, 0, 0), files(42)));
}

#[test]
fn files_that_go_to_another_place_begin_at_the_first_part() {
    let row = || Row { sftp: "b", ..Row::default() };
    let progress = progress(records(5, 0, 0), files(3));
    check(Row { progress, ..row() }, cursors(records(5, 0, 0), files(0)));
    let row = Row { sinks: FILES, local: owned(41, FILES), ..row() };
    check(row, cursors(None, files(0)));
}

#[test]
fn a_local_file_of_a_time_without_kafka_is_not_ahead_of_it() {
    let progress = progress(records(5, 0, 0), files(3));
    let row = Row { local: owned(41, FILES), progress, ..Row::default() };
    check(row, cursors(records(5, 0, 0), files(3)));
}

#[test]
fn progress_that_cannot_be_read_is_refused_unless_the_run_is_restarted() {
    let row = || Row { unreadable: Some("offset 7"), ..Row::default() };
    check(row(), Decision::Refuse(Conflict::ProgressUnreadable("offset 7".to_owned())));
    check(Row { mode: StartMode::Restart, ..row() }, Decision::Start);
}

#[test]
fn an_index_file_of_another_run_is_neither_taken_over_nor_removed() {
    let refused = || {
        let differences = parameters().with("RUN_NAME", "other").differences(&parameters());
        Decision::Refuse(Conflict::IndexOfAnother { file: "idx_data.dat".to_owned(), differences })
    };
    // Ahead of our progress or behind it, with our run at work, finished or unknown, with and
    // without Kafka, and whatever the file's word is worth.
    for last in [2, 41] {
        for sinks in [FILES, BOTH] {
            let local = || of_another(last, sinks);
            let at_work = progress(records(5, 0, 0), files(3));
            check(Row { local: local(), progress: at_work, ..Row::default() }, refused());
            let done = progress(records(86, 0, 0), files(86));
            check(Row { local: local(), progress: done, ..Row::default() }, refused());
            check(Row { local: local(), ..Row::default() }, refused());
            check(Row { sinks: FILES, local: local(), ..Row::default() }, refused());
            check(Row { mode: StartMode::TrustIndex, local: local(), ..Row::default() }, refused());
        }
    }
    let Decision::Refuse(conflict) = refused() else { unreachable!() };
    assert_eq!(
        conflict.to_string(),
        "the index file idx_data.dat belongs to another run: RUN_NAME was other, now cdr. Give this one an \
         --index-file of its own, or remove the file if that run is not to be continued"
    );
}

#[test]
fn an_index_file_of_the_same_run_with_other_parameters_is_not_taken_over_either() {
    let was = parameters().with("LINE_COUNT", "500");
    let differences = was.differences(&parameters());
    let owner = IndexOwner { parameters: was, targets: targets(FILES, "a") };
    let local = LocalIndex::Complete { last: PartIndex(2), owner: Some(owner) };
    let progress = progress(records(5, 0, 0), files(3));
    let file = "idx_data.dat".to_owned();
    let refused = Decision::Refuse(Conflict::IndexOfAnother { file, differences });
    check(Row { local, progress, ..Row::default() }, refused);
}

#[test]
fn a_run_begins_later_than_what_was_begun_before_it_whatever_the_clocks() {
    let begun = |begun_ms| KafkaState { begun_ms, ..KafkaState::default() };
    assert_eq!(begun(None).begin_ms(5), 5);
    assert_eq!(begun(Some(4)).begin_ms(5), 5);
    assert_eq!(begun(Some(5)).begin_ms(5), 6);
    assert_eq!(begun(Some(9)).begin_ms(5), 10);
    assert_eq!(begun(Some(i64::MAX)).begin_ms(5), i64::MAX);
}

#[test]
fn a_probe_decides_what_ends_the_start_and_nothing_else() {
    let check = |decision: Decision, no_open_transactions: bool, expected: bool| {
        let state = KafkaState { no_open_transactions, ..KafkaState::default() };
        assert_eq!(is_final(&decision, &state), expected, "{decision:?}");
    };
    for no_open_transactions in [false, true] {
        check(Decision::Start, no_open_transactions, false);
        check(cursors(records(5, 0, 0), files(3)), no_open_transactions, false);
        check(Decision::Adopt(Cursors::default()), no_open_transactions, false);
        check(Decision::Finished, no_open_transactions, true);
        check(Decision::Refuse(Conflict::ParametersDiffer(vec![])), no_open_transactions, true);
        // Behind an open transaction there may be the progress that the index file counts.
        let ahead = Conflict::IndexAhead { index: PartIndex(5), reached: files(5) };
        check(Decision::Refuse(ahead), no_open_transactions, no_open_transactions);
    }
}
