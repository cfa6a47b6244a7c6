//! What IAM takes back, every service takes back within a second.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use photon_auth::{Auth, AuthOptions};
use photon_authz::{DenyId, DenyRule, Group, Org, Permission, Project, PublicKey, Revoked};
use photon_core::Code;
use photon_server::Mode;
use photon_testkit::poll::eventually_true;
use serde_json::{Value, json};

use crate::world::{World, caught_up, claims, name, now, project, shop, user, with};

const A_SECOND: Duration = Duration::from_secs(1);

async fn becomes_refused(auth: &Auth, token: &str, what: &str) {
    let refused = || async {
        auth.verify(token)
            .is_err_and(|error| error.code().http == 401)
    };
    eventually_true(what, A_SECOND, refused).await.unwrap();
}

fn revoked(jti: &str) -> Revoked {
    Revoked {
        jti: jti.to_owned(),
        expires_at: Timestamp::now() + Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn one_token() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let claims = claims("alice");
    let token = world.key.token(&claims);
    let other = world.token("alice");
    auth.verify(&token).unwrap();
    world.create(revoked(claims["jti"].as_str().unwrap())).await;
    becomes_refused(&auth, &token, "the token is refused").await;
    auth.verify(&other).unwrap();
    // Who starts later knows, too.
    let later = world.auth(Mode::Dev).await;
    assert!(later.verify(&token).is_err());
    later.verify(&other).unwrap();
}

#[tokio::test]
async fn all_tokens_of_a_family() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let of = |family: &str| world.key.token(&with(&claims("alice"), "sid", family));
    let (one, two, other) = (of("family-1"), of("family-1"), of("family-2"));
    for token in [&one, &two, &other] {
        auth.verify(token).unwrap();
    }
    world.create(revoked("family-1")).await;
    becomes_refused(&auth, &one, "the first is refused").await;
    becomes_refused(&auth, &two, "the second is refused").await;
    auth.verify(&other).unwrap();
    // What could not be revoked is not taken.
    assert!(auth.verify(&of("no/key")).is_err());
}

#[tokio::test]
async fn everything_of_a_principal() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let token = world.token("alice");
    let others = world.token("eve");
    auth.verify(&token).unwrap();
    world.write(user("alice", now() + 1, false)).await;
    becomes_refused(&auth, &token, "alice's tokens are refused").await;
    auth.verify(&others).unwrap();
    // What is issued after is good.
    let mut after = claims("alice");
    after["iat"] = (now() + 1).into();
    auth.verify(&world.key.token(&after)).unwrap();

    world.write(user("eve", 0, true)).await;
    becomes_refused(&auth, &others, "a disabled principal's tokens are refused").await;
    world.write(user("eve", 0, false)).await;
    let enabled = || async { auth.verify(&others).is_ok() };
    eventually_true("eve is enabled again", A_SECOND, enabled)
        .await
        .unwrap();
}

#[tokio::test]
async fn everything_for_a_project() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let token = world.token("alice");
    let wide = with(&claims("alice"), "scope_id", "acme");
    let wide = world.key.token(&with(&wide, "scope_type", "org"));
    auth.verify(&token).unwrap();
    auth.verify(&wide).unwrap();
    world.write(project(now() + 1, false)).await;
    becomes_refused(&auth, &token, "tokens for the project are refused").await;
    auth.verify(&wide).unwrap();

    world.write(project(0, true)).await;
    becomes_refused(&auth, &token, "tokens for a disabled project are refused").await;
    world.write(project(0, false)).await;
    let enabled = || async { auth.verify(&token).is_ok() };
    eventually_true("the project is enabled again", A_SECOND, enabled)
        .await
        .unwrap();
    // Its org.
    let mut acme = world
        .store
        .collection::<Org>()
        .get("acme")
        .await
        .unwrap()
        .unwrap();
    acme.value.disabled = true;
    world.write(acme.value).await;
    becomes_refused(
        &auth,
        &token,
        "tokens for a disabled org's project are refused",
    )
    .await;
    becomes_refused(&auth, &wide, "tokens for a disabled org are refused").await;
}

#[tokio::test]
async fn what_is_deleted() {
    let world = World::new().await;
    for mode in [Mode::Enforce, Mode::Dev] {
        let auth = world.auth(mode).await;
        let token = world.token("alice");
        auth.verify(&token).unwrap();
        world.delete::<Project>("shop").await;
        becomes_refused(&auth, &token, "tokens for a deleted project are refused").await;
        let revision = world.create(project(0, false)).await;
        caught_up(&auth, revision).await;
        auth.verify(&token).unwrap();

        let wide = with(&claims("alice"), "scope_id", "acme");
        let wide = world.key.token(&with(&wide, "scope_type", "org"));
        auth.verify(&wide).unwrap();
        let acme = world.store.collection::<Org>().get("acme").await.unwrap();
        world.delete::<Org>("acme").await;
        for token in [&token, &wide] {
            becomes_refused(&auth, token, "tokens for a deleted org are refused").await;
        }
        world.create(acme.unwrap().value).await;
    }
    // A principal nobody has heard of: dev mode issues tokens to those.
    let token = world.token("nobody");
    world.auth(Mode::Dev).await.verify(&token).unwrap();
    let enforce = world.auth(Mode::Enforce).await;
    assert_eq!(enforce.verify(&token).unwrap_err().code().http, 401);
}

