//! Routes of a VPC.

use serde_json::json;

use crate::house::House;

const ROUTES: &str = "/api/v1/routes";

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_out_of_a_vpc_over_an_address_in_it() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let body = |destination: &str, next_hop: &str| json!({ "vpc_id": vpc, "destination": destination, "next_hop": next_hop });
    let route = operator
        .post(ROUTES, body("192.168.0.0/16", "10.0.1.9"))
        .await;
    assert_eq!(route.data()["vpc_id"], vpc.as_str());
    assert_eq!(
        (&route.data()["destination"], &route.data()["next_hop"]),
        (&json!("192.168.0.0/16"), &json!("10.0.1.9"))
    );
    operator
        .post(ROUTES, body("0.0.0.0/0", "10.0.1.9"))
        .await
        .data();
    operator
        .post(ROUTES, body("192.168.7.7/32", "10.0.1.10"))
        .await
        .data();
    for (destination, next_hop, status, field, constraint) in [
        ("10.0.0.0/16", "10.0.1.9", 400, "destination", "outside_vpc"),
        ("10.0.9.0/24", "10.0.1.9", 400, "destination", "outside_vpc"),
        ("10.0.0.0/8", "10.0.1.9", 400, "destination", "outside_vpc"),
        ("172.16.0.1/16", "10.0.1.9", 400, "destination", "host_bits"),
        ("::/0", "10.0.1.9", 400, "destination", "ipv4"),
        ("127.0.0.0/8", "10.0.1.9", 400, "destination", "reserved"),
        ("224.0.0.0/4", "10.0.1.9", 400, "destination", "reserved"),
        (
            "169.254.169.254/32",
            "10.0.1.9",
            400,
            "destination",
            "reserved",
        ),
        ("172.16.0.0/16", "10.0.2.9", 400, "next_hop", "within_vpc"),
        ("172.16.0.0/16", "10.0.1.1", 400, "next_hop", "reserved"),
        ("172.16.0.0/16", "10.0.1.255", 400, "next_hop", "reserved"),
        ("172.16.0.0/16", "gateway", 400, "next_hop", "ipv4"),
    ] {
        let refused = operator.post(ROUTES, body(destination, next_hop)).await;
        assert_eq!(
            refused.error(),
            (status, "VALIDATION_ERROR", field),
            "{destination} {next_hop}"
        );
        assert_eq!(
            refused.details()["constraint"],
            constraint,
            "{destination} {next_hop}"
        );
    }
    let again = operator
        .post(ROUTES, body("192.168.0.0/16", "10.0.1.10"))
        .await;
    assert_eq!((again.status, again.error().1), (409, "ALREADY_EXISTS"));
    assert_eq!(again.details()["id"], route.data()["id"]);
    let nobody = json!({ "vpc_id": "vpc-001", "destination": "0.0.0.0/0", "next_hop": "10.0.1.9" });
    assert_eq!(
        operator.post(ROUTES, nobody).await.error(),
        (404, "NOT_FOUND", "vpc_id")
    );

    // A subnet that a route leads through stays, and so does the VPC.
    let refused = operator.delete(&format!("/api/v1/subnets/{subnet}")).await;
    assert_eq!(refused.error().1, "IN_USE");
    let used_by = refused.details()["used_by"].as_array().unwrap();
    assert!(used_by.len() == 3 && used_by.iter().all(|user| user["kind"] == "route"));
    let ids = operator
        .all(&format!("{ROUTES}?vpc_id={vpc}"), "routes", "id")
        .await;
    assert_eq!(ids.len(), 3);
    for id in ids {
        operator.delete(&format!("{ROUTES}/{id}")).await.data();
        assert_eq!(operator.get(&format!("{ROUTES}/{id}")).await.status, 404);
    }
    operator
        .delete(&format!("/api/v1/subnets/{subnet}"))
        .await
        .data();
    operator.delete(&format!("/api/v1/vpcs/{vpc}")).await.data();
    house.stop().await;
}
