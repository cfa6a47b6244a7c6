//! The first start, and the way back in.

use std::{fs, os::unix::fs::PermissionsExt as _};

use iam::init;
use photon_server::Mode;
use serde_json::json;

use crate::house::{House, password_of};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_done_once() {
    let house = House::enforce().await;
    let mode = fs::metadata(house.wrapping_key_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let store = house.store().await;
    let again = init::found(&house.config, &store)
        .await
        .unwrap_err()
        .to_string();
    assert!(again.contains("iam recover-admin"), "{again}");
    // What it made.
    let admin = house.admin().await;
    let me = house.get("/api/v1/whoami", &admin).await.data(200);
    assert_eq!(me["principal"], "user:admin");
    house.get("/api/v1/orgs/root", &admin).await.data(200);
    let list = house
        .get("/api/v1/credentials?principal=user:admin", &admin)
        .await
        .data(200);
    let key = &list["credentials"][0];
    assert_eq!(key["kind"], "api_key");
    assert!(key["expires_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_start_goes_on() {
    let mut house = House::of(Mode::Dev, |_| {}).await;
    house.stop().await;
    // The file is there from an attempt that did not reach the store.
    let file = house.wrapping_key_file();
    let before = fs::read(&file).unwrap();
    let store = house.store().await;
    init::found(&house.config, &store).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn enforce_does_not_start_before_it() {
    let mut house = House::of(Mode::Dev, |_| {}).await;
    house.stop().await;
    house.config.auth.mode = Mode::Enforce;
    let refused = Box::pin(iam::start(house.config.clone(), iam::Sockets::default()))
        .await
        .unwrap_err();
    assert!(format!("{refused:#}").contains("iam init"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_can_be_let_in_again() {
    let house = House::enforce().await;
    let store = house.store().await;
    let admin = house.admin().await;
    // Locked out, by another admin: nobody disables itself.
    house.furnish(&admin, "second", "", "shop").await;
    house.bind(&admin, "user:second", "admin", "system").await;
    let password = password_of("second");
    let proof = ("password", password.as_str());
    let second = house.token("second", "system", proof).await;
    let body = json!({"disabled": true});
    house
        .call(reqwest::Method::PATCH, "/api/v1/users/admin", &second, body)
        .await
        .data(200);
    let ask = |key: &str| json!({"principal_id": "admin", "scope_id": "system", "api_key": key});
    assert_eq!(
        house.ask_token(ask(&house.admin_key)).await.error(401),
        "UNAUTHENTICATED"
    );

    let told = init::recover(&house.config, &store).await.unwrap();
    let token = house.ask_token(ask(told.api_key.expose())).await.data(200);
    let token = token["token"].as_str().unwrap();
    house.get("/api/v1/orgs/root", token).await.data(200);
    // It is written down who did that.
    let trail = house.everything_stored().await;
    let recorded = trail.iter().any(|(key, value)| {
        key.starts_with("/photon/iam/audit/") && value.contains("local:recover-admin")
    });
    assert!(recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_wrapping_key_recovers() {
    let mut house = House::enforce().await;
    let store = house.store().await;
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("other.key");
    fs::write(&file, format!("{}\n", "ab".repeat(32))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    house.config.signing.wrapping_key_file = Some(file);
    let refused = init::recover(&house.config, &store).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("wrapping key"),
        "{refused:#}"
    );
    let nobody = House::dev().await;
    let store = nobody.store().await;
    let refused = init::recover(&nobody.config, &store).await.unwrap_err();
    assert!(refused.to_string().contains("iam init"), "{refused}");
}
