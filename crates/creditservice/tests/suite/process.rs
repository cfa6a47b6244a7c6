//! The real binary: what it says about its configuration, and that neither `kill -9` nor a pause of an owner loses or doubles
//! anything that was answered.

use std::{
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use photon_testkit::{in_process_chainfire, ports};

use crate::payers::{
    BINARY, PROJECTS, Service, all_answer, balance, both_own, check, file, payers, wallets,
};

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_says_whether_a_configuration_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let path = file(dir.path(), "creditservice.toml", text);
        run(&["--check", "--config", path.to_str().unwrap()])
    };
    let good = check("");
    assert!(good.status.success(), "{}", said(&good));
    for (text, expected) in [
        ("[rest]\naddress = \"10.0.0.1:1\"", "rest.address"),
        ("[store]\nendpoint = \"x\"", "endpoint"),
        ("[shards]\nlease_seconds = 0", "shards.lease_seconds"),
    ] {
        let bad = check(text);
        assert!(!bad.status.success(), "{text}");
        assert!(said(&bad).contains(expected), "{}", said(&bad));
    }
}

#[test]
fn without_a_store_it_ends_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let [nobody] = ports::free::<1>().unwrap();
    let text = format!(
        "[store]\nendpoints = [\"http://127.0.0.1:{nobody}\"]\nrequest_timeout_ms = 500\n\
         [rest]\naddress = \"127.0.0.1:0\"\n[grpc]\naddress = \"127.0.0.1:0\"\n"
    );
    let path = file(dir.path(), "creditservice.toml", &text);
    let ended = run(&["--config", path.to_str().unwrap()]);
    assert!(!ended.status.success());
    let said = said(&ended);
    assert!(said.contains(&format!("127.0.0.1:{nobody}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_an_owner_under_load_loses_and_doubles_nothing() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = [chainfire.endpoint()];
    let mut killed = Service::start(&dir, "a0", &store);
    killed.serves().await;
    wallets(&killed.caller).await;
    let stays = Service::start(&dir, "b", &store);
    stays.serves().await;
    let mut told = Vec::new();
    for life in 0..2 {
        both_own(&store).await;
        let stop = Arc::new(AtomicBool::new(false));
        let payers = payers(life, &[&killed, &stays], &stop);
        all_answer(&stays.caller, Instant::now()).await;
        killed.process.kill().unwrap();
        all_answer(&stays.caller, Instant::now()).await;
        stop.store(true, Ordering::Relaxed);
        told.extend(payers.join_all().await);
        killed = Service::start(&dir, &format!("a{}", life + 1), &store);
        killed.serves().await;
    }
    check(&stays.caller, &told).await;
    check(&killed.caller, &told).await;
    drop((killed, stays));
    chainfire.stop().await;
}

/// A paused owner does not know that it was replaced: what it has in flight must not get in when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_paused_is_deposed() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = [chainfire.endpoint()];
    let mut paused = Service::start(&dir, "a", &store);
    paused.serves().await;
    wallets(&paused.caller).await;
    let other = Service::start(&dir, "b", &store);
    other.serves().await;
    both_own(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let payers = payers(0, &[&paused, &other], &stop);
    all_answer(&other.caller, Instant::now()).await;
    paused.process.pause().unwrap();
    all_answer(&other.caller, Instant::now()).await;
    paused.process.resume().unwrap();
    // What it had in its queues is told, and its reads are not of the past.
    for n in 0..PROJECTS {
        let before = balance(&other.caller, n).await;
        let after = balance(&paused.caller, n).await;
        assert!(after >= before, "{after} was read after {before}");
    }
    both_own(&store).await;
    stop.store(true, Ordering::Relaxed);
    let told = payers.join_all().await;
    check(&other.caller, &told).await;
    check(&paused.caller, &told).await;
    drop((paused, other));
    chainfire.stop().await;
}
