//! Signing in at Kafka brokers.

use super::scene::{Job, Scene};

/// A run to the brokers' listener of this kind, with further properties of the client.
pub fn run(scene: &Scene, listener: &str, properties: &[String]) -> Job {
    let brokers = scene.services.variable(listener);
    let job = scene.run().with("SINKS", "kafka").with("KAFKA_BROKERS", brokers);
    job.with("KAFKA_PROPERTIES", properties.join(","))
}

pub fn tls_file(scene: &Scene, name: &str) -> String {
    format!("{}/{name}", scene.services.variable("KAFKA_TLS_DIR"))
}

/// Who vouches for the brokers.
pub fn authority(scene: &Scene) -> String {
    format!("ssl.ca.location={}", tls_file(scene, "ca.pem"))
}

/// With the right password.
pub fn password(scene: &Scene, mechanism: &str) -> Vec<String> {
    with_password(scene, mechanism, scene.services.variable("KAFKA_LOGIN_PASSWORD"))
}

pub fn with_password(scene: &Scene, mechanism: &str, password: &str) -> Vec<String> {
    vec![
        "security.protocol=sasl_ssl".to_owned(),
        authority(scene),
        format!("sasl.mechanism={mechanism}"),
        format!("sasl.username={}", scene.services.variable("KAFKA_LOGIN_USER")),
        format!("sasl.password={password}"),
    ]
}
