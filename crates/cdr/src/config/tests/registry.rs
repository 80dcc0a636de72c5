//! The registry itself.

use std::collections::BTreeSet;

use super::super::SETTINGS;
use super::*;

#[test]
fn names_are_unique_and_regular() {
    let (mut keys, mut variables, mut flags) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for setting in SETTINGS.iter() {
        assert!(keys.insert(setting.key), "{} twice", setting.key);
        assert!(variables.insert(setting.env), "{} twice", setting.env);
        assert!(!setting.help.is_empty(), "{} without help", setting.key);
        assert_eq!(setting.secret, setting.flag.is_none(), "{}", setting.key);
        let Some(flag) = setting.flag else { continue };
        assert!(flags.insert(flag), "--{flag} twice");
        let irregular = ["env", "seed", "directory", "kafka-property"];
        let regular = setting.env.to_ascii_lowercase().replace('_', "-");
        assert!(flag == regular || irregular.contains(&flag), "--{flag}, {}", setting.env);
    }
}

#[test]
fn every_setting_belongs_to_a_heading_and_stands_with_its_kin() {
    let mut headings: Vec<_> = SETTINGS.iter().map(|setting| setting.heading()).collect();
    headings.dedup();
    assert_eq!(headings, ["Run", "Data", "SFTP", "Kafka", "Processor", "Logs"]);
}

#[test]
fn the_table_of_settings_has_a_row_for_each() {
    let table = crate::commands::config::markdown();
    assert_eq!(table.lines().count(), 2 + 1 + SETTINGS.len());
    for row in [
        "|  | `CDR_CONFIG` | `--config` | cdr.toml, when it exists | configuration file, TOML: a path |",
        "| `data.lines_per_second` | `LINES_PER_SECOND` | `--lines-per-second` | 1 (dev), 5 (prod) \
         | records per simulated second and stream: a whole number from 1 to 1,000,000,000 |",
        "| `sftp.password` | `SFTP_PASSWORD` | none, it is a secret | password \
         | password at the SFTP server: any text |",
    ] {
        assert!(table.lines().any(|line| line == row), "no {row} in\n{table}");
    }
}

#[test]
fn the_configuration_in_force_is_shown_in_columns() {
    let resolved = dev()
        .file("[data]\nseed = 7\n[kafka.properties]\nsasl.password = \"hidden\"\n")
        .variable("SFTP_HOST", "exported")
        .flag("run.follow", "true")
        .resolve()
        .unwrap();
    let shown = crate::commands::config::effective(&resolved).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..2], ["Environment: dev, because USER is set", ""]);
    let brokers = "localhost:19092,localhost:29092,localhost:39092";
    for (key, value, origin) in [
        ("SETTING", "VALUE", "ORIGIN"),
        ("data.seed", "7", "cdr.toml:2"),
        ("sftp.host", "exported", "environment SFTP_HOST"),
        ("sftp.password", "***", "default (dev)"),
        ("sftp.key_file", "-", "default (dev)"),
        ("data.mobile_prefixes", "-", "default (dev): by country"),
        ("run.follow", "true", "--follow"),
        ("kafka.brokers", brokers, "default (dev)"),
        ("kafka.properties.sasl.password", "***", "cdr.toml:4"),
    ] {
        let line = format!("{key:30}  {value:47}  {origin}");
        assert!(lines.contains(&line.as_str()), "no {line:?} in\n{shown}");
    }
    assert_eq!(lines.len(), 2 + 1 + SETTINGS.len());
}

#[test]
fn a_chosen_environment_has_an_origin() {
    let resolved = dev().flag("run.env", "prod").resolve().unwrap();
    let shown = crate::commands::config::effective(&resolved).unwrap();
    assert!(shown.starts_with("Environment: prod, because of --env\n"));
}
