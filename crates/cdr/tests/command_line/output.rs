//! What goes to standard output: readers who leave, and schemas.

use super::*;

/// Runs it with a standard output, or both outputs, whose reader has left before it begins.
fn unread(place: &Place, arguments: &str, errors_too: bool) -> Output {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut command = place.command(arguments);
    command.stdout(closed()).stderr(Stdio::piped());
    if errors_too {
        command.stderr(closed());
    }
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_reader_who_leaves_ends_no_command_and_changes_no_exit_code() {
    let place = Place::new();
    assert!(place.cdr("run --env dev --sinks directory").status.success());
    let file = place.files("output").remove(0);
    fs::write(place.path().join("output").join(file), "other").unwrap();
    fs::write(place.path().join("cdr.toml"), "[sftp]\npassword = \"x\"\n").unwrap();
    for (arguments, code) in [
        ("run --dry-run", 0),
        ("run --env dev --sinks directory --restart", 0),
        ("verify --env dev --sinks directory --format json", 0),
        ("verify --env dev --sinks directory --seed 1", 6),
        ("sample data -n 100000", 0),
        ("schema data", 0),
        ("stats --parts 0..2", 0),
        ("config", 0),
        ("config --markdown", 0),
        ("usage", 1),
        ("usage 27821234567 --expected --total-seconds 2000", 1),
        ("run --no-such-flag", 2),
        ("--help", 0),
    ] {
        for errors_too in [false, true] {
            let output = unread(&place, arguments, errors_too);
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments}, {errors_too}: {log}");
            assert!(!log.contains("panicked") && !log.contains("Broken pipe"), "{arguments}: {log}");
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    for arguments in [
        "config",
        "sample data",
        "stats --parts 0..2",
        "schema data",
        "run --dry-run",
        "--help",
        "run --help",
        "--version",
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        assert!(log(&output).contains("cannot write to standard output"), "{}", log(&output));
    }
}

#[test]
fn a_sample_lies_within_the_calendar() {
    let place = Place::new();
    for part in ["18446744073709551615", "9223372036854775808", "1000000000000"] {
        let output = place.cdr(&format!("sample data --part {part}"));
        let log = log(&output);
        assert_eq!(output.status.code(), Some(2), "{log}");
        let beyond = format!("--part {part} is beyond the calendar: parts go from 0 to ");
        assert!(log.contains(&beyond), "{log}");
        // The last one can be had, and ends the sample.
        let last = log.trim().rsplit(' ').next().unwrap();
        let output = place.cdr(&format!("sample data -n 5000 --part {last}"));
        assert!(output.status.success());
        assert_eq!(out(&output).lines().count(), 1 + 1_000);
        assert!(out(&output).lines().all(|line| !line.contains(",1970-")), "{}", out(&output));
    }
}

#[test]
fn schemas_are_printed_by_stream_and_format() {
    let place = Place::new();
    let schema: serde_json::Value = serde_json::from_str(&out(&place.cdr("schema voice"))).unwrap();
    assert_eq!(schema["properties"]["call_type"]["enum"], serde_json::json!(["voice", "video"]));
    let sql = out(&place.cdr("schema --format sql"));
    assert!(
        sql.contains("CREATE TABLE cdr_data (") && sql.contains("CREATE TABLE cdr_voice ("),
        "{sql}"
    );
    let output = place.cdr("schema");
    assert_eq!(output.status.code(), Some(2));
    assert!(log(&output).contains("name it, as in: cdr schema data"), "{}", log(&output));
}

/// What the files hold, read into the tables that the schema makes.
#[test]
fn the_tables_of_the_schema_take_what_the_files_hold() {
    let place = Place::new();
    let tables = out(&place.cdr("schema --format sql"));
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(&tables).unwrap();
    for stream in ["data", "voice"] {
        let csv = out(&place.cdr(&format!("sample {stream} -n 200")));
        let mut lines = csv.lines();
        let columns = lines.next().unwrap();
        for line in lines {
            let values: Vec<String> = line.split(',').map(|value| format!("'{value}'")).collect();
            let insert = format!("INSERT INTO cdr_{stream} ({columns}) VALUES ({})", values.join(","));
            connection.execute(&insert, []).unwrap();
        }
        let query = format!(
            "SELECT count(*), count(DISTINCT typeof(msisdn)), min(typeof(msisdn)) FROM cdr_{stream}"
        );
        let found: (i64, i64, String) =
            connection.query_row(&query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        assert_eq!(found, (200, 1, "text".to_owned()));
    }
    let numbers = "SELECT min(typeof(up_bytes)) FROM cdr_data";
    assert_eq!(connection.query_row(numbers, [], |row| row.get::<_, String>(0)).unwrap(), "integer");
}

#[test]
fn days_of_usage_lie_within_the_calendar() {
    let place = Place::new();
    for flag in ["--from +262142-01-01", "--to=-250000-01-01", "--to +10000-01-01", "--from 2024-1-1"] {
        let output = place.cdr(&format!("usage 27829582439 --expected --env dev {flag}"));
        assert_eq!(output.status.code(), Some(2), "{flag}: {}", log(&output));
        assert!(log(&output).contains("write a day of the years 0 to 9999 as 2024-01-31"), "{flag}");
    }
    let all = place.cdr("usage 27829582439 --expected --env dev --from 0001-01-01 --to 9999-12-31");
    assert!(all.status.success(), "{}", log(&all));
}

#[test]
fn a_shard_without_kafka_is_verified_by_itself() {
    let place = Place::new();
    let settings = "--env dev --sinks directory --shard 2/3";
    let verify = || place.cdr(&format!("verify {settings}"));
    let running = place.start(&format!("run {settings} --pace 5000x"), "Generated");
    running.signal("-TERM");
    assert_eq!(running.end().0, Some(143));
    let interrupted = verify();
    assert!(interrupted.status.success(), "{}{}", out(&interrupted), log(&interrupted));
    assert!(place.cdr(&format!("run {settings}")).status.success());
    // 86 parts: 1, 4, 7 and so on.
    let finished = verify();
    assert!(finished.status.success(), "{}{}", out(&finished), log(&finished));
    assert!(out(&finished).contains(": 58 of 58 right\n"), "{}", out(&finished));
    let names = place.files("output");
    std::fs::remove_file(place.path().join("output").join(&names[0])).unwrap();
    assert_eq!(verify().status.code(), Some(6));
}
