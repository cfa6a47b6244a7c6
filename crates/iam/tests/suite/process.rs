//! The real binary: what it says about its configuration and its store, and that a `kill -9` loses nothing it confirmed.
#![allow(clippy::print_stderr, reason = "what a test that failed has to say")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use photon_store::{Options, PageRequest, Store, registry};
use photon_testkit::{
    in_process::in_process_chainfire,
    poll::eventually,
    ports,
    process::{Process, Spec},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::local::Caller;

const BINARY: &str = env!("CARGO_BIN_EXE_iam");
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("iam.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_says_whether_a_configuration_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let good = run(&["--check", "--config", &file(&dir, "")]);
    assert!(good.status.success(), "{}", said(&good));
    for (text, expected) in [
        ("[rest]\naddress = \"10.0.0.1:1\"", "rest.address"),
        ("[store]\nendpoint = \"x\"", "endpoint"),
        (
            "[auth]\nmode = \"enforce\"\n[signing]\nwrapping_key_file = \"/no/such\"",
            "/no/such",
        ),
    ] {
        let bad = run(&["--check", "--config", &file(&dir, text)]);
        assert!(!bad.status.success(), "{text}");
        assert!(said(&bad).contains(expected), "{}", said(&bad));
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/iam.toml");
    let good = run(&["--check", "--config", example]);
    assert!(good.status.success(), "{}", said(&good));
}

#[test]
fn without_a_store_it_ends_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let [nobody] = ports::free::<1>().unwrap();
    let text = format!(
        "[store]\nendpoints = [\"http://127.0.0.1:{nobody}\"]\nrequest_timeout_ms = 500\n\
         [rest]\naddress = \"127.0.0.1:0\"\n[grpc]\naddress = \"127.0.0.1:0\"\n"
    );
    let ended = run(&["--config", &file(&dir, &text)]);
    assert!(!ended.status.success());
    let said = said(&ended);
    assert!(said.contains(&format!("127.0.0.1:{nobody}")), "{said}");
}

#[tokio::test]
async fn enforce_mode_wants_a_first_start() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("wrapping.key");
    let text = format!(
        "[auth]\nmode = \"enforce\"\n[signing]\nwrapping_key_file = \"{}\"\n\
         [store]\nendpoints = [\"{}\"]\n\
         [rest]\naddress = \"127.0.0.1:0\"\n[grpc]\naddress = \"127.0.0.1:0\"\n",
        key.display(),
        chainfire.endpoint()
    );
    let config = file(&dir, &text);
    let started = tokio::task::spawn_blocking(move || run(&["--config", &config]))
        .await
        .unwrap();
    assert!(!started.status.success());
    assert!(said(&started).contains("iam init"), "{}", said(&started));
    chainfire.stop().await;
}

fn start(config: &Path, log: &Path) -> Process {
    let spec = Spec::new("iam", PathBuf::from(BINARY), log)
        .argument("--config")
        .argument(config);
    Process::start(spec).unwrap()
}

async fn serves(caller: &Caller, process: &Process) {
    let up = eventually("iam serves", PATIENCE, || async {
        let answer = reqwest::get(format!("{}/readyz", caller.base)).await.ok()?;
        answer.status().is_success().then_some(())
    });
    if let Err(error) = up.await {
        panic!("{error}: {}", process.log_tail());
    }
}

/// Users are made as fast as it goes while the process is killed, again and again; whoever got a 201 is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_kill_9() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [rest, grpc] = ports::free::<2>().unwrap();
    let text = format!(
        "[store]\nendpoints = [\"{}\"]\n[rest]\naddress = \"127.0.0.1:{rest}\"\n[grpc]\naddress = \"127.0.0.1:{grpc}\"\n",
        chainfire.endpoint()
    );
    let config = PathBuf::from(file(&dir, &text));
    let log = dir.path().join("iam.log");
    let caller = Caller::at(&format!("http://127.0.0.1:{rest}"));
    let mut confirmed = Vec::new();
    for life in 0..3 {
        let mut process = start(&config, &log);
        serves(&caller, &process).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let base = caller.base.clone();
            writers.spawn(async move {
                let client = reqwest::Client::builder().no_proxy().build().unwrap();
                let mut made = Vec::new();
                for n in 0.. {
                    let id = format!("u-{life}-{writer}-{n}");
                    let body = json!({ "id": id, "name": id });
                    let asked = client.post(format!("{base}/api/v1/users")).json(&body);
                    match asked.send().await {
                        Ok(answer) if answer.status() == 201 => made.push(id),
                        // It is gone.
                        _ => break,
                    }
                }
                made
            });
        }
        let watched = caller.clone();
        eventually("some users are made", PATIENCE, || async {
            let some = watched.get(&format!("/api/v1/users/u-{life}-0-10")).await;
            (some.status == 200).then_some(())
        })
        .await
        .unwrap();
        process.kill().unwrap();
        let made: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
        assert!(made.len() > 10, "{}", made.len());
        confirmed.extend(made);
    }
    let process = start(&config, &log);
    serves(&caller, &process).await;
    let there = caller.get("/api/v1/users").await.ids("users");
    let lost: Vec<&String> = confirmed.iter().filter(|id| !there.contains(id)).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        confirmed.len()
    );
    drop(process);
    chainfire.stop().await;
}

