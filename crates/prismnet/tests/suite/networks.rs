//! VPCs and subnets: what goes together, what is deleted when, and what is left.

use std::net::Ipv4Addr;

use photon_testkit::Seed;
use rand::Rng as _;
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{Caller, House};

#[tokio::test(flavor = "multi_thread")]
async fn subnets_lie_within_their_vpc_and_apart() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let other = operator.vpc("10.0.0.0/16").await;
    let first = operator.subnet(&vpc, "10.0.1.0/24").await;
    // The same block in another VPC is another network.
    operator.subnet(&other, "10.0.1.0/24").await;
    for block in ["10.0.1.0/24", "10.0.1.128/25", "10.0.0.0/23", "10.0.0.0/16"] {
        let body = json!({ "name": "n", "vpc_id": vpc, "cidr_block": block });
        let refused = operator.post("/api/v1/subnets", body).await;
        assert_eq!(
            refused.error(),
            (409, "BLOCK_OVERLAPS", "cidr_block"),
            "{block}"
        );
        assert_eq!(refused.details()["overlaps"], "10.0.1.0/24");
        assert_eq!(refused.details()["subnet_id"], first.as_str());
    }
    let next = operator.subnet(&vpc, "10.0.2.0/24").await;
    let found = operator.get(&format!("/api/v1/subnets/{next}")).await;
    assert_eq!(found.data()["gateway_ip"], "10.0.2.1");
    let all = operator
        .all(&format!("/api/v1/subnets?vpc_id={vpc}"), "subnets", "id")
        .await;
    assert_eq!(all, [first.as_str(), next.as_str()]);
    // What was given up can be had again.
    operator
        .delete(&format!("/api/v1/subnets/{first}"))
        .await
        .data();
    operator.subnet(&vpc, "10.0.0.0/23").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted_and_says_by_what() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    let vpc_path = format!("/api/v1/vpcs/{vpc}");
    let subnet_path = format!("/api/v1/subnets/{subnet}");
    let refused = operator.delete(&vpc_path).await;
    assert_eq!(refused.error().1, "IN_USE");
    assert_eq!(
        refused.details(),
        &json!({ "used_by": [{ "kind": "subnet", "id": subnet }], "more": false })
    );
    let refused = operator.delete(&subnet_path).await;
    assert_eq!((refused.status, refused.error().1), (409, "IN_USE"));
    assert_eq!(
        refused.details(),
        &json!({ "used_by": [{ "kind": "port", "id": port }], "more": false })
    );
    for _ in 0..10 {
        operator.port(&subnet).await.data();
    }
    let refused = operator.delete(&subnet_path).await;
    assert_eq!(refused.details()["used_by"].as_array().unwrap().len(), 10);
    assert_eq!(refused.details()["more"], true);
    for port in operator.all("/api/v1/ports", "ports", "id").await {
        operator
            .delete(&format!("/api/v1/ports/{port}"))
            .await
            .data();
    }
    operator.delete(&subnet_path).await.data();
    assert_eq!(operator.delete(&subnet_path).await.status, 404);
    operator.delete(&vpc_path).await.data();
    let groups = operator
        .all("/api/v1/security-groups", "security_groups", "id")
        .await;
    for group in groups {
        operator
            .delete(&format!("/api/v1/security-groups/{group}"))
            .await
            .data();
    }
    // Nothing is left of it but what was done.
    assert_eq!(house.keys().await, Vec::<String>::new());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_descriptions_change_and_nothing_else_of_it() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let path = format!("/api/v1/vpcs/{vpc}");
    let before = operator.get(&path).await;
    let change = json!({ "name": "renamed", "description": "new", "internet_access": true });
    let changed = operator.patch(&path, change.clone()).await;
    for (member, value) in change.as_object().unwrap() {
        assert_eq!(&changed.data()[member], value);
    }
    assert_eq!(changed.data()["cidr_block"], "10.0.0.0/16");
    assert!(changed.data()["revision"].as_i64() > before.data()["revision"].as_i64());
    assert_eq!(operator.get(&path).await.data(), changed.data());
    // What is as it is asked for is no change.
    let again = operator.patch(&path, change).await;
    assert_eq!(again.data()["revision"], changed.data()["revision"]);
    let off = operator
        .patch(&path, json!({ "internet_access": false }))
        .await;
    assert_eq!(off.data()["internet_access"], false);
    assert_eq!(operator.get(&path).await.data()["internet_access"], false);
    let block = operator
        .patch(&path, json!({ "cidr_block": "10.0.0.0/8" }))
        .await;
    assert_eq!(block.error(), (400, "VALIDATION_ERROR", "cidr_block"));
    // Only what the caller has seen.
    let old = before.etag.unwrap();
    let refused = operator
        .patch_if(&old, &path, json!({ "name": "late" }))
        .await;
    assert_eq!(refused.error().1, "CONFLICT");
    let current = off.etag.unwrap();
    operator
        .patch_if(&current, &path, json!({ "name": "in time" }))
        .await
        .data();

    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let path = format!("/api/v1/subnets/{subnet}");
    let changed = operator
        .patch(&path, json!({ "name": "web", "description": "" }))
        .await;
    assert_eq!(changed.data()["name"], "web");
    let refused = operator
        .patch(&path, json!({ "gateway_ip": "10.0.1.9" }))
        .await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "gateway_ip"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let house = House::dev().await;
    let operator = &house.operator;
    let mut of_shop = Vec::new();
    for n in 0..25 {
        of_shop.push(operator.vpc(&format!("10.{n}.0.0/16")).await);
    }
    let lab = operator.vpc_of("other", "lab", "10.0.0.0/16").await;
    let everything = operator.get("/api/v1/vpcs").await;
    assert_eq!(everything.data()["vpcs"].as_array().unwrap().len(), 26);
    let ids = async |query: &str| {
        operator
            .all(&format!("/api/v1/vpcs{query}"), "vpcs", "id")
            .await
    };
    assert_eq!(ids("?org_id=acme&project_id=shop").await, of_shop);
    assert_eq!(ids("?project_id=lab").await, [lab.as_str()]);
    assert_eq!(ids("?org_id=other").await, [lab.as_str()]);
    assert_eq!(
        ids("?org_id=acme&project_id=lab").await,
        Vec::<String>::new()
    );
    assert_eq!(ids("?name=net&org_id=other").await, [lab.as_str()]);
    // Page by page the same, without the last page's token.
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let page = operator
            .get(&format!("/api/v1/vpcs?org_id=acme&limit=10{token}"))
            .await;
        let rows = page.data()["vpcs"].as_array().unwrap();
        assert!(rows.len() <= 10);
        paged.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        match page.data()["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert_eq!(paged, of_shop);
    // A token of another list.
    let page = operator.get("/api/v1/vpcs?org_id=acme&limit=1").await;
    let token = page.text("next_page_token");
    let refused = operator
        .get(&format!(
            "/api/v1/vpcs?org_id=other&limit=1&page_token={token}"
        ))
        .await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "page_token"));
    house.stop().await;
}

