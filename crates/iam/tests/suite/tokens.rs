//! Tokens: the guide's words, proofs, scopes, revocation, impersonation.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, password_of};

fn decoded(token: &str, part: usize) -> Value {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = token.split('.').nth(part).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn is_valid(house: &House, asking: &str, token: &str) -> bool {
    let answer = house
        .post("/api/v1/auth/verify", asking, json!({"token": token}))
        .await;
    answer.data(200)["valid"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_lines_work_in_dev_mode() {
    let house = House::dev().await;
    let issued = house
        .ask_token(json!({
            "principal_id": "user-alice", "principal_type": "user",
            "scope_id": "project-prod", "ttl_seconds": 3600,
        }))
        .await;
    assert_eq!(issued.headers["cache-control"], "no-store");
    let issued = issued.data(200);
    let token = issued["token"].as_str().unwrap();
    assert_eq!(decoded(token, 0)["typ"], "at+jwt");
    assert_eq!(decoded(token, 0)["alg"], "ES256");
    assert_eq!(decoded(token, 1)["iss"], "photon-dev");

    let verified = house
        .post("/api/v1/auth/verify", "", json!({"token": token}))
        .await;
    let verified = verified.data(200);
    assert_eq!(verified["valid"], true);
    assert_eq!(verified["principal_id"], "user-alice");
    assert_eq!(verified["scope_id"], "project-prod");
    assert_eq!(verified["expires_at"], issued["expires_at"]);
    assert_eq!(verified["org_id"], "default");

    // Without a type, for an id nobody made, for two hours.
    let body =
        json!({"principal_id": "user-charlie", "scope_id": "project-prod", "ttl_seconds": 7200});
    let token = house.ask_token(body).await.data(200)["token"].clone();
    let claims = decoded(token.as_str().unwrap(), 1);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        7200
    );
    assert_eq!(claims["ptype"], "user");

    // The project that was used is there, and marked.
    let project = house
        .get("/api/v1/projects/project-prod", "")
        .await
        .data(200);
    assert_eq!(project["implicit"], true);
    // Nobody was made.
    assert_eq!(
        house.get("/api/v1/users/user-alice", "").await.error(404),
        "NOT_FOUND"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_proof_is_refused_in_dev_mode_too() {
    let house = House::dev().await;
    let ask = json!({"principal_id": "bob", "scope_id": "p"});
    let mut wrong = ask.clone();
    wrong["password"] = json!("not a password");
    assert_eq!(house.ask_token(wrong).await.error(401), "UNAUTHENTICATED");
    let mut wrong = ask.clone();
    wrong["api_key"] = json!("phk_0123");
    assert_eq!(house.ask_token(wrong).await.error(401), "UNAUTHENTICATED");
    for header in [
        "Bearer nonsense".to_owned(),
        "Bearer phk_nonsense".to_owned(),
        "Digest x".to_owned(),
        format!("Basic {}", STANDARD.encode("bob:wrong")),
    ] {
        let request = house
            .http
            .post(format!("{}/api/v1/auth/token", house.rest))
            .header("authorization", &header)
            .json(&ask);
        assert_eq!(
            house.send(request).await.error(401),
            "UNAUTHENTICATED",
            "{header}"
        );
    }
    house.ask_token(ask).await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named() {
    let house = House::dev().await;
    let long = "a".repeat(10_000);
    for (body, field) in [
        (json!({"scope_id": "p"}), "principal_id"),
        (json!({"principal_id": "a"}), "scope_id"),
        (
            json!({"principal_id": "A", "scope_id": "p"}),
            "principal_id",
        ),
        (
            json!({"principal_id": "a/b", "scope_id": "p"}),
            "principal_id",
        ),
        (json!({"principal_id": "a", "scope_id": "../p"}), "scope_id"),
        (
            json!({"principal_id": long, "scope_id": "p"}),
            "principal_id",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "ttl_seconds": 0}),
            "ttl_seconds",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "ttl_seconds": -5}),
            "ttl_seconds",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "ttl_seconds": "1"}),
            "ttl_seconds",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "principal_type": "robot"}),
            "principal_type",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "principal_type": "group"}),
            "principal_type",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "password": "x", "api_key": "y"}),
            "api_key",
        ),
        (
            json!({"principal_id": "a", "scope_id": "p", "scope": "q"}),
            "scope",
        ),
    ] {
        assert_eq!(house.ask_token(body.clone()).await.field(), field, "{body}");
    }
    for (body, field) in [
        (json!({}), "token"),
        (json!({"token": "a", "project_id": "p"}), "token"),
        (json!({"principal_type": "user"}), "principal_id"),
        (
            json!({"principal_id": "g", "principal_type": "group"}),
            "principal_type",
        ),
        (json!({"project_id": "P"}), "project_id"),
    ] {
        let answer = house.post("/api/v1/auth/revoke", "", body.clone()).await;
        assert_eq!(answer.field(), field, "{body}");
    }
    assert_eq!(
        house
            .post("/api/v1/auth/verify", "", json!({}))
            .await
            .field(),
        "token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn enforce_wants_a_proof_and_a_binding() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "bob", "", "shop").await;

    let ask = |id: &str, scope: &str| json!({"principal_id": id, "scope_id": scope});
    assert_eq!(
        house.ask_token(ask("alice", "shop")).await.error(401),
        "UNAUTHENTICATED"
    );
    assert_eq!(
        house.ask_token(ask("nobody", "shop")).await.error(401),
        "UNAUTHENTICATED"
    );

    let proved = |id: &str, scope: &str, password: &str| json!({"principal_id": id, "scope_id": scope, "password": password});
    let (alices, bobs) = (password_of("alice"), password_of("bob"));
    house
        .ask_token(proved("alice", "shop", &alices))
        .await
        .data(200);
    assert_eq!(
        house
            .ask_token(proved("alice", "shop", &bobs))
            .await
            .error(401),
        "UNAUTHENTICATED"
    );
    // A scope without a binding and one that does not exist are told the same.
    for scope in ["acme", "system", "no-such-project"] {
        let refused = house.ask_token(proved("alice", scope, &alices)).await;
        assert_eq!(refused.error(403), "FORBIDDEN");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert_eq!(
            message,
            format!("the principal has no binding at scope {scope}")
        );
    }
    assert_eq!(
        house
            .ask_token(proved("bob", "shop", &bobs))
            .await
            .error(403),
        "FORBIDDEN"
    );
    // The proof may stand in the header.
    let basic = format!("Basic {}", STANDARD.encode(format!("alice:{alices}")));
    let request = house
        .http
        .post(format!("{}/api/v1/auth/token", house.rest))
        .header("authorization", basic)
        .json(&ask("alice", "shop"));
    house.send(request).await.data(200);
    // Not in both.
    let request = house
        .http
        .post(format!("{}/api/v1/auth/token", house.rest))
        .bearer_auth(&admin)
        .json(&proved("alice", "shop", &alices));
    assert_eq!(house.send(request).await.field(), "Authorization");

    // Times are clamped.
    for (asked, lives) in [(1, 60), (100_000, 43_200)] {
        let mut body = proved("alice", "shop", &alices);
        body["ttl_seconds"] = json!(asked);
        let data = house.ask_token(body).await.data(200);
        let claims = decoded(data["token"].as_str().unwrap(), 1);
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            lives
        );
        assert_eq!(claims["iss"], "https://iam.photon.internal");
        assert_eq!(claims["aud"], "photon");
        assert_eq!(claims["org_id"], "acme");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_needs_a_credential_and_tells_only_what_one_may_know() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "eve", "viewer", "other").await;
    let alice = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;
    let eve = house
        .token("eve", "other", ("password", &password_of("eve")))
        .await;

    let body = json!({"token": alice});
    assert_eq!(
        house
            .post("/api/v1/auth/verify", "", body.clone())
            .await
            .error(401),
        "UNAUTHENTICATED"
    );
    // One's own, and an admin's right.
    assert!(is_valid(&house, &alice, &alice).await);
    assert!(is_valid(&house, &admin, &alice).await);
    assert_eq!(
        house
            .post("/api/v1/auth/verify", &eve, body)
            .await
            .error(403),
        "FORBIDDEN"
    );
    // What is no token of ours is not valid, whoever asks.
    let (head, signature) = alice.rsplit_once('.').unwrap();
    let mut changed = signature.to_owned();
    changed.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
    let none = r#"{"alg":"none","kid":"x","typ":"at+jwt"}"#;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let payload = alice.split('.').nth(1).unwrap();
    for bad in [
        String::new(),
        "a.b.c".to_owned(),
        head.to_owned(),
        alice[..alice.len() - 4].to_owned(),
        format!("{head}.{changed}"),
        format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(none)),
        "x".repeat(100_000),
    ] {
        assert!(
            !is_valid(&house, &eve, &bad).await,
            "{}",
            &bad[..bad.len().min(40)]
        );
        if !bad.is_empty() && bad.len() < 10_000 {
            let answer = house.get("/api/v1/whoami", &bad).await;
            assert_eq!(answer.error(401), "UNAUTHENTICATED");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_a_principal_a_project_can_be_revoked() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.bind(&admin, "user:alice", "viewer", "org:acme").await;
    let secret = password_of("alice");
    let proof = ("password", secret.as_str());
    let one = house.token("alice", "shop", proof).await;
    let two = house.token("alice", "shop", proof).await;
    let org = house.token("alice", "acme", proof).await;

    // Her own, without a permission.
    let revoke =
        async |token: &str, body: Value| house.post("/api/v1/auth/revoke", token, body).await;
    let done = revoke(&two, json!({"token": one})).await.data(200);
    assert_eq!(done["revoked"], true);
    assert!(done["revision"].as_i64().unwrap() > 0);
    assert_eq!(
        house.get("/api/v1/whoami", &one).await.error(401),
        "UNAUTHENTICATED"
    );
    house.get("/api/v1/whoami", &two).await.data(200);
    // It has ended; that is what was asked for.
    assert_eq!(
        revoke(&two, json!({"token": one})).await.data(200)["revoked"],
        false
    );

    // Everything for the project; at once there is a new one.
    let mine = json!({"project_id": "shop"});
    assert_eq!(revoke(&two, mine.clone()).await.error(403), "FORBIDDEN");
    revoke(&admin, mine).await.data(200);
    assert_eq!(
        house.get("/api/v1/whoami", &two).await.error(401),
        "UNAUTHENTICATED"
    );
    house.get("/api/v1/whoami", &org).await.data(200);
    let three = house.token("alice", "shop", proof).await;
    house.get("/api/v1/whoami", &three).await.data(200);

    // Everything of hers.
    let her = json!({"principal_id": "alice"});
    revoke(&admin, her).await.data(200);
    for token in [&org, &three] {
        assert_eq!(
            house.get("/api/v1/whoami", token).await.error(401),
            "UNAUTHENTICATED"
        );
    }
    let four = house.token("alice", "shop", proof).await;
    house.get("/api/v1/whoami", &four).await.data(200);
    let nobody = json!({"principal_id": "nobody"});
    assert_eq!(revoke(&admin, nobody).await.error(404), "NOT_FOUND");
    // The revocation of a single token goes when the token would have.
    let stored = house.everything_stored().await;
    assert!(
        stored
            .iter()
            .any(|(key, _)| key.starts_with("/photon/iam/public/revoked/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_somebody_who_may_do_more() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "clerk", "", "shop").await;
    house.furnish(&admin, "chief", "admin", "shop").await;
    let role =
        json!({"id": "helper", "title": "Helper", "permissions": ["iam.tokens.impersonate"]});
    house.post("/api/v1/roles", &admin, role).await.data(201);
    house.bind(&admin, "user:clerk", "helper", "system").await;
    house.bind(&admin, "user:clerk", "viewer", "system").await;
    let clerk = house
        .token("clerk", "system", ("password", &password_of("clerk")))
        .await;
    let alice = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;

    let act_for = async |token: &str, id: &str| {
        let body = json!({"principal_id": id, "scope_id": "shop"});
        house.post("/api/v1/auth/token", token, body).await
    };
    let data = act_for(&clerk, "alice").await.data(200);
    let claims = decoded(data["token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], "alice");
    // It ends with the token it was had for.
    assert!(claims["exp"].as_i64() <= decoded(&clerk, 1)["exp"].as_i64());
    // The chief may do what the clerk may not.
    assert_eq!(act_for(&clerk, "chief").await.error(403), "FORBIDDEN");
    // Who may not act for others may not.
    assert_eq!(act_for(&alice, "clerk").await.error(403), "FORBIDDEN");
    // An admin may.
    act_for(&admin, "chief").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_as_somebody_else_is_in_the_token_and_in_the_audit() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "admin", "shop").await;
    let act_for = async |token: &str| {
        let body = json!({"principal_id": "alice", "scope_id": "shop"});
        let data = house
            .post("/api/v1/auth/token", token, body)
            .await
            .data(200);
        data["token"].as_str().unwrap().to_owned()
    };
    let own = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;
    assert!(decoded(&own, 1).get("act").is_none());
    let token = act_for(&admin).await;
    let claims = decoded(&token, 1);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["act"], json!({"sub": "user:admin"}));
    // What it is had for is no more alice's own.
    let again = act_for(&token).await;
    assert_eq!(decoded(&again, 1)["act"], json!({"sub": "user:admin"}));

    for (token, id) in [(&own, "one"), (&token, "two"), (&again, "three")] {
        let body = json!({"id": id, "name": id, "project_id": "shop"});
        let made = house.post("/api/v1/service-accounts", token, body).await;
        made.data(201);
    }
    let trail = house.get("/api/v1/audit?scope=project:shop", &admin).await;
    let trail = trail.data(200)["records"].as_array().unwrap().clone();
    let about = |member: &str, value: &str| -> Vec<&Value> {
        let is = |record: &&Value| record["action"] == member && record["resource"]["id"] == value;
        trail.iter().filter(is).collect()
    };
    let minted = about("iam.tokens.impersonate", "alice");
    assert_eq!(minted.len(), 2, "{trail:#?}");
    assert_eq!(minted[0]["actor"], "user:admin");
    assert_eq!(minted[0]["token_id"], decoded(&admin, 1)["jti"]);
    assert!(minted[0].get("acted_by").is_none());
    assert_eq!(
        minted[0]["resource"],
        json!({"kind": "user", "id": "alice"})
    );
    assert_eq!(minted[0]["details"]["token_id"], claims["jti"]);
    assert_eq!(minted[1]["actor"], "user:alice");
    assert_eq!(minted[1]["acted_by"], "user:admin");
    for (id, acted_by) in [
        ("one", Value::Null),
        ("two", json!("user:admin")),
        ("three", json!("user:admin")),
    ] {
        let made = about("iam.service_accounts.create", id);
        assert_eq!(made[0]["actor"], "user:alice", "{id}");
        assert_eq!(made[0]["acted_by"], acted_by, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_says_how_to_prove_oneself() {
    let house = House::enforce().await;
    for token in ["", "nonsense"] {
        let answer = house.get("/api/v1/whoami", token).await;
        assert_eq!(answer.error(401), "UNAUTHENTICATED");
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
    }
    // Also where the handler looks for the proof.
    let answer = house
        .ask_token(json!({"principal_id": "admin", "scope_id": "system"}))
        .await;
    assert_eq!(answer.error(401), "UNAUTHENTICATED");
    assert!(answer.headers.contains_key("www-authenticate"));
    let admin = house.admin().await;
    let answer = house.get("/api/v1/whoami", &admin).await;
    assert!(!answer.headers.contains_key("www-authenticate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_a_narrower_one_and_no_wider() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.bind(&admin, "user:alice", "viewer", "org:acme").await;
    let proof = password_of("alice");
    let body = json!({
        "principal_id": "alice", "scope_id": "acme", "password": proof, "ttl_seconds": 120,
    });
    let org = house.ask_token(body).await.data(200)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let for_scope = async |token: &str, scope: &str| {
        let body = json!({"principal_id": "alice", "scope_id": scope, "ttl_seconds": 3600});
        house.post("/api/v1/auth/token", token, body).await
    };
    let shop = for_scope(&org, "shop").await.data(200)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(decoded(&shop, 1)["exp"].as_i64() <= decoded(&org, 1)["exp"].as_i64());
    assert_eq!(for_scope(&shop, "acme").await.error(403), "FORBIDDEN");
    // And the token counts for its scope only.
    let list = house
        .call(Method::GET, "/api/v1/projects", &shop, Value::Null)
        .await
        .data(200);
    assert_eq!(list["projects"].as_array().unwrap().len(), 1);
    assert_eq!(
        house.get("/api/v1/orgs/acme", &shop).await.error(404),
        "NOT_FOUND"
    );
}
