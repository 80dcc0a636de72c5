//! What is refused, what fails, and what the document says of it.

use super::*;

#[tokio::test]
async fn each_wrong_parameter_is_named() {
    const DAYS: &str = "from=2024-01-01&to=2024-01-02";
    const TIMES: &str = "start_time=20240101000000&end_time=20240102000000";
    let scene = Scene::with(&[]);
    let cases = [
        (format!("/data_usage?{TIMES}"), "msisdn", "msisdn is missing; it is 1 to 15 digits"),
        (format!("/data_usage?msisdn=&{TIMES}"), "msisdn", "msisdn is \"\", not 1 to 15 digits"),
        (format!("/data_usage?msisdn=1234567890123456&{TIMES}"), "msisdn", "not 1 to 15 digits"),
        (format!("/data_usage?msisdn=027&{TIMES}"), "msisdn", "that do not begin with 0"),
        (format!("/data_usage?msisdn=2%007&{TIMES}"), "msisdn", "msisdn is \"2\\07\""),
        (format!("/data_usage?msisdn=%ff&{TIMES}"), "msisdn", "msisdn is \"\u{fffd}\""),
        (format!("/data_usage?msisdn={}&{TIMES}", "9".repeat(999)), "msisdn", "999…\""),
        (format!("/data_usage?msisdn=1&msisdn=1&{TIMES}"), "msisdn", "msisdn is given twice"),
        (
            format!("/data_usage?msisdn=1&{TIMES}&limit=1"),
            "limit",
            "\"limit\" is not known here; there are",
        ),
        ("/data_usage?msisdn=1&start_time=20240101000000".to_owned(), "end_time", "end_time is missing"),
        (
            "/data_usage?msisdn=1&end_time=20240101000000".to_owned(),
            "start_time",
            "start_time is missing",
        ),
        (
            format!("/data_usage?msisdn=1&{}", TIMES.replace("0102", "0230")),
            "end_time",
            "20240230000000",
        ),
        (
            format!("/data_usage?msisdn=1&{}", TIMES.replace("2024", "24")),
            "start_time",
            "YYYYMMDDHHMMSS",
        ),
        (
            format!("/data_usage?msisdn=1&{}", TIMES.replace("0102", "0101")),
            "end_time",
            "not later than",
        ),
        (
            format!("/data_usage?msisdn=1&{}", TIMES.replace("=20240102", "=20260102")),
            "end_time",
            "366 days",
        ),
        (format!("/usage/x?{DAYS}"), "msisdn", "msisdn is \"x\", not 1 to 15 digits"),
        (format!("/usage/%ff?{DAYS}"), "msisdn", "msisdn is not UTF-8"),
        (
            format!("/usage/1?{DAYS}&msisdn=1"),
            "msisdn",
            "\"msisdn\" is not known here; there are from, to",
        ),
        ("/usage/1".to_owned(), "from", "from is missing; it is a date as YYYY-MM-DD"),
        ("/usage/1?from=2024-01-01&to=20240102".to_owned(), "to", "not a date as YYYY-MM-DD"),
        ("/usage/1?from=2024-01-01&to=2023-12-31".to_owned(), "to", "to is not later than from"),
        (
            "/usage/1?from=2024-01-01&to=2025-01-02".to_owned(),
            "to",
            "more than 366 days later than from",
        ),
        (format!("/towers/0/load?{DAYS}"), "id", "id is \"0\", not a whole number from 1 to 4294967295"),
        (format!("/towers/4294967296/load?{DAYS}"), "id", "not a whole number"),
        ("/towers/1/load?from=2024-01-01&to=2024-02-02".to_owned(), "to", "more than 31 days"),
    ];
    for (path, parameter, detail) in cases {
        let problem = check_problem(&scene.get(&path).await, StatusCode::BAD_REQUEST);
        assert_eq!(problem["parameter"], parameter, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{path}: {problem}");
    }
}

const USAGE_PATHS: [&str; 3] = [
    "/data_usage?msisdn=1&start_time=20240101000000&end_time=20240102000000",
    "/usage/1?from=2024-01-01&to=2024-01-02",
    "/towers/1/load?from=2024-01-01&to=2024-01-02",
];

#[tokio::test]
async fn usage_is_for_those_who_know_the_credentials() {
    let scene = Scene::with(&[]);
    let right = basic(USER, PASSWORD);
    let wrong = [
        None,
        Some(basic("root", PASSWORD)),
        Some(basic(USER, "password")),
        Some(basic(USER, "")),
        Some(right.replace("Basic", "Bearer")),
        Some("Basic".to_owned()),
        Some("Basic !!".to_owned()),
        Some(String::new()),
    ];
    for path in USAGE_PATHS {
        for authorization in &wrong {
            let answer = scene.request(Method::GET, path, authorization.as_deref()).await;
            check_problem(&answer, StatusCode::UNAUTHORIZED);
            assert_eq!(answer.header(WWW_AUTHENTICATE), "Basic realm=\"cdr usage\", charset=\"UTF-8\"");
        }
        assert_eq!(
            scene.request(Method::GET, path, Some(&right)).await.status,
            StatusCode::OK,
            "{path}"
        );
        // Whoever may not query does not learn what is wrong with the query either.
        let (path, _) = path.split_once('?').unwrap();
        check_problem(&scene.request(Method::GET, path, None).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_as_problems() {
    let scene = Scene::with(&[]);
    for path in ["/", "/usage", "/usage/", "/usage/1/2", "/data_usage/", "/towers/1", "/%ff"] {
        check_problem(&scene.get(path).await, StatusCode::NOT_FOUND);
    }
    for path in USAGE_PATHS.into_iter().chain(["/healthz", "/readyz", "/openapi.json"]) {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            let answer = scene.request(method, path, Some(&basic(USER, PASSWORD))).await;
            check_problem(&answer, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.header(ALLOW), "GET,HEAD", "{path}");
        }
    }
}

/// The store's name and its error are for the log, not for clients.
#[track_caller]
fn check_store_fails(answer: &Answer) {
    let problem = check_problem(answer, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["detail"], "the usage store does not answer; try again later");
    assert_eq!(answer.header(RETRY_AFTER), "5");
    assert!(!answer.text.contains("usage.db"), "{}", answer.text);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_tried_again_by_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let within = folder.path().join("not-yet");
    let scene = Scene::at(within.join("usage.db"), folder);
    for path in USAGE_PATHS {
        check_store_fails(&scene.get(path).await);
    }
    std::fs::create_dir(&within).unwrap();
    for path in USAGE_PATHS {
        scene.get_json(path).await;
    }
}

#[tokio::test]
async fn a_store_that_fails_is_opened_again() {
    let scene = Scene::with(&[]);
    scene.get_json(USAGE_PATHS[0]).await;
    let other = rusqlite::Connection::open(&scene.file).unwrap();
    other.execute_batch("ALTER TABLE usage RENAME TO away").unwrap();
    check_store_fails(&scene.get(USAGE_PATHS[0]).await);
    other.execute_batch("ALTER TABLE away RENAME TO usage").unwrap();
    scene.get_json(USAGE_PATHS[0]).await;
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let truth = truth();
    let scene = Scene::with(&truth);
    let path = format!("/usage/{}?from=2024-01-01&to=2024-01-03", truth[0].msisdn);
    let expected = scene.get_json(&path).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let request = Request::get(&path).header(AUTHORIZATION, basic(USER, PASSWORD));
        requests.spawn(scene.router.clone().oneshot(request.body(Body::empty()).unwrap()));
    }
    while let Some(response) = requests.join_next().await {
        let body = to_bytes(response.unwrap().unwrap().into_body(), usize::MAX).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}

#[tokio::test]
async fn health_and_readiness_need_no_credentials() {
    let scene = Scene::without_store();
    let get = async |path| scene.request(Method::GET, path, None).await;
    let alive = get("/healthz").await;
    assert_eq!((alive.status, alive.text.as_str()), (StatusCode::OK, "alive\n"));
    let starting = check_problem(&get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(starting["detail"], "the stream processor is starting");
    scene.readiness.set(None);
    let ready = get("/readyz").await;
    assert_eq!((ready.status, ready.text.as_str()), (StatusCode::OK, "ready\n"));
    scene.readiness.set(Some("no partition is assigned"));
    let waiting = check_problem(&get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(waiting["detail"], "no partition is assigned");
}

/// A path of the document with its parameters' examples, but without one of them.
fn example(path: &str, operation: &Value, without: Option<&str>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (mut path, mut query) = (path.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, value) = (parameter["name"].as_str().unwrap(), text(&parameter["example"]));
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            _ if Some(name) == without => {}
            _ => query.push(format!("{name}={value}")),
        }
    }
    format!("{path}?{}", query.join("&"))
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let scene = Scene::with(&truth());
    scene.readiness.set(None);
    let served = scene.request(Method::GET, "/openapi.json", None).await;
    assert_eq!((served.status, served.header(CONTENT_TYPE)), (StatusCode::OK, "application/json"));
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut known: Vec<_> = paths.keys().map(String::as_str).collect();
    known.sort_unstable();
    let routes =
        ["/data_usage", "/healthz", "/openapi.json", "/readyz", "/towers/{id}/load", "/usage/{msisdn}"];
    assert_eq!(known, routes);
    for (path, methods) in paths {
        assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["get"], "{path}");
        let operation = &methods["get"];
        let answer = scene.get(&example(path, operation, None)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        let is_public = scene.request(Method::GET, &example(path, operation, None), None).await.status
            != StatusCode::UNAUTHORIZED;
        assert_eq!(operation["security"] == json!([]), is_public, "{path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap();
                let answer = scene.get(&example(path, operation, Some(name))).await;
                assert_eq!(check_problem(&answer, StatusCode::BAD_REQUEST)["parameter"], name);
            }
        }
    }
}
