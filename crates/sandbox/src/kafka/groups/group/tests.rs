use super::admission::PROTOCOL_BYTES_MAX;
use super::*;

const DELAY: Rules = Rules { delay_ms: 50, members_max: 3 };
const AT_ONCE: Rules = Rules { delay_ms: 0, members_max: 3 };

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_ms: 1_000,
        rebalance_ms: 5_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from("topics"))],
        id_required: false,
    }
}

/// What the answer is, or `None` while it is waited for.
fn answer<T>(receiver: &mut oneshot::Receiver<T>) -> Option<T> {
    receiver.try_recv().ok()
}

fn caller(joined: &Joined) -> Caller<'_> {
    Caller { member_id: &joined.member_id, instance_id: None, generation: joined.generation }
}

/// A group in which so many members have joined and fetched their assignments.
fn stable(count: usize) -> (Group, Vec<Joined>) {
    let mut group = Group::new(Rules { members_max: 10, ..DELAY });
    let mut answers: Vec<JoinAnswer> = (0..count).map(|_| group.join(join(""), 0).unwrap()).collect();
    group.tick(50);
    let joined: Vec<Joined> = answers.iter_mut().map(|it| answer(it).unwrap().unwrap()).collect();
    settle(&mut group, &joined, 50);
    (group, joined)
}

/// All fetch their assignments, the leader last.
fn settle(group: &mut Group, joined: &[Joined], now_ms: i64) {
    let (leaders, others): (Vec<_>, Vec<_>) = joined.iter().partition(|it| it.member_id == it.leader);
    let mut waiting: Vec<SyncAnswer> =
        others.iter().map(|it| group.sync(caller(it), [], now_ms).unwrap()).collect();
    assert!(waiting.iter_mut().all(|it| answer(it).is_none()));
    let assignments = joined.iter().map(|it| (it.member_id.clone(), Bytes::from(it.member_id.clone())));
    waiting.push(group.sync(caller(leaders[0]), assignments, now_ms).unwrap());
    for (synced, joined) in waiting.iter_mut().zip(others.iter().chain(&leaders)) {
        let (protocol, assignment) = answer(synced).unwrap().unwrap();
        assert_eq!((protocol.as_str(), &assignment[..]), ("range", joined.member_id.as_bytes()));
    }
    assert_eq!(group.phase, Phase::Stable);
}

#[test]
fn the_first_member_waits_for_others_and_one_of_them_leads() {
    let (group, joined) = stable(2);
    assert_eq!(group.generation, 1);
    assert_eq!(joined[0].leader, joined[1].leader);
    let members: Vec<usize> = joined.iter().map(|it| it.members.len()).collect();
    assert_eq!(members.iter().sum::<usize>(), 2, "only the leader learns who is there");
}

#[test]
fn without_a_delay_the_first_member_is_alone_at_first() {
    let mut group = Group::new(AT_ONCE);
    let first = answer(&mut group.join(join(""), 0).unwrap()).unwrap().unwrap();
    assert_eq!((first.generation, &first.leader), (1, &first.member_id));
    // The second makes the first join again.
    let mut second = group.join(join(""), 0).unwrap();
    assert!(answer(&mut second).is_none());
    assert_eq!(group.heartbeat(caller(&first), 0), Err(ResponseError::RebalanceInProgress));
    let again = answer(&mut group.join(join(&first.member_id), 0).unwrap()).unwrap().unwrap();
    assert_eq!(answer(&mut second).unwrap().unwrap().generation, again.generation);
    assert_eq!(again.generation, 2);
}

