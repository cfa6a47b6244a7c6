//! Real processes under load, and what their callers were told: nothing that was answered may be lost or doubled, whatever
//! is killed meanwhile.
#![allow(clippy::print_stderr, reason = "what a test that failed has to say")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use photon_testkit::{
    poll::eventually,
    ports,
    process::{Process, Spec},
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::house::{Caller, PATIENCE};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_creditservice");

/// Writes a file.
pub(crate) fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A process under test.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) caller: Caller,
}

impl Service {
    /// Over a store with these endpoints.
    pub(crate) fn start(dir: &TempDir, name: &str, store: &[String]) -> Self {
        let [rest, grpc] = ports::free::<2>().unwrap();
        let text = format!(
            "[shards]\ncount = 8\n[store]\nendpoints = {store:?}\n[rest]\naddress = \"127.0.0.1:{rest}\"\n\
             [grpc]\naddress = \"127.0.0.1:{grpc}\"\n"
        );
        let config = file(dir.path(), &format!("{name}.toml"), &text);
        let log = dir.path().join(format!("{name}.log"));
        let spec = Spec::new(name, PathBuf::from(BINARY), log)
            .argument("--config")
            .argument(config);
        Self {
            process: Process::start(spec).unwrap(),
            caller: Caller::at(&format!("http://127.0.0.1:{rest}")),
        }
    }

    pub(crate) async fn serves(&self) {
        let ready = eventually("creditservice serves", PATIENCE, || async {
            let path = format!("{}/readyz", self.caller.base);
            let answer = self.caller.http.get(path).send().await.ok()?;
            answer.status().is_success().then_some(())
        });
        if let Err(error) = ready.await {
            panic!("{error}: {}", self.process.log_tail());
        }
    }
}

/// What a payer was told of its payments, each with a description of its own.
#[derive(Default)]
pub(crate) struct Told {
    done: Vec<String>,
    /// Refused by the ledger, or certainly not done.
    not_done: Vec<String>,
    unknown: Vec<String>,
}

pub(crate) const PROJECTS: usize = 6;

pub(crate) fn project(n: usize) -> String {
    format!("p{}", n % PROJECTS)
}

/// Tops wallets up as fast as it goes until it is told to stop. With a key it repeats each until it knows; without one it
/// asks once.
async fn pay(caller: Caller, name: String, keyed: bool, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let description = format!("{name}-{n}");
        let path = format!("/api/v1/wallets/{}/topup", project(n));
        let body = json!({ "amount": 1, "description": description });
        let key = keyed.then_some(("Idempotency-Key", description.as_str()));
        loop {
            let answer = caller
                .call(Method::POST, &path, Some(body.clone()), key)
                .await;
            match answer {
                Ok(answer) if answer.status == 200 => {
                    told.done.push(description);
                    break;
                }
                Ok(answer) => {
                    let (status, code, _) = answer.error();
                    assert_eq!(status, 503, "never wrongly: {answer:?}");
                    assert!(answer.retry_after.is_some(), "{answer:?}");
                    if !keyed && code == "DEADLINE_EXCEEDED" {
                        told.unknown.push(description);
                        break;
                    }
                    if !keyed {
                        told.not_done.push(description);
                        break;
                    }
                }
                // The connection broke.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if !keyed {
                        told.unknown.push(description);
                        break;
                    }
                }
            }
            if stop.load(Ordering::Relaxed) {
                told.unknown.push(description);
                break;
            }
        }
    }
    told
}

/// Holds what payers were told against what the wallets say.
pub(crate) async fn check(caller: &Caller, told: &[Told]) {
    let mut seen = BTreeMap::<String, usize>::new();
    for n in 0..PROJECTS {
        let mut sum = 0;
        for one in caller.transactions(&project(n), "").await {
            sum += one["amount"].as_i64().unwrap();
            let description = one["description"].as_str().unwrap();
            // Probes may be repeated.
            *seen.entry(description.to_owned()).or_default() += 1;
        }
        // The balance is the sum of its entries.
        assert_eq!(caller.figures(&project(n)).await, [sum, 0, sum]);
    }
    let count = |description: &String| seen.get(description).copied().unwrap_or(0);
    let mut sums = [0; 3];
    for told in told {
        for one in &told.done {
            assert_eq!(count(one), 1, "{one} was acknowledged");
        }
        for one in &told.not_done {
            assert_eq!(count(one), 0, "{one} was said not to be done");
        }
        for one in &told.unknown {
            assert!(count(one) <= 1, "{one} was done twice");
        }
        sums[0] += told.done.len();
        sums[1] += told.not_done.len();
        sums[2] += told.unknown.len();
    }
    let [done, not_done, unknown] = sums;
    eprintln!("{done} done, {not_done} not done, {unknown} unknown");
    assert!(done > 50, "{done}");
}

pub(crate) fn payers(life: usize, services: &[&Service], stop: &Arc<AtomicBool>) -> JoinSet<Told> {
    let mut payers = JoinSet::new();
    for (n, service) in services.iter().enumerate() {
        for (m, keyed) in [true, true, false, false].into_iter().enumerate() {
            let caller = service.caller.clone();
            payers.spawn(pay(
                caller,
                format!("l{life}s{n}w{m}"),
                keyed,
                Arc::clone(stop),
            ));
        }
    }
    payers
}

pub(crate) async fn wallets(caller: &Caller) {
    for n in 0..PROJECTS {
        caller.wallet(&project(n), 0).await;
    }
}

/// Waits until every project answers a change again; how long it took.
pub(crate) async fn all_answer(caller: &Caller, since: Instant) {
    for n in 0..PROJECTS {
        eventually("the project answers again", PATIENCE, || async {
            let path = format!("/api/v1/wallets/{}/topup", project(n));
            let body = json!({ "amount": 1, "description": "probe" });
            let answer = caller.call(Method::POST, &path, Some(body), None).await;
            answer.ok().filter(|answer| answer.status == 200).map(drop)
        })
        .await
        .unwrap();
    }
    eprintln!(
        "every project answers {:?} after the fault",
        since.elapsed()
    );
}

/// A project's balance, as soon as somebody owns its shard.
pub(crate) async fn balance(caller: &Caller, n: usize) -> i64 {
    let path = format!("/api/v1/wallets/{}", project(n));
    eventually("the balance is read", PATIENCE, || async {
        let answer = caller.call(Method::GET, &path, None, None).await.ok()?;
        (answer.status == 200).then(|| answer.data()["balance"].as_i64().unwrap())
    })
    .await
    .unwrap()
}

/// Waits until both processes own their share.
pub(crate) async fn both_own(store: &[String]) {
    let options = photon_store::Options::new(store);
    let store = photon_store::Store::connect(options).await.unwrap();
    let scan = photon_store::Scan::below("/photon/creditservice/cluster/owner/", 100);
    eventually("each owns half", PATIENCE, || async {
        let owners = store.scan(&scan).await.unwrap().entries;
        let mut counts = BTreeMap::<String, usize>::new();
        for entry in owners {
            let owner: Value = serde_json::from_slice(&entry.value).unwrap();
            *counts.entry(owner["instance"].to_string()).or_default() += 1;
        }
        let halves = counts.len() == 2 && counts.values().all(|count| *count == 4);
        halves.then_some(())
    })
    .await
    .unwrap();
}
