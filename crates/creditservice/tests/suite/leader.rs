//! `kill -9` of the store's leader: a cluster of three ChainFire processes under two of CreditService, with payers at both.
#![allow(clippy::print_stderr, reason = "what a test that failed has to say")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use photon_testkit::{ChainfireProcess, ChainfireSpec, poll::eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    house::PATIENCE,
    payers::{Service, all_answer, both_own, check, file, payers, wallets},
};

/// Where the process below finds its configuration.
const NODE: &str = "PHOTON_TEST_CHAINFIRE_CONFIG";

/// A ChainFire node as a process of its own: this crate has ChainFire's library and not its binary, so the tests start
/// themselves with this one alone. Not a test.
#[test]
#[ignore = "a process that the other test of this module starts"]
fn chainfire_node() {
    let config = std::env::var_os(NODE).expect("started by the other test, with a configuration");
    let args = photon_server::CommonArgs {
        config: Some(config.into()),
        check: false,
    };
    let ended = photon_server::main_with(&args, "CHAINFIRE", async |config, stop| {
        let running = chainfire::run::open(config, chainfire::run::Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    });
    assert_eq!(ended, ExitCode::SUCCESS);
}

/// A program that takes `--config FILE` as ChainFire's binary does.
fn binary(dir: &Path) -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\n{NODE}=\"$2\" exec {tests:?} --exact leader::chainfire_node --ignored --nocapture\n"
    );
    let path = file(dir, "chainfire.sh", &text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Three members in dev mode on loopback.
struct Cluster {
    nodes: Vec<ChainfireProcess>,
    http: reqwest::Client,
}

impl Cluster {
    async fn start(dir: &TempDir) -> Self {
        let binary = binary(dir.path());
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(15))
            .build()
            .unwrap();
        let mut cluster = Self {
            nodes: Vec::new(),
            http,
        };
        for node_id in 1..=3 {
            let at = dir.path().join(format!("chainfire-{node_id}"));
            let mut spec = ChainfireSpec::single(&binary, at).unwrap();
            spec.node_id = node_id;
            spec.join = node_id > 1;
            cluster.nodes.push(ChainfireProcess::launch(spec).unwrap());
            if node_id > 1 {
                cluster.join(node_id).await;
            }
            let node = cluster.nodes.last_mut().unwrap();
            node.wait().await.unwrap();
        }
        cluster
    }

    fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(ChainfireProcess::endpoint).collect()
    }

    /// Adds the newest node, and waits until it votes.
    async fn join(&self, node_id: u64) {
        let node = self.nodes.last().unwrap();
        let body = json!({ "node_id": node_id, "address": node.spec().grpc.to_string() });
        let url = format!("{}/api/v1/cluster/members", self.nodes[0].rest_url());
        eventually("the node is added", PATIENCE, || async {
            let asked = self.http.post(&url).json(&body).send();
            (asked.await.ok()?.status() == 201).then_some(())
        })
        .await
        .unwrap();
        eventually("it votes", PATIENCE, || async {
            let status = self.status(0).await?;
            let members = status["members"].as_array()?;
            let votes = members
                .iter()
                .any(|member| member["node_id"] == node_id && member["is_learner"] == false);
            (votes && status["membership_changing"] == false).then_some(())
        })
        .await
        .unwrap();
    }

    /// What a node says of the cluster; `None` if it does not run.
    async fn status(&self, node: usize) -> Option<Value> {
        let url = format!("{}/api/v1/cluster/status", self.nodes[node].rest_url());
        let answer = self.http.get(url).send().await.ok()?;
        let mut body: Value = answer.json().await.ok()?;
        Some(body["data"].take())
    }

    /// The node that leads, as soon as one says so.
    async fn leader(&self) -> usize {
        eventually("a node leads", PATIENCE, || async {
            for node in 0..self.nodes.len() {
                let status = self.status(node).await;
                if status.is_some_and(|status| status["is_leader"] == true) {
                    return Some(node);
                }
            }
            None
        })
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_stores_leader_under_load_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&dir).await;
    let store = cluster.endpoints();
    let one = Service::start(&dir, "a", &store);
    one.serves().await;
    wallets(&one.caller).await;
    let other = Service::start(&dir, "b", &store);
    other.serves().await;
    both_own(&store).await;
    let mut told = Vec::new();
    for life in 0..2 {
        let stop = Arc::new(AtomicBool::new(false));
        let payers = payers(life, &[&one, &other], &stop);
        all_answer(&other.caller, Instant::now()).await;
        let leader = cluster.leader().await;
        eprintln!("node {} led and is killed", leader + 1);
        cluster.nodes[leader].kill().unwrap();
        let killed = Instant::now();
        tokio::join!(
            all_answer(&one.caller, killed),
            all_answer(&other.caller, killed)
        );
        // With two of three members it is a whole service.
        cluster.leader().await;
        stop.store(true, Ordering::Relaxed);
        told.extend(payers.join_all().await);
        cluster.nodes[leader].restart().await.unwrap();
    }
    check(&one.caller, &told).await;
    check(&other.caller, &told).await;
}
