//! Requests in this process, on a store that holds what the generator made.

mod refusals;

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::body::{Body, to_bytes};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use base64ct::{Base64, Encoding};
use cdr_model::usage::{Interaction, Load, Sighting, Used};
use cdr_model::{CallType, DataType, Generator, Micros, PartIndex, Plan, Scenario, Shard};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::processing::store::{Added, Batch, OffsetAdvance, Store};
use crate::secret::Secret;

const USER: &str = "cdr_usage";
const PASSWORD: &str = "geheim:ü";

/// An API, and the file that it answers from.
struct Scene {
    router: Router,
    readiness: Readiness,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Scene {
    fn with(interactions: &[Interaction]) -> Scene {
        let scene = Scene::without_store();
        let mut store = Store::open(&StoreConfig::File(scene.file.clone())).unwrap();
        let partition = ("cdr_data".to_owned(), 0);
        let advance = OffsetAdvance { from: None, to: 1, counted: 1, dead: 0 };
        let advances = BTreeMap::from([(partition, advance)]);
        let mut batch = Batch { advances, interactions: interactions.to_vec() };
        assert_eq!(store.add(&mut batch).unwrap(), Added::Stored);
        scene
    }

    fn without_store() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        Scene::at(folder.path().join("usage.db"), folder)
    }

    fn at(file: PathBuf, folder: tempfile::TempDir) -> Scene {
        let readiness = Readiness::starting();
        let settings =
            ApiConfig { bind: None, port: 0, user: USER.to_owned(), password: Secret::new(PASSWORD) };
        let tariff = Tariff {
            zar_per_gb: Decimal::from(49),
            zar_per_minute: Decimal::ONE,
            wak_per_zar: Decimal::ONE,
        };
        let router = router(StoreConfig::File(file.clone()), tariff, &settings, readiness.clone());
        Scene { router, readiness, file, _folder: folder }
    }

    async fn request(&self, method: Method, path: &str, authorization: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, Some(&basic(USER, PASSWORD))).await
    }

    async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.header(CONTENT_TYPE), "application/json", "{path}");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{path}");
        answer.json()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()))
}

/// A refusal, and its content.
fn check_problem(answer: &Answer, status: StatusCode) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header(CONTENT_TYPE), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["title"], status.canonical_reason().unwrap());
    problem
}

/// Records of few subscribers at few towers, from the evening of two days and the beginning of the
/// first.
fn truth() -> Vec<Interaction> {
    let scenario = Scenario { subscribers: 20, towers: 10, ..Scenario::default() };
    let generator = Generator::new(&scenario).unwrap();
    let plan = Plan::new(&Scenario { total_seconds: 200_000, ..scenario }, Shard::WHOLE).unwrap();
    let parts =
        [0, 1, 2, 3, 4, 82, 83, 84, 85, 86, 87, 170, 171, 172].map(|part| plan.part(PartIndex(part)));
    let mut interactions = Vec::new();
    for part in &parts {
        for stream in plan.streams() {
            generator.interactions(stream, part, |one| interactions.push(one));
        }
    }
    interactions
}

/// `2024-01-01 01:00:00` of `2024-01-01 01:29:59.999999`, for 13 characters.
fn beginning(time: Micros, length: usize) -> String {
    let time = time.to_string();
    format!("{}{}", &time[..length], &"0000-00-00 00:00:00"[length..])
}

/// Computed from the texts of times, which sort as times do.
fn expected_periods(truth: &[Interaction], msisdn: u64, start: &str, end: &str) -> Vec<Value> {
    let mut totals: BTreeMap<(String, u8), u64> = BTreeMap::new();
    for one in truth.iter().filter(|one| one.msisdn == msisdn) {
        let (length, amount) = match one.used {
            Used::Data { up_bytes, down_bytes, .. } => (10, up_bytes + down_bytes),
            Used::Call { seconds, .. } => (13, seconds),
        };
        let begin = beginning(one.time, length);
        if begin.as_str() < end && begin[..length] >= start[..length] {
            *totals.entry((begin, one.used.usage_type().number())).or_default() += amount;
        }
    }
    let usage_type = |number| cdr_model::usage::UsageType::from_number(number).unwrap();
    let entry = |((begin, number), total): ((String, u8), u64)| {
        json!({
            "category": usage_type(number).category(), "usage_type": usage_type(number).name(),
            "total": total, "measure": usage_type(number).measure(), "start_time": begin,
        })
    };
    totals.into_iter().map(entry).collect()
}

