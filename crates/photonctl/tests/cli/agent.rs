//! PrismNET in enforce mode and the agent of a host, from certificates to a port that is reported: what `docs/operations.md` says,
//! with the settings that are shipped.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use photon_store::{Error, Expected, Store};
use photon_testkit::poll::eventually;
use prismnet_agent::{
    desired::Here,
    feed::Follower,
    mode::Mode,
    report::Reporter,
    worker::{Outcome, Outcomes, PortOutcome},
};
use prismnet_model::{Host, ObservedPort, Port, PortId, PortState, VpcId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    PATIENCE,
    enforce::{Shell, credit_config},
    json as document, photonctl,
    pki::{iam_config, start_iam},
    store::secured,
    text,
};

const HOST: &str = "host-1";

fn copied(pki: &Path, to: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(to).unwrap();
    for (from, name) in files {
        fs::copy(pki.join(from), to.join(name)).unwrap();
    }
}

/// The shipped settings of the control plane. Only paths and ports are this test's own.
fn network_config(dir: &Path, store: &str, credit: &str) -> prismnet::Config {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/prismnet-enforce.toml");
    let tls = dir.join("prismnet-tls");
    let files = [
        ("ca.crt", "ca.crt"),
        ("prismnet.crt", "prismnet.crt"),
        ("prismnet.key", "prismnet.key"),
        ("prismnet-server.crt", "server.crt"),
        ("prismnet-server.key", "server.key"),
    ];
    copied(&dir.join("pki"), &tls, &files);
    let text = fs::read_to_string(shipped)
        .unwrap()
        .replace("/etc/prismnet/tls", tls.to_str().unwrap())
        .replace("https://192.168.1.101:50051", store)
        .replace("https://192.168.1.101:50057", credit);
    let read = |text: &str| {
        let file = dir.join("prismnet.toml");
        fs::write(&file, text).unwrap();
        prismnet::Config::load(Some(&file)).unwrap()
    };
    // As it is shipped it can be used, too.
    read(&text);
    let on_free_ports = text
        .replace("0.0.0.0:8087", "127.0.0.1:0")
        .replace("0.0.0.0:50056", "127.0.0.1:0");
    assert!(!on_free_ports.contains("0.0.0.0:"), "{on_free_ports}");
    read(&on_free_ports)
}

/// The shipped settings of a host's agent.
fn agent_config(dir: &Path, store: &str) -> prismnet_agent::Config {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/prismnet-agent-host.toml");
    let tls = dir.join("agent-tls");
    let files = [
        ("ca.crt", "ca.crt"),
        ("prismnet-agent@host-1.crt", "prismnet-agent.crt"),
        ("prismnet-agent@host-1.key", "prismnet-agent.key"),
    ];
    copied(&dir.join("pki"), &tls, &files);
    let text = fs::read_to_string(shipped)
        .unwrap()
        .replace("/etc/prismnet-agent/tls", tls.to_str().unwrap())
        .replace("https://192.168.1.101:50051", store);
    let file = dir.join("prismnet-agent.toml");
    fs::write(&file, text).unwrap();
    prismnet_agent::Config::load(Some(&file)).unwrap()
}

