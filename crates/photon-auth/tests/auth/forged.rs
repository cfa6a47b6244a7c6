//! Tokens that must not pass. All are 401, and none causes a connection.

use std::net::TcpListener;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use photon_auth::{Auth, AuthOptions, sweep::Tokens};
use photon_server::Mode;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

use crate::world::{Shift, Signer, World, claims, now, with};

fn is_refused(auth: &Auth, token: &str, what: &str) {
    let error = auth.verify(token).expect_err(what);
    assert_eq!(error.code().http, 401, "{what}: {error}");
    // Twice, because of what is remembered.
    assert_eq!(
        auth.verify(token).expect_err(what).code().http,
        401,
        "{what}"
    );
}

#[tokio::test]
async fn whatever_the_sweep_makes_of_a_good_token_is_refused() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let good = world.token("eve");
    auth.verify(&good).unwrap();
    // The public key in each form in which a verifier might have it as bytes.
    let jwk = serde_json::to_vec(&world.key.record.jwk).unwrap();
    let tokens = Tokens::from_stranger(&good)
        .unwrap()
        .signed_by(|header, claims| world.key.sign(header, claims))
        .confused_with(&world.key.point)
        .confused_with(&jwk);
    let mut tried = 0;
    for credential in tokens.into_credentials() {
        let token = credential
            .authorization
            .as_deref()
            .and_then(|header| header.strip_prefix("Bearer "));
        if let Some(token) = token.filter(|_| !credential.stranger) {
            is_refused(&auth, token, &credential.name);
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    // Nothing of it has spoilt the good one.
    auth.verify(&good).unwrap();
}

#[tokio::test]
async fn a_token_cut_at_any_length_is_refused() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let good = world.token("alice");
    for length in 0..good.len() {
        is_refused(&auth, &good[..length], &format!("{length} bytes"));
    }
    auth.verify(&good).unwrap();
}

#[tokio::test]
async fn random_bytes_are_refused() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let good = world.token("alice");
    let mut runner = TestRunner::new(Config::with_cases(2_000));
    let any_text = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_.-]{0,300}",
        "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}",
    ];
    runner
        .run(&any_text, |text| {
            prop_assert_eq!(auth.verify(&text).unwrap_err().code().http, 401);
            Ok(())
        })
        .unwrap();
    // A good token with one byte changed.
    let bytes = good.clone().into_bytes();
    runner
        .run(&(0..bytes.len(), any::<u8>()), |(at, byte)| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            match String::from_utf8(changed) {
                Ok(changed) if changed != good => {
                    prop_assert_eq!(auth.verify(&changed).unwrap_err().code().http, 401);
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    // JSON of any form where header and claims should be.
    let json_text = "[\\[{\"a-z:0-9,}\\]]{0,60}";
    runner
        .run(&(json_text, json_text), |(header, claims)| {
            let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
            let token = format!("{}.{}.{}", encode(header), encode(claims), "A".repeat(86));
            prop_assert_eq!(auth.verify(&token).unwrap_err().code().http, 401);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_tokens_header_causes_no_connection() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys.json", trap.local_addr().unwrap());
    let attacker = Signer::new("key-1", "https://iam.photon.internal", false);
    for member in ["jku", "x5u", "jwk", "x5c", "kid", "iss"] {
        let mut header = attacker.header();
        header[member] = json!(url);
        let token = attacker.sign(&header, &with(&claims("alice"), "iss", url.clone()));
        is_refused(&auth, &token, member);
        assert!(auth.verify_up_to_date(&token).await.is_err());
    }
    let nobody = trap.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn times_are_asked_about_on_every_use() {
    let world = World::new().await;
    let shift = Shift::default();
    let auth = world.auth_with(Mode::Enforce, shift.options()).await;
    let token = world.token("alice");
    auth.verify(&token).unwrap();
    // The hit is no answer for ever.
    shift.by(3601);
    is_refused(&auth, &token, "an expired token that was good before");
    shift.by(-3600);
    is_refused(&auth, &token, "a token of the future that was good before");
    shift.by(-29);
    auth.verify(&token).unwrap();
    shift.by(-60);
    is_refused(&auth, &token, "beyond the leeway");
    shift.by(0);
    auth.verify(&token).unwrap();
    // The key's own time.
    shift.by(86_400 + 60);
    let later = with(&claims("alice"), "exp", now() + 200_000);
    is_refused(&auth, &world.key.token(&later), "a key whose time is over");
}

#[tokio::test]
async fn a_key_vouches_only_for_its_issuer_and_mode() {
    let world = World::new().await;
    let enforce = world.auth(Mode::Enforce).await;
    let dev = world.auth(Mode::Dev).await;
    let dev_claims = with(&claims("alice"), "iss", "photon-dev");
    let dev_token = world.dev_key.token(&dev_claims);
    dev.verify(&dev_token).unwrap();
    is_refused(&enforce, &dev_token, "a dev token in enforce mode");
    is_refused(
        &enforce,
        &world.dev_key.token(&claims("alice")),
        "the real issuer, signed with a dev key",
    );
    is_refused(
        &dev,
        &world.key.token(&dev_claims),
        "the dev issuer, signed with the real key",
    );
    // In dev mode a real token is as good.
    dev.verify(&world.token("alice")).unwrap();

    let elsewhere = AuthOptions {
        issuer: "https://iam.elsewhere.test".into(),
        ..AuthOptions::default()
    };
    let elsewhere = world.auth_with(Mode::Enforce, elsewhere).await;
    is_refused(
        &elsewhere,
        &world.token("alice"),
        "another cluster's issuer",
    );
}

#[tokio::test]
async fn keys_that_are_none_of_ours_vouch_for_nothing() {
    let world = World::new().await;
    for (kid, change) in [
        ("private", ("d", json!("AAAA"))),
        ("other-alg", ("alg", json!("HS256"))),
        ("other-curve", ("crv", json!("P-384"))),
        ("other-kid", ("kid", json!("key-1"))),
        ("short", ("x", json!("AAAA"))),
        ("symmetric", ("kty", json!("oct"))),
    ] {
        let mut signer = Signer::new(kid, "https://iam.photon.internal", false);
        signer.record.jwk[change.0] = change.1;
        world.create(signer.record.clone()).await;
        let auth = world.auth(Mode::Enforce).await;
        is_refused(&auth, &signer.token(&claims("alice")), kid);
        auth.verify(&world.token("alice")).unwrap();
    }
}

#[tokio::test]
async fn a_token_may_be_faster_than_the_news_of_its_project() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    for round in 0..10 {
        let id = format!("shop-{round}");
        let mut project = crate::world::project(0, false);
        project.id = crate::world::name(&id);
        project.name = id.clone();
        world.create(project).await;
        let token = world.key.token(&with(&claims("alice"), "scope_id", id));
        auth.verify_up_to_date(&token).await.unwrap();
    }
    let token = world
        .key
        .token(&with(&claims("alice"), "scope_id", "nowhere"));
    assert_eq!(
        auth.verify_up_to_date(&token)
            .await
            .unwrap_err()
            .code()
            .http,
        401
    );
}
