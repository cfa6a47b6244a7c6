//! Other people's software against IAM: see `tests/proof`. What it needs comes from the Python package index, once.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use photon_server::Mode;
use tokio::process::Command;

use crate::{house::House, oauth};

/// The first time packages are fetched.
const PREPARED_WITHIN: Duration = Duration::from_secs(300);
const PROVED_WITHIN: Duration = Duration::from_secs(120);

pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof")
}

/// The interpreter of an environment below the build directory.
pub(crate) async fn python() -> PathBuf {
    // <target>/<profile>/iam
    let target = Path::new(env!("CARGO_BIN_EXE_iam"))
        .ancestors()
        .nth(2)
        .unwrap();
    let environment = target.join("proof-python");
    run(
        Command::new(scripts().join("setup")).arg(&environment),
        PREPARED_WITHIN,
    )
    .await;
    environment.join("bin/python")
}

/// Runs a proof to its end and shows what it says.
pub(crate) async fn run(command: &mut Command, within: Duration) {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(within, running)
        .await
        .unwrap_or_else(|_| panic!("not done within {within:?}"))
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    eprintln!("{said}");
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
    let python = python().await;
    let house = house().await;
    let admin = house.admin().await;
    house.furnish(&admin, "alice", "viewer", "shop").await;
    let mut script = Command::new(python);
    script
        .arg(scripts().join("tokens.py"))
        .env("IAM_URL", &house.rest)
        .env("IAM_ADMIN_TOKEN", &admin);
    run(&mut script, PROVED_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authlib_is_a_client_of_ours() {
    let python = python().await;
    let house = house().await;
    let admin = house.admin().await;
    let key = oauth::client(&house, &admin).await;
    let mut script = Command::new(python);
    script
        .arg(scripts().join("oauth.py"))
        .env("IAM_URL", &house.rest)
        .env("IAM_CLIENT_KEY", &key);
    run(&mut script, PROVED_WITHIN).await;
}
