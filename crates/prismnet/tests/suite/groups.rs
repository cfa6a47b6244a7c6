//! Security groups and their rules.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::{Answer, Caller, House};

const GROUPS: &str = "/api/v1/security-groups";

async fn rule(caller: &Caller, group: &str, body: Value) -> Answer {
    caller.post(&format!("{GROUPS}/{group}/rules"), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_as_they_were_meant() {
    let house = House::dev().await;
    let operator = &house.operator;
    let (web, db) = (operator.group("web").await, operator.group("db").await);
    for (body, shown) in [
        (
            json!({ "direction": "ingress", "protocol": "tcp", "port_min": 80, "port_max": 90, "remote_cidr": "10.0.0.0/8" }),
            json!(["ingress", "tcp", 80, 90, "10.0.0.0/8", null]),
        ),
        (
            json!({ "direction": "ingress", "protocol": "6", "port_min": 443 }),
            json!(["ingress", "tcp", 443, 443, "0.0.0.0/0", null]),
        ),
        (
            json!({ "direction": "ingress", "protocol": "icmp", "port_min": 8, "port_max": 0 }),
            json!(["ingress", "icmp", 8, 0, "0.0.0.0/0", null]),
        ),
        (
            json!({ "direction": "egress" }),
            json!(["egress", "any", null, null, "0.0.0.0/0", null]),
        ),
        (
            json!({ "direction": "egress", "protocol": "47", "remote_group_id": db }),
            json!(["egress", "47", null, null, null, db]),
        ),
        (
            json!({ "direction": "ingress", "protocol": "udp", "remote_group_id": web, "description": "each other" }),
            json!(["ingress", "udp", null, null, null, web]),
        ),
    ] {
        let made = rule(operator, &web, body).await;
        let data = made.data();
        let members = [
            "direction",
            "protocol",
            "port_min",
            "port_max",
            "remote_cidr",
            "remote_group_id",
        ];
        assert_eq!(json!(members.map(|member| data[member].clone())), shown);
        assert_eq!(data["security_group_id"], web.as_str());
    }
    let path = format!("{GROUPS}/{web}/rules");
    let ids = operator.all(&path, "rules", "id").await;
    assert_eq!(ids.len(), 6);
    // The same once more, written otherwise.
    let same = json!({ "direction": "ingress", "protocol": "tcp", "port_min": 443, "port_max": 443, "remote_cidr": "0.0.0.0/0" });
    let refused = rule(operator, &web, same).await;
    assert_eq!((refused.status, refused.error().1), (409, "ALREADY_EXISTS"));
    assert_eq!(refused.details()["id"], ids[1].as_str());
    operator.delete(&format!("{path}/{}", ids[1])).await.data();
    assert_eq!(
        operator.delete(&format!("{path}/{}", ids[1])).await.status,
        404
    );
    // A rule of another group is not found by this one's path.
    let other = rule(operator, &db, json!({ "direction": "egress" }))
        .await
        .id();
    assert_eq!(
        operator.delete(&format!("{path}/{other}")).await.status,
        404
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_in_a_project_and_default_keeps_its() {
    let house = House::dev().await;
    let operator = &house.operator;
    let web = operator.group("web").await;
    let db = operator.group("db").await;
    let again = json!({ "name": "web", "org_id": "acme", "project_id": "shop" });
    let refused = operator.post(GROUPS, again).await;
    assert_eq!((refused.status, refused.error().1), (409, "ALREADY_EXISTS"));
    assert_eq!(refused.details()["id"], web.as_str());
    let elsewhere = json!({ "name": "web", "org_id": "acme", "project_id": "lab" });
    operator.post(GROUPS, elsewhere).await.data();
    let path = format!("{GROUPS}/{db}");
    let refused = operator.patch(&path, json!({ "name": "web" })).await;
    assert_eq!(refused.error().1, "ALREADY_EXISTS");
    operator
        .patch(&path, json!({ "name": "data/base \u{65e5}" }))
        .await
        .data();
    operator.group("db").await;
    operator.vpc("10.0.0.0/16").await;
    let default = operator
        .get(&format!("{GROUPS}?project_id=shop&name=default"))
        .await;
    let default = default.data()["security_groups"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let refused = operator
        .patch(&format!("{GROUPS}/{default}"), json!({ "name": "mine" }))
        .await;
    assert_eq!(
        (refused.status, refused.error().1),
        (409, "FAILED_PRECONDITION")
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_deleted_with_its_rules_when_nothing_uses_it() {
    let house = House::dev().await;
    let operator = &house.operator;
    let (web, db) = (operator.group("web").await, operator.group("db").await);
    // Its own rules do not keep it, also those that name it.
    for port in 1..=70 {
        let body = json!({ "direction": "ingress", "protocol": "tcp", "port_min": port, "remote_group_id": web });
        rule(operator, &web, body).await.data();
    }
    let naming = json!({ "direction": "ingress", "remote_group_id": web });
    let naming = rule(operator, &db, naming).await.id();
    let path = format!("{GROUPS}/{web}");
    let refused = operator.delete(&path).await;
    assert_eq!((refused.status, refused.error().1), (409, "IN_USE"));
    assert_eq!(
        refused.details()["used_by"],
        json!([{ "kind": "rule", "id": naming }])
    );
    // Nothing of it was lost by that.
    assert_eq!(
        operator
            .all(&format!("{path}/rules"), "rules", "id")
            .await
            .len(),
        70
    );
    assert_eq!(operator.get(&path).await.data()["status"], "active");
    operator
        .delete(&format!("{GROUPS}/{db}/rules/{naming}"))
        .await
        .data();
    operator.delete(&path).await.data();
    assert_eq!(operator.get(&path).await.status, 404);
    operator.delete(&format!("{GROUPS}/{db}")).await.data();
    assert_eq!(house.keys().await, Vec::<String>::new());
    house.stop().await;
}

/// A deletion that was cut off: nothing new uses the group, and the same deletion ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_cut_off_is_taken_up() {
    let house = House::dev().await;
    let operator = &house.operator;
    let web = operator.group("web").await;
    rule(operator, &web, json!({ "direction": "egress" }))
        .await
        .data();
    let store = house.store().await;
    let key = format!("/photon/prismnet/public/security-group/acme/shop/{web}");
    let stored = store.get_raw(&key).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&stored.value).unwrap();
    record["deleting"] = json!(true);
    let mut transaction = store.transaction();
    transaction.put_raw(&key, record.to_string(), 0).unwrap();
    transaction.commit().await.unwrap();

    let path = format!("{GROUPS}/{web}");
    assert_eq!(operator.get(&path).await.data()["status"], "deleting");
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = json!({ "subnet_id": subnet, "security_group_ids": [web] });
    for refused in [
        rule(operator, &web, json!({ "direction": "ingress" })).await,
        operator.post("/api/v1/ports", port).await,
        operator.patch(&path, json!({ "name": "x" })).await,
    ] {
        assert_eq!(
            (refused.status, refused.error().1),
            (409, "FAILED_PRECONDITION")
        );
    }
    operator.delete(&path).await.data();
    assert_eq!(operator.get(&path).await.status, 404);
    house.stop().await;
}

/// A group is never deleted under a port that joins it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_deleted_under_a_port() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    for round in 0..15 {
        let group = operator.group(&format!("g{round}")).await;
        let path = format!("{GROUPS}/{group}");
        rule(operator, &group, json!({ "direction": "egress" }))
            .await
            .data();
        let body = json!({ "subnet_id": subnet, "security_group_ids": [group] });
        let (made, deleted) =
            tokio::join!(operator.post("/api/v1/ports", body), operator.delete(&path));
        let there = operator.get(&path).await.status;
        match (made.status, deleted.status) {
            (201, 409) => {
                assert_eq!(there, 200);
                let rules = operator.all(&format!("{path}/rules"), "rules", "id").await;
                assert_eq!(rules.len(), 1, "a group that stays keeps its rules");
            }
            (404 | 409, 200) => assert_eq!(there, 404),
            _ => panic!("{made:?} {deleted:?}"),
        }
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_group_are_counted_by_everybody() {
    let house = House::dev().await;
    let operator = &house.operator;
    let web = operator.group("web").await;
    let mut asking = JoinSet::new();
    for port in 1..=40 {
        let (caller, group) = (operator.clone(), web.clone());
        asking.spawn(async move {
            let body = json!({ "direction": "ingress", "protocol": "udp", "port_min": port });
            rule(&caller, &group, body).await.id()
        });
    }
    let rules = asking.join_all().await;
    let store = house.store().await;
    let tally = async || {
        let key = format!("/photon/prismnet/tally/{web}");
        let stored = store.get_raw(&key).await.unwrap().unwrap();
        let tally: Value = serde_json::from_slice(&stored.value).unwrap();
        tally["rules"].as_u64().unwrap()
    };
    assert_eq!(tally().await, 40);
    // At the limit one more is refused.
    let key = format!("/photon/prismnet/tally/{web}");
    let mut transaction = store.transaction();
    transaction
        .put_raw(&key, json!({ "v": 1, "rules": 5_000 }).to_string(), 0)
        .unwrap();
    transaction.commit().await.unwrap();
    let refused = rule(operator, &web, json!({ "direction": "egress" })).await;
    assert_eq!((refused.status, refused.error().1), (409, "LIMIT_EXCEEDED"));
    assert_eq!(refused.details(), &json!({ "limit": 5_000 }));
    let path = format!("{GROUPS}/{web}/rules/{}", rules[0]);
    operator
        .call(Method::DELETE, &path, None, None)
        .await
        .unwrap()
        .data();
    assert_eq!(tally().await, 4_999);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_other_projects_are_not_there() {
    let house = House::dev().await;
    let operator = &house.operator;
    let web = operator.group("web").await;
    let lab = json!({ "name": "lab", "org_id": "acme", "project_id": "lab" });
    let lab = operator.post(GROUPS, lab).await.id();
    let refused = rule(
        operator,
        &web,
        json!({ "direction": "ingress", "remote_group_id": lab }),
    )
    .await;
    assert_eq!(refused.error(), (404, "NOT_FOUND", "remote_group_id"));
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let body = json!({ "subnet_id": subnet, "security_group_ids": [lab] });
    let refused = operator.post("/api/v1/ports", body).await;
    assert_eq!(refused.error(), (404, "NOT_FOUND", "security_group_ids"));
    let twice = json!({ "subnet_id": subnet, "security_group_ids": [web, web] });
    let refused = operator.post("/api/v1/ports", twice).await;
    assert_eq!(
        refused.error(),
        (400, "VALIDATION_ERROR", "security_group_ids")
    );
    house.stop().await;
}
