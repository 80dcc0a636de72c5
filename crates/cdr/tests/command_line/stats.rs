//! `cdr stats`: of what is generated, and of files, also those of other generators.

use super::*;

/// The report in JSON, and the exit code.
fn report(place: &Place, arguments: &str) -> (Option<i32>, serde_json::Value) {
    let output = place.cdr(&format!("stats {arguments} --format json"));
    let report = serde_json::from_str(&out(&output));
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", log(&output))))
}

fn kept(report: &serde_json::Value) -> (usize, usize) {
    let laws = report["laws"].as_array().unwrap();
    let count = |of: serde_json::Value| laws.iter().filter(|law| law["ok"] == of).count();
    (count(true.into()), laws.len() - count(serde_json::Value::Null))
}

/// What was found of a law.
fn found(report: &serde_json::Value, law: &str) -> f64 {
    let laws = report["laws"].as_array().unwrap();
    let found = laws.iter().find(|one| one["law"].as_str().unwrap().starts_with(law));
    found.unwrap_or_else(|| panic!("no {law} in {report}"))["found"].as_f64().unwrap()
}

const DAYS: &str =
    "--env dev --start 2024-01-01T00:00:00 --total-seconds 604800 --subscribers 20000 --seed 3";

#[test]
fn statistics_say_which_laws_are_kept() {
    let place = Place::new();
    let output = place.cdr(&format!("stats --profile realistic {DAYS}"));
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{}", log(&output));
    for line in ["callers in two calls at once", "data records by hour", "sessions by size"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, realistic) = report(&place, &format!("--profile realistic --check {DAYS}"));
    let (code, uniform) = report(&place, &format!("--profile uniform --check {DAYS}"));
    assert_eq!(code, Some(6));
    let ((good, all), (few, _)) = (kept(&realistic), kept(&uniform));
    assert!(good + 1 >= all && few < all / 2, "{good} and {few} of {all}");
    assert!(text.contains(&format!("{good} of {all} laws are kept. For ")), "{text}");
    assert_eq!(realistic["histograms"][0]["bars"].as_array().unwrap().len(), 24);
    let page = out(&place.cdr(&format!("stats --profile realistic {DAYS} --format html")));
    assert_eq!(page.matches("<polyline class=\"found\"").count(), 6);
    // Nearly all of 2,000 towers, at each time of day.
    assert!(page.matches("<circle").count() > 4 * 1_900);
    assert_eq!(page.matches("<tr>").count(), realistic["laws"].as_array().unwrap().len() + 1);
    // It is one file.
    assert!(!page.contains("http") && !page.contains("<script") && page.ends_with("</html>\n"));
}

#[test]
fn statistics_of_parts_beyond_the_run_are_refused_with_the_bound() {
    let place = Place::new();
    let output = place.cdr("stats --env dev --parts 3..99");
    assert_eq!(output.status.code(), Some(2));
    assert!(log(&output).contains("3..99 goes beyond the run, which has 86 parts"), "{}", log(&output));
}

#[test]
fn files_have_the_statistics_of_what_was_generated() {
    let place = Place::new();
    let run = "--env dev --profile realistic --start 2024-01-01T00:00:00";
    assert!(place.cdr(&format!("run {run} --sinks directory")).status.success());
    let (_, generated) = report(&place, run);
    let (code, files) = report(&place, &format!("--from output {run} --check"));
    assert_eq!(code, Some(0));
    assert_eq!(files["records"], 172_000);
    assert_eq!((&files["unreadable"], &files["late"]), (&0.into(), &0.into()));
    assert_eq!(files["histograms"], generated["histograms"]);
    for (one, other) in
        files["laws"].as_array().unwrap().iter().zip(generated["laws"].as_array().unwrap())
    {
        let [one, other] = [one, other].map(|law| law["found"].as_f64().unwrap());
        assert!((one - other).abs() < 0.01, "{files} and {generated}");
    }
}

/// Calls as another generator writes them: by person and not by time, without a header, with the date and
/// the clock in columns of their own.
fn foreign() -> String {
    let mut lines = String::new();
    for caller in 0..50 {
        for call in 0..40 {
            let (day, hour, minute) = (1 + call / 2, 8 + call % 2 * 6, (caller + call) % 50);
            lines += &format!(
                "x;+2782{caller:07};user_{};{day:02}/01/2024;{hour:02}:{minute:02}:00;{hour:02}:{:02}:30\n",
                (caller + 1 + call % 3) % 50,
                minute + 1
            );
        }
    }
    lines
}

const THEIRS: &str = "--from calls.txt --no-header --delimiter ; \
                      --columns msisdn=2,dest_nr=3,start_time=4+5,end_time=4+6";

/// With a format of times, which has a space in it.
fn foreign_report(place: &Place) -> Output {
    let mut command = place.command(&format!("stats {THEIRS} --format json --check"));
    command.args(["--time-format", "%d/%m/%Y %H:%M:%S"]).output().unwrap()
}

#[test]
fn files_of_another_generator_are_measured_by_a_mapping_of_their_columns() {
    let place = Place::new();
    fs::write(place.path().join("calls.txt"), foreign()).unwrap();
    let output = foreign_report(&place);
    assert_eq!(output.status.code(), Some(6), "{}", log(&output));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&report["records"], &report["unreadable"]), (&2_000.into(), &0.into()));
    assert_eq!(found(&report, "call duration: mean"), 90.0);
    assert_eq!(found(&report, "callers in two calls at once"), 0.0);
    // Of each caller's calls, every third goes to the same one.
    assert!((found(&report, "calls to the first contact") - 14.0 / 40.0).abs() < 1e-9);
    // Nothing is said of what there is none of.
    let text = report["laws"].to_string();
    assert!(!text.contains("tower") && !text.contains("bytes") && !text.contains("data:"), "{text}");
}

