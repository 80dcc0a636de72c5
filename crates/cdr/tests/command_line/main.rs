//! What a user types and sees, as far as no service is needed: samples, plans, configuration, and
//! whole runs to a local folder.

mod output;
mod stats;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use cdr_model::{FileFormat, Generator, PartIndex, Plan, Scenario, Shard};
use chrono::{NaiveDateTime, SubsecRound, Utc};
use tempfile::TempDir;

/// A folder to work in, and a clean environment.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        command.args(arguments.split_whitespace()).current_dir(self.path());
        command.env_clear().env("HOME", self.path());
        command
    }

    fn cdr(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a run, and waits until its log has a line with `text`.
    fn start(&self, arguments: &str, text: &str) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.lines().any(|line| line.contains(text)) {
            assert!(log.read_line(&mut seen).unwrap() > 0, "no line with {text:?} in:\n{seen}");
        }
        Running { child, log, seen }
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A run that is at work; it does not outlive the test.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit code, if there is one, and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
        self.log.read_to_string(&mut self.seen).unwrap();
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file of the development run, and nothing else, is in the folder.
fn check_delivered(place: &Place, folder: &str) {
    let scenario = Scenario::default();
    let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
    let generator = Generator::new(&scenario).unwrap();
    let mut expected = Vec::new();
    for index in 0..plan.parts() {
        let part = plan.part(PartIndex(index));
        for stream in plan.streams() {
            let (mut content, format) = (Vec::new(), FileFormat::default());
            format.file(&generator, stream, &part, &mut content);
            let name = part.file_name(stream, format);
            let found = fs::read(place.path().join(folder).join(&name)).unwrap();
            assert!(found == content, "{name} is not what it should be");
            expected.push(name);
        }
    }
    expected.sort();
    assert_eq!(place.files(folder), expected);
}

#[test]
fn samples_are_as_files_and_topics_have_them() {
    let place = Place::new();
    assert_eq!(
        out(&place.cdr("sample data -n 2 --env prod")),
        "msisdn,tower_id,up_bytes,down_bytes,data_type,ip_address,website_url,event_datetime\n\
         27711903591,1882,448567,735964,text,76.222.26.56,https://www.dach-ebusiness.com/,2024-01-01 00:03:20.170110\n\
         27665338287,1189,533397,824222,image,12.205.234.2,https://connelly-bandwidth.name/,2024-01-01 00:03:20.254551\n"
    );
    assert_eq!(
        out(&place.cdr("sample voice -n 1 --format json --env prod")),
        "{\"msisdn\":\"27828375646\",\"tower_id\":584,\"call_type\":\"voice\",\"dest_nr\":\"27625007388\",\
         \"call_duration_sec\":157,\"start_time\":\"2024-01-01T00:03:20.190480\"}\n"
    );
}

#[test]
fn a_sample_goes_on_into_the_next_part() {
    let place = Place::new();
    let text = out(&place.cdr("sample data -n 1500"));
    assert_eq!(text.lines().count(), 1_501);
    assert!(text.lines().nth(1_001).unwrap().contains(",2024-01-01 00:06:40."), "second window");
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let place = Place::new();
    let output = place.cdr("run --dry-run --env prod");
    assert!(output.status.success());
    assert_eq!(
        out(&output),
        "Run            cdr\n\
         Shard          1/1\n\
         Delivers to    sftp, kafka\n\
         Parts          864 of 200 s each\n\
         Files          1,728\n\
         Records        864,000 cdr_data + 864,000 cdr_voice\n\
         Bytes          about 151.99 MB in files, 320.34 MB in messages\n\
         First window   2024-01-01 00:03:20.000000 to 2024-01-01 00:06:40.000000: \
         cdr_data_20240101_000320.csv, cdr_voice_20240101_000320.csv\n\
         Last window    2024-01-03 00:00:00.000000 to 2024-01-03 00:03:20.000000: \
         cdr_data_20240103_000000.csv, cdr_voice_20240103_000000.csv\n\
         Nothing was touched: this is a dry run.\n"
    );
    assert!(place.files(".").is_empty());
}

#[test]
fn a_dry_run_that_would_begin_now_has_its_first_window_begin_now() {
    let place = Place::new();
    let before = Utc::now().naive_utc().trunc_subsecs(0);
    let text = out(&place.cdr("run --dry-run --env prod --start now"));
    let first = text.lines().find_map(|line| line.strip_prefix("First window   ")).expect("a window");
    let begin = NaiveDateTime::parse_from_str(&first[..26], "%Y-%m-%d %H:%M:%S%.6f").expect("a time");
    assert!(begin >= before && begin <= Utc::now().naive_utc(), "{first}");
    assert_eq!(begin, begin.trunc_subsecs(0));
}

#[test]
fn the_bytes_of_files_are_counted_with_their_header_lines() {
    let place = Place::new();
    let sizes = "--total-seconds 4 --line-count 1 --lines-per-second 1";
    let text = out(&place.cdr(&format!("run --dry-run {sizes}")));
    let delivered = place.cdr(&format!("run --sinks directory {sizes}"));
    assert!(delivered.status.success());
    let size = |name: &String| fs::metadata(place.path().join("output").join(name)).unwrap().len();
    let written: u64 = place.files("output").iter().map(size).sum();
    let expected = format!("about {:.2} kB in files", written as f64 / 1_000.0);
    assert!(text.contains(&expected), "{written} bytes, but: {text}");
    let log = String::from_utf8_lossy(&delivered.stderr);
    assert!(log.contains("This session: 8 records, 8 files"), "{log}");
}

#[test]
fn a_whole_run_ends_with_the_contracts_line() {
    let place = Place::new();
    let output = place.command("run --sinks directory").env("USER", "someone").output().unwrap();
    let log = log(&output);
    assert!(output.status.success(), "{log}");
    check_delivered(&place, "output");
    let completed = "INFO - Completed data generation. cdr_data [86000], cdr_voice [86000], files [86]";
    assert!(log.lines().any(|line| line.ends_with(completed)), "{log}");
    assert_eq!(place.files("."), ["idx_data.dat.lock", "output"]);
}

#[test]
fn a_run_killed_again_and_again_is_complete_in_the_end() {
    let place = Place::new();
    // Slow enough to be killed at a known place; the pace does not change the data.
    let arguments = "run --env dev --sinks directory --pace 20000x --progress lines";
    for _ in 0..4 {
        place.start(arguments, "Generated").signal("-KILL");
    }
    let index = fs::read_to_string(place.path().join("idx_data.dat")).unwrap();
    assert!(index.trim().parse::<u64>().unwrap() < 86, "{index}");
    let output = place.cdr("run --env dev --sinks directory");
    assert!(log(&output).contains("Continuing run cdr"), "{}", log(&output));
    assert!(output.status.success());
    check_delivered(&place, "output");
}

#[test]
fn a_stopped_run_logs_how_to_continue() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = Place::new();
        let arguments = "run --env dev --sinks directory --pace 5000x --progress lines";
        let running = place.start(arguments, "Generated");
        running.signal(signal);
        let (exit, log) = running.end();
        assert_eq!(exit, Some(code), "{log}");
        assert!(
            log.lines().last().unwrap().contains("again with the same settings to continue"),
            "{log}"
        );
        assert!(place.files("output").iter().all(|name| name.ends_with(".csv")));
        assert!(place.cdr("run --env dev --sinks directory").status.success());
        check_delivered(&place, "output");
    }
}

