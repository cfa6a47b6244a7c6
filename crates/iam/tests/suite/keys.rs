//! Signing keys: discovery, rotation with overlap, two processes, restarts, and what is stored of them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iam::{Sockets, start};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use photon_server::Mode;
use photon_testkit::poll::eventually_true;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House};

/// The key set, found as others find it.
async fn key_set(house: &House) -> JwkSet {
    let about = raw(house, "/.well-known/openid-configuration").await.body;
    let url = about["jwks_uri"].as_str().unwrap();
    let path = url.split_once("/.well-known/").unwrap().1;
    let answer = raw(house, &format!("/.well-known/{path}")).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=900");
    serde_json::from_value(answer.body).unwrap()
}

async fn raw(house: &House, path: &str) -> Answer {
    let answer = house.get(path, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// What a verifier makes of a token that knows nothing but the key set.
fn verify(token: &str, keys: &JwkSet, issuer: &str) -> Value {
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["photon"]);
    validation.set_issuer(&[issuer]);
    jsonwebtoken::decode::<Value>(token, &key, &validation)
        .unwrap()
        .claims
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn others_find_the_keys_and_verify() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let keys = key_set(&house).await;
    let claims = verify(&admin, &keys, "https://iam.photon.internal");
    assert_eq!(claims["sub"], "admin");
    let about = raw(&house, "/.well-known/oauth-authorization-server")
        .await
        .body;
    assert_eq!(about["issuer"], "https://iam.photon.internal");
    assert_eq!(
        about["token_endpoint"],
        "https://iam.photon.internal/oauth2/token"
    );
    let about = raw(&house, "/.well-known/authzen-configuration").await.body;
    let url = about["access_evaluation_endpoint"].as_str().unwrap();
    assert_eq!(url, "https://iam.photon.internal/access/v1/evaluation");
    // The documents of dev mode lead to where they were asked for.
    let dev = House::dev().await;
    let about = raw(&dev, "/.well-known/openid-configuration").await.body;
    assert_eq!(
        about["jwks_uri"],
        format!("{}/.well-known/jwks.json", dev.rest)
    );
    assert_eq!(about["issuer"], "photon-dev");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_lets_old_tokens_live() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let path = "/api/v1/signing-keys";
    let next = house.post(path, &admin, json!({})).await.data(201);
    assert_eq!(next["state"], "published");
    assert_ne!(next["kid"], kid(&admin));
    // It does not sign yet, and everybody knows it already.
    assert_eq!(kid(&house.admin().await), kid(&admin));
    assert!(
        key_set(&house)
            .await
            .find(next["kid"].as_str().unwrap())
            .is_some()
    );
    // A second one is not made as long as this one waits.
    let refused = house.post(path, &admin, json!({})).await;
    assert_eq!(refused.error(409), "FAILED_PRECONDITION");
    // Now it is to sign at once.
    let now = json!({"signs_after_seconds": 0});
    let signing = house.post(path, &admin, now).await.data(201);
    assert_eq!(
        (&signing["kid"], &signing["state"]),
        (&next["kid"], &json!("signing"))
    );
    let newer = house.admin().await;
    assert_eq!(kid(&newer), signing["kid"].as_str().unwrap());
    // What the one before signed still counts, and has an end.
    house.get("/api/v1/whoami", &admin).await.data(200);
    let keys = house.get(path, &newer).await.data(200);
    let before = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == kid(&admin))
        .unwrap();
    assert_eq!(before["state"], "verifying");
    assert!(before["not_after"].is_string());
    // One that was stolen is ended: what it signed counts no more, and the one that signs cannot be ended.
    let end = format!("{path}/{}", kid(&admin));
    let ended = house.call(Method::DELETE, &end, &newer, Value::Null).await;
    assert_eq!(ended.data(200)["state"], "retired");
    let refused = house.get("/api/v1/whoami", &admin).await;
    assert_eq!(refused.error(401), "UNAUTHENTICATED");
    assert!(key_set(&house).await.find(&kid(&admin)).is_none());
    let end = format!("{path}/{}", kid(&newer));
    let refused = house.call(Method::DELETE, &end, &newer, Value::Null).await;
    assert_eq!(refused.error(409), "FAILED_PRECONDITION");
    house.get("/api/v1/whoami", &newer).await.data(200);
    let missing = house
        .call(Method::DELETE, &format!("{path}/none"), &newer, Value::Null)
        .await;
    assert_eq!(missing.error(404), "NOT_FOUND");
    // Who asked is written down.
    let stored = house.everything_stored().await;
    let recorded = stored.iter().any(|(key, value)| {
        key.starts_with("/photon/iam/audit/system/")
            && value.contains("iam.keys.rotate")
            && value.contains("user:admin")
    });
    assert!(recorded);

    let bad = json!({"signs_after_seconds": -1});
    assert_eq!(
        house.post(path, &newer, bad).await.field(),
        "signs_after_seconds"
    );
    let bad = json!({"signs_after_seconds": u32::MAX});
    assert_eq!(
        house.post(path, &newer, bad).await.field(),
        "signs_after_seconds"
    );
    assert_eq!(
        house.post(path, "", json!({})).await.error(401),
        "UNAUTHENTICATED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_are_one_issuer() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let other = Box::pin(start(house.config.clone(), Sockets::default()))
        .await
        .unwrap();
    let url = format!("http://{}/api/v1", other.rest_address());
    let whoami = |token: String| {
        let request = house.http.get(format!("{url}/whoami")).bearer_auth(token);
        async { house.send(request).await.status.as_u16() }
    };
    assert_eq!(whoami(admin.clone()).await, 200);
    // One rotates, the other signs with the new key.
    let now = json!({"signs_after_seconds": 0});
    let made = house
        .post("/api/v1/signing-keys", &admin, now)
        .await
        .data(201);
    let ask = async || {
        let body =
            json!({"principal_id": "admin", "scope_id": "system", "api_key": house.admin_key});
        let request = house.http.post(format!("{url}/auth/token")).json(&body);
        let data = house.send(request).await.data(200);
        data["token"].as_str().unwrap().to_owned()
    };
    eventually_true(
        "the other signs with the new key",
        Duration::from_secs(10),
        || async { kid(&ask().await) == made["kid"].as_str().unwrap() },
    )
    .await
    .unwrap();
    // One revokes, the other refuses.
    let token = ask().await;
    let revoke = json!({"token": token});
    house
        .post("/api/v1/auth/revoke", &admin, revoke)
        .await
        .data(200);
    eventually_true("the other refuses", Duration::from_secs(5), || async {
        whoami(token.clone()).await == 401
    })
    .await
    .unwrap();
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_the_process_and_need_their_file() {
    let mut house = House::enforce().await;
    let admin = house.admin().await;
    house.stop().await;
    house.start().await;
    house.get("/api/v1/whoami", &admin).await.data(200);
    assert_eq!(kid(&house.admin().await), kid(&admin));
    house.stop().await;
    let file = house.wrapping_key_file();
    let key = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{}\n", "cd".repeat(32))).unwrap();
    let refused = Box::pin(start(house.config.clone(), Sockets::default()))
        .await
        .unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("another key"), "{refused}");
    assert!(!refused.contains(key.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_keys_are_none_in_enforce_mode() {
    let mut house = House::of(Mode::Dev, |_| {}).await;
    let body = json!({"principal_id": "admin", "scope_id": "system"});
    let dev = house.ask_token(body).await.data(200)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    house.get("/api/v1/whoami", &dev).await.data(200);
    house.stop().await;
    let store = house.store().await;
    let told = iam::init::found(&house.config, &store).await.unwrap();
    house.config.auth.mode = Mode::Enforce;
    house.start().await;
    assert_eq!(
        house.get("/api/v1/whoami", &dev).await.error(401),
        "UNAUTHENTICATED"
    );
    let good = house
        .token("admin", "system", ("api_key", told.api_key.expose()))
        .await;
    house.get("/api/v1/whoami", &good).await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_of_a_key_signs_nothing() {
    let house = House::enforce().await;
    let stored = house.everything_stored().await;
    let (_, private) = stored
        .iter()
        .find(|(key, _)| key.starts_with("/photon/iam/signing/"))
        .unwrap();
    // A PKCS#8 key begins with a sequence, the version and the algorithm: none of it is there in the clear.
    for text in private.split('"') {
        for bytes in [
            URL_SAFE_NO_PAD.decode(text).unwrap_or_default(),
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap_or_default(),
        ] {
            let id_ec_public_key = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
            assert!(!bytes.windows(7).any(|window| window == id_ec_public_key));
        }
    }
    let (_, public) = stored
        .iter()
        .find(|(key, _)| key.starts_with("/photon/iam/public/key/"))
        .unwrap();
    let public: Value = serde_json::from_str(public).unwrap();
    assert!(public["jwk"].get("d").is_none());
    assert_eq!(public["jwk"]["alg"], "ES256");
}
