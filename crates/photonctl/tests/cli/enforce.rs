//! CreditService in enforce mode, from certificates to a first wallet: what `docs/operations.md` says, with the settings that are
//! shipped.

use std::{fs, path::Path, process::Output, time::Duration};

use creditservice::{Config, Sockets};
use photon_store::Store;
use photon_testkit::poll::eventually;
use serde_json::json;

use crate::{
    json as document, photonctl,
    pki::{iam_config, start_iam, told},
    store::secured,
    text,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The shipped settings. Only paths and ports are this test's own.
pub(crate) fn credit_config(dir: &Path, store: &str) -> Config {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/config/creditservice-enforce.toml");
    let tls = dir.join("creditservice-tls");
    fs::create_dir_all(&tls).unwrap();
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("creditservice.crt", "creditservice.crt"),
        ("creditservice.key", "creditservice.key"),
        ("creditservice-server.crt", "server.crt"),
        ("creditservice-server.key", "server.key"),
    ] {
        fs::copy(dir.join("pki").join(from), tls.join(to)).unwrap();
    }
    let text = fs::read_to_string(shipped)
        .unwrap()
        .replace("/etc/creditservice/tls", tls.to_str().unwrap())
        .replace(
            "/var/lib/creditservice",
            dir.join("creditservice").to_str().unwrap(),
        )
        .replace("https://192.168.1.101:50051", store);
    let read = |text: &str| {
        let file = dir.join("creditservice.toml");
        fs::write(&file, text).unwrap();
        Config::load(Some(&file)).unwrap()
    };
    // As it is shipped it can be used, too.
    read(&text);
    let on_free_ports = text
        .replace("0.0.0.0:8086", "127.0.0.1:0")
        .replace("0.0.0.0:50057", "127.0.0.1:0")
        // There is one process.
        .replace("advertise = \"https://192.168.1.101:50057\"", "");
    assert!(!on_free_ports.contains("0.0.0.0"), "{on_free_ports}");
    read(&on_free_ports)
}

/// What a person's shell says, by words.
pub(crate) struct Shell<'a> {
    pub(crate) home: &'a Path,
}

impl Shell<'_> {
    pub(crate) async fn run(&self, line: &str, stdin: &str) -> Output {
        told(self.home, &line.split(' ').collect::<Vec<_>>(), stdin).await
    }

    pub(crate) async fn says(&self, line: &str) -> String {
        text(&self.run(line, "").await)
    }

    pub(crate) async fn code(&self, line: &str) -> Option<i32> {
        self.run(line, "").await.status.code()
    }
}

#[tokio::test]
async fn from_certificates_to_a_first_wallet() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki").to_str().unwrap().to_owned();
    text(&photonctl(&["pki", "init", "--dir", &pki]).await);
    for name in ["iam-server", "creditservice-server"] {
        let issue = ["pki", "issue", name, "--usage", "peer", "--dir", &pki];
        text(&photonctl(&issue).await);
    }
    let node = Box::pin(secured(dir.path())).await;
    let endpoint = format!("https://{}", node.grpc_address());
    let ca = format!("{pki}/ca.crt");
    let (cert, key) = (format!("{pki}/root.crt"), format!("{pki}/root.key"));
    let as_root = async |words: &[&str]| {
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
    text(&as_root(&["store", "init"]).await);

    let config = iam_config(dir.path(), &endpoint);
    fs::create_dir_all(dir.path().join("iam")).unwrap();
    let store = Store::connect(config.store.options().unwrap())
        .await
        .unwrap();
    let first = Box::pin(iam::init::found(&config, &store)).await.unwrap();
    drop(store);
    let iam = start_iam(config).await;

    // Its user in the store is that of its certificate, and what `store init` grants is enough.
    let config = credit_config(dir.path(), &endpoint);
    let credit = Box::pin(creditservice::start(config, Sockets::default()))
        .await
        .unwrap();
    let address = format!("https://localhost:{}", credit.rest_address().port());
    let pem = fs::read(&ca).unwrap();
    let authority = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([authority])
        .build()
        .unwrap();
    eventually("creditservice is ready", PATIENCE, || async {
        let asked = http.get(format!("{address}/readyz")).send().await.ok()?;
        asked.status().is_success().then_some(())
    })
    .await
    .unwrap();
    let listed = eventually("it is listed", PATIENCE, || async {
        let listed = document(&as_root(&["services", "creditservice", "--json"]).await);
        (listed["items"] != json!([])).then_some(listed)
    });
    let listed = listed.await.unwrap();
    let grpc = listed["items"][0]["addresses"]["grpc"].as_str().unwrap();
    assert!(grpc.starts_with("https://"), "{listed}");

    // The admin makes a tenant, and somebody who is in charge of its money.
    let access = format!(
        "--iam https://localhost:{} --credit {address} --ca {ca}",
        iam.rest_address().port()
    );
    let people = ["admin", "bill", "olga"].map(|who| dir.path().join(who));
    let [admin, bill, olga] = people.each_ref().map(|home| Shell { home });
    let login = format!("{access} login admin --scope system --api-key");
    text(&admin.run(&login, first.api_key.expose()).await);
    for line in [
        "org create acme",
        "project create shop --org acme --id shop",
        "user create bill --org acme",
        "user create olga --org acme",
        "binding create user:bill billing-admin org:acme",
        "binding create user:olga admin project:shop",
        "quota limit set gpu 8",
        "price publish vcpu 10 --per minute",
    ] {
        admin.says(line).await;
    }
    for (shell, who, scope) in [(&bill, "bill", "acme"), (&olga, "olga", "shop")] {
        let password = format!("credential create user:{who} --kind password");
        text(&admin.run(&password, "correct horse battery").await);
        let login = format!("{access} login {who} --scope {scope} --password");
        text(&shell.run(&login, "correct horse battery").await);
    }

    // Who rules a project spends from its wallet and does not fill it.
    assert_eq!(olga.code("wallet create shop --org acme").await, Some(5));
    let made = bill
        .says("wallet create shop --org acme --balance 1000")
        .await;
    assert!(made.contains("1,000 JPY"), "{made}");
    assert_eq!(olga.code("wallet topup shop 5").await, Some(5));
    bill.says("wallet topup shop 500").await;
    let id = olga
        .says("reservation create shop 700 --units gpu=2 -o name")
        .await;
    olga.says(&format!("reservation commit {} --amount 650", id.trim()))
        .await;
    let wallet = document(&olga.run("wallet get shop -o json", "").await);
    assert_eq!(wallet["available"], 850);
    // What is the same for all is the operator's.
    for line in ["quota limit set gpu 9", "price publish vcpu 1"] {
        assert_eq!(bill.code(line).await, Some(5), "{line}");
    }
    bill.says("quota set shop gpu 16").await;
    assert_eq!(olga.code("quota set shop gpu 99").await, Some(5));
    // A wallet is made for a project that is there, in its own org.
    assert_eq!(bill.code("wallet create nobody --org acme").await, Some(1));
    // Without a login nobody is anybody.
    let nobody = dir.path().join("nobody");
    let nobody = Shell { home: &nobody };
    assert_eq!(nobody.code(&format!("{access} wallet list")).await, Some(5));

    credit.stop().await;
    let gone = eventually("it is off the list", PATIENCE, || async {
        let listed = document(&as_root(&["services", "creditservice", "--json"]).await);
        (listed["items"] == json!([])).then_some(())
    });
    gone.await.unwrap();
    iam.stop().await;
    node.stop().await;
}

