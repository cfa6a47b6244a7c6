//! The envelope, whatever happens.

use reqwest::Method;
use serde_json::json;

use crate::harness::{check_meta, error_of, json_of, service};

#[tokio::test]
async fn success_has_data_and_meta() {
    let service = service().await;
    let response = service.get("/ok").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = json_of(response).await;
    assert_eq!(body["data"], json!({"name": "x"}));
    check_meta(&body);
    let response = service.send(Method::POST, "/created", &[], None).await;
    assert_eq!(response.status(), 201);
    check_meta(&json_of(response).await);
}

#[tokio::test]
async fn errors_keep_their_cause_to_themselves() {
    let service = service().await;
    let error = error_of(service.get("/nothing").await, 404, "NOT_FOUND").await;
    assert_eq!(error["message"], "key x not found");
    assert!(error["details"].is_null());
    let error = error_of(service.get("/panic").await, 500, "INTERNAL").await;
    assert!(!error.to_string().contains("secret"), "{error}");
    // And it still serves.
    assert_eq!(service.get("/ok").await.status(), 200);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let service = service().await;
    error_of(service.get("/no/such/path").await, 404, "NOT_FOUND").await;
    error_of(service.get("/").await, 404, "NOT_FOUND").await;
    error_of(service.get("/number/twelve").await, 404, "NOT_FOUND").await;
    error_of(service.get("/number/%FF").await, 400, "VALIDATION_ERROR").await;
    let error = error_of(service.get("/number/%zz").await, 400, "VALIDATION_ERROR").await;
    assert_eq!(
        error["details"],
        json!({"field": "path", "constraint": "percent-encoding"})
    );
    let response = service.send(Method::DELETE, "/ok", &[], None).await;
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
    let error = error_of(response, 405, "METHOD_NOT_ALLOWED").await;
    assert!(error["message"].as_str().unwrap().contains("DELETE"));
}

#[tokio::test]
async fn head_and_options() {
    let service = service().await;
    let response = service.send(Method::HEAD, "/ok", &[], None).await;
    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 50
    );
    assert!(response.bytes().await.unwrap().is_empty());
    assert_eq!(
        service
            .send(Method::HEAD, "/none", &[], None)
            .await
            .status(),
        404
    );

    let response = service.send(Method::OPTIONS, "/ok", &[], None).await;
    assert_eq!(response.status(), 204);
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("GET")
    );
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
    // Also where a route refuses other methods in its own words.
    let response = service.send(Method::OPTIONS, "/own", &[], None).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    let refused = service.send(Method::DELETE, "/own", &[], None).await;
    assert_eq!(
        error_of(refused, 405, "METHOD_NOT_ALLOWED").await["message"],
        "only GET"
    );
    error_of(
        service.send(Method::OPTIONS, "/none", &[], None).await,
        404,
        "NOT_FOUND",
    )
    .await;
}

#[tokio::test]
async fn request_ids() {
    let service = service().await;
    let response = service
        .send(Method::GET, "/ok", &[("x-request-id", "mine-1")], None)
        .await;
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    let body = json_of(response).await;
    check_meta(&body);
    assert_ne!(body["meta"]["request_id"], "mine-1");

    // Without one, or with one that is not fit to be echoed, ours is in both places.
    let long = "x".repeat(200);
    for headers in [
        &[][..],
        &[("x-request-id", long.as_str())][..],
        &[("x-request-id", "a b")][..],
    ] {
        let response = service.send(Method::GET, "/none", headers, None).await;
        let header = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(json_of(response).await["meta"]["request_id"], header);
    }
}