#[test]
fn a_member_of_an_older_generation_is_refused() {
    let (mut group, joined) = stable(1);
    let old = Caller { generation: 0, ..caller(&joined[0]) };
    assert_eq!(group.heartbeat(old, 60), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.may_commit(old, 60), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.sync(old, [], 60).unwrap_err(), ResponseError::IllegalGeneration);
    let unknown = Caller { member_id: "nobody", ..caller(&joined[0]) };
    assert_eq!(group.heartbeat(unknown, 60), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_goes_and_the_others_share_again() {
    let (mut group, joined) = stable(2);
    let (alive, silent) = (&joined[0], &joined[1]);
    assert_eq!(group.heartbeat(caller(alive), 800), Ok(()));
    group.tick(1_050);
    assert_eq!(group.heartbeat(caller(silent), 1_060), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.heartbeat(caller(alive), 1_060), Err(ResponseError::RebalanceInProgress));
    let again = answer(&mut group.join(join(&alive.member_id), 1_070).unwrap()).unwrap().unwrap();
    assert_eq!((again.generation, again.members.len()), (2, 1));
}

#[test]
fn who_does_not_join_again_in_time_is_left_behind() {
    let (mut group, joined) = stable(2);
    let mut third = group.join(join(""), 100).unwrap();
    let mut first = group.join(join(&joined[0].member_id), 100).unwrap();
    assert_eq!(group.heartbeat(caller(&joined[1]), 900), Err(ResponseError::RebalanceInProgress));
    for now_ms in (900..5_100).step_by(500) {
        let refused = group.heartbeat(caller(&joined[1]), now_ms);
        assert_eq!(refused, Err(ResponseError::RebalanceInProgress));
        group.tick(now_ms);
        assert!(answer(&mut third).is_none());
    }
    group.tick(5_100);
    assert!(answer(&mut third).unwrap().is_ok() && answer(&mut first).unwrap().is_ok());
    assert!(!group.members.contains_key(&joined[1].member_id));
}

#[test]
fn a_leader_that_does_not_assign_is_replaced() {
    let mut group = Group::new(DELAY);
    let mut answers = [group.join(join(""), 0).unwrap(), group.join(join(""), 0).unwrap()];
    group.tick(50);
    let joined = answers.each_mut().map(|it| answer(it).unwrap().unwrap());
    let follower = joined.iter().find(|it| it.member_id != it.leader).unwrap();
    let mut synced = group.sync(caller(follower), [], 60).unwrap();
    group.tick(60 + 5_000);
    assert_eq!(answer(&mut synced), Some(Err(ResponseError::RebalanceInProgress)));
    let again = answer(&mut group.join(join(&follower.member_id), 5_070).unwrap()).unwrap().unwrap();
    assert_eq!(again.leader, follower.member_id);
}

#[test]
fn who_leaves_makes_room_at_once() {
    let (mut group, joined) = stable(2);
    group.leave(&joined[0].member_id, None, 100).unwrap();
    assert_eq!(group.leave(&joined[0].member_id, None, 100), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.phase, Phase::Preparing);
    group.leave(&joined[1].member_id, None, 100).unwrap();
    assert_eq!(group.phase, Phase::Empty);
    assert!(group.is_deserted());
}

#[test]
fn a_new_member_is_promised_an_id_for_a_while() {
    let mut group = Group::new(AT_ONCE);
    let with_id = || Join { id_required: true, ..join("") };
    let Err(JoinRefused::IdRequired(id)) = group.join(with_id(), 0) else { panic!() };
    assert!(!group.is_deserted());
    assert!(answer(&mut group.join(join(&id), 10).unwrap()).unwrap().is_ok());
    let Err(JoinRefused::IdRequired(late)) = group.join(with_id(), 10) else { panic!() };
    group.tick(1_010);
    let refused = group.join(join(&late), 1_010).unwrap_err();
    assert_eq!(refused, JoinRefused::Refused(ResponseError::UnknownMemberId));
}

#[test]
fn a_member_that_joins_again_unchanged_disturbs_nobody_unless_it_leads() {
    let (mut group, joined) = stable(2);
    let follower = joined.iter().find(|it| it.member_id != it.leader).unwrap();
    let again = answer(&mut group.join(join(&follower.member_id), 100).unwrap()).unwrap().unwrap();
    assert_eq!((again.generation, group.phase), (1, Phase::Stable));
    let mut leader = group.join(join(&follower.leader), 100).unwrap();
    assert!(answer(&mut leader).is_none());
    assert_eq!(group.phase, Phase::Preparing);
}

#[test]
fn a_static_member_that_begins_again_takes_over_what_it_was() {
    let mut group = Group::new(AT_ONCE);
    let instance = || Join { instance_id: Some("i".to_owned()), id_required: true, ..join("") };
    let first = answer(&mut group.join(instance(), 0).unwrap()).unwrap().unwrap();
    let second = answer(&mut group.join(instance(), 0).unwrap()).unwrap().unwrap();
    assert_ne!(first.member_id, second.member_id);
    assert_eq!(group.members.len(), 1);
    let old = Caller { instance_id: Some("i"), ..caller(&first) };
    assert_eq!(group.heartbeat(old, 0), Err(ResponseError::FencedInstanceId));
    let refused = group.join(Join { member_id: first.member_id.clone(), ..instance() }, 0).unwrap_err();
    assert_eq!(refused, JoinRefused::Refused(ResponseError::FencedInstanceId));
    group.leave("", Some("i"), 0).unwrap();
    assert!(group.is_deserted());
}

#[test]
fn members_have_to_agree_on_a_way_to_assign() {
    let (mut group, _) = stable(1);
    let with = |kind: &str, names: &[&str]| Join {
        protocol_type: kind.to_owned(),
        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
        ..join("")
    };
    for (kind, names) in
        [("connect", &["range"][..]), ("consumer", &["sticky"]), ("consumer", &[]), ("", &["range"])]
    {
        let refused = group.join(with(kind, names), 60).unwrap_err();
        assert_eq!(refused, JoinRefused::Refused(ResponseError::InconsistentGroupProtocol));
    }
    assert!(group.join(with("consumer", &["sticky", "range"]), 60).is_ok());
}

#[test]
fn the_way_that_most_like_best_is_taken() {
    let mut group = Group::new(DELAY);
    let with = |names: &[&str]| Join {
        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
        ..join("")
    };
    let mut answers = [&["a", "b"][..], &["b", "a", "c"], &["b", "a"]]
        .map(|names| group.join(with(names), 0).unwrap());
    group.tick(50);
    assert!(answers.iter_mut().all(|it| answer(it).unwrap().unwrap().protocol == "b"));
}

#[test]
fn there_are_bounds() {
    let mut group = Group::new(DELAY);
    let refused = |group: &mut Group, join| match group.join(join, 0) {
        Err(JoinRefused::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    for session_ms in [-1, 0, 99, 1_800_001] {
        let join = Join { session_ms, ..join("") };
        assert_eq!(refused(&mut group, join), ResponseError::InvalidSessionTimeout);
    }
    let large = Bytes::from(vec![0; PROTOCOL_BYTES_MAX]);
    let too_much = Join { protocols: vec![("range".to_owned(), large)], ..join("") };
    assert_eq!(refused(&mut group, too_much), ResponseError::InvalidRequest);
    let _waiting: Vec<JoinAnswer> = (0..3).map(|_| group.join(join(""), 0).unwrap()).collect();
    assert_eq!(refused(&mut group, join("")), ResponseError::GroupMaxSizeReached);
}

#[test]
fn who_is_no_member_commits_only_while_nobody_is() {
    let nobody = Caller { member_id: "", instance_id: None, generation: -1 };
    let mut group = Group::new(DELAY);
    assert_eq!(group.may_commit(nobody, 0), Ok(()));
    let (mut group, joined) = stable(1);
    assert_eq!(group.may_commit(nobody, 0), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.may_commit_in_transaction(nobody), Ok(()));
    assert_eq!(group.may_commit(caller(&joined[0]), 100), Ok(()));
}

#[test]
fn in_a_full_group_who_has_a_place_keeps_it() {
    let mut group = Group::new(Rules { members_max: 2, ..AT_ONCE });
    let instance = || Join { instance_id: Some("i".to_owned()), ..join("") };
    let _waiting = group.join(instance(), 0).unwrap();
    let Err(JoinRefused::IdRequired(id)) = group.join(Join { id_required: true, ..join("") }, 0) else {
        panic!("it comes without an id");
    };
    let full = JoinRefused::Refused(ResponseError::GroupMaxSizeReached);
    assert_eq!(group.join(join(""), 0).unwrap_err(), full);
    assert!(group.join(join(&id), 0).is_ok(), "its place was promised");
    assert!(group.join(instance(), 0).is_ok(), "it comes back");
    assert_eq!(group.join(join(""), 0).unwrap_err(), full);
}

#[test]
fn a_static_leader_that_comes_back_keeps_the_assignment_and_disturbs_nobody() {
    let mut group = Group::new(AT_ONCE);
    let instance = || Join { instance_id: Some("i".to_owned()), ..join("") };
    let first = answer(&mut group.join(instance(), 0).unwrap()).unwrap().unwrap();
    let named = Caller { instance_id: Some("i"), ..caller(&first) };
    let assigned = [(first.member_id.clone(), Bytes::from("all"))];
    let _assignment = group.sync(named, assigned, 0).unwrap();
    let second = answer(&mut group.join(instance(), 10).unwrap()).unwrap().unwrap();
    assert!(second.skips_assignment && second.leader == second.member_id);
    assert_eq!((second.generation, group.phase), (first.generation, Phase::Stable));
    let named = Caller { instance_id: Some("i"), ..caller(&second) };
    let synced = answer(&mut group.sync(named, [], 20).unwrap()).unwrap().unwrap();
    assert_eq!(synced.1, "all");
}

#[test]
fn who_waits_is_not_silent_and_whose_promise_is_over_holds_nobody_up() {
    let (mut group, joined) = stable(1);
    let mut waiting = group.join(join(""), 100).unwrap();
    let without_id = Join { id_required: true, session_ms: 500, ..join("") };
    assert!(matches!(group.join(without_id, 100), Err(JoinRefused::IdRequired(_))));
    let mut again = group.join(join(&joined[0].member_id), 100).unwrap();
    group.tick(599);
    assert!(answer(&mut waiting).is_none(), "a third one may be about to come");
    group.tick(600);
    assert!(answer(&mut waiting).unwrap().is_ok() && answer(&mut again).unwrap().is_ok());
}

#[test]
fn who_means_another_protocol_is_refused_if_it_is_of_this_generation() {
    let (mut group, joined) = stable(1);
    let member = caller(&joined[0]);
    assert_eq!(group.check_protocol(member, None, None), Ok(()));
    assert_eq!(group.check_protocol(member, Some("consumer"), Some("range")), Ok(()));
    let other = Err(ResponseError::InconsistentGroupProtocol);
    assert_eq!(group.check_protocol(member, Some("connect"), Some("range")), other);
    assert_eq!(group.check_protocol(member, Some("consumer"), Some("sticky")), other);
    let old = Caller { generation: 0, ..member };
    let refused = group.check_protocol(old, Some("consumer"), Some("sticky"));
    assert_eq!(refused, Err(ResponseError::IllegalGeneration));
}

#[test]
fn a_static_member_keeps_its_share_while_it_is_away() {
    let mut group = Group::new(Rules { delay_ms: 50, members_max: 10 });
    let instance = || Join { instance_id: Some("i".to_owned()), session_ms: 20_000, ..join("") };
    let mut answers = [group.join(instance(), 0).unwrap(), group.join(join(""), 0).unwrap()];
    group.tick(50);
    let [away, there] = answers.each_mut().map(|it| answer(it).unwrap().unwrap());
    // Somebody comes while the static member is away, and it is not waited for longer than others.
    let mut third = group.join(join(""), 100).unwrap();
    let mut again = group.join(join(&there.member_id), 100).unwrap();
    group.tick(5_099);
    assert!(answer(&mut third).is_none());
    group.tick(5_100);
    let third = answer(&mut third).unwrap().unwrap();
    let again = answer(&mut again).unwrap().unwrap();
    let leader = if again.members.is_empty() { &third } else { &again };
    assert_eq!((leader.members.len(), &leader.leader), (3, &leader.member_id));
    let shares = leader.members.iter().map(|(id, ..)| (id.clone(), Bytes::from(id.clone())));
    let shares: Vec<_> = shares.collect();
    let _share = group.sync(caller(leader), shares, 5_200).unwrap();
    // It comes back, and goes on with its share.
    let back = answer(&mut group.join(instance(), 5_900).unwrap()).unwrap().unwrap();
    assert_eq!((back.generation, group.phase), (2, Phase::Stable));
    let named = Caller { instance_id: Some("i"), ..caller(&back) };
    let share = answer(&mut group.sync(named, [], 5_900).unwrap()).unwrap().unwrap().1;
    assert_eq!(share, away.member_id);
}

#[test]
fn a_group_of_static_members_that_are_all_away_ends_with_their_sessions() {
    let mut group = Group::new(AT_ONCE);
    let instance =
        |name: &str| Join { instance_id: Some(name.to_owned()), session_ms: 9_000, ..join("") };
    let first = answer(&mut group.join(instance("i"), 0).unwrap()).unwrap().unwrap();
    let mut second = group.join(instance("j"), 0).unwrap();
    group.leave("", Some("j"), 100).unwrap();
    assert_eq!(answer(&mut second), Some(Err(ResponseError::UnknownMemberId)));
    assert_eq!(group.phase, Phase::Preparing);
    for now_ms in (1_000..9_000).step_by(1_000) {
        group.tick(now_ms);
        assert!(group.members.contains_key(&first.member_id), "{now_ms}");
    }
    group.tick(9_000);
    assert_eq!(group.phase, Phase::Empty);
    assert!(group.is_deserted());
}
