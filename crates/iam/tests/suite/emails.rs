//! E-mail addresses that only one user may have.

use photon_server::Mode;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House};

async fn unique() -> House {
    House::of(Mode::Dev, |config| config.users.unique_email = true).await
}

impl House {
    async fn user(&self, id: &str, email: &str) -> Answer {
        let body = json!({"id": id, "name": id, "email": email});
        self.post("/api/v1/users", "", body).await
    }

    async fn change(&self, id: &str, email: &str) -> Answer {
        let body = json!({ "email": email });
        self.call(Method::PATCH, &format!("/api/v1/users/{id}"), "", body)
            .await
    }

    async fn restart(&mut self, unique_email: bool) {
        self.stop().await;
        self.config.users.unique_email = unique_email;
        self.start().await;
    }
}

#[track_caller]
fn taken(answer: &Answer) {
    assert_eq!(answer.error(409), "ALREADY_EXISTS");
    assert_eq!(
        answer.body["error"]["details"],
        json!({"field": "email", "constraint": "unique"})
    );
}

#[tokio::test]
async fn an_address_belongs_to_one() {
    let house = unique().await;
    house.user("bob", "bob@example.com").await.data(201);
    taken(&house.user("bobby", "Bob@Example.com").await);
    // Nobody is no address.
    for id in ["ann", "eve"] {
        house.user(id, "").await.data(201);
    }
    taken(&house.change("ann", "BOB@example.com").await);
    // One's own may be written otherwise; what is given up another one may have.
    house.change("bob", "Bob@example.com").await.data(200);
    house.change("bob", "robert@example.com").await.data(200);
    house.change("ann", "bob@example.com").await.data(200);
    taken(&house.change("bob", "bob@example.com").await);
    house
        .call(Method::DELETE, "/api/v1/users/ann", "", Value::Null)
        .await
        .data(200);
    house.user("bobby", "bob@example.com").await.data(201);
    // The address itself is in no key.
    let stored = house.everything_stored().await;
    assert!(!stored.iter().any(|(key, _)| key.contains("example.com")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_gets_it() {
    let house = unique().await;
    for id in ["a", "b", "c"] {
        house.user(id, "").await.data(201);
    }
    let make = async |n: usize| match n % 2 {
        0 => house.user(&format!("u{n}"), "one@example.com").await,
        _ => {
            let id = ["a", "b", "c"][n % 3];
            house.change(id, "One@example.com").await
        }
    };
    let all = futures::future::join_all((0..12).map(make)).await;
    assert!(all.iter().any(|answer| answer.status.is_success()));
    for answer in all.iter().filter(|answer| !answer.status.is_success()) {
        taken(answer);
    }
    let users = house.get("/api/v1/users", "").await.data(200);
    let holders = users["users"].as_array().unwrap().iter().filter(|user| {
        let email = user["email"].as_str().unwrap();
        email.eq_ignore_ascii_case("one@example.com")
    });
    assert_eq!(holders.count(), 1, "{users}");
}

#[tokio::test]
async fn it_can_be_turned_on_and_off() {
    let mut house = House::dev().await;
    house.user("old", "shared@example.com").await.data(201);
    house.user("young", "Shared@example.com").await.data(201);
    house.user("own", "own@example.com").await.data(201);
    house.restart(true).await;
    taken(&house.user("x", "shared@example.com").await);
    taken(&house.user("x", "own@example.com").await);
    // Who shares one goes on, and may change to another.
    house.change("young", "young@example.com").await.data(200);
    taken(&house.change("young", "shared@example.com").await);
    // What was changed without the setting is not held on to.
    house.restart(false).await;
    house.change("own", "other@example.com").await.data(200);
    house.restart(true).await;
    house.user("x", "own@example.com").await.data(201);
    taken(&house.user("y", "other@example.com").await);
}
