//! Telephone numbers: E.164 digits, from the country's mobile ranges, each given out once.

use std::collections::HashSet;

use cdr_model::{
    Generator, Msisdn, NumberingPlan, NumberingPlanError, Plan, Scenario, ScenarioError, Shard,
};
use proptest::prelude::*;

use crate::for_all;

fn plan(code: u16, prefixes: &[&str], digits: u8) -> Result<NumberingPlan, NumberingPlanError> {
    NumberingPlan::new(code, Some(prefixes.iter().map(|&p| p.to_owned()).collect()), Some(digits))
}

fn country(code: u16) -> NumberingPlan {
    NumberingPlan::new(code, None, None).expect("a known country")
}

fn everyone(scenario: &Scenario) -> Vec<Msisdn> {
    let generator = Generator::new(scenario).expect("a generator");
    let people = generator.population();
    let subscribers = (0..scenario.subscribers).map(|index| people.subscriber(index));
    subscribers.chain((0..scenario.destinations).map(|index| people.destination(index))).collect()
}

/// Each number of 50,000 subscribers and 50,000 destinations is given out once, and is the country
/// code, a prefix that begins with one of `beginnings`, and as many digits as the plan has.
fn check(
    numbering: NumberingPlan,
    code: &str,
    beginnings: &[&str],
    digits: std::ops::RangeInclusive<usize>,
) {
    let numbers = everyone(&Scenario { numbering, sites: 1, ..Scenario::default() });
    assert_eq!(numbers.len(), 100_000);
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 100_000);
    let mut seen = HashSet::new();
    for number in numbers {
        let text = number.to_string();
        assert_eq!(text.as_bytes(), number.as_bytes());
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        assert!(digits.contains(&text.len()), "{text}");
        let national = text.strip_prefix(code).expect(&text);
        let beginning = beginnings.iter().find(|&&beginning| national.starts_with(beginning));
        seen.insert(*beginning.expect(&text));
    }
    assert_eq!(seen.len(), beginnings.len(), "{seen:?} of {beginnings:?}");
}

#[test]
fn south_africa_has_eleven_digits_from_276_277_and_278() {
    check(country(27), "27", &["6", "7", "8"], 11..=11);
    assert_eq!(NumberingPlan::default(), country(27));
}

#[test]
fn the_united_states_and_canada_have_eleven_digits_with_area_codes() {
    let areas = ["201", "212", "305", "312", "415", "604", "617", "702", "818", "917"];
    check(country(1), "1", &areas, 11..=11);
}

#[test]
fn the_united_kingdom_has_twelve_digits_from_447() {
    check(country(44), "44", &["7"], 12..=12);
}

#[test]
fn germany_has_thirteen_digits_from_4915_4916_and_4917() {
    check(country(49), "49", &["15", "16", "17"], 13..=13);
}

#[test]
fn france_has_eleven_digits_from_336_and_337() {
    check(country(33), "33", &["6", "7"], 11..=11);
}

#[test]
fn brazil_has_thirteen_digits_with_a_9_behind_the_area_code() {
    let areas = ["119", "219", "319", "419", "519", "619", "719", "819"];
    check(country(55), "55", &areas, 13..=13);
}

#[test]
fn nigeria_has_thirteen_digits_from_23470_23480_23481_and_23490() {
    check(country(234), "234", &["70", "80", "81", "90"], 13..=13);
}

#[test]
fn every_other_known_country_keeps_its_length() {
    for (code, beginnings, digits) in [
        (31, &["6"][..], 11),
        (34, &["6", "7"], 11),
        (61, &["4"], 11),
        (91, &["7", "8", "9"], 12),
        (254, &["7"], 12),
    ] {
        check(country(code), &code.to_string(), beginnings, digits..=digits);
    }
}

#[test]
fn prefixes_and_digits_may_be_set_for_any_country() {
    check(plan(358, &["40", "50", "457"], 7).expect("a plan"), "358", &["40", "50", "457"], 12..=13);
    check(plan(7, &["0"], 5).expect("a plan"), "7", &["0"], 7..=7);
    check(plan(999, &["123"], 9).expect("a plan"), "999", &["123"], 15..=15);
}

#[test]
fn prefixes_or_digits_alone_replace_those_of_a_known_country() {
    let digits = NumberingPlan::new(27, None, Some(6)).expect("a plan");
    check(digits, "27", &["6", "7", "8"], 10..=10);
    let prefixes = NumberingPlan::new(27, Some(vec!["82".to_owned()]), None).expect("a plan");
    check(prefixes, "27", &["82"], 11..=11);
}

