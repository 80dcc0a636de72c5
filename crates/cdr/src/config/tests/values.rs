//! Which values are allowed, alone and together, and how the others are refused.

use std::time::Duration;

use cdr_model::{FileFormat, LineEnd, MessageFormat, Profile, Scenario, Shard, Stream, Streams};
use rust_decimal::Decimal;

use super::*;
use crate::delivery::pace::Pace;
use crate::files::FileSinkKind;
use crate::files::sftp::{HostKeyPolicy, UploadMode};
use crate::processing::store::StoreConfig;
use crate::secret::Secret;
use crate::settings::Environment;
use crate::telemetry::{LogFormat, LogLevel};

/// What the user reads of this value, given by variable.
fn refused(variable: &str, value: &str) -> String {
    dev().variable(variable, value).error()
}

/// That each value, given by variable, is refused as "not `allowed`".
fn check_refused(variable: &str, values: &[&str], allowed: &str) {
    for value in values {
        assert_eq!(
            refused(variable, value),
            format!("{variable}: {value:?} from environment {variable} is not {allowed}")
        );
    }
}

fn pace(text: &str) -> Pace {
    dev().variable("PACE", text).config().run.pace
}

fn start(text: &str) -> StartTime {
    dev().variable("START", text).config().data.start
}

#[test]
fn the_defaults_of_dev_are_the_contracts() {
    let config = dev().config();
    assert_eq!(config.run.env, Environment::Dev);
    assert_eq!(config.data.start, start("2024-01-01"));
    assert_eq!(config.data.scenario, Scenario::default());
    assert_eq!(config.file_format, FileFormat::Csv(LineEnd::Lf));
    let run = config.run;
    assert_eq!((run.name.as_str(), run.pace, run.follow), ("cdr", Pace::Max, false));
    assert_eq!(run.sinks, [SinkKind::Files(FileSinkKind::Sftp), SinkKind::Kafka]);
    assert_eq!(run.index_file, Path::new("idx_data.dat"));
    assert_eq!(run.shard, Shard::WHOLE);
    let sftp = config.sftp;
    assert_eq!((sftp.host.as_str(), sftp.port, sftp.user.as_str()), ("localhost", 10_022, "cdr_data"));
    assert_eq!(sftp.password.unwrap().expose(), "password");
    assert_eq!((sftp.connections, sftp.in_flight, sftp.fsync), (2, 16, true));
    assert_eq!((sftp.host_key_policy, sftp.upload_mode), (HostKeyPolicy::AcceptNew, UploadMode::Rename));
    assert_eq!(sftp.give_up_after, Duration::from_secs(300));
    let (kafka, records) = (config.kafka, config.records);
    assert_eq!(kafka.brokers, "localhost:19092,localhost:29092,localhost:39092");
    assert_eq!((kafka.partitions, kafka.replication), (3, None));
    assert_eq!(records.message_format, MessageFormat::Json);
    assert_eq!((records.transaction_records, records.transaction_bytes), (400_000, 96 << 20));
    assert_eq!(records.transaction_open, Duration::from_secs(1));
    let process = config.process;
    assert_eq!((process.group.as_str(), process.batch_records), ("cdr-summary-unified", 100_000));
    assert_eq!(process.store, StoreConfig::File("usage.db".into()));
    let (tariff, api) = (config.tariff, config.api);
    assert_eq!([tariff.zar_per_gb, tariff.zar_per_minute], [Decimal::from(49), Decimal::ONE]);
    assert_eq!(tariff.wak_per_zar, Decimal::ONE);
    assert_eq!((api.address().to_string().as_str(), api.user.as_str()), ("127.0.0.1:18089", "cdr_data"));
    assert_eq!((config.metrics.bind.to_string().as_str(), config.metrics.port), ("127.0.0.1", 8_000));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
}

#[test]
fn an_api_whose_password_everybody_knows_answers_this_machine_only() {
    let api = |given: Given| given.config().api;
    assert_eq!(api(nothing()).address().to_string(), "127.0.0.1:18089");
    assert!(api(nothing().variable("API_PASSWORD", "password")).has_default_password());
    let chosen = api(nothing().variable("API_PASSWORD", "chosen"));
    assert_eq!(
        (chosen.address().to_string().as_str(), chosen.has_default_password()),
        ("0.0.0.0:18089", false)
    );
    let given = api(nothing().variable("API_BIND", "::1").variable("API_PORT", "1"));
    assert_eq!((given.address().to_string().as_str(), given.has_default_password()), ("[::1]:1", true));
    check_refused("API_BIND", &["localhost", "1.2.3"], "an address");
    check_refused("API_USER", &["a:b"], "a user name without a colon");
}

