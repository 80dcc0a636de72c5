//! The registry: every setting there is. Flags, environment variables, the keys of `cdr.toml`,
//! `cdr config` and the README's table are all made from it.

use super::setting::{Setting, list, path, properties, seconds, secret, switch, text, whole, word};
use super::values::{
    Compression, Environment, HostKeyPolicy, LineEnd, LogFormat, LogLevel, Profile, ProgressMode,
    RecordTimestamp, UploadMode,
};

/// Where `cdr.toml` is. Not in [`SETTINGS`], because the file cannot say where it is itself.
pub static CONFIG_FILE: Setting = path("config", "CDR_CONFIG", "config")
    .value("FILE")
    .unset("cdr.toml, when it exists")
    .help("configuration file, TOML");

/// About 31 years.
const TOTAL_SECONDS_MAX: u64 = 1_000_000_000;

/// A week.
const GIVE_UP_SECONDS_MAX: u64 = 604_800;

const AMOUNT: &str = "an amount from 0 to 1000000 with at most 6 decimals";

const TOPIC: &str = "a topic name of 1 to 249 characters A-Z a-z 0-9 . _ -";

/// All settings, in the order in which help and tables show them.
pub static SETTINGS: &[Setting] = &[
    // Run
    word("run.env", "CDR_ENV", "env", Environment::NAMES)
        .value("ENV")
        .unset("dev where USER is set and not empty, otherwise prod")
        .help("which defaults apply"),
    text(
        "run.name",
        "RUN_NAME",
        "run-name",
        "a name of 1 to 64 characters A-Z a-z 0-9 . _ -, not ending as -2-of-8 does",
    )
    .value("NAME")
    .default("cdr")
    .help("identity of the run: its progress and transactions carry it"),
    list("run.sinks", "SINKS", "sinks", "a comma list of sftp, kafka, directory, none twice")
        .default("sftp,kafka")
        .help("where to deliver"),
    path("run.directory", "OUTPUT_DIRECTORY", "directory")
        .default("output")
        .help("folder of the directory sink"),
    path("run.index_file", "INDEX_FILE", "index-file")
        .default("idx_data.dat")
        .help("holds the index of the last complete part"),
    text("run.shard", "SHARD", "shard", "i/n with 1 <= i <= n <= 1024")
        .value("I/N")
        .default("1/1")
        .help("which share of the parts this process delivers"),
    text("run.pace", "PACE", "pace", "max, realtime, or a factor from 0.001x to 1000000x")
        .value("PACE")
        .default("max")
        .help("simulated time per real time"),
    whole("run.rate", "RATE", "rate", 1, 10_000_000)
        .unset("by pace")
        .help("records per second and stream, in place of a pace"),
    switch("run.follow", "FOLLOW", "follow")
        .help("do not end after TOTAL_SECONDS, go on as time advances"),
    // Data
    whole("data.seed", "CDR_SEED", "seed", 0, u64::MAX)
        .default("418001")
        .help("same seed, same records"),
    text(
        "data.start",
        "START",
        "start",
        "YYYY-MM-DD, \"YYYY-MM-DD HH:MM:SS\" (year 1970 to 2199), or now",
    )
    .value("TIME")
    .default("2024-01-01 00:00:00")
    .help("simulated time at which the run begins, UTC"),
    seconds("data.total_seconds", "TOTAL_SECONDS", "total-seconds", 1, TOTAL_SECONDS_MAX)
        .dev_prod("86400", "172800")
        .help("simulated time, in seconds"),
    whole("data.line_count", "LINE_COUNT", "line-count", 1, 10_000_000)
        .default("1000")
        .help("records per file"),
    whole("data.lines_per_second", "LINES_PER_SECOND", "lines-per-second", 1, 1_000_000)
        .dev_prod("1", "5")
        .help("records per simulated second and stream"),
    word("data.profile", "PROFILE", "profile", Profile::NAMES)
        .default("uniform")
        .help("how the simulated subscribers behave"),
    whole("data.subscribers", "SUBSCRIBERS", "subscribers", 1, 1_000_000_000)
        .default("50000")
        .help("number of subscribers"),
    whole("data.destinations", "DESTINATIONS", "destinations", 1, 1_000_000_000)
        .default("50000")
        .help("number of numbers that are called"),
    whole("data.towers", "TOWERS", "towers", 1, 65_535)
        .default("2000")
        .help("number of towers; their ids count from 1"),
    whole("data.sites", "SITES", "sites", 1, 65_535).default("2000").help("number of web sites visited"),
    whole("data.country", "COUNTRY_CODE", "country-code", 1, 999)
        .value("CODE")
        .default("27")
        .help("E.164 country code of the subscribers"),
    list(
        "data.mobile_prefixes",
        "MOBILE_PREFIXES",
        "mobile-prefixes",
        "a comma list of 1 to 6 digits each, none twice",
    )
    .unset("by country")
    .help("digits after the country code with which mobile numbers begin"),
    whole("data.subscriber_digits", "SUBSCRIBER_DIGITS", "subscriber-digits", 1, 9)
        .unset("by country")
        .help("digits of a number after country code and prefix"),
    word("files.line_end", "LINE_END", "line-end", LineEnd::NAMES)
        .default("lf")
        .help("line ends of the CSV files"),
    // SFTP
    text("sftp.host", "SFTP_HOST", "sftp-host", "a host name or address")
        .value("HOST")
        .dev_prod("localhost", "sftp")
        .help("SFTP server"),
    whole("sftp.port", "SFTP_PORT", "sftp-port", 1, 65_535)
        .value("PORT")
        .dev_prod("10022", "22")
        .help("port of the SFTP server"),
    text("sftp.user", "SFTP_USER", "sftp-user", "a user name")
        .value("NAME")
        .default("cdr_data")
        .help("user at the SFTP server"),
    secret("sftp.password", "SFTP_PASSWORD").default("password").help("password at the SFTP server"),
    path("sftp.password_file", "SFTP_PASSWORD_FILE", "sftp-password-file")
        .value("FILE")
        .help("file that holds the password; an end of line after it is removed"),
    path("sftp.key_file", "SFTP_KEY_FILE", "sftp-key-file")
        .value("FILE")
        .help("private key to sign in with"),
    secret("sftp.key_passphrase", "SFTP_KEY_PASSPHRASE").help("passphrase of the private key"),
    switch("sftp.agent", "SFTP_AGENT", "sftp-agent").help("sign in with the SSH agent's keys"),
    text("sftp.remote_path", "SFTP_REMOTE_PATH", "sftp-remote-path", "a path on the server")
        .value("PATH")
        .default(".")
        .help("folder on the server; relative to the user's home there"),
    path("sftp.known_hosts", "SFTP_KNOWN_HOSTS", "sftp-known-hosts")
        .value("FILE")
        .in_home("~/.ssh/known_hosts", "known_hosts")
        .help("known host keys; without HOME: known_hosts in the working folder"),
    word("sftp.host_key_policy", "SFTP_HOST_KEY_POLICY", "sftp-host-key-policy", HostKeyPolicy::NAMES)
        .value("POLICY")
        .default("accept-new")
        .help("whether to accept a server that is not known yet; a changed key never is"),
    word("sftp.upload_mode", "SFTP_UPLOAD_MODE", "sftp-upload-mode", UploadMode::NAMES)
        .value("MODE")
        .default("rename")
        .help("upload under a temporary name and rename, or directly under the final name"),
    whole("sftp.connections", "SFTP_CONNECTIONS", "sftp-connections", 1, 64)
        .default("2")
        .help("connections to the server"),
    whole("sftp.in_flight", "SFTP_IN_FLIGHT", "sftp-in-flight", 1, 256)
        .default("16")
        .help("files uploaded at once, over all connections"),
    seconds(
        "sftp.connect_timeout_seconds",
        "SFTP_CONNECT_TIMEOUT_SECONDS",
        "sftp-connect-timeout-seconds",
        1,
        600,
    )
    .default("10")
    .help("how long to wait for a connection and sign-in, in seconds"),
    seconds(
        "sftp.request_timeout_seconds",
        "SFTP_REQUEST_TIMEOUT_SECONDS",
        "sftp-request-timeout-seconds",
        1,
        3_600,
    )
    .default("30")
    .help("how long to wait for an answer, in seconds"),
    seconds("sftp.keepalive_seconds", "SFTP_KEEPALIVE_SECONDS", "sftp-keepalive-seconds", 1, 3_600)
        .default("15")
        .help("idle time after which a sign of life is sent, in seconds"),
    seconds(
        "sftp.give_up_seconds",
        "SFTP_GIVE_UP_SECONDS",
        "sftp-give-up-seconds",
        1,
        GIVE_UP_SECONDS_MAX,
    )
    .default("300")
    .help("how long to keep trying an unreachable server, in seconds"),
    // Kafka
    list(
        "kafka.brokers",
        "KAFKA_BROKERS",
        "kafka-brokers",
        "a comma list of host:port (IPv6 in brackets)",
    )
    .dev_prod(
        "localhost:19092,localhost:29092,localhost:39092",
        "redpanda-0:9092,redpanda-1:9092,redpanda-2:9092",
    )
    .help("brokers to find the cluster by"),
    text("kafka.topic_data", "TOPIC_DATA", "topic-data", TOPIC)
        .value("TOPIC")
        .default("cdr_data")
        .help("topic of data records"),
    text("kafka.topic_voice", "TOPIC_VOICE", "topic-voice", TOPIC)
        .value("TOPIC")
        .default("cdr_voice")
        .help("topic of voice records"),
    text("kafka.topic_progress", "TOPIC_PROGRESS", "topic-progress", TOPIC)
        .value("TOPIC")
        .default("cdr_progress")
        .help("topic of the runs' progress"),
    whole("kafka.partitions", "KAFKA_PARTITIONS", "kafka-partitions", 1, 10_000)
        .default("3")
        .help("partitions of a topic that has to be created"),
    whole("kafka.replication", "KAFKA_REPLICATION", "kafka-replication", 0, 100).default("0").help(
        "replicas of a topic that has to be created; 0: the smaller of 3 and the number of brokers",
    ),
    word("kafka.compression", "KAFKA_COMPRESSION", "kafka-compression", Compression::NAMES)
        .default("lz4")
        .help("compression of record batches"),
    word("kafka.timestamp", "KAFKA_TIMESTAMP", "kafka-timestamp", RecordTimestamp::NAMES)
        .default("send")
        .help("a record's timestamp: time of sending, or the event's own time"),
    whole(
        "kafka.transaction_records",
        "KAFKA_TRANSACTION_RECORDS",
        "kafka-transaction-records",
        1,
        10_000_000,
    )
    .default("400000")
    .help("records per transaction at most"),
    whole(
        "kafka.transaction_bytes",
        "KAFKA_TRANSACTION_BYTES",
        "kafka-transaction-bytes",
        1_024,
        1_073_741_824,
    )
    .value("BYTES")
    .default("100663296")
    .help("bytes per transaction at most (100,663,296 are 96 MiB)"),
    whole("kafka.transaction_ms", "KAFKA_TRANSACTION_MS", "kafka-transaction-ms", 50, 60_000)
        .value("MS")
        .default("1000")
        .help("how long a transaction stays open at most at a slow pace, in milliseconds"),
    whole(
        "kafka.transaction_timeout_ms",
        "KAFKA_TRANSACTION_TIMEOUT_MS",
        "kafka-transaction-timeout-ms",
        1_000,
        900_000,
    )
    .value("MS")
    .default("60000")
    .help("after which the broker aborts what a vanished producer left open, in milliseconds"),
    seconds(
        "kafka.give_up_seconds",
        "KAFKA_GIVE_UP_SECONDS",
        "kafka-give-up-seconds",
        1,
        GIVE_UP_SECONDS_MAX,
    )
    .default("300")
    .help("how long to keep trying unreachable brokers, or the stream processor's store, in seconds"),
    properties("kafka.properties", "KAFKA_PROPERTIES", "kafka-property")
        .help("further librdkafka property, such as security.protocol=ssl; repeatable"),
    text("kafka.topic_dead_letter", "TOPIC_DEAD_LETTER", "topic-dead-letter", TOPIC)
        .value("TOPIC")
        .default("cdr_dead_letter")
        .help("topic of messages that the stream processor cannot use"),
    // Processor
    text("process.group", "PROCESS_GROUP", "process-group", "a name of 1 to 249 characters")
        .value("NAME")
        .default("cdr-summary-unified")
        .help("consumer group of the stream processor"),
    whole("process.batch_records", "PROCESS_BATCH_RECORDS", "process-batch-records", 1, 1_000_000)
        .default("100000")
        .help("records that are stored at once at most"),
    whole("process.batch_ms", "PROCESS_BATCH_MS", "process-batch-ms", 10, 60_000)
        .value("MS")
        .default("500")
        .help("how long records wait to be stored at most, in milliseconds"),
    path("store.path", "STORE_PATH", "store-path")
        .value("FILE")
        .default("usage.db")
        .help("SQLite file that keeps the usage"),
    secret("store.url", "STORE_URL")
        .unset("the file is used")
        .help("PostgreSQL that keeps the usage instead, for several processors: postgres://user:password@host/name"),
    text("tariff.zar_per_gb", "ZAR_PER_GB", "zar-per-gb", AMOUNT)
        .value("ZAR")
        .default("49")
        .help("price of 10^9 bytes of data"),
    text("tariff.zar_per_minute", "ZAR_PER_MINUTE", "zar-per-minute", AMOUNT)
        .value("ZAR")
        .default("1")
        .help("price of a minute of a call, billed per second"),
    text("tariff.wak_per_zar", "WAK_PER_ZAR", "wak-per-zar", AMOUNT)
        .value("WAK")
        .default("1.0")
        .help("rate of exchange"),
    text("api.bind", "API_BIND", "api-bind", "an address")
        .value("ADDRESS")
        .unset("127.0.0.1 while the password is the default, otherwise 0.0.0.0")
        .help("where the usage API listens"),
    whole("api.port", "API_PORT", "api-port", 0, 65_535)
        .value("PORT")
        .default("18089")
        .help("port of the usage API; 0 for one that is free"),
    text("api.user", "API_USER", "api-user", "a user name without a colon")
        .value("NAME")
        .default("cdr_data")
        .help("user of the usage API"),
    secret("api.password", "API_PASSWORD").default("password").help("password of the usage API"),
    text("metrics.bind", "METRICS_BIND", "metrics-bind", "an address")
        .value("ADDRESS")
        .dev_prod("127.0.0.1", "0.0.0.0")
        .help("where metrics are served"),
    whole("metrics.port", "METRICS_PORT", "metrics-port", 0, 65_535)
        .value("PORT")
        .default("8000")
        .help("port of the metrics; 0 for one that is free"),
    // Logs
    word("log.level", "LOG_LEVEL", "log-level", LogLevel::NAMES)
        .value("LEVEL")
        .default("info")
        .help("least severe level that is logged"),
    word("log.format", "LOG_FORMAT", "log-format", LogFormat::NAMES)
        .value("FORMAT")
        .default("text")
        .help("log lines as text, or as JSON objects"),
    word("log.progress", "PROGRESS", "progress", ProgressMode::NAMES)
        .value("MODE")
        .default("auto")
        .help("bars, log lines or nothing; auto: bars on a terminal, lines elsewhere"),
];

/// The setting with this key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
