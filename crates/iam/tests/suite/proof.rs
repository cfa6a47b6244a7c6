//! Other people's software against IAM: see `tests/proof`.

use std::{path::Path, time::Duration};

use photon_server::Mode;
use photon_testkit::proof;
use tokio::process::Command;

use crate::{house::House, oauth};

const PROVED_WITHIN: Duration = Duration::from_secs(120);

/// A script of `tests/proof`, to be run.
pub(crate) async fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/proof")
        .join(name);
    proof::script(env!("CARGO_BIN_EXE_iam"), &path)
        .await
        .unwrap()
}

/// An IAM whose discovery documents lead to itself.
async fn house() -> House {
    house_of(|_| {}).await
}

/// The same with other settings.
pub(crate) async fn house_of(change: impl FnOnce(&mut iam::Config)) -> House {
    let mut house = House::of(Mode::Enforce, change).await;
    let address = house.running.as_ref().unwrap().rest_address();
    house.stop().await;
    house.config.rest.address = address;
    house.config.public_url = Some(format!("http://{address}"));
    house.start().await;
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn pyjwt_finds_our_keys_and_verifies_our_tokens() {
    let mut script = script("tokens.py").await;
    let house = house().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    script
        .env("IAM_URL", &house.rest)
        .env("IAM_ADMIN_TOKEN", &admin);
    proof::run(&mut script, PROVED_WITHIN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn authlib_is_a_client_of_ours() {
    let mut script = script("oauth.py").await;
    let house = house().await;
    let admin = house.admin().await;
    let key = oauth::client(&house, &admin).await;
    script
        .env("IAM_URL", &house.rest)
        .env("IAM_CLIENT_KEY", &key);
    proof::run(&mut script, PROVED_WITHIN).await.unwrap();
}