#[test]
fn a_second_process_in_the_same_folder_is_refused() {
    let place = Place::new();
    let arguments = "run --env dev --sinks directory --pace 100x --progress lines";
    let running = place.start(arguments, "Starting run");
    let output = place.cdr("run --env dev --sinks directory");
    assert_eq!(output.status.code(), Some(1));
    assert!(log(&output).contains("another cdr is at work with the index file idx_data.dat"));
    drop(running);
}

#[test]
fn an_index_of_other_parameters_is_refused() {
    let place = Place::new();
    let arguments = "run --env dev --sinks directory --pace 5000x --progress lines";
    place.start(arguments, "Generated").signal("-KILL");
    let output = place.cdr("run --env dev --sinks directory --seed 1");
    assert_eq!(output.status.code(), Some(3));
    let log = log(&output);
    assert!(log.contains("CDR_SEED was 418001, now 1") && log.contains("--restart"), "{log}");
    assert!(place.cdr("run --env dev --sinks directory --seed 1 --restart").status.success());
}

#[test]
fn an_index_that_is_no_number_is_refused_with_the_remedy() {
    let place = Place::new();
    fs::write(place.path().join("idx_data.dat"), "garbage").unwrap();
    let output = place.cdr("run --env dev --sinks directory");
    assert_eq!(output.status.code(), Some(3));
    assert!(log(&output).contains("\"garbage\" is not a part's index"), "{}", log(&output));
    assert!(!place.path().join("output").exists(), "a refused start has made the folder");
}

