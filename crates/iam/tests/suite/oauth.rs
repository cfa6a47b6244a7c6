//! OAuth for programs: grants, refresh tokens and their reuse, introspection, revocation, and the standard's errors.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::house::{Answer, House};

/// A service account `build` of the project `shop` with a role there, and one of its keys.
pub(crate) async fn client(house: &House, admin: &str) -> String {
    house.furnish(admin, "alice", "viewer", "shop").await;
    account(house, admin, "build", "shop").await
}

async fn account(house: &House, admin: &str, id: &str, project: &str) -> String {
    let body = json!({"id": id, "name": id, "project_id": project});
    house
        .post("/api/v1/service-accounts", admin, body)
        .await
        .data(201);
    let principal = format!("service_account:{id}");
    house
        .bind(admin, &principal, "viewer", &format!("project:{project}"))
        .await;
    let body = json!({"kind": "api_key", "principal": principal});
    let made = house
        .post("/api/v1/credentials", admin, body)
        .await
        .data(201);
    made["secret"].as_str().unwrap().to_owned()
}

async fn form(house: &House, path: &str, basic: Option<(&str, &str)>, body: &str) -> Answer {
    let mut request = house
        .http
        .post(format!("{}{path}", house.rest))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.to_owned());
    if let Some((id, secret)) = basic {
        let pair = STANDARD.encode(format!("{id}:{secret}"));
        request = request.header("authorization", format!("Basic {pair}"));
    }
    house.send(request).await
}

/// The code of an error as RFC 6749 has it.
#[track_caller]
fn code(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert!(answer.body["error_description"].is_string());
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body["error"].as_str().unwrap().to_owned()
}

