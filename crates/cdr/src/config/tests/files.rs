//! What `cdr.toml` may hold.

use cdr_model::NumberingPlan;

use super::*;
use crate::delivery::pace::Pace;
use crate::files::FileSinkKind;

/// The error of this file.
fn refused(text: &str) -> String {
    dev().file(text).error()
}

#[test]
fn every_kind_of_value_can_be_written_naturally() {
    let config = dev()
        .file(
            r#"
            [data]
            start = 2025-03-01T12:00:00
            line_count = 2_000
            seed = 0xff
            mobile_prefixes = ["82", 83]
            destinations = 1_000

            [run]
            sinks = ["directory"]
            follow = true
            pace = "60x"

            [kafka]
            brokers = "one:1,two:2"
            "#,
        )
        .config();
    assert_eq!((config.data.scenario.line_count, config.data.scenario.seed), (2_000, 255));
    let prefixes = Some(vec!["82".to_owned(), "83".to_owned()]);
    assert_eq!(config.data.scenario.numbering, NumberingPlan::new(27, prefixes, None).unwrap());
    assert_eq!(config.run.sinks, [SinkKind::Files(FileSinkKind::Directory)]);
    assert!(config.run.follow);
    assert_eq!(config.run.pace, Pace::Factor(60.0));
    assert_eq!(config.kafka.brokers, "one:1,two:2");
    let StartTime::At(start) = config.data.start else { panic!("not a time") };
    assert_eq!(start.to_string(), "2025-03-01 12:00:00");
}

#[test]
fn dotted_keys_are_sections_too() {
    assert_eq!(dev().file("sftp.host = \"filed\"").config().sftp.host, "filed");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    assert_eq!(
        refused("[data]\nseed = 1\nline_cuont = 5\n"),
        "cdr.toml:3: \"data.line_cuont\" is not a setting; did you mean \"data.line_count\"?"
    );
    assert_eq!(
        refused("line_count = 5\n"),
        "cdr.toml:1: \"line_count\" is not a setting; did you mean \"data.line_count\"?"
    );
    assert_eq!(
        refused("[run]\nlevel = \"debug\"\n"),
        "cdr.toml:2: \"run.level\" is not a setting; did you mean \"log.level\"?"
    );
    assert_eq!(
        refused("\n[sfpt]\nhost = \"x\"\n"),
        "cdr.toml:2: \"sfpt\" is not a section; did you mean \"sftp\"?"
    );
    assert_eq!(
        refused("[kafka.propertys]\nssl.ca.location = \"x\"\n"),
        "cdr.toml:1: \"kafka.propertys\" is not a section; did you mean \"kafka.properties\"?"
    );
}

#[test]
fn a_value_of_the_wrong_shape_is_refused() {
    assert_eq!(
        refused("[data]\nline_count = [5]\n"),
        "cdr.toml:2: data.line_count is an array, not a whole number from 1 to 10,000,000"
    );
    assert_eq!(
        refused("[kafka.topic_data]\nname = \"x\"\n"),
        "cdr.toml:1: kafka.topic_data is a table, \
         not a topic name of 1 to 249 characters A-Z a-z 0-9 . _ -"
    );
    assert_eq!(
        refused("[kafka]\nproperties = 5\n"),
        "cdr.toml:2: kafka.properties is a single value, not NAME=VALUE"
    );
    assert_eq!(
        refused("[kafka.properties]\ndebug = [\"broker\"]\n"),
        "cdr.toml:2: kafka.properties.debug is an array, not a string, number or boolean"
    );
}

#[test]
fn a_value_out_of_range_is_named_as_in_the_file() {
    assert_eq!(
        refused("[data]\nline_count = -5\n"),
        "data.line_count: \"-5\" from cdr.toml:2 is not a whole number from 1 to 10,000,000"
    );
    assert_eq!(
        refused("[run]\nenv = \"test\"\n"),
        "run.env: \"test\" from cdr.toml:2 is not one of dev, prod"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let error = refused("[data]\nseed = 1\nline_count 5\n");
    assert!(error.starts_with("cdr.toml:3: not valid TOML: "), "{error}");
    let twice = refused("[data]\nseed = 1\nseed = 2\n");
    assert_eq!(twice, "cdr.toml:3: not valid TOML: duplicate key");
}

#[test]
fn it_is_known_whether_a_file_holds_a_secret() {
    let holds = |text: &str| dev().file(text).resolve().unwrap().file_holds_secret;
    assert!(holds("[sftp]\npassword = \"x\"\n"));
    assert!(holds("[kafka.properties]\nsasl.password = \"x\"\n"));
    assert!(!holds("[sftp]\npassword = \"\"\nagent = true\n"));
    assert!(!holds("[sftp]\npassword_file = \"x\"\n[kafka.properties]\nlinger.ms = 5\n"));
}