fn check_refused(plan: Result<NumberingPlan, NumberingPlanError>, message: &str) {
    let error = plan.expect_err(message).to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn a_plan_that_cannot_serve_is_refused_with_the_reason() {
    check_refused(plan(0, &["82"], 7), "COUNTRY_CODE 0 is not between 1 and 999");
    check_refused(plan(1_000, &["82"], 7), "COUNTRY_CODE 1000 is not between 1 and 999");
    check_refused(
        NumberingPlan::new(999, None, None),
        "no mobile prefixes are known for COUNTRY_CODE 999",
    );
    check_refused(NumberingPlan::new(999, None, Some(7)), "set MOBILE_PREFIXES and SUBSCRIBER_DIGITS");
    let prefixes = Some(vec!["82".to_owned()]);
    check_refused(NumberingPlan::new(999, prefixes, None), "or choose one of 1, 27, 31");
    for prefix in ["", "1234567", "8a", "+8", " 8", "８"] {
        check_refused(plan(27, &["71", prefix], 7), "MOBILE_PREFIXES: ");
    }
    check_refused(plan(27, &[], 7), "MOBILE_PREFIXES: \"\" is not 1 to 6 decimal digits");
    check_refused(plan(27, &["82", "8"], 7), "\"8\" begins \"82\"");
    check_refused(plan(27, &["82", "82"], 7), "\"82\" begins \"82\"");
    check_refused(plan(27, &["82"], 0), "SUBSCRIBER_DIGITS 0 is not between 1 and 9");
    check_refused(plan(27, &["82"], 10), "SUBSCRIBER_DIGITS 10 is not between 1 and 9");
    check_refused(
        plan(999, &["1", "2345"], 9),
        "SUBSCRIBER_DIGITS make numbers of 16 digits, and E.164 allows 15",
    );
}

#[test]
fn a_plan_prints_as_one_line() {
    assert_eq!(plan(27, &["60", "82"], 7).expect("a plan").to_string(), "27(60,82)+7");
}

/// A small plan, and how its numbers are shared out so that none is left.
fn plans_used_up() -> impl Strategy<Value = (NumberingPlan, u32)> {
    let prefixes =
        proptest::sample::subsequence(vec!["0", "10", "11", "200", "3", "45", "999999"], 1..=7);
    (1..=999u16, prefixes, 1..=3u8)
        .prop_map(|(code, prefixes, digits)| plan(code, &prefixes, digits).expect("a plan"))
        .prop_flat_map(|plan| (1..plan.capacity() as u32, Just(plan)))
        .prop_map(|(subscribers, plan)| (plan, subscribers))
}

#[test]
fn a_plan_can_be_used_up_to_its_last_number() {
    for_all(200, (any::<u64>(), plans_used_up()), |(seed, (numbering, subscribers))| {
        let capacity = numbering.capacity();
        let destinations = capacity as u32 - subscribers;
        let scenario =
            Scenario { seed, subscribers, destinations, numbering, sites: 1, ..Scenario::default() };
        let numbers: HashSet<Msisdn> = everyone(&scenario).into_iter().collect();
        assert_eq!(numbers.len() as u64, capacity);
        let one_more = Scenario { destinations: destinations + 1, ..scenario };
        let error =
            ScenarioError::TooFewNumbers { subscribers, destinations: destinations + 1, capacity };
        assert_eq!(Plan::new(&one_more, Shard::WHOLE), Err(error));
    });
}

#[test]
fn hundreds_of_thousands_of_numbers_can_be_used_up() {
    let numbering = plan(27, &["82", "83"], 5).expect("a plan");
    let (subscribers, destinations) = (150_000, 50_000);
    let scenario = Scenario { subscribers, destinations, numbering, sites: 1, ..Scenario::default() };
    let mut given = vec![false; 200_000];
    for number in everyone(&scenario) {
        let number: usize = number.to_string()[2..].parse().expect("digits");
        let given = &mut given[number - 8_200_000];
        assert!(!*given, "{number} twice");
        *given = true;
    }
    assert!(given.into_iter().all(|given| given));
}

#[test]
fn the_largest_population_has_different_numbers_at_its_ends() {
    let prefixes = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
    for seed in 0..200 {
        let numbering = plan(27, &prefixes, 9).expect("a plan");
        let (subscribers, destinations) = (u32::MAX, u32::MAX);
        let scenario =
            Scenario { seed, subscribers, destinations, numbering, sites: 1, ..Scenario::default() };
        let generator = Generator::new(&scenario).expect("a generator");
        let people = generator.population();
        let edges = (0..500).chain(u32::MAX - 500..u32::MAX);
        let numbers = edges.flat_map(|index| [people.subscriber(index), people.destination(index)]);
        assert_eq!(numbers.collect::<HashSet<_>>().len(), 2_000);
    }
}

#[test]
fn another_seed_gives_a_subscriber_another_number() {
    let of = |seed| everyone(&Scenario { seed, sites: 1, ..Scenario::default() });
    let (one, other) = (of(418_001), of(418_002));
    let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same <= 2, "{same} of 100,000 are the same");
}
