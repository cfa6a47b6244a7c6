//! The OpenAPI document is that of the code, and describes every route there is.

use photon_testkit::openapi;

use crate::house::House;

#[test]
fn the_kept_document_is_that_of_the_code() {
    openapi::is_kept("prismnet", &prismnet::rest::openapi());
}

#[test]
fn every_declared_route_is_described_and_no_other() {
    let (document, declared) = (prismnet::rest::openapi(), prismnet::rest::declared());
    openapi::describes(&document, &declared, &[]);
    openapi::says_what_takes_keys(&document, &declared);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served() {
    let house = House::dev().await;
    let answer = house.operator.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        serde_json::to_value(prismnet::rest::openapi()).unwrap()
    );
    house.stop().await;
}
