//! Credentials as a resource, passwords, and that no secret is seen anywhere.

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use photon_pki::LeafRequest;
use photon_server::{Mode, config::TlsConfig};
use photon_testkit::TestPki;
use reqwest::{Certificate, Identity, Method};
use serde_json::{Value, json};

use crate::house::{Answer, House, password_of};

const PATH: &str = "/api/v1/credentials";

async fn make(house: &House, token: &str, body: Value) -> Answer {
    house.post(PATH, token, body).await
}

async fn change(house: &House, token: &str, id: &str, body: Value) -> Answer {
    house
        .call(Method::PATCH, &format!("{PATH}/{id}"), token, body)
        .await
}

async fn try_key(house: &House, id: &str, scope: &str, key: &str) -> Answer {
    house
        .ask_token(json!({"principal_id": id, "scope_id": scope, "api_key": key}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_shown_once_and_lives_as_long_as_it_is_let() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let alice = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;

    let body = json!({"kind": "api_key", "label": "laptop"});
    let made = make(&house, &alice, body).await;
    assert!(made.headers.contains_key("etag"));
    let made = made.data(201);
    let (id, key) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    assert!(id.starts_with("crd-"));
    assert!(key.starts_with("phk_"));
    assert_eq!(made["principal"], "user:alice");
    assert_eq!(made["last_used_at"], Value::Null);
    try_key(&house, "alice", "shop", key).await.data(200);
    // It is somebody's.
    assert_eq!(
        try_key(&house, "admin", "system", key).await.error(401),
        "UNAUTHENTICATED"
    );
    // As a bearer it gives a token, too.
    let request = house
        .http
        .post(format!("{}/api/v1/auth/token", house.rest))
        .bearer_auth(key)
        .json(&json!({"principal_id": "alice", "scope_id": "shop"}));
    house.send(request).await.data(200);

    let shown = house.get(&format!("{PATH}/{id}"), &alice).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    let shown = shown.data(200);
    assert!(shown.get("secret").is_none());
    assert!(shown["last_used_at"].is_string());
    // Uses leave its revision alone.
    assert_eq!(tag, format!("\"{}\"", made["revision"]));
    let list = house.get(PATH, &alice).await.data(200);
    assert_eq!(list["credentials"].as_array().unwrap().len(), 2);

    // Disabled, enabled, over, deleted.
    let stale = house
        .http
        .patch(format!("{}{PATH}/{id}", house.rest))
        .bearer_auth(&alice)
        .header("if-match", "\"1\"")
        .json(&json!({"disabled": true}));
    assert_eq!(house.send(stale).await.error(409), "CONFLICT");
    assert_eq!(
        change(&house, &alice, id, json!({"disabled": true}))
            .await
            .data(200)["disabled"],
        true
    );
    assert_eq!(
        try_key(&house, "alice", "shop", key).await.error(401),
        "UNAUTHENTICATED"
    );
    change(&house, &alice, id, json!({"disabled": false}))
        .await
        .data(200);
    try_key(&house, "alice", "shop", key).await.data(200);
    let past = json!({"expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(change(&house, &alice, id, past).await.field(), "expires_at");
    let deleted = house
        .call(Method::DELETE, &format!("{PATH}/{id}"), &alice, Value::Null)
        .await;
    assert_eq!(deleted.data(200)["deleted"], true);
    assert_eq!(
        try_key(&house, "alice", "shop", key).await.error(401),
        "UNAUTHENTICATED"
    );
    assert_eq!(
        house.get(&format!("{PATH}/{id}"), &alice).await.error(404),
        "NOT_FOUND"
    );
    let left = house.everything_stored().await;
    let of_it = left
        .iter()
        .find(|(path, _)| path.contains(id) && !path.contains("/audit"));
    assert!(of_it.is_none(), "{of_it:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named() {
    let house = House::dev().await;
    let (certificate, ssh) = ("certificate", "ssh_public_key");
    for (body, field) in [
        (json!({"principal": "user:a"}), "kind"),
        (json!({"kind": "api_key"}), "principal"),
        (json!({"kind": "totp", "principal": "user:a"}), "kind"),
        (
            json!({"kind": "api_key", "principal": "alice"}),
            "principal",
        ),
        (
            json!({"kind": "api_key", "principal": "group:a"}),
            "principal",
        ),
        (
            json!({"kind": "api_key", "principal": "service:a"}),
            "principal",
        ),
        (
            json!({"kind": "password", "principal": "user:a"}),
            "password",
        ),
        (
            json!({"kind": "password", "principal": "user:a", "password": "short"}),
            "password",
        ),
        (
            json!({"kind": "password", "principal": "service_account:a", "password": "long enough"}),
            "principal",
        ),
        (
            json!({"kind": "api_key", "principal": "user:a", "password": "x"}),
            "password",
        ),
        (
            json!({"kind": "api_key", "principal": "user:a", "expires_at": "soon"}),
            "expires_at",
        ),
        (
            json!({"kind": "api_key", "principal": "user:a", "expires_at": "2001-01-01T00:00:00Z"}),
            "expires_at",
        ),
        (
            json!({"kind": "api_key", "principal": "user:a", "label": ""}),
            "label",
        ),
        (
            json!({"kind": certificate, "principal": "user:a", "certificate": "x"}),
            "certificate",
        ),
        (
            json!({"kind": ssh, "principal": "user:a", "public_key": "ssh-rsa x"}),
            "public_key",
        ),
        (
            json!({"kind": "api_key", "principal": "user:a", "secret": "x"}),
            "secret",
        ),
    ] {
        assert_eq!(
            make(&house, "", body.clone()).await.field(),
            field,
            "{body}"
        );
    }
    for id in [
        "x",
        "crd-1",
        "crd-..%2f..",
        "vm-0198f1a2-7b3c-7def-8123-456789abcdef",
    ] {
        assert_eq!(
            house.get(&format!("{PATH}/{id}"), "").await.error(404),
            "NOT_FOUND",
            "{id}"
        );
    }
    assert_eq!(
        house
            .get(&format!("{PATH}?principal=alice"), "")
            .await
            .field(),
        "principal"
    );
    assert_eq!(
        house.get(&format!("{PATH}?limit=0"), "").await.field(),
        "limit"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "bob", "viewer", "shop").await;
    let old = password_of("alice");
    let alice = house.token("alice", "shop", ("password", &old)).await;
    let path = "/api/v1/users/alice/password";
    let put = async |token: &str, body: Value| house.call(Method::PUT, path, token, body).await;

    let new = "an entirely new one";
    assert_eq!(
        put(&alice, json!({"password": new})).await.field(),
        "current"
    );
    let wrong = json!({"password": new, "current": "a wrong one"});
    assert_eq!(put(&alice, wrong).await.error(401), "UNAUTHENTICATED");
    let weak = json!({"password": "1234567", "current": old});
    assert_eq!(put(&alice, weak).await.field(), "password");
    // Of others it takes a permission; who has none there learns nothing.
    let bob = house
        .token("bob", "shop", ("password", &password_of("bob")))
        .await;
    assert_eq!(
        put(&bob, json!({"password": new})).await.error(404),
        "NOT_FOUND"
    );

    put(&alice, json!({"password": new, "current": old}))
        .await
        .data(200);
    // Tokens had for the old one have ended, and it proves nothing.
    assert_eq!(
        house.get("/api/v1/whoami", &alice).await.error(401),
        "UNAUTHENTICATED"
    );
    let ask =
        |password: &str| json!({"principal_id": "alice", "scope_id": "shop", "password": password});
    assert_eq!(
        house.ask_token(ask(&old)).await.error(401),
        "UNAUTHENTICATED"
    );
    house.token("alice", "shop", ("password", new)).await;
    // An admin sets it without knowing it.
    put(&admin, json!({"password": "set by the admin"}))
        .await
        .data(200);
    house
        .token("alice", "shop", ("password", "set by the admin"))
        .await;
    let missing = house
        .call(
            Method::PUT,
            "/api/v1/users/nobody/password",
            &admin,
            json!({"password": new}),
        )
        .await;
    assert_eq!(missing.error(404), "NOT_FOUND");
    // There is one password each.
    let second = json!({"kind": "password", "principal": "user:alice", "password": new});
    assert_eq!(
        make(&house, &admin, second).await.error(409),
        "ALREADY_EXISTS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_key_to_more_than_they_hold() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "alice", "admin", "bank").await;
    house.furnish(&admin, "clerk", "", "shop").await;
    let role = json!({"id": "keymaker", "title": "Keys", "permissions": ["iam.credentials.*"]});
    house.post("/api/v1/roles", &admin, role).await.data(201);
    house.bind(&admin, "user:clerk", "keymaker", "system").await;
    let clerk = house
        .token("clerk", "system", ("password", &password_of("clerk")))
        .await;
    let for_alice = json!({"kind": "api_key", "principal": "user:alice"});
    // The clerk may make keys, and may not do what Alice may.
    assert_eq!(
        make(&house, &clerk, for_alice.clone()).await.error(403),
        "FORBIDDEN"
    );
    let path = "/api/v1/users/alice/password";
    let taken_over = house
        .call(Method::PUT, path, &clerk, json!({"password": "taken over"}))
        .await;
    assert_eq!(taken_over.error(403), "FORBIDDEN");
    make(&house, &admin, for_alice).await.data(201);
    // A token for one project makes no key to both.
    let proof = password_of("alice");
    let shop = house.token("alice", "shop", ("password", &proof)).await;
    let own = json!({"kind": "api_key"});
    assert_eq!(
        make(&house, &shop, own.clone()).await.error(403),
        "FORBIDDEN"
    );
    let mut proved = own;
    proved["current_password"] = json!("a wrong one");
    assert_eq!(
        make(&house, &shop, proved.clone()).await.error(401),
        "UNAUTHENTICATED"
    );
    proved["current_password"] = json!(proof);
    make(&house, &shop, proved).await.data(201);
    // What others have is not there for her.
    let list = house
        .get(&format!("{PATH}?principal=user:clerk"), &clerk)
        .await
        .data(200);
    let id = list["credentials"][0]["id"].as_str().unwrap();
    assert_eq!(
        house.get(&format!("{PATH}/{id}"), &shop).await.error(404),
        "NOT_FOUND"
    );
    assert_eq!(
        house
            .get(&format!("{PATH}?principal=user:clerk"), &shop)
            .await
            .error(403),
        "FORBIDDEN"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_and_certificates_are_kept_once() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let pki = TestPki::new().unwrap();
    let files = pki.client("alice").unwrap();
    let pem = std::fs::read_to_string(files.certificate).unwrap();
    let body = json!({"kind": "certificate", "principal": "user:alice", "certificate": pem});
    let made = make(&house, &admin, body.clone()).await.data(201);
    assert_eq!(made["fingerprint"].as_str().unwrap().len(), 64);
    assert!(made.get("secret").is_none());
    assert_eq!(
        make(&house, &admin, body).await.error(409),
        "ALREADY_EXISTS"
    );
    // The certificate of a service speaks for the service.
    let leaf = pki
        .issuer()
        .issue(&LeafRequest::client("svc/other"))
        .unwrap();
    let pem = &leaf.certificate_pem;
    let body = json!({"kind": "certificate", "principal": "user:alice", "certificate": pem});
    assert_eq!(make(&house, &admin, body).await.field(), "certificate");

    let mut blob = Vec::new();
    for part in [&b"ssh-ed25519"[..], &[7; 32]] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    let line = format!("ssh-ed25519 {}", STANDARD.encode(blob));
    let body = json!({"kind": "ssh_public_key", "principal": "user:alice", "public_key": format!("{line} me@here\n")});
    let made = make(&house, &admin, body.clone()).await.data(201);
    assert_eq!(made["public_key"], line);
    assert!(made["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(
        make(&house, &admin, body).await.error(409),
        "ALREADY_EXISTS"
    );

    // With its user everything goes.
    house
        .call(Method::DELETE, "/api/v1/users/alice", &admin, Value::Null)
        .await
        .data(200);
    let left = house.everything_stored().await;
    let of_hers = left.iter().find(|(key, _)| {
        key.starts_with("/photon/iam/credential") && key.contains("/alice/")
            || key.starts_with("/photon/iam/name/certificate/")
    });
    assert!(of_hers.is_none(), "{of_hers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_certificate_proves_its_principal() {
    let pki = TestPki::new().unwrap();
    let server = pki.server("iam", &[]).unwrap();
    let mut house = House::of(Mode::Enforce, |config| {
        config.rest.tls = Some(TlsConfig {
            certificate: server.certificate.clone(),
            key: server.key.clone(),
            client_ca: Some(server.authority.clone()),
            require_client_certificate: false,
        });
    })
    .await;
    let client = |name: Option<&str>| {
        let ca = Certificate::from_pem(pki.authority_pem().as_bytes()).unwrap();
        let mut http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
        let mut certificate = String::new();
        if let Some(name) = name {
            let leaf = pki.issuer().issue(&LeafRequest::client(name)).unwrap();
            let pem = format!("{}{}", leaf.key_pem, leaf.certificate_pem);
            http = http.identity(Identity::from_pem(pem.as_bytes()).unwrap());
            certificate = leaf.certificate_pem;
        }
        (http.build().unwrap(), certificate)
    };
    let (plain, _) = client(None);
    let (hers, certificate) = client(Some("alice"));
    let (strangers, _) = client(Some("alice"));
    house.http = plain.clone();
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let ask = json!({"principal_id": "alice", "scope_id": "shop"});
    // One that the same authority issued, with the same name, is nobody's before it is registered.
    house.http = hers.clone();
    assert_eq!(
        house.ask_token(ask.clone()).await.error(401),
        "UNAUTHENTICATED"
    );
    let body =
        json!({"kind": "certificate", "principal": "user:alice", "certificate": certificate});
    let made = make(&house, &admin, body).await.data(201);
    house.ask_token(ask.clone()).await.data(200);
    // It lets her in at our other doors, too; and gives her what she has, not more.
    let me = house.get("/api/v1/whoami", "").await.data(200);
    assert_eq!(me["principal"], "user:alice");
    let other = json!({"principal_id": "admin", "scope_id": "system"});
    assert_eq!(house.ask_token(other).await.error(403), "FORBIDDEN");
    house.http = strangers;
    assert_eq!(
        house.ask_token(ask.clone()).await.error(401),
        "UNAUTHENTICATED"
    );
    assert_eq!(
        house.get("/api/v1/whoami", "").await.error(401),
        "UNAUTHENTICATED"
    );
    // Taken back, it proves nothing with the next request.
    house.http = hers;
    change(
        &house,
        &admin,
        made["id"].as_str().unwrap(),
        json!({"disabled": true}),
    )
    .await
    .data(200);
    assert_eq!(house.ask_token(ask).await.error(401), "UNAUTHENTICATED");
}

/// The log of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_nowhere_to_be_seen() {
    let log = Log::default();
    let written = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_env_filter("trace,h2=info,hyper=info,hyper_util=info,tower=info")
        .with_ansi(false)
        .with_writer(move || written.clone())
        .init();

    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let alice = house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;
    let made = make(&house, &alice, json!({"kind": "api_key"}))
        .await
        .data(201);
    let key = made["secret"].as_str().unwrap().to_owned();
    try_key(&house, "alice", "shop", &key).await.data(200);
    let kek = std::fs::read_to_string(house.wrapping_key_file()).unwrap();
    let planted_wrong = "a-planted-wrong-password";
    // What goes wrong must not tell either.
    let mut answers = Vec::new();
    for body in [
        json!({"principal_id": "alice", "scope_id": "shop", "password": planted_wrong}),
        json!({"principal_id": "alice", "scope_id": "shop", "password": [planted_wrong]}),
        json!({"principal_id": "alice", "scope_id": "shop", "password": planted_wrong, "x": 1}),
        json!({"principal_id": "alice", "scope_id": "shop", "api_key": format!("{}x", key)}),
        json!({"principal_id": "alice", "scope_id": "nowhere", "api_key": key}),
    ] {
        answers.push(house.ask_token(body).await.body.to_string());
    }
    for (method, path, body) in [
        (
            Method::PUT,
            "/api/v1/users/alice/password",
            json!({"password": "x", "current": planted_wrong}),
        ),
        (
            Method::PUT,
            "/api/v1/users/alice/password",
            json!({"password": planted_wrong}),
        ),
        (
            Method::POST,
            PATH,
            json!({"kind": "password", "password": planted_wrong}),
        ),
        (Method::GET, PATH, Value::Null),
        (Method::GET, "/api/v1/users/alice", Value::Null),
        (Method::GET, "/api/v1/whoami", Value::Null),
    ] {
        answers.push(
            house
                .call(method, path, &alice, body)
                .await
                .body
                .to_string(),
        );
    }
    for path in [
        "/api/v1/signing-keys",
        "/api/v1/audit?scope=system",
        "/api/v1/credentials?principal=user:alice",
    ] {
        answers.push(house.get(path, &admin).await.body.to_string());
    }
    let metrics = house
        .http
        .get(format!("{}/metrics", house.rest))
        .bearer_auth(&admin);
    answers.push(metrics.send().await.unwrap().text().await.unwrap());
    let stored = house.everything_stored().await;
    assert!(
        stored
            .iter()
            .any(|(key, _)| key.starts_with("/photon/iam/audit/"))
    );
    for (key, value) in stored {
        answers.push(format!("{key} {value}"));
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    // The capture works: it has what it should have.
    assert!(
        log.contains("issued a token"),
        "{}",
        &log[..log.len().min(2000)]
    );
    answers.push(log);

    let signature = alice.rsplit_once('.').unwrap().1.to_owned();
    let secrets = [
        password_of("alice"),
        planted_wrong.to_owned(),
        key[4 + 32 + 1..].to_owned(),
        house.admin_key[4 + 32 + 1..].to_owned(),
        kek.trim().to_owned(),
        signature,
    ];
    for text in &answers {
        for secret in &secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let from = text[..at]
                    .char_indices()
                    .rev()
                    .nth(200)
                    .map_or(0, |(at, _)| at);
                panic!("a secret is in: …{}…", &text[from..at]);
            }
        }
    }
}