#[test]
fn amounts_have_a_point_and_no_sign() {
    let price = |text: &str| dev().variable("ZAR_PER_GB", text).config().tariff.zar_per_gb.to_string();
    assert_eq!([price("0"), price("49.50"), price(" 0.000001 ")], ["0", "49.50", "0.000001"]);
    let allowed = "an amount from 0 to 1000000 with at most 6 decimals";
    check_refused("ZAR_PER_GB", &["-1", "1e3", "1000000.1", "0.0000001", "x", "1,5"], allowed);
}

#[test]
fn a_database_takes_the_place_of_the_file_and_is_a_secret() {
    let given = || dev().variable("STORE_URL", "postgres://u:p@host/db");
    assert_eq!(
        given().config().process.store,
        StoreConfig::Postgres(Secret::new("postgres://u:p@host/db"))
    );
    assert!(!format!("{:?}", given().config()).contains("u:p"));
}

#[test]
fn the_defaults_of_prod_are_the_contracts() {
    let config = nothing().config();
    assert_eq!(config.run.env, Environment::Prod);
    let expected = Scenario { total_seconds: 172_800, lines_per_second: 5, ..Scenario::default() };
    assert_eq!(config.data.scenario, expected);
    assert_eq!((config.sftp.host.as_str(), config.sftp.port), ("sftp", 22));
    assert_eq!(config.kafka.brokers, "redpanda-0:9092,redpanda-1:9092,redpanda-2:9092");
    assert_eq!(config.records.topic_progress, "cdr_progress");
}

#[test]
fn only_of_the_environments_own_server_it_is_known_how_it_is_started() {
    let hint = |given: Given| given.config().sftp.start_hint;
    assert_eq!(hint(dev()), "Start it with: docker-compose up -d sftp");
    assert_eq!(hint(nothing()), "Start it with: docker-compose up -d sftp");
    assert_eq!(hint(dev().variable("SFTP_PORT", "2222")), "Check SFTP_HOST and SFTP_PORT");
    assert_eq!(hint(dev().variable("SFTP_HOST", "mine")), "Check SFTP_HOST and SFTP_PORT");
}

#[test]
fn only_of_the_environments_own_brokers_it_is_known_how_they_are_started() {
    let hint = |given: Given| given.config().kafka.start_hint.clone();
    assert!(hint(dev()).contains("docker-compose up -d redpanda-0"));
    assert!(hint(nothing()).contains("docker-compose up -d redpanda-0"));
    let as_by_default = "redpanda-0:9092,redpanda-1:9092,redpanda-2:9092";
    assert!(hint(nothing().variable("KAFKA_BROKERS", as_by_default)).contains("docker-compose"));
    assert_eq!(hint(dev().variable("KAFKA_BROKERS", "mine:9092")), "Check KAFKA_BROKERS");
}

#[test]
fn streams_are_some_of_those_that_there_are() {
    let streams = |text: &str| dev().variable("STREAMS", text).config().data.scenario.streams;
    assert_eq!(streams("voice, data"), Streams::default());
    assert_eq!(streams("voice"), Streams::of(&[Stream::Voice]));
    let names = Stream::ALL.map(Stream::short_name).join(", ");
    check_refused(
        "STREAMS",
        &["fax", "data,data", ","],
        &format!("a comma list of {names}, none twice"),
    );
}

#[test]
fn each_stream_has_a_topic() {
    let config = dev().variable("TOPIC_VOICE", "calls").config();
    assert_eq!(config.records.topics[Stream::Data], "cdr_data");
    assert_eq!(config.records.topics[Stream::Voice], "calls");
}

#[test]
fn numbers_are_whole_and_in_range() {
    check_refused(
        "LINE_COUNT",
        &["abc", "0", "10000001", "1.5", "-1", "1e3"],
        "a whole number from 1 to 10,000,000",
    );
    check_refused("TOWERS", &["65536", "0"], "a whole number from 1 to 65,535");
    check_refused("KAFKA_TRANSACTION_MS", &["49"], "a whole number from 50 to 60,000");
    check_refused(
        "CDR_SEED",
        &["18446744073709551616"],
        "a whole number from 0 to 18,446,744,073,709,551,615",
    );
    assert_eq!(dev().variable("CDR_SEED", "18446744073709551615").config().data.scenario.seed, u64::MAX);
    assert_eq!(dev().variable("LINE_COUNT", " 500 ").config().data.scenario.line_count, 500);
}

