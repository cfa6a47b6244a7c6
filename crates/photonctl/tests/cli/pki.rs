//! Certificates that end: a suite that was off for longer than its leaves live starts again, and what is valid is renewed
//! through IAM.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, SystemTime},
};

use chainfire::config::Config as StoreConfig;
use iam::run::Sockets;
use photon_core::error::in_one_line;
use photon_pki::{Authority, describe};
use photon_store::Store;
use photon_testkit::poll::eventually_true;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{json, photonctl, store::secured, text};

/// Longer than any leaf lives.
const OFF_FOR: Duration = Duration::from_secs(200 * 24 * 3600);

/// Every leaf of a directory, as it is after so long a time: the same names and purpose, issued then.
fn let_time_pass(pki: &Path) -> usize {
    let authority = Authority::load(pki).unwrap();
    let then = SystemTime::now() - OFF_FOR;
    let mut leaves = 0;
    for entry in fs::read_dir(pki).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|kind| kind != "crt") || stem == "ca" {
            continue;
        }
        let old = describe(&fs::read_to_string(&path).unwrap()).unwrap();
        let request = authority.renewal(&old).unwrap();
        let leaf = authority.issue_at(&request, then).unwrap();
        leaf.save(pki, &stem).unwrap();
        leaves += 1;
    }
    leaves
}

/// IAM as `docs/operations.md` sets it up over such a store. Only paths and ports are this test's own.
pub(crate) fn iam_config(dir: &Path, store: &str) -> iam::Config {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/iam-enforce.toml");
    let tls = dir.join("iam-tls");
    fs::create_dir_all(&tls).unwrap();
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("iam.crt", "iam.crt"),
        ("iam.key", "iam.key"),
        ("iam-server.crt", "server.crt"),
        ("iam-server.key", "server.key"),
    ] {
        fs::copy(dir.join("pki").join(from), tls.join(to)).unwrap();
    }
    let text = fs::read_to_string(shipped)
        .unwrap()
        .replace("/etc/iam/tls", tls.to_str().unwrap())
        .replace("/var/lib/iam", dir.join("iam").to_str().unwrap())
        .replace("https://192.168.1.101:50051", store);
    let file = dir.join("iam.toml");
    fs::write(&file, text).unwrap();
    let mut config = iam::config::load(Some(&file)).unwrap();
    for listener in [&mut config.rest, &mut config.grpc] {
        listener.address = "127.0.0.1:0".parse().unwrap();
    }
    config.pki.ca_dir = Some(dir.join("pki"));
    config
}

