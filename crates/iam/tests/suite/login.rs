//! Guessing passwords and keys.

use photon_server::Mode;
use serde_json::json;

use crate::house::{House, password_of};

async fn house(per_principal: u32, per_address: u32) -> House {
    House::of(Mode::Enforce, |config| {
        config.guessing.per_principal_burst = per_principal;
        config.guessing.per_principal_per_minute = 1;
        config.guessing.per_address_burst = per_address;
        config.guessing.per_address_per_minute = 1;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principals_password_is_guessed_at_so_often() {
    let house = house(3, 1000).await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    house.furnish(&admin, "bob", "viewer", "shop").await;
    let ask = async |id: &str, password: &str| {
        let body = json!({"principal_id": id, "scope_id": "shop", "password": password});
        house.ask_token(body).await
    };
    // What is right costs nothing.
    for _ in 0..5 {
        ask("alice", &password_of("alice")).await.data(200);
    }
    // Of somebody who is not there, the same is told.
    for id in ["alice", "nobody"] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(ask(id, "a wrong password").await);
        }
        for answer in &answers[..3] {
            assert_eq!(answer.error(401), "UNAUTHENTICATED");
            assert_eq!(
                answer.body["error"]["message"],
                "the credential is not accepted"
            );
        }
        let last = &answers[3];
        assert_eq!(last.error(429), "RATE_LIMITED");
        let wait: u64 = last.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=61).contains(&wait), "{wait}");
        assert_eq!(last.body["error"]["details"]["retry_after_seconds"], wait);
    }
    // Now the right one waits too, and others do not.
    assert_eq!(
        ask("alice", &password_of("alice")).await.error(429),
        "RATE_LIMITED"
    );
    ask("bob", &password_of("bob")).await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_guesses_so_often() {
    let house = house(1000, 4).await;
    let ask = async |n: u32| {
        let body =
            json!({"principal_id": format!("u{n}"), "scope_id": "p", "password": "12345678"});
        house.ask_token(body).await
    };
    for n in 0..4 {
        assert_eq!(ask(n).await.error(401), "UNAUTHENTICATED");
    }
    let refused = ask(4).await;
    assert_eq!(refused.error(429), "RATE_LIMITED");
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_guessed_at_so_often_and_the_password_is_not_concerned() {
    let house = house(2, 1000).await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let key = &house.admin_key;
    let wrong = format!("{}{}", &key[..key.len() - 4], "AAAA");
    let ask = async |key: &str| {
        let body = json!({"principal_id": "admin", "scope_id": "system", "api_key": key});
        house.ask_token(body).await
    };
    for _ in 0..2 {
        assert_eq!(ask(&wrong).await.error(401), "UNAUTHENTICATED");
    }
    assert_eq!(ask(&wrong).await.error(429), "RATE_LIMITED");
    assert_eq!(ask(key).await.error(429), "RATE_LIMITED");
    house
        .token("alice", "shop", ("password", &password_of("alice")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_disabled_is_told_what_a_stranger_is() {
    let house = house(100, 1000).await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let change = json!({"disabled": true});
    house
        .call(
            reqwest::Method::PATCH,
            "/api/v1/users/alice",
            &admin,
            change,
        )
        .await
        .data(200);
    let ask = async |id: &str| {
        let body =
            json!({"principal_id": id, "scope_id": "shop", "password": password_of("alice")});
        house.ask_token(body).await
    };
    let (disabled, stranger) = (ask("alice").await, ask("nobody").await);
    assert_eq!(disabled.error(401), stranger.error(401));
    assert_eq!(disabled.body["error"], stranger.body["error"]);
}
