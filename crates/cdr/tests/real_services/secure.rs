//! Brokers that want to know who one is: logins over TLS, and certificates.

use cdr_model::Shard;

use crate::support::check::{self, has_all};
use crate::support::logins::{authority, password, run, tls_file, with_password};
use crate::support::scene::Scene;

fn scene(name: &'static str) -> Scene {
    Scene::new(name, 3, 100)
}

#[test]
fn every_kind_of_login_delivers() {
    let names = ["login-plain", "login-scram-256", "login-scram-512"];
    for (name, mechanism) in names.into_iter().zip(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
        let scene = scene(name);
        let ended =
            run(&scene, "KAFKA_LOGIN_BROKERS", &password(&scene, mechanism)).flag("-vv").end().expect(0);
        let password = scene.services.variable("KAFKA_LOGIN_PASSWORD");
        assert_eq!(ended.count(password), 0, "a secret is never shown");
        check::records(&scene, &[Shard::WHOLE], 0..3);
    }
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    for (name, mechanism) in [("login-wrong-plain", "PLAIN"), ("login-wrong-scram", "SCRAM-SHA-512")] {
        let scene = scene(name);
        let wrong = "not-the-password-2718";
        let job =
            run(&scene, "KAFKA_LOGIN_BROKERS", &with_password(&scene, mechanism, wrong)).flag("-vv");
        let ended = job.end().expect(1);
        has_all(ended.line("ERROR"), &["authentication", "sasl.password"]);
        assert_eq!(ended.count(wrong), 0, "a secret is never shown");
    }
}

#[test]
fn a_broker_that_nobody_vouches_for_is_not_trusted() {
    let scene = scene("tls-stranger");
    let mut properties = password(&scene, "PLAIN");
    properties.retain(|property| *property != authority(&scene));
    let ended = run(&scene, "KAFKA_LOGIN_BROKERS", &properties).end().expect(1);
    has_all(ended.line("ERROR"), &["certificate", "ssl.ca.location"]);
}

#[test]
fn a_certificate_opens_the_door() {
    let scene = scene("tls-certificate");
    let stranger = vec!["security.protocol=ssl".to_owned(), authority(&scene)];
    let mut known = stranger.clone();
    known.push(format!("ssl.certificate.location={}", tls_file(&scene, "client.crt")));
    known.push(format!("ssl.key.location={}", tls_file(&scene, "client.key")));
    let refused = run(&scene, "KAFKA_CERTIFICATE_BROKERS", &stranger).end().expect(1);
    has_all(refused.line("ERROR"), &["certificate", "ssl.certificate.location"]);
    run(&scene, "KAFKA_CERTIFICATE_BROKERS", &known).end().expect(0);
    check::records(&scene, &[Shard::WHOLE], 0..3);
}