#[tokio::test]
async fn a_key() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let token = world.token("alice");
    auth.verify(&token).unwrap();
    world.delete::<PublicKey>("key-1").await;
    becomes_refused(&auth, &token, "tokens of a withdrawn key are refused").await;
    // Another key of the same name does not vouch for them, although the signature was good once.
    let mut other = crate::world::Signer::new("key-1", &world.key.record.issuer, false);
    let revision = world.create(other.record.clone()).await;
    crate::world::caught_up(&auth, revision).await;
    assert!(auth.verify(&token).is_err());
    auth.verify(&other.token(&claims("alice"))).unwrap();
    // The first one again.
    other.record = world.key.record.clone();
    let revision = world.write(other.record).await;
    crate::world::caught_up(&auth, revision).await;
    auth.verify(&token).unwrap();
    assert_eq!(name("key-1").as_str(), world.key.record.kid);
}

#[tokio::test]
async fn records_that_cannot_be_read_give_nobody_anything() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let (alice, eve) = (world.token("alice"), world.token("eve"));
    auth.verify(&alice).unwrap();
    let mut raw = etcd_client(&world).await;
    for (key, value) in [
        ("/photon/iam/public/principal/user/eve", "not JSON"),
        ("/photon/iam/public/unheard-of/thing", "{}"),
        ("/photon/iam/public/key/broken", "{\"v\":1}"),
        ("/photon/iam/public/binding/not-an-id", "{\"v\":1}"),
        ("/photon/iam/public/odd", ""),
    ] {
        raw.put(key, value).await;
    }
    becomes_refused(
        &auth,
        &eve,
        "a principal whose state cannot be read is refused",
    )
    .await;
    auth.verify(&alice).unwrap();
    raw.put("/photon/iam/public/project/shop", "{\"v\":99}")
        .await;
    becomes_refused(&auth, &alice, "a project that cannot be read is none").await;
    // The same from a first reading.
    let later = world.auth(Mode::Enforce).await;
    assert!(later.verify(&alice).is_err());
    assert!(later.verify(&eve).is_err());
}

#[tokio::test]
async fn what_holds_back_is_kept_and_nothing_begins_without_it() {
    let world = World::new().await;
    let team = Group {
        id: name("team"),
        org: None,
        title: String::new(),
        members: vec!["user:alice".parse().unwrap()],
    };
    world.create(team).await;
    let rule = DenyRule {
        id: DenyId::generate(),
        principal: Some("group:team".parse().unwrap()),
        permissions: vec!["demo.greetings.delete".parse().unwrap()],
        scope: shop(),
        condition: None,
        created_at: Timestamp::now(),
        created_by: String::new(),
    };
    let (rule, revision) = (rule.id, world.create(rule).await);
    let auth = world.auth(Mode::Enforce).await;
    caught_up(&auth, revision).await;
    let alice = crate::callers::caller_of(&auth, &world.token("alice")).await;
    let permission = Permission::new("demo.greetings.delete").unwrap();
    let refused = |auth: &Auth| auth.decide(&alice, &permission, &shop()).is_err();
    assert!(refused(&auth));

    let mut raw = etcd_client(&world).await;
    let keys = [
        format!("/photon/iam/public/deny/{rule}"),
        "/photon/iam/public/group/team".to_owned(),
    ];
    for key in &keys {
        let good = raw.get(key).await;
        raw.put(key, "{\"v\":99}").await;
        let after = world.create(user(&key[key.len() - 4..], 0, false)).await;
        caught_up(&auth, after).await;
        assert!(refused(&auth), "{key}");
        for mode in [Mode::Enforce, Mode::Dev] {
            let start = Auth::start(world.store.clone(), mode, AuthOptions::default(), "test");
            let error = start.await.unwrap_err();
            assert_eq!(error.code(), Code::FAILED_PRECONDITION);
            assert!(error.message().contains(key), "{error}");
        }
        raw.put(key, &good).await;
        assert!(refused(&world.auth(Mode::Enforce).await));
    }
}

/// Writes what photon-store would not.
async fn etcd_client(world: &World) -> Raw {
    Raw {
        client: reqwest::Client::new(),
        url: format!("{}/v3/kv", world.node.endpoint()),
    }
}

struct Raw {
    client: reqwest::Client,
    url: String,
}

impl Raw {
    async fn put(&mut self, key: &str, value: &str) {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        self.ask("put", body).await;
    }

    async fn get(&mut self, key: &str) -> String {
        let found = self
            .ask("range", json!({ "key": STANDARD.encode(key) }))
            .await;
        let value = found["kvs"][0]["value"].as_str().unwrap();
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    }

    /// By the JSON gateway of etcd's port.
    async fn ask(&mut self, method: &str, body: Value) -> Value {
        let url = format!("{}/{method}", self.url);
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
        answer.json().await.unwrap()
    }
}
