//! The store's commands and the first start, against ChainFire in this process.

use std::path::Path;

use chainfire::run::{self, Running, Sockets};
use photon_testkit::in_process_chainfire;
use serde_json::Value;
use tokio::process::Command;

use crate::{json, photonctl, text};

#[tokio::test]
async fn keys_leases_members_and_status() {
    let mut node = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = node.endpoint();
    let ctl = async |line: &str| {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--endpoints", &endpoint]);
        photonctl(&arguments).await
    };
    assert!(text(&ctl("kv put user:1 alice").await).starts_with("revision "));
    assert_eq!(text(&ctl("kv get user:1").await), "alice\n");
    ctl("kv put user:2 bob").await;
    let list = text(&ctl("kv list user:").await);
    assert!(
        list.starts_with("KEY") && list.contains("user:1  alice") && list.contains("user:2"),
        "{list}"
    );
    let page = json(&ctl("kv list user: --limit 1 --json").await);
    assert_eq!(page["items"][0]["key"], "user:1");
    let next = page["next_page_token"].as_str().unwrap().to_owned();
    let page = json(
        &ctl(&format!(
            "kv list user: --limit 1 --page-token {next} --json"
        ))
        .await,
    );
    assert_eq!(
        (&page["items"][0]["key"], &page["next_page_token"]),
        (&"user:2".into(), &Value::Null)
    );
    // A page counts what there is behind it, too; all of it together says the same.
    for line in ["kv list user: --json", "kv list user: --limit 1 -o json"] {
        let listed = json(&ctl(line).await);
        assert_eq!(listed["count"], 2, "{line}: {listed}");
        let newest = &json(&ctl("kv list user: -o json").await)["items"][1]["mod_revision"];
        assert_eq!(&listed["revision"], newest, "{line}: {listed}");
    }

    let watched = text(&ctl("watch user: --from-revision 2 --count 2").await);
    assert!(
        watched.contains("PUT     user:1  alice") && watched.lines().count() == 2,
        "{watched}"
    );
    assert_eq!(
        json(&ctl("kv delete user: --prefix --json").await)["deleted"],
        2
    );
    let missing = ctl("kv get user:1").await;
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("NOT_FOUND"));

    let lease = json(&ctl("lease grant 600 --json").await)["id"]
        .as_i64()
        .unwrap();
    assert_eq!(
        json(&ctl(&format!("lease keepalive {lease} --once --json")).await)["ttl_seconds"],
        600
    );
    assert!(text(&ctl("lease list").await).contains(&lease.to_string()));
    text(&ctl(&format!("lease revoke {lease}")).await);
    assert_eq!(
        ctl(&format!("lease keepalive {lease} --once"))
            .await
            .status
            .code(),
        Some(3)
    );

    assert_eq!(
        json(&ctl("member list --json").await)["items"][0]["is_leader"],
        true
    );
    assert_eq!(ctl("member promote 1").await.status.code(), Some(6));
    assert!(text(&ctl("status").await).contains("leader"));
    node.stop().await;
    assert_eq!(ctl("status").await.status.code(), Some(4));
    assert_eq!(ctl("kv get k").await.status.code(), Some(4));
    assert_eq!(ctl("kv list --page-token x").await.status.code(), Some(2));
}

/// A node as `docs/operations.md` sets one up: the shipped settings over what `pki init` makes. Only paths and ports are
/// this test's own.
pub(crate) async fn secured(dir: &Path) -> Running {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/member.toml");
    let tls = dir.join("tls");
    std::fs::create_dir(&tls).unwrap();
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("chainfire-server.crt", "server.crt"),
        ("chainfire-server.key", "server.key"),
        ("chainfire-peer.crt", "peer.crt"),
        ("chainfire-peer.key", "peer.key"),
    ] {
        std::fs::copy(dir.join("pki").join(from), tls.join(to)).unwrap();
    }
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = text.replace("/etc/chainfire/tls", tls.to_str().unwrap());
    let file = dir.join("chainfire.toml");
    std::fs::write(&file, text).unwrap();
    let mut config = chainfire::config::load(Some(&file)).unwrap();
    config.data_dir = dir.join("data");
    config.check().unwrap();
    for (address, advertise) in [
        (&mut config.rest.address, &mut config.rest.advertise),
        (&mut config.grpc.address, &mut config.grpc.advertise),
        (&mut config.peer.address, &mut config.peer.advertise),
    ] {
        (*address, *advertise) = ("127.0.0.1:0".parse().unwrap(), None);
    }
    run::start(config, Sockets::default()).await.unwrap()
}

