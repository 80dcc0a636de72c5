//! The Docker files, the Compose stack and the README agree with the program.
//!
//! Images cannot be built everywhere, so what they must contain is checked as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use cdr::config::SETTINGS;
use cdr::settings::Environment;
use serde_yaml_ng::Value;

fn project(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Value {
    serde_yaml_ng::from_str(&project("docker-compose.yml")).unwrap()
}

fn services() -> Value {
    compose()["services"].clone()
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_sequence().unwrap_or_else(|| panic!("{value:?} is not a list"));
    texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is not text"))
}

const SERVICES: [&str; 7] =
    ["sftp", "redpanda-0", "redpanda-1", "redpanda-2", "console", "cdr", "processor"];

const BROKERS: [(&str, u16); 3] = [("redpanda-0", 19092), ("redpanda-1", 29092), ("redpanda-2", 39092)];

/// Splits `${NAME:-default}`.
fn substitution(value: &str) -> (&str, &str) {
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.and_then(|inner| inner.split_once(":-")).unwrap_or_else(|| panic!("{value} has no default"))
}

/// The prod default of the setting that an environment variable sets.
fn prod_default(variable: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.env == variable);
    let setting = setting.unwrap_or_else(|| panic!("{variable} is no setting"));
    setting.default_text(Environment::Prod, true).unwrap_or_else(|| panic!("{variable} has no default"))
}

#[test]
fn the_stack_has_the_contracts_services_under_their_own_names() {
    let services = services();
    let found: BTreeSet<_> = services.as_mapping().unwrap().keys().map(text).collect();
    assert_eq!(found, BTreeSet::from(SERVICES));
    for name in SERVICES {
        let service = &services[name];
        assert_eq!(text(&service["container_name"]), name);
        assert!(service["mem_limit"].is_string(), "{name} has no memory limit");
        assert!(text(&service["restart"]).starts_with("on-failure"), "{name}");
        let image = service["image"].as_str();
        let pinned = image.is_some_and(|image| image.contains(':') && !image.ends_with(":latest"));
        assert!(pinned || service["build"].is_string(), "{name}: an image needs a version");
    }
}

#[test]
fn the_ports_are_the_contracts() {
    let services = services();
    assert_eq!(strings(&services["sftp"]["ports"]), ["10022:22"]);
    assert_eq!(strings(&services["console"]["ports"]), ["18084:8080"]);
    assert!(services["cdr"]["ports"].is_null());
    let processor = strings(&services["processor"]["ports"]);
    assert_eq!(processor, ["${API_PUBLISH:-127.0.0.1}:18089:18089", "8000:8000"]);
    assert_eq!((prod_default("API_PORT"), prod_default("METRICS_PORT")), ("18089", "8000"));
    for (name, port) in BROKERS {
        assert_eq!(strings(&services[name]["ports"]), [format!("{port}:{port}")]);
    }
}

#[test]
fn the_brokers_are_reached_inside_and_outside_as_the_program_expects() {
    let services = services();
    let brokers = prod_default("KAFKA_BROKERS");
    for (name, port) in BROKERS {
        let command = strings(&services[name]["command"]);
        let has = |option: &str| assert!(command.iter().any(|o| o == option), "{name} lacks {option}");
        has(&format!("--kafka-addr=internal://0.0.0.0:9092,external://0.0.0.0:{port}"));
        has(&format!("--advertise-kafka-addr=internal://{name}:9092,external://localhost:{port}"));
        has("--seeds=redpanda-0:33145,redpanda-1:33145,redpanda-2:33145");
        has("--unsafe-bypass-fsync=false");
        has("redpanda.write_caching_default=false");
        has("redpanda.auto_create_topics_enabled=false");
        assert!(brokers.split(',').any(|broker| broker == format!("{name}:9092")), "{brokers}");
    }
}

#[test]
fn the_dev_environment_finds_what_the_stack_publishes() {
    let dev = |variable| {
        let setting = SETTINGS.iter().find(|setting| setting.env == variable).unwrap();
        setting.default_text(Environment::Dev, true).unwrap()
    };
    let published: Vec<_> = BROKERS.iter().map(|(_, port)| format!("localhost:{port}")).collect();
    assert_eq!(dev("KAFKA_BROKERS"), published.join(","));
    assert_eq!((dev("SFTP_HOST"), dev("SFTP_PORT")), ("localhost", "10022"));
}