#[test]
fn an_index_of_the_older_pipeline_is_continued() {
    let place = Place::new();
    fs::write(place.path().join("idx_data.dat"), "84\n").unwrap();
    assert!(place.cdr("run --env dev --sinks directory").status.success());
    assert_eq!(place.files("output").len(), 2);
}

#[test]
fn an_index_that_no_part_has_is_refused_by_verify_too() {
    let place = Place::new();
    for index in [86, u64::MAX] {
        fs::write(place.path().join("idx_data.dat"), format!("{index}\n")).unwrap();
        let output = place.cdr("verify --env dev --sinks directory");
        assert_eq!(output.status.code(), Some(3));
        let expected = format!("names part {index}, which is not a part of this run (86 parts)");
        assert!(log(&output).contains(&expected), "{}", log(&output));
    }
}

#[test]
fn shards_together_are_the_whole() {
    let place = Place::new();
    for shard in 1..=3 {
        let arguments = format!("run --env dev --sinks directory --shard {shard}/3");
        assert!(place.cdr(&arguments).status.success());
    }
    check_delivered(&place, "output");
}

#[test]
fn wrong_settings_end_with_code_2_and_name_the_place() {
    let place = Place::new();
    fs::write(place.path().join("cdr.toml"), "[sftp]\nhots = \"x\"\n").unwrap();
    let output = place.cdr("run");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        log(&output),
        "cdr: cdr.toml:2: \"sftp.hots\" is not a setting; did you mean \"sftp.host\"?\n"
    );
    assert_eq!(place.cdr("run --no-such-flag").status.code(), Some(2));
}