#[tokio::test]
async fn the_first_start_from_certificates_to_users() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let pki = pki.to_str().unwrap();
    assert!(text(&photonctl(&["pki", "init", "--dir", pki]).await).contains("root.crt"));
    assert_eq!(
        text(&photonctl(&["pki", "init", "--dir", pki]).await),
        "everything is there already\n"
    );
    assert_eq!(
        text(&photonctl(&["pki", "renew", "--dir", pki]).await),
        "nothing is due\n"
    );
    let shown = json(&photonctl(&["pki", "show", "--dir", pki, "--json"]).await);
    assert!(
        shown["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["common_name"] == "iam")
    );

    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let (ca, base) = (format!("{pki}/ca.crt"), ["--endpoints", &endpoint]);
    let as_user = async |user: &str, line: &str| {
        let (cert, key) = (format!("{pki}/{user}.crt"), format!("{pki}/{user}.key"));
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(base);
        arguments.extend(["--ca", &ca, "--cert", &cert, "--key", &key]);
        photonctl(&arguments).await
    };
    // Only root prepares the store.
    assert_eq!(as_user("iam", "store init").await.status.code(), Some(2));
    let first = text(&as_user("root", "store init").await);
    assert!(
        first.contains("user iam added")
            && first.contains("role iam may read and write /photon/iam/"),
        "{first}"
    );
    assert_eq!(
        text(&as_user("root", "store init").await),
        "the store is prepared already\n"
    );

    // Every service has its own prefix and reads what IAM publishes; nothing else.
    text(&as_user("iam", "kv put /photon/iam/public/x 1").await);
    assert_eq!(
        text(&as_user("prismnet", "kv get /photon/iam/public/x").await),
        "1\n"
    );
    text(&as_user("prismnet", "kv put /photon/hosts/h 1").await);
    for line in [
        "kv put /photon/iam/public/x 2",
        "kv put /photon/creditservice/x 1",
        "kv get /photon/iam/secret",
        "kv list",
        "member remove 1",
    ] {
        let refused = as_user("prismnet", line).await;
        assert_eq!(
            refused.status.code(),
            Some(5),
            "{line}: {}",
            String::from_utf8_lossy(&refused.stderr)
        );
    }
    assert_eq!(
        as_user("creditservice", "kv put /photon/hosts/h 1")
            .await
            .status
            .code(),
        Some(5)
    );

    // Certificates decide on REST too.
    let curl = async |user: &str, path: &str| {
        let url = format!("https://{}{path}", node.rest_address());
        let (cert, key) = (format!("{pki}/{user}.crt"), format!("{pki}/{user}.key"));
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "30",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
            &url,
        ]);
        text(&curl.output().await.unwrap())
    };
    assert_eq!(
        curl("prismnet", "/api/v1/kv//photon/iam/public/x").await,
        "200"
    );
    assert_eq!(
        curl("prismnet", "/api/v1/kv//photon/iam/secret").await,
        "403"
    );
    assert_eq!(curl("prismnet", "/api/v1/snapshot").await, "403");
    assert_eq!(curl("root", "/api/v1/snapshot").await, "200");

    // A certificate of another authority gets nowhere.
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    text(&photonctl(&["pki", "init", "--dir", other]).await);
    let (cert, key) = (format!("{other}/root.crt"), format!("{other}/root.key"));
    let stranger = photonctl(&[
        "kv",
        "get",
        "k",
        "--endpoints",
        &endpoint,
        "--ca",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
    ])
    .await;
    assert_eq!(
        stranger.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&stranger.stderr)
    );
    node.stop().await;
}