#[test]
fn a_record_that_cannot_be_read_is_counted_and_named_with_its_place() {
    let place = Place::new();
    let lines = foreign().replacen("08:01:00;", "8 o'clock;", 1).replacen("+27820000003", "", 1);
    fs::write(place.path().join("calls.txt"), lines).unwrap();
    let output = foreign_report(&place);
    assert_eq!(output.status.code(), Some(6));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&report["records"], &report["unreadable"]), (&1_998.into(), &2.into()));
    let log = log(&output);
    for problem in [
        "calls.txt, line 121: field msisdn is missing",
        "field start_time is \"01/01/2024 8 o'clock\", not a time in the given format",
    ] {
        assert!(log.contains(problem), "no {problem:?} in {log}");
    }
}

/// What cannot be measured, and the reason that is given.
fn check_refused(place: &Place, arguments: &str, code: i32, reason: &str) {
    let output = place.cdr(&format!("stats {arguments}"));
    assert_eq!(output.status.code(), Some(code), "{arguments}: {}", log(&output));
    assert!(log(&output).contains(reason), "{arguments}: {}", log(&output));
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let place = Place::new();
    let write = |name: &str, text: &[u8]| fs::write(place.path().join(name), text).unwrap();
    fs::create_dir(place.path().join("empty")).unwrap();
    write("other.csv", b"a,b,c\n1,2,3\n");
    write("header.csv", b"msisdn,start_time,call_duration_sec\n");
    write("bytes.csv", b"msisdn,start_time,call_duration_sec\n\xff\xfe,2,3\n");
    check_refused(&place, "--from nowhere", 1, "cannot read nowhere");
    check_refused(&place, "--from empty", 1, "empty holds no file whose name ends in .csv");
    check_refused(
        &place,
        "--from other.csv",
        1,
        "other.csv has the columns a, b, c; a call has the columns",
    );
    check_refused(&place, "--from other.csv", 1, "--columns msisdn=THEIRS");
    write("nothing.csv", b"");
    write("semicolons.csv", b"msisdn;start_time;call_duration_sec\n1;1704070875;5\n");
    let reason = "header.csv holds no record that can be read: there is nothing behind the header";
    check_refused(&place, "--from header.csv", 1, reason);
    check_refused(&place, "--from nothing.csv", 1, "nothing.csv is empty");
    let reason = "semicolons.csv has one column; it seems to need --delimiter ';'";
    check_refused(&place, "--from semicolons.csv", 1, reason);
    check_refused(&place, "--from bytes.csv", 1, "invalid UTF-8");
    check_refused(&place, "--columns msisdn=1", 2, "a call has the columns");
    check_refused(&place, "--from x --columns caller=1", 2, "there is no column \"caller\" to read");
    write("calls.csv", b"msisdn,start_time,call_duration_sec\n1,1704070875,5\n");
    let theirs = "--columns msisdn=msisdn,start_time=start_time,call_duration_sec=lenght";
    let reason = "calls.csv has no column \"lenght\" for call_duration_sec: it has the columns msisdn,";
    check_refused(&place, &format!("--from calls.csv {theirs}"), 1, reason);
    check_refused(&place, "--from x --columns msisdn=a,msisdn=b", 2, "msisdn is named twice");
    check_refused(&place, "--profile realistic --voice-sigma -1", 2, "VOICE_SIGMA");
    let twice = "--profile realistic --holidays 12-25=sunday,01-01=new-year,12-25=friday";
    check_refused(&place, twice, 2, "HOLIDAYS names 12-25 twice");
    check_refused(&place, "--from x --parts 0..2", 2, "--parts is of a run that is generated");
    check_refused(&place, "--no-header", 2, "--no-header is for files");
    check_refused(&place, "--from topics --delimiter ;", 2, "--delimiter is for files");
    check_refused(&place, "--from x --delimiter ;;", 2, "write one character of ASCII");
}

#[test]
fn a_folder_may_hold_other_files() {
    let place = Place::new();
    assert!(place.cdr("run --env dev --sinks directory --total-seconds 3000").status.success());
    fs::write(place.path().join("output/towers.csv"), "id,city\n1,x\n").unwrap();
    fs::write(place.path().join("output/.hidden.csv"), "id,city\n1,x\n").unwrap();
    let output = place.cdr("stats --from output --format json");
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(report["records"], 6_000);
    let log = log(&output);
    assert!(log.contains("WARNING - left out: output/towers.csv has the columns id, city;"), "{log}");
    assert!(!log.contains(".hidden"), "{log}");
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_not_passed_over() {
    let place = Place::new();
    assert!(place.cdr("run --env dev --sinks directory --total-seconds 3000").status.success());
    let garbage = "msisdn,start_time,call_duration_sec\n1,20240101120000,5\n2,then,5\n";
    fs::write(place.path().join("output/garbage.csv"), garbage).unwrap();
    let output = place.cdr("stats --from output --check --format json");
    assert_eq!(output.status.code(), Some(6));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&report["records"], &report["unreadable"]), (&6_000.into(), &2.into()));
    assert!(log(&output).contains("garbage.csv, line 2: field start_time is"), "{}", log(&output));
}

#[test]
fn a_flat_rhythm_is_measured_against_a_flat_one() {
    let place = Place::new();
    let days = "--env dev --profile realistic --rhythm flat --total-seconds 604800";
    let (_, report) = report(&place, days);
    assert!(found(&report, "hours of working days, voice").abs() < 0.3, "{report}");
    assert!(found(&report, "Saturdays and Sundays, data").abs() < 1.0, "{report}");
}
