//! The OpenAPI document is that of the code, and describes every route there is.

use photon_testkit::{in_process_iam, openapi};

use crate::local::Caller;

#[test]
fn the_kept_document_is_that_of_the_code() {
    openapi::is_kept("iam", &iam::rest::openapi());
}

#[test]
fn every_declared_route_is_described_and_no_other() {
    let (document, declared) = (iam::rest::openapi(), iam::rest::declared());
    // Forms, with a door of their own.
    let oauth = ["introspect", "revoke", "token"].map(|end| format!("POST /oauth2/{end}"));
    openapi::describes(&document, &declared, &oauth.each_ref().map(String::as_str));
    openapi::says_what_takes_keys(&document, &declared);
}

#[test]
fn the_document_says_what_credentials_there_are() {
    let document = serde_json::to_value(iam::rest::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["certificate"]["type"], "mutualTLS");
    assert_eq!(document["security"].as_array().unwrap().len(), 2);
    for route in iam::rest::declared() {
        let method = route.method.as_str().to_lowercase();
        let security = &document["paths"][&route.path][method]["security"];
        // What is for everybody says so; what is not leaves it at the document's word.
        assert_eq!(
            security.is_array(),
            route.permission.is_none(),
            "{} {}: {security}",
            route.method,
            route.path
        );
    }
}

#[tokio::test]
async fn it_is_served() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let answer = Caller::of(&iam).get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        serde_json::to_value(iam::rest::openapi()).unwrap()
    );
    iam.stop().await;
}