pub(crate) async fn start_iam(config: iam::Config) -> iam::Running {
    Box::pin(iam::start(config, Sockets::default()))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_suite_that_was_off_past_every_leafs_expiry_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let pki_dir = dir.path().join("pki");
    let pki = pki_dir.to_str().unwrap().to_owned();
    text(&photonctl(&["pki", "init", "--dir", &pki]).await);
    let server = [
        "pki",
        "issue",
        "iam-server",
        "--usage",
        "peer",
        "--dir",
        &pki,
    ];
    text(&photonctl(&server).await);

    // A first life: a store with users, IAM with its admin, and something to be lost.
    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let as_user = async |endpoint: &str, user: &str, line: &str| {
        let ca = format!("{pki}/ca.crt");
        let (cert, key) = (format!("{pki}/{user}.crt"), format!("{pki}/{user}.key"));
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--endpoints", endpoint]);
        arguments.extend(["--ca", &ca, "--cert", &cert, "--key", &key]);
        photonctl(&arguments).await
    };
    text(&as_user(&endpoint, "root", "store init").await);
    text(&as_user(&endpoint, "prismnet", "kv put /photon/prismnet/kept 1").await);
    let config = iam_config(dir.path(), &endpoint);
    fs::create_dir_all(dir.path().join("iam")).unwrap();
    let store = Store::connect(config.store.options().unwrap())
        .await
        .unwrap();
    // A service may ask which life of the store it is, if the store says so.
    store.get_raw(photon_store::IDENTITY_KEY).await.unwrap();
    let first = Box::pin(iam::init::found(&config, &store)).await.unwrap();
    drop(store);
    let running = start_iam(config).await;
    running.stop().await;
    node.stop().await;
    released(&dir.path().join("data")).await;

    // Off for so long that every leaf has ended. Nothing starts, and everything says why.
    let leaves = let_time_pass(&pki_dir);
    fs::remove_dir_all(dir.path().join("tls")).unwrap();
    let shown = json(&photonctl(&["pki", "show", "--dir", &pki, "--json"]).await);
    let expired = |shown: &Value| {
        let items = shown["items"].as_array().unwrap();
        items.iter().filter(|item| item["expired"] == true).count()
    };
    assert_eq!(expired(&shown), leaves);
    let refused = checked(dir.path()).unwrap_err();
    assert!(refused.contains("not valid now"), "{refused}");

    // `pki renew` on the machine of the authority, and the copies again.
    let renewed = json(&photonctl(&["pki", "renew", "--dir", &pki, "--json"]).await);
    assert_eq!(renewed["renewed"].as_array().unwrap().len(), leaves);
    let shown = json(&photonctl(&["pki", "show", "--dir", &pki, "--json"]).await);
    assert_eq!(expired(&shown), 0);
    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let kept = as_user(&endpoint, "prismnet", "kv get /photon/prismnet/kept").await;
    assert_eq!(text(&kept), "1\n");
    assert_eq!(
        text(&as_user(&endpoint, "root", "store init").await),
        "the store is prepared already\n"
    );
    let config = iam_config(dir.path(), &endpoint);
    let running = start_iam(config).await;
    let iam = format!("https://localhost:{}", running.rest_address().port());

    // What is valid again is renewed through IAM from now on.
    let before = fs::read_to_string(pki_dir.join("prismnet.crt")).unwrap();
    let online = |line: &'static str| {
        let (iam, pki) = (iam.clone(), pki.clone());
        async move {
            let files =
                ["ca.crt", "prismnet.crt", "prismnet.key"].map(|file| format!("{pki}/{file}"));
            let mut arguments: Vec<&str> = line.split(' ').collect();
            arguments.extend([
                "--iam", &iam, "--ca", &files[0], "--cert", &files[1], "--key", &files[2],
            ]);
            photonctl(&arguments).await
        }
    };
    assert_eq!(
        text(&online("pki renew --online").await),
        "nothing is due\n"
    );
    text(&online("pki renew --online --force").await);
    let after = fs::read_to_string(pki_dir.join("prismnet.crt")).unwrap();
    assert_ne!(before, after);
    let (old, new) = (describe(&before).unwrap(), describe(&after).unwrap());
    assert_eq!((old.common_name, old.names), (new.common_name, new.names));
    let kept = as_user(&endpoint, "prismnet", "kv get /photon/prismnet/kept").await;
    assert_eq!(
        text(&kept),
        "1\n",
        "the new key belongs to the new certificate"
    );

    // Another machine joins as a host.
    let host_dir = dir.path().join("host");
    let host_dir = host_dir.to_str().unwrap();
    let (ca, key) = (format!("{pki}/ca.crt"), first.api_key.expose());
    let login = [
        "--iam",
        &iam,
        "--ca",
        &ca,
        "login",
        "admin",
        "--scope",
        "system",
        "--api-key",
    ];
    text(&told(dir.path(), &login, key).await);
    let create = ["host", "token", "create", "host-1", "--json"];
    let made = json(&told(dir.path(), &create, "").await);
    let join = [
        "--iam", &iam, "--ca", &ca, "host", "join", "--dir", host_dir,
    ];
    let wrong = told(dir.path(), &join, "pht_x").await;
    assert_eq!(wrong.status.code(), Some(5), "{wrong:?}");
    assert!(!Path::new(host_dir).join("prismnet-agent.crt").exists());
    let token = made["token"].as_str().unwrap();
    let joined = text(&told(dir.path(), &join, token).await);
    assert!(joined.contains("this machine is host host-1"), "{joined}");
    let agent = Path::new(host_dir).join("prismnet-agent.crt");
    let found = describe(&fs::read_to_string(agent).unwrap()).unwrap();
    assert_eq!(found.common_name, "prismnet-agent@host-1");
    // A machine joins once, and a token is good once.
    let again = told(dir.path(), &join, token).await;
    assert_eq!(again.status.code(), Some(6), "{again:?}");
    let elsewhere = format!("{host_dir}-2");
    let join = [
        "--iam", &iam, "--ca", &ca, "host", "join", "--dir", &elsewhere,
    ];
    let used = told(dir.path(), &join, token).await;
    assert_eq!(used.status.code(), Some(5), "{used:?}");
    running.stop().await;
    node.stop().await;
}

/// Runs photonctl with something to read, and contexts of its own.
pub(crate) async fn told(home: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(arguments)
        .env("XDG_CONFIG_HOME", home)
        .env_remove("PHOTONCTL_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A command that reads nothing has closed it already.
    let _ = input.write_all(format!("{stdin}\n").as_bytes()).await;
    drop(input);
    let output = child.wait_with_output();
    tokio::time::timeout(Duration::from_secs(60), output)
        .await
        .unwrap()
        .unwrap()
}

/// A directory is opened once a process: connections that end late hold what the node has let go of.
async fn released(data: &Path) {
    let held = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.starts_with(data))
    };
    let patience = Duration::from_secs(30);
    eventually_true("the data is released", patience, || async { !held() })
        .await
        .unwrap();
}

/// What `chainfire --check` says of such a node, with the certificates there are now.
fn checked(dir: &Path) -> Result<(), String> {
    let tls = dir.join("tls");
    fs::create_dir(&tls).unwrap();
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("chainfire-server.crt", "server.crt"),
        ("chainfire-server.key", "server.key"),
        ("chainfire-peer.crt", "peer.crt"),
        ("chainfire-peer.key", "peer.key"),
    ] {
        fs::copy(dir.join("pki").join(from), tls.join(to)).unwrap();
    }
    let config: StoreConfig = chainfire::config::load(Some(&dir.join("chainfire.toml"))).unwrap();
    let checked = config.check();
    fs::remove_dir_all(&tls).unwrap();
    checked.map_err(|error| in_one_line(&error))
}
