//! The real binary: what it says about its configuration, and that `kill -9` neither loses nor doubles an address.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use photon_testkit::{
    Seed, in_process_chainfire,
    poll::eventually,
    ports,
    process::{Process, Spec},
};
use rand::Rng as _;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    allocation::assert_consistent,
    house::{Caller, PATIENCE},
};

const BINARY: &str = env!("CARGO_BIN_EXE_prismnet");

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn check_says_whether_a_configuration_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let path = file(dir.path(), "prismnet.toml", text);
        run(&["--check", "--config", path.to_str().unwrap()])
    };
    let good = check("");
    assert!(good.status.success(), "{}", said(&good));
    for (text, expected) in [
        ("[rest]\naddress = \"10.0.0.1:1\"", "rest.address"),
        ("[store]\nendpoint = \"x\"", "endpoint"),
        ("[network]\nunderlay = [\"10.0.0.0/33\"]", "underlay"),
        ("[auth]\nmode = \"enforce\"", "quota.endpoint"),
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
    let path = file(dir.path(), "prismnet.toml", &text);
    let ended = run(&["--config", path.to_str().unwrap()]);
    assert!(!ended.status.success());
    let said = said(&ended);
    assert!(said.contains(&format!("127.0.0.1:{nobody}")), "{said}");
}

/// A process under test.
struct Service {
    process: Process,
    caller: Caller,
}

impl Service {
    async fn start(dir: &TempDir, name: &str, store: &str) -> Self {
        let [rest, grpc] = ports::free::<2>().unwrap();
        let text = format!(
            "[store]\nendpoints = [\"{store}\"]\n[rest]\naddress = \"127.0.0.1:{rest}\"\n\
             [grpc]\naddress = \"127.0.0.1:{grpc}\"\n"
        );
        let config = file(dir.path(), &format!("{name}.toml"), &text);
        let log = dir.path().join(format!("{name}.log"));
        let spec = Spec::new(name, PathBuf::from(BINARY), log)
            .argument("--config")
            .argument(config);
        let service = Self {
            process: Process::start(spec).unwrap(),
            caller: Caller::at(&format!("http://127.0.0.1:{rest}")),
        };
        let ready = eventually("prismnet serves", PATIENCE, || async {
            let path = format!("{}/readyz", service.caller.base);
            let answer = service.caller.http.get(path).send().await.ok()?;
            answer.status().is_success().then_some(())
        });
        if let Err(error) = ready.await {
            panic!("{error}: {}", service.process.log_tail());
        }
        service
    }
}

/// Two processes fill a subnet; one of them is killed in the middle, again and again. What was answered is there, no
/// address is twice, and none is lost: the other gives out all the rest.
#[tokio::test(flavor = "multi_thread")]
async fn kill_neither_loses_nor_doubles_an_address() {
    const CAPACITY: usize = 253;
    let seed = Seed::for_test("kill_neither_loses_nor_doubles_an_address");
    let mut random = seed.rng(0);
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let dir = tempfile::tempdir().unwrap();
    let steady = Service::start(&dir, "steady", &endpoint).await;
    let vpc = steady.caller.vpc("10.0.0.0/16").await;
    let subnet = steady.caller.subnet(&vpc, "10.0.1.0/24").await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let mut victim = Service::start(&dir, &format!("victim{round}"), &endpoint).await;
        let mut asking = JoinSet::new();
        for n in 0..30 {
            let caller = if n % 3 == 0 {
                &steady.caller
            } else {
                &victim.caller
            };
            let (caller, subnet) = (caller.clone(), subnet.clone());
            asking.spawn(async move {
                let body = json!({ "subnet_id": subnet });
                let asked = caller.call(Method::POST, "/api/v1/ports", Some(body), None);
                // A connection that breaks is no answer.
                asked.await.ok().filter(|answer| answer.status == 201)
            });
        }
        for _ in 0..random.random_range(1..20) {
            if let Some(Ok(Some(answer))) = asking.join_next().await {
                acknowledged.insert(answer.id());
            }
        }
        victim.process.kill().unwrap();
        while let Some(answered) = asking.join_next().await {
            acknowledged.extend(answered.unwrap().map(|answer| answer.id()));
        }
        let held: BTreeSet<String> = assert_consistent(&endpoint).await.into_values().collect();
        assert!(acknowledged.is_subset(&held));
    }
    let held = assert_consistent(&endpoint).await.len();
    for _ in held..CAPACITY {
        steady.caller.port(&subnet).await.data();
    }
    let full = steady.caller.port(&subnet).await;
    assert_eq!(full.error().1, "ADDRESSES_EXHAUSTED");
    assert_eq!(assert_consistent(&endpoint).await.len(), CAPACITY);
    drop(steady);
    chainfire.stop().await;
}
