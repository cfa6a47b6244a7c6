//! Decisions in the AuthZEN form, and who one is.

use serde_json::{Value, json};

use crate::house::{House, password_of};

fn question(user: &str, permission: &str, project: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": user},
        "action": {"name": permission},
        "resource": {"type": "project", "id": project},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_what_policy_says() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let ask =
        async |token: &str, body: Value| house.post("/access/v1/evaluation", token, body).await;
    let yes = ask(&admin, question("alice", "plasmavmc.vms.get", "shop")).await;
    assert_eq!(yes.status, 200);
    // In the standard's own form, without an envelope.
    assert_eq!(yes.body["decision"], true);
    assert!(
        yes.body["context"]["granted_by"]
            .as_str()
            .unwrap()
            .starts_with("bnd-")
    );
    let no = ask(&admin, question("alice", "plasmavmc.vms.create", "shop")).await;
    assert_eq!(no.body["decision"], false);
    assert!(no.body["context"]["reason"].is_string());
    let elsewhere = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "plasmavmc.vms.get"},
        "resource": {"type": "vm", "id": "vm-1", "properties": {"scope": "project:shop"}},
    });
    assert_eq!(ask(&admin, elsewhere).await.body["decision"], true);

    // About oneself everybody may ask, about others who may.
    let alice = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;
    let own = ask(&alice, question("alice", "plasmavmc.vms.get", "shop")).await;
    assert_eq!(own.body["decision"], true);
    let others = ask(&alice, question("admin", "plasmavmc.vms.get", "shop")).await;
    assert_eq!(others.error(403), "FORBIDDEN");
    let nobody = ask("", question("alice", "plasmavmc.vms.get", "shop")).await;
    assert_eq!(nobody.error(401), "UNAUTHENTICATED");
    // What is wrong is named.
    let bad = ask(&admin, json!({"subject": {"type": "user", "id": "alice"}})).await;
    assert_eq!(bad.field(), "action");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_questions_have_an_order_and_an_end() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let body = |semantic: &str| {
        json!({
            "subject": {"type": "user", "id": "alice"},
            "resource": {"type": "project", "id": "shop"},
            "evaluations": [
                {"action": {"name": "plasmavmc.vms.get"}},
                {"action": {"name": "plasmavmc.vms.create"}},
                {"action": {"name": "plasmavmc.vms.list"}},
            ],
            "options": {"evaluations_semantic": semantic},
        })
    };
    let decisions = async |semantic: &str| {
        let answer = house
            .post("/access/v1/evaluations", &admin, body(semantic))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let all = answer.body["evaluations"].as_array().unwrap().clone();
        all.iter()
            .map(|one| one["decision"].as_bool().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(decisions("execute_all").await, [true, false, true]);
    assert_eq!(decisions("deny_on_first_deny").await, [true, false]);
    assert_eq!(decisions("permit_on_first_permit").await, [true]);
    let refused = house
        .post("/access/v1/evaluations", &admin, body("some"))
        .await;
    assert_eq!(refused.field(), "options.evaluations_semantic");
    let mut wrong = body("execute_all");
    wrong["evaluations"][1]["action"]["name"] = json!("create");
    let refused = house.post("/access/v1/evaluations", &admin, wrong).await;
    assert_eq!(refused.field(), "evaluations[1].action.name");
    let mut many = body("execute_all");
    many["evaluations"] = json!(vec![json!({"action": {"name": "a.b.c"}}); 101]);
    let refused = house.post("/access/v1/evaluations", &admin, many).await;
    assert_eq!(refused.field(), "evaluations");
    // Without any it is one question.
    let one = house
        .post(
            "/access/v1/evaluations",
            &admin,
            question("alice", "plasmavmc.vms.get", "shop"),
        )
        .await;
    assert_eq!(one.body["decision"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_be_asked_to_know_a_write() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "", "shop").await;
    let body = json!({"principal": "user:alice", "role": "viewer", "scope": "project:shop"});
    let made = house.post("/api/v1/bindings", &admin, body).await.data(201);
    let revision = made["revision"].as_i64().unwrap();
    let mut asked = question("alice", "plasmavmc.vms.get", "shop");
    asked["context"] = json!({"min_revision": revision});
    let answer = house
        .post("/access/v1/evaluation", &admin, asked.clone())
        .await;
    assert_eq!(answer.body["decision"], true);
    assert!(answer.body["context"]["revision"].as_i64().unwrap() >= revision);
    // One that does not come is waited for, and not for ever.
    asked["context"]["min_revision"] = json!(i64::MAX);
    let late = house
        .post("/access/v1/evaluation", &admin, asked.clone())
        .await;
    assert_eq!(late.error(503), "UNAVAILABLE");
    let error = &late.body["error"];
    let message = error["message"].as_str().unwrap();
    let told = format!("min_revision {} is not known here", i64::MAX);
    assert!(message.starts_with(&told), "{message}");
    assert!(error["details"]["revision"].as_i64().unwrap() >= revision);
    asked["context"]["min_revision"] = json!(-1);
    let bad = house.post("/access/v1/evaluation", &admin, asked).await;
    assert_eq!(bad.field(), "context.min_revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_ask_who_they_are() {
    let house = House::dev().await;
    let me = house.get("/api/v1/whoami", "").await.data(200);
    assert_eq!(me["principal"], "dev-operator");
    assert_eq!(me["mode"], "dev");
    let body = json!({"principal_id": "alice", "scope_id": "shop"});
    let token = house.ask_token(body).await.data(200);
    let me = house
        .get("/api/v1/whoami", token["token"].as_str().unwrap())
        .await
        .data(200);
    assert_eq!(me["principal"], "user:alice");
    assert_eq!(me["scope"], "project:shop");
    // Dev mode answers what policy says, though it does not bind.
    let asked = question("alice", "plasmavmc.vms.get", "shop");
    let answer = house.post("/access/v1/evaluation", "", asked).await;
    assert_eq!(answer.body["decision"], false);
}