#[test]
fn the_brokers_are_healthy_when_rpk_reports_so() {
    for (name, _) in BROKERS {
        let test = strings(&services()[name]["healthcheck"]["test"]);
        assert_eq!(test[0], "CMD-SHELL");
        assert!(test[1].contains("rpk cluster health") && test[1].contains("Healthy:"), "{}", test[1]);
    }
    assert!(services()["sftp"]["healthcheck"]["test"].is_sequence());
}

#[test]
fn the_generator_waits_for_all_it_needs_and_keeps_its_progress() {
    let cdr = &services()["cdr"];
    for needed in ["sftp", "redpanda-0", "redpanda-1", "redpanda-2"] {
        assert_eq!(text(&cdr["depends_on"][needed]["condition"]), "service_healthy");
    }
    assert_eq!(strings(&cdr["volumes"]), ["cdr-data:/var/lib/cdr"]);
}

#[test]
fn the_generators_defaults_are_those_of_prod() {
    let cdr = &services()["cdr"];
    let environment = cdr["environment"].as_mapping().unwrap();
    assert!(environment.len() >= 11);
    for (name, value) in environment {
        let (variable, default) = substitution(text(value));
        assert_eq!(variable, text(name));
        assert_eq!(default, prod_default(variable), "{variable}");
    }
    assert!(!environment.contains_key("USER"), "USER would choose the dev environment");
    let sftp = &services()["sftp"]["environment"];
    for name in ["SFTP_USER", "SFTP_PASSWORD"] {
        assert_eq!(sftp[name], cdr["environment"][name]);
    }
}

#[test]
fn the_processor_counts_what_the_generator_delivers_with_the_defaults_of_prod() {
    let (processor, cdr) = (&services()["processor"], &services()["cdr"]);
    assert_eq!(strings(&processor["command"]), ["process"]);
    assert_eq!(strings(&processor["volumes"]), ["processor-data:/var/lib/cdr"]);
    for (name, value) in processor["environment"].as_mapping().unwrap() {
        if text(name) == "API_BIND" {
            assert_eq!(text(value), "0.0.0.0");
            continue;
        }
        let (variable, default) = substitution(text(value));
        assert_eq!((variable, default), (text(name), prod_default(variable)));
    }
    for name in ["KAFKA_BROKERS", "TOPIC_DATA", "TOPIC_VOICE"] {
        assert_eq!(processor["environment"][name], cdr["environment"][name]);
    }
    for needed in ["redpanda-0", "redpanda-1", "redpanda-2"] {
        assert_eq!(text(&processor["depends_on"][needed]["condition"]), "service_healthy");
    }
}

#[test]
fn the_example_environment_lists_each_variable_with_its_default() {
    let compose = project("docker-compose.yml");
    let used: BTreeMap<&str, &str> = compose
        .match_indices("${")
        .map(|(at, _)| substitution(&compose[at..=at + compose[at..].find('}').unwrap()]))
        .collect();
    let example = project(".env.example");
    let lines = example.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let documented: BTreeMap<&str, &str> = lines.map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(documented, used);
}

#[test]
fn every_volume_that_a_service_uses_is_declared() {
    let compose = compose();
    let declared = compose["volumes"].as_mapping().unwrap();
    for name in SERVICES {
        let volumes = &compose["services"][name]["volumes"];
        for volume in volumes.as_sequence().into_iter().flatten() {
            let source = text(volume).split(':').next().unwrap();
            assert!(source.starts_with('.') || declared.contains_key(source), "{name}: {source}");
        }
    }
}

#[test]
fn the_image_runs_the_job_without_root_and_without_user() {
    let dockerfile = project("Dockerfile");
    for line in ["USER cdr", "STOPSIGNAL SIGTERM", "ENTRYPOINT [\"cdr\"]", "CMD [\"run\"]"] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
    assert!(!dockerfile.contains("ENV USER"));
    let manifest = project("Cargo.toml");
    let version = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next());
    assert!(dockerfile.contains(&format!("FROM rust:{}-", version.unwrap())), "{version:?}");
}