#[test]
fn secrets_are_not_shown() {
    let place = Place::new();
    let shown = place.command("config").env("SFTP_PASSWORD", "hunter2").output().unwrap();
    let text = out(&shown);
    assert!(text.contains("environment SFTP_PASSWORD") && text.contains("***"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// `cdr` with a secret in each place that takes one, all of which contain `hunter`.
fn with_secrets(place: &Place, arguments: &str) -> Output {
    let file = "[sftp]\nkey_passphrase = \"hunter-passphrase\"\n[kafka.properties]\n\
                \"sasl.password\" = \"hunter-sasl\"\n\"ssl.key.password\" = \"hunter-key\"\n\
                \"ssl.key.pem\" = \"hunter-pem\"\n";
    fs::write(place.path().join("cdr.toml"), file).unwrap();
    let mut command = place.command(arguments);
    command.env("SFTP_PASSWORD", "hunter-password").env("LOG_LEVEL", "trace");
    command.env("KAFKA_PROPERTIES", "debug=all,ssl.keystore.password=hunter-store");
    command.env("KAFKA_BROKERS", "127.0.0.1:1").env("SFTP_HOST", "127.0.0.1").env("SFTP_PORT", "1");
    command.env("KAFKA_GIVE_UP_SECONDS", "1").env("SFTP_GIVE_UP_SECONDS", "1");
    command.output().unwrap()
}

#[test]
fn no_command_shows_a_secret_however_much_it_logs() {
    let place = Place::new();
    for (arguments, code) in [
        ("config", 0),
        ("run --dry-run", 0),
        ("sample data -n 1", 0),
        ("run --sinks kafka", 4),
        ("run --sinks kafka --log-format json", 4),
        ("run --sinks sftp", 4),
        ("verify", 4),
    ] {
        let output = with_secrets(&place, arguments);
        let text = out(&output) + &log(&output);
        assert!(!text.contains("hunter"), "{arguments}: {text}");
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
    }
}

#[test]
fn a_secret_in_the_wrong_form_is_not_shown() {
    for (file, variable, arguments) in [
        ("", "", "--sftp-password=hunter2"),
        ("", "", "--sftp-password hunter2"),
        ("", "", "--kafka-property sasl.password=hunter2"),
        ("", "", "--kafka-property sasl.password:hunter2"),
        ("", "sasl.password:hunter2", ""),
        ("", "debug=all,sasl.password hunter2", ""),
        ("", "sasl.pasword=hunter2", ""),
        ("", "SASL.PASSWORD=hunter2", ""),
        ("[sftp]\npassword = hunter2\n", "", ""),
        ("[sftp]\npassword = \"hunter2\n", "", ""),
        ("[sftp]\npassword = [\"hunter2\"]\n", "", ""),
        ("[sftp]\npasswort = \"hunter2\"\n", "", ""),
        ("[kafka.properties]\n\"sasl.password\" = [\"hunter2\"]\n", "", ""),
    ] {
        let place = Place::new();
        fs::write(place.path().join("cdr.toml"), file).unwrap();
        let mut command = place.command(&format!("run {arguments}"));
        let output = command.env("KAFKA_PROPERTIES", variable).output().unwrap();
        let text = out(&output) + &log(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn a_file_with_a_secret_that_others_may_read_is_warned_of_with_what_helps() {
    for secret in
        ["[sftp]\npassword = \"hunter2\"", "[kafka.properties]\n\"sasl.password\" = \"hunter2\""]
    {
        let place = Place::new();
        let file = place.path().join("cdr.toml");
        fs::write(&file, secret).unwrap();
        for (mode, warns) in [(0o644, true), (0o640, true), (0o600, false)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            for arguments in ["config", "run --sinks directory --env dev --restart"] {
                let output = place.cdr(arguments);
                let text = log(&output);
                assert!(output.status.success(), "{text}");
                let warning = "cdr.toml holds a secret, and other users may read it";
                let warned = text.contains(warning) && text.contains("chmod 600 cdr.toml");
                assert_eq!(warned, warns, "{mode:o} {arguments}: {text}");
            }
        }
    }
}

#[test]
fn a_run_as_json_logs_one_object_a_line() {
    let place = Place::new();
    let output = place.cdr("run --env dev --sinks directory --log-format json");
    for line in log(&output).lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["time"].is_string() && object["message"].is_string(), "{line}");
    }
}

#[test]
fn files_that_go_to_another_folder_begin_at_the_first_part() {
    let place = Place::new();
    let arguments = "run --env dev --sinks directory --pace 20000x --progress lines";
    place.start(&format!("{arguments} --directory one"), "Generated").signal("-KILL");
    assert!(place.cdr("run --env dev --sinks directory --directory two").status.success());
    check_delivered(&place, "two");
}

#[test]
fn another_run_does_not_take_over_the_index_of_the_first() {
    let place = Place::new();
    let arguments = "run --env dev --sinks directory --pace 5000x --progress lines";
    place.start(arguments, "Generated").signal("-KILL");
    let output = place.cdr("run --env dev --sinks directory --run-name other");
    assert_eq!(output.status.code(), Some(3));
    let refused = "the index file idx_data.dat belongs to another run: RUN_NAME was cdr, now other";
    assert!(log(&output).contains(refused), "{}", log(&output));
    let output = place.cdr("run --env dev --sinks directory --run-name other --index-file other.dat");
    assert!(output.status.success());
}

#[test]
fn shards_that_begin_now_are_refused() {
    let output = Place::new().cdr("run --env dev --sinks directory --start now --shard 1/2");
    assert_eq!(output.status.code(), Some(2));
    assert!(log(&output).contains("give all shards the same start"), "{}", log(&output));
}