/// Until its feed knows this port.
async fn knows(follower: &mut Follower, port: PortId) {
    let until = async {
        while follower.records.port(port).is_none() {
            follower.next().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, until).await.unwrap();
}

/// What the agent's user may not touch.
async fn is_kept_out(store: &Store, port: PortId) {
    let is_denied = |result: Result<(), Error>, what: &str| {
        assert!(
            matches!(result, Err(Error::Denied { .. })),
            "{what}: {result:?}"
        );
    };
    let observed = ObservedPort {
        revision: 1,
        state: PortState::Active,
        reason: String::new(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    // Another host's reports, also one's whose name only begins with its own; what is wanted of ports; where hosts are.
    let reports = store.collection::<ObservedPort>();
    for host in ["host-2", "host-10", "host-"] {
        let key = format!("{host}/observed/port/{port}");
        let written = reports.create(&key, observed.clone()).await;
        is_denied(written.map(drop), host);
    }
    let deleted = store
        .collection::<Port>()
        .delete(&format!("acme/shop/{port}"), Expected::Any)
        .await;
    is_denied(deleted.map(drop), "a port");
    let hosts = store.collection::<Host>().get("host-2").await;
    hosts.unwrap();
    for key in [
        "/photon/prismnet/layout/x",
        "/photon/prismnet/host/host-2/observed/agent",
        "/photon/iam/public/x",
        "/photon/iam/signing/x",
        "/photon/registry/prismnet/x",
    ] {
        is_denied(store.get_raw(key).await.map(drop), key);
    }
}

#[tokio::test]
async fn from_certificates_to_a_port_that_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki").to_str().unwrap().to_owned();
    text(&photonctl(&["pki", "init", "--dir", &pki]).await);
    for name in ["iam-server", "creditservice-server", "prismnet-server"] {
        let issue = ["pki", "issue", name, "--usage", "peer", "--dir", &pki];
        text(&photonctl(&issue).await);
    }
    let agent = format!("prismnet-agent@{HOST}");
    text(&photonctl(&["pki", "issue", &agent, "--dir", &pki]).await);
    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let ca = format!("{pki}/ca.crt");
    let as_user = async |user: &str, words: &[&str]| {
        let (cert, key) = (format!("{pki}/{user}.crt"), format!("{pki}/{user}.key"));
        let access = [
            "--endpoints",
            &endpoint,
            "--ca",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        photonctl(&[words, &access].concat()).await
    };
    text(&as_user("root", &["store", "init"]).await);
    // Only root makes an agent's user; it is made once, and only of what is an agent.
    let add = ["store", "agent", "add", &agent];
    assert_eq!(as_user("prismnet", &add).await.status.code(), Some(2));
    let made = text(&as_user("root", &add).await);
    assert!(
        made.contains(
            "role prismnet-agent@host-1 may read and write /photon/prismnet/host/host-1/\n"
        ) && made.contains("user prismnet-agent@host-1 added\n"),
        "{made}"
    );
    let again = text(&as_user("root", &add).await);
    assert_eq!(again, "the users are there already\n");
    let unknown = ["store", "agent", "add", "root@host-1"];
    assert_eq!(as_user("root", &unknown).await.status.code(), Some(2));

    let config = iam_config(dir.path(), &endpoint);
    fs::create_dir_all(dir.path().join("iam")).unwrap();
    let store = Store::connect(config.store.options().unwrap())
        .await
        .unwrap();
    let first = Box::pin(iam::init::found(&config, &store)).await.unwrap();
    drop(store);
    let iam = start_iam(config).await;
    let config = credit_config(dir.path(), &endpoint);
    let credit = creditservice::start(config, creditservice::Sockets::default());
    let credit = Box::pin(credit).await.unwrap();
    let [credit_rest, credit_grpc] = [credit.rest_address(), credit.grpc_address()]
        .map(|address| format!("https://localhost:{}", address.port()));
    let config = network_config(dir.path(), &endpoint, &credit_grpc);
    let network = prismnet::start(config, prismnet::Sockets::default());
    let network = Box::pin(network).await.unwrap();
    let address = format!("https://localhost:{}", network.rest_address().port());
    let authority = reqwest::Certificate::from_pem(&fs::read(&ca).unwrap()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([authority])
        .build()
        .unwrap();
    for service in [&credit_rest, &address] {
        eventually("it is ready", PATIENCE, || async {
            let asked = http.get(format!("{service}/readyz")).send().await.ok()?;
            asked.status().is_success().then_some(())
        })
        .await
        .unwrap();
    }

    // The admin makes a tenant with a wallet, and somebody who makes its networks.
    let access = format!(
        "--iam https://localhost:{} --credit {credit_rest} --network {address} --ca {ca}",
        iam.rest_address().port()
    );
    let people = ["admin", "olga"].map(|who| dir.path().join(who));
    let [admin, olga] = people.each_ref().map(|home| Shell { home });
    let login = format!("{access} login admin --scope system --api-key");
    text(&admin.run(&login, first.api_key.expose()).await);
    for line in [
        "org create acme",
        "project create shop --org acme --id shop",
        "wallet create shop --org acme --balance 1000",
        "user create olga --org acme",
        "binding create user:olga editor project:shop",
        "quota set shop vpc 1",
    ] {
        admin.says(line).await;
    }
    let password = "credential create user:olga --kind password";
    text(&admin.run(password, "correct horse battery").await);
    let login = format!("{access} login olga --scope shop --password");
    text(&olga.run(&login, "correct horse battery").await);
    // An editor does not see to which org the project belongs unless IAM says so.
    olga.says("vpc create app 10.0.0.0/16").await;
    // What hosts live in is none of a tenant's, and what a project may have is CreditService's to say.
    let underlay = "vpc create under 192.168.0.0/16";
    assert_eq!(olga.code(underlay).await, Some(1));
    assert_eq!(olga.code("vpc create more 10.1.0.0/16").await, Some(6));
    olga.says("subnet create web 10.0.1.0/24 --vpc app").await;
    let made = document(&olga.run("port create web --name front -o json", "").await);
    assert_eq!(made["status"], "down");
    // On which host it is, is the operator's to say.
    let bind = "port update front --host host-1";
    assert_eq!(olga.code(bind).await, Some(5));
    let bound = document(&admin.run(&format!("{bind} -o json"), "").await);
    let number = |name: &str| bound[name].as_str().unwrap().to_owned();
    let port: PortId = number("id").parse().unwrap();
    let vpc: VpcId = number("vpc_id").parse().unwrap();
    let external = "externalnetwork create lan 203.0.113.0/24 --pool 203.0.113.10-203.0.113.11";
    assert_eq!(olga.code(external).await, Some(5));
    // Who may not change it is not told how hosts are wired.
    admin
        .says(&format!("{external} --uplink host-1=eth1"))
        .await;
    let shown = document(&olga.run("externalnetwork get lan -o json", "").await);
    assert_eq!(
        (&shown["name"], shown.get("uplinks")),
        (&Value::from("lan"), None)
    );

    // What the agent does in the store, with the certificate and the user it has there.
    let config = agent_config(dir.path(), &endpoint);
    assert_eq!(config.host.as_str(), HOST);
    let store = Store::connect(config.store.options().unwrap())
        .await
        .unwrap();
    // It may ask which life of the store it is, if the store says so.
    store.get_raw(photon_store::IDENTITY_KEY).await.unwrap();
    let mut follower = Follower::new(store.clone());
    knows(&mut follower, port).await;
    let here = Here {
        host: config.host.clone(),
        vtep: config.tunnel.address,
        mtu: config.tunnel.mtu,
        mode: Mode {
            bridge_ct: false,
            br_netfilter: true,
        },
    };
    let outcomes = Arc::<Outcomes>::default();
    let is_up = PortOutcome {
        revision: bound["revision"].as_i64().unwrap(),
        state: PortState::Active,
        reason: String::new(),
        waits: false,
    };
    let outcome = Outcome {
        ports: BTreeMap::from([(port, is_up)]),
        ..Outcome::default()
    };
    outcomes.put(vpc, Some(outcome));
    let stop = CancellationToken::new();
    let reporting = Reporter::new(store.clone(), here, outcomes);
    let reporting = tokio::spawn(reporting.run(stop.clone()));
    let status = async || -> Value {
        let shown = olga.run("port get front -o json", "").await;
        document(&shown)["status"].clone()
    };
    eventually("the port is reported", PATIENCE, || async {
        (status().await == "active").then_some(())
    })
    .await
    .unwrap();
    is_kept_out(&store, port).await;

    // An agent that leaves takes its word back; one that is removed has none.
    stop.cancel();
    reporting.await.unwrap();
    eventually("the host is silent", PATIENCE, || async {
        (status().await == "unknown").then_some(())
    })
    .await
    .unwrap();
    let removed = text(&as_user("root", &["store", "agent", "remove", &agent]).await);
    assert!(
        removed.contains("user prismnet-agent@host-1 removed"),
        "{removed}"
    );
    let read = as_user(&agent, &["kv", "list", "/photon/prismnet/public/"]).await;
    assert_eq!(
        read.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    assert!(store.get_raw(photon_store::IDENTITY_KEY).await.is_err());
    let again = text(&as_user("root", &["store", "agent", "remove", &agent]).await);
    assert_eq!(again, "there are no such users\n");

    network.stop().await;
    credit.stop().await;
    iam.stop().await;
    node.stop().await;
}

/// What PlasmaVMC's agent of a host may do, and may not: it knows its own host alone.
#[tokio::test]
async fn an_agent_of_vms_reads_its_orders_and_writes_its_reports() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki").to_str().unwrap().to_owned();
    text(&photonctl(&["pki", "init", "--dir", &pki]).await);
    let agent = format!("plasmavmc-agent@{HOST}");
    text(&photonctl(&["pki", "issue", &agent, "--dir", &pki]).await);
    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let ca = format!("{pki}/ca.crt");
    let as_user = async |user: &str, line: &str| {
        let (cert, key) = (format!("{pki}/{user}.crt"), format!("{pki}/{user}.key"));
        let access = [
            "--endpoints",
            &endpoint,
            "--ca",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        let words: Vec<&str> = line.split(' ').collect();
        photonctl(&[&words[..], &access].concat()).await
    };
    text(&as_user("root", "store init").await);
    let add = format!("store agent add {agent} prismnet-agent@{HOST}");
    let dry = text(&as_user("root", &format!("{add} --dry-run")).await);
    assert_eq!(text(&as_user("root", &add).await), dry);
    for may in [
        "read /photon/plasmavmc/host/host-1/desired/",
        "read /photon/chainfire/public/",
        "read and write /photon/plasmavmc/host/host-1/observed/",
        "read and write /photon/plasmavmc/host/host-1/alive",
    ] {
        let line = format!("role {agent} may {may}\n");
        assert!(dry.contains(&line), "{line}{dry}");
    }
    assert_eq!(dry.matches(&format!("role {agent} may ")).count(), 4);
    assert_eq!(
        text(&as_user("root", &add).await),
        "the users are there already\n"
    );

    // The control plane tells it what to do; it tells how it is.
    let here = "/photon/plasmavmc/host/host-1";
    text(&as_user("plasmavmc", &format!("kv put {here}/desired/vm/vm-1 run")).await);
    for line in [
        format!("kv get {here}/desired/vm/vm-1"),
        format!("kv list {here}/desired/"),
        format!("kv put {here}/observed/vm/vm-1 runs"),
        format!("kv put {here}/alive yes"),
        format!("kv delete {here}/alive"),
        format!("kv delete {here}/observed/ --prefix"),
        // Which life of the store it is, if it says so.
        "kv list /photon/chainfire/public/".to_owned(),
    ] {
        text(&as_user(&agent, &line).await);
    }
    for line in [
        // What it is told, it cannot tell itself.
        format!("kv put {here}/desired/vm/vm-1 stop"),
        format!("kv delete {here}/desired/vm/vm-1"),
        format!("kv put {here}/desired/gone/vm-1 gone"),
        // One key, not what begins with it.
        format!("kv put {here}/alive/x yes"),
        format!("kv put {here}/alive2 yes"),
        format!("kv list {here}/"),
        // Another host's, also one's whose name only begins with its own.
        "kv list /photon/plasmavmc/host/host-2/desired/".to_owned(),
        "kv put /photon/plasmavmc/host/host-10/observed/agent lies".to_owned(),
        "kv put /photon/plasmavmc/host/host-/alive yes".to_owned(),
        // What is a tenant's, the suite's and other services'.
        "kv list /photon/plasmavmc/vm/".to_owned(),
        "kv put /photon/plasmavmc/use/host-1 nothing".to_owned(),
        "kv put /photon/hosts/host-1 lies".to_owned(),
        "kv list /photon/prismnet/public/".to_owned(),
        "kv list /photon/iam/public/".to_owned(),
        "kv list /photon/registry/".to_owned(),
        "kv put /photon/chainfire/public/incarnation 1".to_owned(),
    ] {
        let refused = as_user(&agent, &line).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{line}: {said}");
    }
    let remove = format!("store agent remove {agent}");
    text(&as_user("root", &remove).await);
    let read = as_user(&agent, &format!("kv list {here}/desired/")).await;
    assert_eq!(read.status.code(), Some(5));
    node.stop().await;
}