#[test]
fn a_value_by_flag_is_named_with_its_flag() {
    assert_eq!(
        dev().flag("data.line_count", "abc").error(),
        "LINE_COUNT: \"abc\" from --line-count is not a whole number from 1 to 10,000,000"
    );
    assert_eq!(
        dev().flag("run.name", "").error(),
        "RUN_NAME: \"\" from --run-name is not a name of 1 to 64 characters A-Z a-z 0-9 . _ -, not ending as -2-of-8 does"
    );
}

#[test]
fn words_are_those_listed() {
    check_refused("CDR_ENV", &["test"], "one of dev, prod");
    check_refused("LINE_END", &["LF", "\\n"], "one of lf, crlf");
    let profiles = format!("one of {}", Profile::ALL.map(Profile::name).join(", "));
    assert!(profiles.starts_with("one of uniform, realistic"));
    check_refused("PROFILE", &["real"], &profiles);
    check_refused("KAFKA_COMPRESSION", &["zip"], "one of none, gzip, snappy, lz4, zstd");
    check_refused("LOG_LEVEL", &["warning"], "one of error, warn, info, debug, trace");
    check_refused("SFTP_HOST_KEY_POLICY", &["none"], "one of accept-new, strict");
}

#[test]
fn switches_have_three_ways_to_say_yes() {
    for yes in ["true", "1", "yes", "YES"] {
        assert!(dev().variable("FOLLOW", yes).config().run.follow, "{yes}");
    }
    for no in ["false", "0", "no"] {
        assert!(!dev().variable("FOLLOW", no).config().run.follow, "{no}");
    }
    check_refused("FOLLOW", &["on", "2"], "true or false (or 1, 0, yes, no)");
}

#[test]
fn a_start_is_a_date_a_time_or_now() {
    assert_eq!(start("now"), StartTime::Now);
    assert_eq!(start("2024-02-29 23:59:59"), start("2024-02-29T23:59:59"));
    assert_eq!(start("2024-02-29"), start("2024-02-29 00:00:00"));
    check_refused(
        "START",
        &["2023-02-29", "2024-1-1", "1969-12-31", "2200-01-01", "2024-01-01 00:00:60", "today"],
        "YYYY-MM-DD, \"YYYY-MM-DD HH:MM:SS\" (year 1970 to 2199), or now",
    );
}

#[test]
fn a_pace_is_max_realtime_or_a_factor() {
    assert_eq!(pace("max"), Pace::Max);
    assert_eq!(pace("realtime"), Pace::Factor(1.0));
    assert_eq!(pace("60x"), Pace::Factor(60.0));
    assert_eq!(pace("0.5x"), Pace::Factor(0.5));
    check_refused(
        "PACE",
        &["60", "0x", "-1x", "infx", "NaNx", "x", "fast"],
        "max, realtime, or a factor from 0.001x to 1000000x",
    );
}

#[test]
fn a_rate_stands_in_place_of_a_pace() {
    let config = dev().variable("RATE", "500").config();
    assert_eq!(config.run.pace, Pace::Rate(500));
    assert_eq!(dev().variable("RATE", "5").variable("PACE", "max").config().run.pace, Pace::Rate(5));
    assert_eq!(
        dev().variable("RATE", "500").flag("run.pace", "60x").error(),
        "run.rate (environment RATE) and run.pace 60x (--pace) are both given; \
         a rate needs the pace max, so give only one of them"
    );
}

#[test]
fn following_the_clock_from_now_has_its_own_pace() {
    let now = || dev().flag("run.follow", "true").flag("data.start", "now");
    assert!(now().config().run.follow);
    assert!(now().flag("run.pace", "realtime").config().run.follow);
    assert_eq!(
        now().flag("run.pace", "60x").error(),
        "run.follow with data.start now (--start) goes with the clock, so run.pace 60x (--pace) \
         cannot make it faster or slower; use the pace max or realtime, or another start"
    );
    assert_eq!(
        now().variable("RATE", "5").error(),
        "run.follow with data.start now (--start) goes with the clock, so run.rate 5 (environment \
         RATE) cannot make it faster or slower; use the pace max or realtime, or another start"
    );
    let from_the_past = dev().flag("run.follow", "true").flag("run.pace", "60x");
    assert_eq!(from_the_past.config().run.pace, Pace::Factor(60.0));
}

#[test]
fn a_shard_is_one_of_at_most_1024() {
    let shard = |text| dev().variable("SHARD", text).config().run.shard;
    assert_eq!(shard("2/8"), Shard::new(2, 8).unwrap());
    assert_eq!(shard("1024/1024"), Shard::new(1024, 1024).unwrap());
    check_refused("SHARD", &["0/8", "9/8", "1/1025", "1", "1/", "a/b"], "i/n with 1 <= i <= n <= 1024");
}

