//! Two processes over one store are one service.

use iam::{Config, Running, Sockets};
use photon_testkit::{in_process::in_process_chainfire, poll::eventually};
use serde_json::{Value, json};
use std::time::Duration;

use crate::local::Caller;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn over(endpoint: &str) -> Running {
    over_with(endpoint, Config::default()).await
}

async fn over_with(endpoint: &str, mut config: Config) -> Running {
    config.store.endpoints = vec![endpoint.to_owned()];
    config.rest.address.set_port(0);
    config.grpc.address.set_port(0);
    Box::pin(iam::start(config, Sockets::default()))
        .await
        .unwrap()
}

fn caller(of: &Running) -> Caller {
    Caller::at(&format!("http://{}", of.rest_address()))
}

#[tokio::test]
async fn what_one_does_the_other_knows() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let (one, other) = (
        over(&chainfire.endpoint()).await,
        over(&chainfire.endpoint()).await,
    );
    let (a, b) = (caller(&one), caller(&other));
    a.tenant("acme", "shop").await;
    b.user("al").await;
    let bound = b.bind("user:al", "viewer", "project:shop").await;
    assert_eq!(
        a.bind("user:al", "viewer", "project:shop").await.error().1,
        "ALREADY_EXISTS"
    );
    assert_eq!(
        a.get("/api/v1/users/al").await.data(),
        b.get("/api/v1/users/al").await.data()
    );
    // A token of one is good at the other, until the other ends it.
    let al = a.as_user("al", "project:shop").await;
    let at_other = Caller::at(&b.base).with(al_token(&a).await.as_str());
    at_other.get("/api/v1/whoami").await.data();
    let id = bound.data()["id"].as_str().unwrap();
    a.delete(&format!("/api/v1/bindings/{id}")).await.data();
    b.patch("/api/v1/users/al", json!({ "disabled": true }))
        .await
        .data();
    eventually("one refuses what the other ended", PATIENCE, || async {
        (al.get("/api/v1/whoami").await.status == 401).then_some(())
    })
    .await
    .unwrap();
    one.stop().await;
    // The other goes on alone.
    b.user("bob").await;
    other.stop().await;
    chainfire.stop().await;
}

async fn al_token(caller: &Caller) -> String {
    let asked = json!({ "principal_id": "al", "scope_id": "shop" });
    let answer = caller.post("/api/v1/auth/token", asked).await;
    answer.data()["token"].as_str().unwrap().to_owned()
}

/// Everybody changes the same things through both at once: of each thing one is made, and no change is lost.
#[tokio::test]
async fn at_once_they_do_not_overwrite_each_other() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let (one, other) = (
        over(&chainfire.endpoint()).await,
        over(&chainfire.endpoint()).await,
    );
    let callers = [caller(&one), caller(&other)];
    callers[0]
        .post("/api/v1/groups", json!({ "id": "ops" }))
        .await
        .data();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let caller = callers[n % 2].clone();
        tasks.spawn(async move {
            let made = json!({ "id": "same", "name": "Same" });
            let made = caller.post("/api/v1/users", made).await.status;
            let path = format!("/api/v1/groups/ops/members/user/u{n}");
            caller.put(&path).await.data();
            // An implicit project that everybody needs at the same moment.
            let asked = json!({ "principal_id": "u", "scope_id": "everybodys" });
            caller.post("/api/v1/auth/token", asked).await.data();
            made
        });
    }
    let mut made = tasks.join_all().await;
    made.sort_unstable();
    assert_eq!(made[0], 201);
    assert!(made[1..].iter().all(|status| *status == 409), "{made:?}");
    let group = callers[1].get("/api/v1/groups/ops").await;
    let mut members: Vec<&str> = group.data()["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    members.sort_unstable();
    let mut expected: Vec<String> = (0..12).map(|n| format!("user:u{n}")).collect();
    expected.sort_unstable();
    assert_eq!(members, expected);
    let projects = callers[0].get("/api/v1/projects").await;
    assert_eq!(projects.ids("projects"), ["everybodys"]);
    one.stop().await;
    other.stop().await;
    chainfire.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_it_says_so_and_goes_on_for_a_while() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let mut config = Config::default();
    config.auth.max_staleness_seconds = 12;
    config.store.request_timeout_ms = 500;
    let iam = over_with(&chainfire.endpoint(), config).await;
    let operator = caller(&iam);
    operator.tenant("acme", "shop").await;
    let alice = operator.somebody("alice", "viewer", "project:shop").await;
    let health = operator.get("/readyz").await;
    assert_eq!(health.data()["reason"], Value::Null);

    chainfire.stop().await;
    let asked = eventually("the silence is said", PATIENCE, || async {
        let health = operator.get("/readyz").await;
        assert_eq!(health.status, 200, "{health:?}");
        let reason = health.data()["reason"].as_str()?;
        let begins = reason.starts_with("the store does not answer since 20");
        assert!(begins && health.data()["status"] == "healthy", "{health:?}");
        Some(())
    });
    asked.await.unwrap();
    // What is known goes on; what needs the store is told so.
    alice.get("/api/v1/whoami").await.data();
    let token = json!({ "principal_id": "alice", "scope_id": "shop" });
    let user = json!({ "id": "bob", "name": "Bob" });
    let refused = [
        operator.get("/api/v1/users/alice").await,
        operator.get("/api/v1/users").await,
        operator.post("/api/v1/users", user).await,
        operator.post("/api/v1/auth/token", token).await,
    ];
    for answer in refused {
        assert_eq!(answer.error(), (503, "UNAVAILABLE", ""));
    }
    eventually("it is no longer ready", PATIENCE, || async {
        let health = operator.get("/readyz").await;
        (health.status == 503).then_some(())
    })
    .await
    .unwrap();
    let health = operator.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(operator.get("/livez").await.status, 200);
    let refused = alice.get("/api/v1/whoami").await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    iam.stop().await;
}
