//! The OpenAPI document is that of the code, and describes every route there is.

use photon_testkit::openapi;

use crate::house::House;

#[test]
fn the_kept_document_is_that_of_the_code() {
    openapi::is_kept("creditservice", &creditservice::rest::openapi());
}

#[test]
fn every_declared_route_is_described_and_no_other() {
    let document = creditservice::rest::openapi();
    openapi::describes(&document, &creditservice::rest::declared(), &[]);
    for operation in openapi::operations(&document) {
        // Every change can be asked for once, and says what another one under the same key is told.
        let takes_key = operation.takes_key();
        assert_eq!(takes_key, operation.said["responses"]["422"].is_object());
        assert_eq!(takes_key, operation.method != "GET", "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served() {
    let house = House::dev().await;
    let answer = house.operator.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        serde_json::to_value(creditservice::rest::openapi()).unwrap()
    );
    house.stop().await;
}