#[tokio::test]
async fn data_usage_is_what_the_records_say_in_days_and_hours() {
    let truth = truth();
    let scene = Scene::with(&truth);
    let msisdn = truth[0].msisdn;
    for (start, end) in [
        ("2024-01-01 01:02:03", "2024-01-02 00:00:00"),
        ("2024-01-01 00:00:00", "2024-01-04 00:00:00"),
        ("2024-01-01 23:59:59", "2024-01-02 00:00:01"),
        ("2024-01-02 00:00:00", "2024-01-02 00:30:00"),
        ("2023-12-31 00:00:00", "2024-01-01 00:00:00"),
        ("2024-01-01 05:00:00", "2024-01-01 06:00:00"),
        ("2025-01-01 00:00:00", "2026-01-01 00:00:00"),
    ] {
        let digits = |text: &str| text.replace(['-', ' ', ':'], "");
        let path =
            format!("/data_usage?msisdn={msisdn}&start_time={}&end_time={}", digits(start), digits(end));
        let usage = expected_periods(&truth, msisdn, start, end);
        let expected = json!(
            {"msisdn": msisdn.to_string(), "start_time": start, "end_time": end, "usage": usage}
        );
        assert_eq!(scene.get_json(&path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn the_example_of_the_contract_is_answered_to_the_byte() {
    let at = |time: &str, used| Interaction {
        msisdn: 27_821_234_567,
        tower: 7,
        time: Micros::parse(time.as_bytes()).unwrap(),
        used,
    };
    let video = |up_bytes, down_bytes| Used::Data { data_type: DataType::Video, up_bytes, down_bytes };
    let call = |seconds| Used::Call { call_type: CallType::Voice, seconds };
    let scene = Scene::with(&[
        at("2024-01-01 00:30:00.000000", video(312_323, 1_000_000)),
        at("2024-01-01 23:30:00.000000", video(1_000_000, 10_000_000)),
        at("2024-01-01 00:59:59.999999", call(1)),
        at("2024-01-01 01:00:00.000000", call(60)),
        at("2024-01-01 01:59:59.999999", call(29)),
        at("2024-01-02 00:00:00.000000", call(1)),
        at("2024-01-02 00:00:00.000000", video(1, 1)),
    ]);
    let answer = scene
        .get("/data_usage?msisdn=27821234567&start_time=20240101010203&end_time=20240102000000")
        .await;
    assert_eq!(
        answer.text,
        r#"{"msisdn":"27821234567","start_time":"2024-01-01 01:02:03","end_time":"2024-01-02 00:00:00","#
            .to_owned()
            + r#""usage":[{"category":"data","usage_type":"video","total":12312323,"measure":"bytes","start_time":"2024-01-01 00:00:00"},"#
            + r#"{"category":"call","usage_type":"voice","total":89,"measure":"seconds","start_time":"2024-01-01 01:00:00"}]}"#
    );
}

/// ZAR and WAK at 49 a GB and 1 a minute, in whole numbers: 3 * 10^7 is what both prices divide.
fn expected_charge(bytes: u64, seconds: u64) -> Value {
    let cents = (2 * (bytes * 147 + seconds * 50_000_000) + 30_000_000) / 60_000_000;
    let amount = format!("{}.{:02}", cents / 100, cents % 100);
    json!({"zar": amount, "wak": amount})
}

/// Sums over records, as an object without types.
fn expected_total(records: &[&Interaction]) -> Value {
    let (mut up, mut down, mut calls, mut seconds_of_calls) = (0, 0, 0, 0);
    for one in records {
        match one.used {
            Used::Data { up_bytes, down_bytes, .. } => (up, down) = (up + up_bytes, down + down_bytes),
            Used::Call { seconds, .. } => {
                (calls, seconds_of_calls) = (calls + 1, seconds_of_calls + seconds)
            }
        }
    }
    json!({
        "records": records.len(), "up_bytes": up, "down_bytes": down, "calls": calls,
        "call_seconds": seconds_of_calls, "charge": expected_charge(up + down, seconds_of_calls),
    })
}

/// Those that begin on days from `from` to before `to`.
fn within<'a>(truth: &'a [Interaction], from: &str, to: &str) -> Vec<&'a Interaction> {
    truth.iter().filter(|one| (from..to).contains(&&one.time.to_string()[..10])).collect()
}

#[tokio::test]
async fn days_are_what_the_records_say_and_charged_once() {
    let truth = truth();
    let msisdn = truth[5].msisdn;
    let scene = Scene::with(&truth);
    let own: Vec<_> = truth.iter().filter(|one| one.msisdn == msisdn).copied().collect();
    let answer = scene.get_json(&format!("/usage/{msisdn}?from=2024-01-01&to=2024-01-03")).await;
    assert_eq!(answer["msisdn"], msisdn.to_string());
    assert_eq!((&answer["from"], &answer["to"]), (&json!("2024-01-01"), &json!("2024-01-03")));
    assert_eq!(answer["total"], expected_total(&within(&own, "2024-01-01", "2024-01-03")));
    let days = answer["days"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    for (day, (date, next)) in
        days.iter().zip([("2024-01-01", "2024-01-02"), ("2024-01-02", "2024-01-03")])
    {
        let of_day = within(&own, date, next);
        assert_eq!(day["date"], date);
        let Value::Object(expected) = expected_total(&of_day) else { unreachable!() };
        assert!(expected.iter().all(|(name, value)| &day[name] == value), "{day} {expected:?}");
        check_types(&day["usage"], &of_day);
    }
    let later = scene.get_json(&format!("/usage/{msisdn}?from=2024-01-03&to=2025-01-03")).await;
    assert_eq!(later["total"], expected_total(&within(&own, "2024-01-03", "2025-01-03")));
    assert_eq!(later["days"].as_array().unwrap().len(), 1);
}

fn check_types(usage: &Value, records: &[&Interaction]) {
    let mut seen = 0;
    for entry in usage.as_array().unwrap() {
        let of_type: Vec<_> = records
            .iter()
            .copied()
            .filter(|one| {
                let usage_type = one.used.usage_type();
                entry["category"] == usage_type.category() && entry["usage_type"] == usage_type.name()
            })
            .collect();
        let total = expected_total(&of_type);
        let names: &[&str] = match entry["category"] == "data" {
            true => &["records", "up_bytes", "down_bytes"],
            false => &["calls", "call_seconds"],
        };
        assert!(names.iter().all(|name| entry[name] == total[name]), "{entry} {total}");
        assert_eq!(entry.as_object().unwrap().len(), names.len() + 2);
        seen += of_type.len();
    }
    assert_eq!(seen, records.len());
}

#[tokio::test]
async fn dwells_are_those_of_the_records_within_the_days() {
    let truth = truth();
    let scene = Scene::with(&truth);
    let mut found = 0;
    for msisdn in truth.iter().map(|one| one.msisdn).take(5) {
        let own: Vec<_> = truth.iter().filter(|one| one.msisdn == msisdn).copied().collect();
        let of_days = within(&own, "2024-01-01", "2024-01-03");
        let mut sightings: Vec<_> =
            of_days.iter().map(|one| Sighting { time: one.time, tower: one.tower }).collect();
        let expected: Vec<_> = cdr_model::usage::dwells(&mut sightings)
            .iter()
            .map(|dwell| {
                json!({
                    "tower_id": dwell.tower, "start_time": dwell.start.to_string(),
                    "end_time": dwell.end.to_string(), "interactions": dwell.interactions,
                })
            })
            .collect();
        found += expected.len();
        let answer = scene.get_json(&format!("/usage/{msisdn}?from=2024-01-01&to=2024-01-03")).await;
        assert_eq!(answer["dwells"], json!(expected));
    }
    assert!(found > 0, "there are dwells to compare");
}

#[tokio::test]
async fn the_load_of_a_tower_is_what_the_records_say() {
    let truth = truth();
    let tower = truth[3].tower;
    let scene = Scene::with(&truth);
    let mut loads: BTreeMap<String, Load> = BTreeMap::new();
    for one in within(&truth, "2024-01-01", "2024-01-03").iter().filter(|one| one.tower == tower) {
        let minute: u32 = one.time.to_string()[14..16].parse().unwrap();
        let quarter = format!("{}:{:02}:00", &one.time.to_string()[..13], minute / 15 * 15);
        *loads.entry(quarter).or_default() += Load::from(one.used);
    }
    assert!(loads.len() > 10);
    let quarters: Vec<_> = loads
        .iter()
        .map(|(begin, load)| {
            json!({
                "start_time": begin, "sessions": load.sessions, "bytes": load.bytes,
                "calls": load.calls, "call_seconds": load.call_seconds,
            })
        })
        .collect();
    let expected =
        json!({"tower_id": tower, "from": "2024-01-01", "to": "2024-01-03", "quarters": quarters});
    let path = format!("/towers/{tower}/load?from=2024-01-01&to=2024-01-03");
    assert_eq!(scene.get_json(&path).await, expected);
}

#[tokio::test]
async fn who_is_not_known_has_no_usage() {
    let scene = Scene::with(&[]);
    let range = "from=2024-01-01&to=2024-01-03";
    let usage =
        scene.get_json("/data_usage?msisdn=1&start_time=20240101000000&end_time=20240101000001").await;
    assert_eq!(usage["usage"], json!([]));
    let days = scene.get_json(&format!("/usage/999999999999999?{range}")).await;
    assert_eq!((&days["days"], &days["dwells"]), (&json!([]), &json!([])));
    assert_eq!(days["total"], expected_total(&[]));
    assert_eq!(scene.get_json(&format!("/towers/9/load?{range}")).await["quarters"], json!([]));
}
