//! Which source wins, and what is shown of a value's origin.

use super::*;
use crate::settings::Environment;

#[test]
fn user_decides_between_dev_and_prod() {
    assert_eq!(dev().config().run.env, Environment::Dev);
    assert_eq!(dev().shown("run.env"), "dev from USER is set");
    assert_eq!(nothing().config().run.env, Environment::Prod);
    assert_eq!(nothing().shown("run.env"), "prod from USER is not set");
    assert_eq!(nothing().variable("USER", "").config().run.env, Environment::Prod);
}

#[test]
fn the_environment_can_be_chosen_and_brings_its_defaults() {
    let prod = dev().variable("CDR_ENV", "prod");
    assert_eq!(prod.shown("run.env"), "prod from environment CDR_ENV");
    assert_eq!(prod.shown("sftp.port"), "22 from default (prod)");
    let dev_again = prod.flag("run.env", "dev");
    assert_eq!(dev_again.shown("run.env"), "dev from --env");
    assert_eq!(dev_again.shown("sftp.port"), "10022 from default (dev)");
    let by_file = dev().file("[run]\nenv = \"prod\"\n");
    assert_eq!(by_file.shown("run.env"), "prod from cdr.toml:2");
    assert_eq!(by_file.shown("data.total_seconds"), "172800 from default (prod)");
}

#[test]
fn flags_win_over_variables_over_file_over_defaults() {
    let given = dev();
    assert_eq!(given.shown("sftp.host"), "localhost from default (dev)");
    let given = given.file("# mine\n[sftp]\nhost = \"filed\"\n");
    assert_eq!(given.shown("sftp.host"), "filed from cdr.toml:3");
    let given = given.variable("SFTP_HOST", "exported");
    assert_eq!(given.shown("sftp.host"), "exported from environment SFTP_HOST");
    let given = given.flag("sftp.host", "typed");
    assert_eq!(given.shown("sftp.host"), "typed from --sftp-host");
    assert_eq!(given.config().sftp.host, "typed");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let given = dev().variable("SFTP_HOST", "").variable("SFTP_KEY_FILE", "");
    assert_eq!(given.shown("sftp.host"), "localhost from default (dev)");
    assert_eq!(given.shown("sftp.key_file"), "- from default (dev)");
}

#[test]
fn an_empty_text_takes_a_lower_value_away() {
    let given = dev().file("[sftp]\nkey_file = \"/id\"\n").flag("sftp.key_file", "");
    assert_eq!(given.shown("sftp.key_file"), "- from --sftp-key-file");
    assert_eq!(given.config().sftp.key_file, None);
    let without_password = dev().file("[sftp]\npassword = \"\"\nagent = true\n");
    assert_eq!(without_password.config().sftp.password, None);
}

#[test]
fn known_hosts_are_at_home_where_there_is_one() {
    assert_eq!(dev().config().sftp.known_hosts, Path::new("/home/ann/.ssh/known_hosts"));
    let homeless = dev().without("HOME");
    assert_eq!(homeless.config().sftp.known_hosts, Path::new("known_hosts"));
}

#[test]
fn a_tilde_stands_for_the_home_folder() {
    let given = dev().file("[sftp]\nkey_file = \"~/.ssh/id_ed25519\"\n");
    let key_file = given.config().sftp.key_file;
    assert_eq!(key_file.as_deref(), Some(Path::new("/home/ann/.ssh/id_ed25519")));
    assert_eq!(
        given.without("HOME").error(),
        "sftp.key_file: \"~/.ssh/id_ed25519\" from cdr.toml:2 cannot be found, \
         because HOME is not set"
    );
}

#[test]
fn a_password_file_wins_over_a_password_of_a_lower_layer() {
    let given =
        dev().file("[sftp]\npassword = \"filed\"\n").variable("SFTP_PASSWORD_FILE", "/run/secrets/sftp");
    assert_eq!(given.shown("sftp.password"), "- from replaced by sftp.password_file");
    assert_eq!(given.config().sftp.password.unwrap().expose(), "hunter2");
    let typed = dev().flag("sftp.password_file", "/run/secrets/sftp").variable("SFTP_PASSWORD", "x");
    assert_eq!(typed.config().sftp.password.unwrap().expose(), "hunter2");
}

#[test]
fn a_password_wins_over_a_password_file_of_a_lower_layer() {
    let given =
        dev().file("[sftp]\npassword_file = \"/absent\"\n").variable("SFTP_PASSWORD", "exported");
    assert_eq!(given.shown("sftp.password_file"), "- from replaced by sftp.password");
    assert_eq!(given.config().sftp.password.unwrap().expose(), "exported");
}

#[test]
fn only_one_line_end_is_removed_from_a_password_file() {
    let given = dev().variable("SFTP_PASSWORD_FILE", "~/secret");
    assert_eq!(given.config().sftp.password.unwrap().expose(), "of ann\n");
}

#[test]
fn a_password_and_a_password_file_in_one_layer_are_refused() {
    let variables =
        dev().variable("SFTP_PASSWORD", "x").variable("SFTP_PASSWORD_FILE", "/run/secrets/sftp");
    assert_eq!(
        variables.error(),
        "sftp.password (environment SFTP_PASSWORD) and sftp.password_file (environment \
         SFTP_PASSWORD_FILE) are both given; give only one of them"
    );
    let file = dev().file("[sftp]\npassword = \"x\"\npassword_file = \"y\"\n");
    assert_eq!(
        file.error(),
        "sftp.password (cdr.toml:2) and sftp.password_file (cdr.toml:3) are both given; \
         give only one of them"
    );
}

#[test]
fn a_password_file_that_cannot_be_used_is_refused() {
    let absent = dev().flag("sftp.password_file", "/absent").build().unwrap_err();
    assert_eq!(
        format!("{:#}", anyhow::Error::from(absent)),
        "sftp.password_file: cannot read /absent from --sftp-password-file: entity not found"
    );
    assert_eq!(
        dev().flag("sftp.password_file", "/dev/null").error(),
        "sftp.password_file: /dev/null from --sftp-password-file is empty"
    );
}

#[test]
fn no_secret_is_ever_shown() {
    let given = dev()
        .variable("SFTP_KEY_PASSPHRASE", "passphrase-1")
        .variable("SFTP_PASSWORD_FILE", "/run/secrets/sftp")
        .file("[sftp]\npassword = \"hunter1\"\n[kafka.properties]\nsasl.password = \"hunter3\"\n");
    let resolved = given.resolve().unwrap();
    let shown = format!(
        "{:?} {resolved:?} {:#?} {}",
        given.config(),
        given.config(),
        crate::commands::config::effective(&resolved).unwrap()
    );
    for secret in ["passphrase-1", "hunter1", "hunter2", "hunter3"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("password: Some(***)"));
}