#[test]
fn sinks_are_a_choice_without_repetition() {
    let sinks = |text| dev().variable("SINKS", text).config().run.sinks;
    assert_eq!(sinks("kafka"), [SinkKind::Kafka]);
    let files = [FileSinkKind::Directory, FileSinkKind::Sftp];
    assert_eq!(sinks("directory, sftp"), files.map(SinkKind::Files));
    check_refused(
        "SINKS",
        &["ftp", "sftp,sftp", "sftp,", ","],
        "a comma list of kafka, sftp, directory, none twice",
    );
}

#[test]
fn brokers_are_hosts_with_ports() {
    let brokers = |text| dev().variable("KAFKA_BROKERS", text).config().kafka.brokers.clone();
    assert_eq!(brokers("a:1, 10.0.0.1:9092"), "a:1,10.0.0.1:9092");
    assert_eq!(brokers("[::1]:9092,[2001:db8::7]:9093"), "[::1]:9092,[2001:db8::7]:9093");
    check_refused(
        "KAFKA_BROKERS",
        &["a", "a:0", "a:65536", ":9092", "::1:9092", "[::x]:9092", "a:1,a:1", "b c:1", "ssl://a:1"],
        "a comma list of host:port (IPv6 in brackets)",
    );
}

#[test]
fn texts_have_their_forms() {
    check_refused(
        "RUN_NAME",
        &["a b", "a/b", "é", &"x".repeat(65), "cdr-2-of-8", "a-b-02-of-1024"],
        "a name of 1 to 64 characters A-Z a-z 0-9 . _ -, not ending as -2-of-8 does",
    );
    let topic = "a topic name of 1 to 249 characters A-Z a-z 0-9 . _ -";
    check_refused("TOPIC_DATA", &["a b", ".", "..", &"x".repeat(250)], topic);
    check_refused("SFTP_HOST", &["a b", "a\n"], "a host name or address");
    let prefixes = "a comma list of 1 to 6 digits each, none twice";
    check_refused("MOBILE_PREFIXES", &["8a", "82,82", "1234567", "82,,83"], prefixes);
}

#[test]
fn only_a_run_name_that_could_be_a_shard_of_another_is_refused() {
    for name in ["cdr", "one-of-8", "cdr-2-of", "cdr-2-of-all", "2-of-8", "cdr-2-of-8-again"] {
        assert_eq!(dev().variable("RUN_NAME", name).config().run.name, name);
    }
}

#[test]
fn a_plan_needs_a_file() {
    assert_eq!(
        dev().variable("TOTAL_SECONDS", "500").error(),
        "there would be no file: TOTAL_SECONDS (500) times LINES_PER_SECOND (1) is 500 records, \
         and divided by LINE_COUNT (1000) that rounds to 0 files; \
         raise TOTAL_SECONDS or LINES_PER_SECOND, or lower LINE_COUNT to 500 or less"
    );
    assert!(dev().variable("TOTAL_SECONDS", "501").build().is_ok());
}

#[test]
fn a_plan_needs_an_interval() {
    let given = dev().variable("LINES_PER_SECOND", "1000").variable("TOTAL_SECONDS", "10");
    let with = |line_count| dev_with(&given, "LINE_COUNT", line_count);
    assert_eq!(
        with("500").error(),
        "the files would have no time between them: TOTAL_SECONDS (10) divided by 20 files \
         rounds to an interval of 0 seconds; raise LINE_COUNT to 1000 or more, \
         or lower LINES_PER_SECOND"
    );
    assert!(with("1000").build().is_ok());
    assert!(with("520").build().is_ok(), "19 files: an interval of 0.526 rounds to 1");
}

fn dev_with(given: &Given, name: &str, value: &str) -> Given {
    let variables = given.variables.clone();
    Given { variables, ..Given::default() }.variable(name, value)
}

#[test]
fn topics_differ() {
    assert_eq!(
        dev().variable("TOPIC_PROGRESS", "cdr_voice").error(),
        "kafka.topic_voice and kafka.topic_progress are both \"cdr_voice\"; \
         each needs a topic of its own"
    );
}

#[test]
fn a_transaction_closes_before_the_broker_aborts_it() {
    let given = dev().variable("KAFKA_TRANSACTION_TIMEOUT_MS", "1000");
    assert_eq!(
        given.error(),
        "kafka.transaction_ms (1000) must be lower than kafka.transaction_timeout_ms (1000), \
         or the broker aborts transactions that are still being filled"
    );
}