#[tokio::test]
async fn bodies_name_the_field() {
    let service = service().await;
    for (body, field, constraint) in [
        ("{}", "value", "required"),
        ("", "value", "required"),
        (r#"{"value":7}"#, "value", "type"),
        (r#"{"value":"a","vaule":1}"#, "vaule", "unknown"),
        (r#"{"value":"a","value":"b"}"#, "value", "duplicate"),
        (r#"["a"]"#, "body", "type"),
        (r#""a""#, "body", "type"),
        (r#"{"value":"a""#, "body", "json"),
    ] {
        let error = error_of(service.post("/put/k", body).await, 400, "VALIDATION_ERROR").await;
        assert_eq!(error["details"]["field"], field, "{body}: {error}");
        assert_eq!(
            error["details"]["constraint"], constraint,
            "{body}: {error}"
        );
    }
    let error = error_of(service.post("/put/k", "{}").await, 400, "VALIDATION_ERROR").await;
    assert_eq!(error["message"], "value is required");
    assert_eq!(
        error["details"],
        json!({"field": "value", "constraint": "required"})
    );

    let deep = format!(r#"{{"value":{}"#, "[".repeat(200_000));
    error_of(service.post("/put/k", &deep).await, 400, "VALIDATION_ERROR").await;
    let raw = "POST /put/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let answer = service
        .client
        .post(service.url("/put/k"))
        .header("content-type", "application/json")
        .body(b"{\"value\":\"\xff\xfe\"}".to_vec())
        .send()
        .await
        .unwrap();
    error_of(answer, 400, "VALIDATION_ERROR").await;
    // A client that leaves in the middle of its body gets what can be said.
    let answer = service
        .raw(&format!("{raw}content-length: 2\r\n\r\n{{}}"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn queries_name_the_parameter() {
    let service = service().await;
    assert_eq!(
        json_of(service.get("/scan?limit=5").await).await["data"]["limit"],
        5
    );
    let error = error_of(service.get("/scan?limit=x").await, 400, "VALIDATION_ERROR").await;
    assert_eq!(
        error["details"],
        json!({"field": "limit", "constraint": "type"})
    );
}

#[tokio::test]
async fn a_route_without_parameters_refuses_them_by_name() {
    let service = service().await;
    assert_eq!(service.get("/plain").await.status(), 200);
    assert_eq!(service.get("/plain?").await.status(), 200);
    let error = error_of(
        service.get("/plain?dry_run=true&b").await,
        400,
        "VALIDATION_ERROR",
    )
    .await;
    assert_eq!(
        error["details"],
        json!({"field": "dry_run", "constraint": "unknown"})
    );
    // What is not there stays so.
    error_of(service.get("/none?a=b").await, 404, "NOT_FOUND").await;
    error_of(
        service.send(Method::DELETE, "/plain?a=b", &[], None).await,
        405,
        "METHOD_NOT_ALLOWED",
    )
    .await;
}

#[tokio::test]
async fn a_route_without_a_body_refuses_its_fields_by_name() {
    let service = service().await;
    let bare = service.send(Method::POST, "/bare", &[], None).await;
    assert_eq!(bare.status(), 200);
    for nothing in ["", "{}", " { } "] {
        let response = service.post("/bare", nothing).await;
        assert_eq!(response.status(), 200, "{nothing:?}");
    }
    for (body, field, constraint) in [
        (r#"{"value":"x","b":1}"#, "value", "unknown"),
        ("[]", "body", "type"),
        ("null", "body", "type"),
        ("{", "body", "json"),
    ] {
        let error = error_of(service.post("/bare", body).await, 400, "VALIDATION_ERROR").await;
        let details = &error["details"];
        assert_eq!(
            (&details["field"], &details["constraint"]),
            (&json!(field), &json!(constraint)),
            "{body}: {error}"
        );
    }
}

#[tokio::test]
async fn keys_may_hold_anything() {
    let service = service().await;
    for (path, key) in [
        ("a/b/c", "a/b/c"),
        ("user%3A1", "user:1"),
        ("%2Fa%20b", "/a b"),
        ("%C3%A4", "ä"),
    ] {
        let body = json_of(
            service
                .post(&format!("/put/{path}"), r#"{"value":"v"}"#)
                .await,
        )
        .await;
        assert_eq!(body["data"]["key"], key);
    }
}

#[tokio::test]
async fn media_types() {
    let service = service().await;
    // The guide's bodiless POST declares nothing.
    assert_eq!(
        service
            .send(Method::POST, "/delete", &[], None)
            .await
            .status(),
        200
    );
    assert_eq!(
        service
            .send(Method::POST, "/delete", &[], Some(""))
            .await
            .status(),
        200
    );
    for media in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data",
    ] {
        let response = service
            .send(
                Method::POST,
                "/put/k",
                &[("content-type", media)],
                Some(r#"{"value":"a"}"#),
            )
            .await;
        error_of(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    let response = service
        .send(Method::POST, "/put/k", &[], Some(r#"{"value":"a"}"#))
        .await;
    error_of(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    let headers = [("content-type", "application/json; charset=utf-8")];
    let response = service
        .send(Method::POST, "/put/k", &headers, Some(r#"{"value":"a"}"#))
        .await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn what_is_not_an_envelope_passes_as_it_is() {
    let service = service().await;
    let response = service.get("/text").await;
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.text().await.unwrap(), "plain");
}

#[tokio::test]
async fn the_built_in_routes() {
    let service = service().await;
    let body = json_of(service.get("/health").await).await;
    assert_eq!(body["data"]["status"], "healthy");
    assert_eq!(body["data"]["service"], "test");
    assert_eq!(body["data"]["version"], "1.2.3");
    check_meta(&body);
    assert_eq!(
        json_of(service.get("/readyz").await).await["data"]["status"],
        "healthy"
    );
    assert_eq!(
        json_of(service.get("/livez").await).await["data"]["status"],
        "alive"
    );

    service.get("/number/1").await;
    service.get("/number/2").await;
    service.get("/a/path/of/a/stranger").await;
    let text = service.get("/metrics").await.text().await.unwrap();
    let line = |start: &str| {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start} in {text}"))
    };
    let number = |start: &str| {
        line(start)
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    assert!(number("process_resident_memory_bytes ") > 1e6);
    assert!(number("process_cpu_seconds_total ") > 0.0);
    assert!(number("process_open_fds ") > 3.0);
    let counter = r#"photon_test_http_requests_total{door="rest",method="GET",route="/number/{n}",status="200"} "#;
    assert!((number(counter) - 2.0).abs() < f64::EPSILON);
    assert!(!text.contains("stranger"), "{text}");
    assert!(text.contains(r#"route="unmatched",status="404""#), "{text}");
    assert!(text.trim_end().ends_with("# EOF"));
}

#[tokio::test]
async fn what_is_no_id_is_said() {
    let service = crate::harness::service().await;
    let nothing = service.get("/thing/invalid-id").await;
    let error = crate::harness::error_of(nothing, 404, "NOT_FOUND").await;
    assert_eq!(
        error["message"],
        "\"invalid-id\" names nothing here: not an id of the form thing-<uuid>"
    );
    let long = service.get(&format!("/thing/{}", "x".repeat(5000))).await;
    let error = crate::harness::error_of(long, 404, "NOT_FOUND").await;
    assert!(error["message"].as_str().unwrap().len() < 200, "{error}");
}

#[tokio::test]
async fn the_openapi_document() {
    let change = |daemon: photon_server::Daemon| {
        let info = utoipa::openapi::Info::new("test", "1.2.3");
        daemon.openapi(utoipa::openapi::OpenApiBuilder::new().info(info).build())
    };
    let service = crate::harness::Setup {
        change,
        ..crate::harness::Setup::default()
    }
    .start()
    .await;
    let body = json_of(service.get("/openapi.json").await).await;
    assert!(
        body["openapi"].as_str().unwrap().starts_with("3.1"),
        "{body}"
    );
    assert_eq!(body["info"]["title"], "test");
}