/// What is installed by the book: each unit runs its program as its own user, asks it about its settings first, and enforces; and
/// the settings that are shipped for it enforce too.
#[test]
fn units_and_shipped_settings_enforce() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let book = read("docs/operations.md");
    for (service, shipped) in [
        ("chainfire", "member.toml"),
        ("iam", "iam-enforce.toml"),
        ("creditservice", "creditservice-enforce.toml"),
        ("prismnet", "prismnet-enforce.toml"),
    ] {
        let unit = read(&format!("deploy/systemd/{service}.service"));
        let program = format!("/usr/local/bin/{service} --config /etc/{service}/{service}.toml");
        for line in [
            format!("User={service}"),
            format!("ExecStartPre={program} --check"),
            format!("ExecStart={program}"),
            format!("Environment={}__AUTH__MODE=enforce", service.to_uppercase()),
            "Type=notify".to_owned(),
            "NoNewPrivileges=yes".to_owned(),
        ] {
            assert!(unit.lines().any(|one| one == line), "{service}: {line}");
        }
        let settings = read(&format!("deploy/config/{shipped}"));
        assert!(
            settings.contains("[auth]\nmode = \"enforce\"\n"),
            "{shipped}"
        );
        for path in [
            format!("deploy/systemd/{service}.service"),
            format!("deploy/config/{shipped}"),
        ] {
            assert!(book.contains(&path), "the book does not install {path}");
        }
    }
}

/// The agent of a host is root's. It may no more than it has to, and names namespaces where everybody sees them.
#[test]
fn the_agents_unit_leaves_it_what_it_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let unit = read("deploy/systemd/prismnet-agent.service");
    let program = "/usr/local/bin/prismnet-agent --config /etc/prismnet-agent/prismnet-agent.toml";
    for line in [
        &format!("ExecStartPre={program} --check"),
        &format!("ExecStart={program}"),
        "Type=notify",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.lines().any(|one| one == line), "{line}");
    }
    let bounds = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    for capability in ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"] {
        assert!(bounds.split(' ').any(|one| one == capability), "{bounds}");
    }
    // Each of these gives a unit mounts of its own (systemd.exec(5)): what is mounted there is nowhere else.
    for setting in [
        "User=",
        "DynamicUser=",
        "MountFlags=",
        "Private",
        "Protect",
        "ReadOnlyPaths=",
        "ReadWritePaths=",
        "InaccessiblePaths=",
        "BindPaths=",
        "BindReadOnlyPaths=",
        "TemporaryFileSystem=",
        "RootDirectory=",
        "RestrictNamespaces=",
    ] {
        assert!(
            !unit.lines().any(|one| one.starts_with(setting)),
            "{setting}"
        );
    }
    let book = read("docs/operations.md");
    for path in [
        "deploy/systemd/prismnet-agent.service",
        "deploy/config/prismnet-agent-host.toml",
    ] {
        assert!(book.contains(path), "the book does not install {path}");
    }
}