/// The registry shows a process while it lives: killed, until its lease ends; stopped, until it has stopped.
#[tokio::test(flavor = "multi_thread")]
async fn the_registry_shows_it_while_it_lives() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [rest, grpc] = ports::free::<2>().unwrap();
    let text = format!(
        "[store]\nendpoints = [\"{}\"]\n[rest]\naddress = \"127.0.0.1:{rest}\"\n[grpc]\naddress = \"127.0.0.1:{grpc}\"\n",
        chainfire.endpoint()
    );
    let config = PathBuf::from(file(&dir, &text));
    let log = dir.path().join("iam.log");
    let store = Store::connect(Options::new([chainfire.endpoint()]))
        .await
        .unwrap();
    let all = store.collection::<registry::Process>();
    let listed = async || {
        let page = all.list(&PageRequest::default()).await.unwrap();
        let processes = page.items.into_iter().map(|stored| stored.value);
        processes.collect::<Vec<_>>()
    };
    let appears = async || {
        eventually("it is listed", PATIENCE, || async { listed().await.pop() })
            .await
            .unwrap()
    };
    let mut process = start(&config, &log);
    let first = appears().await;
    assert_eq!(
        (first.service.as_str(), first.version.as_str()),
        ("iam", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(first.addresses["rest"], format!("http://127.0.0.1:{rest}"));
    assert_eq!(first.addresses["grpc"], format!("http://127.0.0.1:{grpc}"));
    process.kill().unwrap();
    eventually("the killed one is gone", PATIENCE, || async {
        listed().await.is_empty().then_some(())
    })
    .await
    .unwrap();

    let mut process = start(&config, &log);
    assert_ne!(appears().await.instance, first.instance);
    let ended = process.terminate(PATIENCE).await.unwrap();
    assert!(ended.success(), "{}", process.log_tail());
    assert_eq!(listed().await, []);
    chainfire.stop().await;
}

/// Users that nothing makes unique are made while the process is killed, and every request is sent again with its key: of
/// each there is one, and who was answered once is answered the same again.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_sent_again_after_kill_9_is_done_once() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [rest, grpc] = ports::free::<2>().unwrap();
    let text = format!(
        "[store]\nendpoints = [\"{}\"]\n[rest]\naddress = \"127.0.0.1:{rest}\"\n[grpc]\naddress = \"127.0.0.1:{grpc}\"\n",
        chainfire.endpoint()
    );
    let config = PathBuf::from(file(&dir, &text));
    let log = dir.path().join("iam.log");
    let caller = Caller::at(&format!("http://127.0.0.1:{rest}"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |key: String| {
        let asked = client.post(format!("http://127.0.0.1:{rest}/api/v1/users"));
        let asked = asked
            .header("idempotency-key", &key)
            .json(&json!({ "name": key }));
        let answer = asked.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json::<Value>().await.ok()?))
    };
    let mut process = start(&config, &log);
    serves(&caller, &process).await;
    let send = &send;
    let writers = (0..4).map(|writer| async move {
        let mut sent = Vec::new();
        for n in 0.. {
            let key = format!("{writer}-{n}");
            let answer = send(key.clone()).await;
            let gone = answer.is_none();
            sent.push((key, answer));
            if gone {
                break;
            }
        }
        sent
    });
    let killing = async {
        eventually("some users are made", PATIENCE, || async {
            let users = caller.get("/api/v1/users").await;
            (users.ids("users").len() > 30).then_some(())
        })
        .await
        .unwrap();
        process.kill().unwrap();
    };
    let (sent, ()) = tokio::join!(futures::future::join_all(writers), killing);
    let process = start(&config, &log);
    serves(&caller, &process).await;
    let sent: Vec<_> = sent.into_iter().flatten().collect();
    for (key, first) in &sent {
        let (status, again) = send(key.clone()).await.unwrap();
        match first {
            Some((_, first)) => {
                assert_eq!((status, &again["data"]), (201, &first["data"]), "{key}");
            }
            // It may have been made, and nobody was told.
            None if status == 409 => {
                let made = &again["error"]["details"]["resource"];
                let id = made["id"].as_str().unwrap();
                let user = caller.get(&format!("/api/v1/users/{id}")).await;
                assert_eq!(user.data()["name"], key.as_str());
            }
            None => assert_eq!(status, 201, "{key}: {again}"),
        }
    }
    assert_eq!(
        caller.get("/api/v1/users").await.ids("users").len(),
        sent.len()
    );
    drop(process);
    chainfire.stop().await;
}