#[track_caller]
fn text(answer: &Answer, field: &str) -> String {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.body[field].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_tokens_for_its_project() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let key = client(&house, &admin).await;
    let basic = Some(("build", key.as_str()));
    let answer = form(
        &house,
        "/oauth2/token",
        basic,
        "grant_type=client_credentials",
    )
    .await;
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 3600);
    assert_eq!(answer.body["scope"], "project:shop");
    assert!(answer.body.get("refresh_token").is_none());
    let me = house
        .get("/api/v1/whoami", &text(&answer, "access_token"))
        .await
        .data(200);
    assert_eq!(me["principal"], "service_account:build");
    // The client may prove itself in the form instead.
    let body =
        format!("grant_type=client_credentials&client_id=build&client_secret={key}&unknown=1");
    text(
        &form(&house, "/oauth2/token", None, &body).await,
        "access_token",
    );

    for (basic, body, status, expected) in [
        (
            None,
            "grant_type=client_credentials".to_owned(),
            401,
            "invalid_client",
        ),
        (
            Some(("build", "phk_wrong")),
            "grant_type=client_credentials".to_owned(),
            401,
            "invalid_client",
        ),
        (
            Some(("nobody", key.as_str())),
            "grant_type=client_credentials".to_owned(),
            401,
            "invalid_client",
        ),
        (basic, body, 400, "invalid_request"),
        (basic, String::new(), 400, "invalid_request"),
        (basic, "grant_type=".to_owned(), 400, "invalid_request"),
        (
            basic,
            "grant_type=a&grant_type=b".to_owned(),
            400,
            "invalid_request",
        ),
        (basic, "grant_type=%zz".to_owned(), 400, "invalid_request"),
        (
            basic,
            "grant_type=password".to_owned(),
            400,
            "unsupported_grant_type",
        ),
        (
            basic,
            "grant_type=client_credentials&scope=shop".to_owned(),
            400,
            "invalid_scope",
        ),
        (
            basic,
            "grant_type=client_credentials&scope=system".to_owned(),
            400,
            "invalid_scope",
        ),
        (
            basic,
            "grant_type=client_credentials&scope=project:none".to_owned(),
            400,
            "invalid_scope",
        ),
        (
            basic,
            "grant_type=refresh_token".to_owned(),
            400,
            "invalid_request",
        ),
        (
            basic,
            "grant_type=refresh_token&refresh_token=x".to_owned(),
            400,
            "invalid_grant",
        ),
    ] {
        let answer = form(&house, "/oauth2/token", basic, &body).await;
        assert_eq!(code(&answer, status), expected, "{body}");
        if status == 401 {
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    let request = house
        .http
        .post(format!("{}/oauth2/token", house.rest))
        .json(&json!({}));
    assert_eq!(code(&house.send(request).await, 415), "invalid_request");
}

async fn begin(house: &House, key: &str) -> Answer {
    let body = "grant_type=client_credentials&scope=offline_access+project:shop";
    form(house, "/oauth2/token", Some(("build", key)), body).await
}

async fn refresh(house: &House, client: (&str, &str), token: &str) -> Answer {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    form(house, "/oauth2/token", Some(client), &body).await
}

async fn whoami(house: &House, token: &str) -> u16 {
    house.get("/api/v1/whoami", token).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_all() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let key = client(&house, &admin).await;
    let other = account(&house, &admin, "other", "shop").await;
    let client = ("build", key.as_str());
    let first = text(&begin(&house, &key).await, "refresh_token");
    // It is the client's alone.
    let stolen = refresh(&house, ("other", &other), &first).await;
    assert_eq!(code(&stolen, 400), "invalid_grant");
    // A wish for another scope does not use it up.
    let body = format!("grant_type=refresh_token&scope=system&refresh_token={first}");
    let wider = form(&house, "/oauth2/token", Some(client), &body).await;
    assert_eq!(code(&wider, 400), "invalid_scope");

    let next = refresh(&house, client, &first).await;
    let (access, second) = (text(&next, "access_token"), text(&next, "refresh_token"));
    assert_ne!(first, second);
    assert_eq!(whoami(&house, &access).await, 200);
    // Somebody shows the first one again: both are dead, and what was had last.
    assert_eq!(
        code(&refresh(&house, client, &first).await, 400),
        "invalid_grant"
    );
    assert_eq!(
        code(&refresh(&house, client, &second).await, 400),
        "invalid_grant"
    );
    assert_eq!(whoami(&house, &access).await, 401);

    // What revokes everything of a principal revokes these, too.
    let token = text(&begin(&house, &key).await, "refresh_token");
    let body = json!({"principal_id": "build", "principal_type": "service_account"});
    house
        .post("/api/v1/auth/revoke", &admin, body)
        .await
        .data(200);
    assert_eq!(
        code(&refresh(&house, client, &token).await, 400),
        "invalid_grant"
    );
    // None of them is stored.
    for (key, value) in house.everything_stored().await {
        for token in [&first, &second, &token] {
            assert!(!value.contains(&token[37..]), "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_ends_every_access_token_of_the_family() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let key = client(&house, &admin).await;
    let client = ("build", key.as_str());
    let stranger = text(&begin(&house, &key).await, "access_token");
    let mut generations = vec![begin(&house, &key).await];
    for _ in 0..3 {
        let shown = text(generations.last().unwrap(), "refresh_token");
        generations.push(refresh(&house, client, &shown).await);
    }
    let access: Vec<String> = generations
        .iter()
        .map(|tokens| text(tokens, "access_token"))
        .collect();
    for token in &access {
        assert_eq!(whoami(&house, token).await, 200);
    }
    let used = text(&generations[1], "refresh_token");
    assert_eq!(
        code(&refresh(&house, client, &used).await, 400),
        "invalid_grant"
    );
    for (generation, token) in access.iter().enumerate() {
        assert_eq!(whoami(&house, token).await, 401, "generation {generation}");
    }
    // Another family of the same client goes on.
    assert_eq!(whoami(&house, &stranger).await, 200);

    // So does revocation, whichever refresh token is shown.
    let first = begin(&house, &key).await;
    let second = refresh(&house, client, &text(&first, "refresh_token")).await;
    let shown = format!("token={}", text(&second, "refresh_token"));
    let revoked = form(&house, "/oauth2/revoke", Some(client), &shown).await;
    assert_eq!(revoked.status, 200);
    for tokens in [&first, &second] {
        assert_eq!(whoami(&house, &text(tokens, "access_token")).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_get_one_answer() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let key = client(&house, &admin).await;
    let token = text(&begin(&house, &key).await, "refresh_token");
    let all = (0..8).map(|_| refresh(&house, ("build", &key), &token));
    let answers = futures::future::join_all(all).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(good <= 1, "{good}");
    // It was used more than once, by whomever: nothing that came of it counts.
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        let next = text(answer, "refresh_token");
        assert_eq!(
            code(&refresh(&house, ("build", &key), &next).await, 400),
            "invalid_grant"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_looked_at_and_revoked_by_their_client() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let key = client(&house, &admin).await;
    let other = account(&house, &admin, "other", "shop").await;
    let client = Some(("build", key.as_str()));
    let stranger = Some(("other", other.as_str()));
    let tokens = begin(&house, &key).await;
    let (access, refresh_token) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );

    let about = async |who: Option<(&str, &str)>, token: &str| {
        let answer = form(&house, "/oauth2/introspect", who, &format!("token={token}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let seen = about(client, &access).await;
    assert_eq!(seen["active"], true);
    assert_eq!(seen["client_id"], "build");
    assert_eq!(seen["scope"], "project:shop");
    assert_eq!(seen["aud"], "photon");
    // What the token says, and of which kind its subject is.
    let said = access.split('.').nth(1).unwrap();
    let said = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(said)
        .unwrap();
    let said: Value = serde_json::from_slice(&said).unwrap();
    for claim in ["sub", "scope", "ptype", "client_id", "jti", "exp"] {
        assert_eq!(seen[claim], said[claim], "{claim}");
    }
    assert_eq!(seen["ptype"], "service_account");
    assert_eq!(seen["principal"], "service_account:build");
    let of_refresh = about(client, &refresh_token).await;
    assert_eq!(of_refresh["principal"], "service_account:build");
    assert!(seen["exp"].is_i64());
    assert_eq!(about(client, &refresh_token).await["active"], true);
    // Others are told what of a token there is not.
    for token in [access.as_str(), &refresh_token, "nonsense"] {
        assert_eq!(about(stranger, token).await, json!({"active": false}));
    }
    // An admin may look, as a bearer.
    let request = house
        .http
        .post(format!("{}/oauth2/introspect", house.rest))
        .bearer_auth(&admin)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("token={access}"));
    assert_eq!(house.send(request).await.body["active"], true);
    let nobody = form(
        &house,
        "/oauth2/introspect",
        None,
        &format!("token={access}"),
    )
    .await;
    assert_eq!(code(&nobody, 401), "invalid_client");
    assert_eq!(
        code(&form(&house, "/oauth2/introspect", client, "").await, 400),
        "invalid_request"
    );

    let revoke = async |who: Option<(&str, &str)>, token: &str| {
        form(
            &house,
            "/oauth2/revoke",
            who,
            &format!("token={token}&token_type_hint=x"),
        )
        .await
    };
    assert_eq!(
        code(&revoke(stranger, &access).await, 400),
        "unauthorized_client"
    );
    // Of a refresh token that is not its own it learns nothing, and ends nothing.
    assert_eq!(revoke(stranger, &refresh_token).await.status, 200);
    assert_eq!(about(client, &refresh_token).await["active"], true);
    assert_eq!(revoke(client, "nonsense").await.status, 200);
    assert_eq!(revoke(client, &refresh_token).await.status, 200);
    assert_eq!(about(client, &refresh_token).await["active"], false);
    assert_eq!(about(client, &access).await, json!({"active": false}));
    let again = text(&begin(&house, &key).await, "access_token");
    assert_eq!(revoke(client, &again).await.status, 200);
    assert_eq!(whoami(&house, &again).await, 401);
    let _: Value = revoke(client, &again).await.body;
}