/// Whatever two ask for at once: blocks of a VPC never overlap, and what was refused overlaps something.
#[tokio::test(flavor = "multi_thread")]
async fn of_subnets_made_at_once_none_overlap() {
    let house = House::dev().await;
    let mut random = Seed::for_test("subnets made at once").rng(0);
    let vpc = house.operator.vpc("10.0.0.0/16").await;
    let mut asking = JoinSet::new();
    for _ in 0..60 {
        let length = random.random_range(20..=26);
        let bits = 0x0a00_0000 | random.random_range(0..0x4000u32);
        let network = Ipv4Addr::from_bits(bits & (u32::MAX << (32 - length)));
        let block = format!("{network}/{length}");
        let (caller, vpc) = (house.operator.clone(), vpc.clone());
        asking.spawn(async move {
            let body = json!({ "name": "n", "vpc_id": vpc, "cidr_block": block });
            let answer = caller.post("/api/v1/subnets", body).await;
            (
                block,
                answer.status,
                answer.body["error"]["code"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            )
        });
    }
    let parse = |block: &str| block.parse::<prismnet_model::Block>().unwrap();
    let mut refused = Vec::new();
    while let Some(answered) = asking.join_next().await {
        match answered.unwrap() {
            (_, 201, _) => {}
            (block, 409, code) => {
                assert_eq!(code, "BLOCK_OVERLAPS", "{block}");
                refused.push(parse(&block));
            }
            other => panic!("{other:?}"),
        }
    }
    let path = format!("/api/v1/subnets?vpc_id={vpc}");
    let made = house.operator.all(&path, "subnets", "cidr_block").await;
    let made: Vec<_> = made.iter().map(|block| parse(block)).collect();
    assert!(!made.is_empty());
    for (index, one) in made.iter().enumerate() {
        assert!(
            made[index + 1..].iter().all(|other| !one.overlaps(*other)),
            "{made:?}"
        );
    }
    for block in refused {
        assert!(
            made.iter().any(|one| one.overlaps(block)),
            "{block} of {made:?}"
        );
    }
    house.stop().await;
}

/// A subnet never comes up in a VPC that is deleted: one of both loses.
#[tokio::test(flavor = "multi_thread")]
async fn a_vpc_is_not_deleted_under_a_subnet() {
    let house = House::dev().await;
    for _ in 0..15 {
        let vpc = house.operator.vpc("10.0.0.0/16").await;
        let make = |caller: Caller, vpc: String| async move {
            let body = json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.1.0/24" });
            caller.post("/api/v1/subnets", body).await
        };
        let path = format!("/api/v1/vpcs/{vpc}");
        let (made, deleted) = tokio::join!(
            make(house.operator.clone(), vpc.clone()),
            house.operator.delete(&path),
        );
        let there = house.operator.get(&path).await.status;
        match (made.status, deleted.status) {
            (201, 409) => assert_eq!(there, 200),
            (404, 200) => assert_eq!(there, 404),
            _ => panic!("{made:?} {deleted:?}"),
        }
    }
    let subnets = house
        .operator
        .all("/api/v1/subnets", "subnets", "vpc_id")
        .await;
    for vpc in subnets {
        assert_eq!(
            house
                .operator
                .get(&format!("/api/v1/vpcs/{vpc}"))
                .await
                .status,
            200
        );
    }
    house.stop().await;
}
