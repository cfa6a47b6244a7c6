//! PrismNET's commands, against PrismNET and IAM in this process.

use photon_testkit::{InProcessIam, in_process_iam, poll::eventually};
use prismnet::{Config, Running, Sockets};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{PATIENCE, json as document, lossy::Lossy, shell::Shell};

/// IAM, PrismNET over the same store, and somebody's shell.
struct House {
    iam: InProcessIam,
    network: Running,
    shell: Shell,
}

impl House {
    async fn dev() -> Self {
        let mut iam = Box::pin(in_process_iam()).await.unwrap();
        let mut config = Config::default();
        config.store.endpoints = vec![iam.chainfire().endpoint()];
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        let network = Box::pin(prismnet::start(config, Sockets::default()))
            .await
            .unwrap();
        let shell = Shell {
            home: tempfile::tempdir().unwrap(),
            iam: iam.rest_url(),
            credit: String::new(),
            network: format!("http://{}", network.rest_address()),
            compute: String::new(),
        };
        eventually("prismnet is ready", PATIENCE, || async {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let asked = http.get(format!("{}/readyz", shell.network)).send().await;
            asked.ok()?.status().is_success().then_some(())
        })
        .await
        .unwrap();
        Self {
            iam,
            network,
            shell,
        }
    }

    /// With a project, and a login in it.
    async fn with_a_project() -> Self {
        let house = Self::dev().await;
        let shell = &house.shell;
        shell.says("org create acme").await;
        shell
            .says("project create Webshop --org acme --id shop")
            .await;
        shell.says("login user-alice --scope shop").await;
        house
    }

    /// A shell of somebody who has not logged in: in dev mode, the operator.
    fn operator(&self) -> Shell {
        Shell {
            home: tempfile::tempdir().unwrap(),
            iam: self.shell.iam.clone(),
            credit: String::new(),
            network: self.shell.network.clone(),
            compute: String::new(),
        }
    }

    /// The operator's, through something that loses the first answer.
    async fn lossy(&self) -> (Lossy, Shell) {
        let lossy = Lossy::before(&self.shell.network).await;
        let shell = Shell {
            network: lossy.address.clone(),
            ..self.operator()
        };
        (lossy, shell)
    }

    async fn stop(self) {
        self.network.stop().await;
        self.iam.stop().await;
    }
}

/// The values of a field in a list.
fn all<'a>(listed: &'a Value, rows: &str, field: &str) -> Vec<&'a str> {
    let rows = listed[rows].as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_network_from_its_vpc_to_its_ports_and_back() {
    let house = House::with_a_project().await;
    let shell = &house.shell;
    // The project is the login's, the org is what IAM says.
    let vpc = shell
        .shows("vpc create app 10.0.0.0/16 --description main")
        .await;
    for (field, expected) in [
        ("name", "app"),
        ("cidr_block", "10.0.0.0/16"),
        ("project_id", "shop"),
        ("org_id", "acme"),
        ("description", "main"),
    ] {
        assert_eq!(vpc[field], expected, "{vpc}");
    }
    assert_eq!(vpc["internet_access"], false);
    let id = vpc["id"].as_str().unwrap();

    let subnet = shell
        .shows("subnet create web 10.0.1.0/24 --vpc app --gateway 10.0.1.254")
        .await;
    assert_eq!(
        (&subnet["vpc_id"], &subnet["gateway_ip"]),
        (&vpc["id"], &json!("10.0.1.254"))
    );
    let port = shell
        .shows("port create web --name front --kind service --host host-1 --ip 10.0.1.10")
        .await;
    for (field, expected) in [
        ("subnet_id", subnet["id"].as_str().unwrap()),
        ("kind", "service"),
        ("ip_address", "10.0.1.10"),
        ("host_id", "host-1"),
        ("status", "building"),
    ] {
        assert_eq!(port[field], expected, "{port}");
    }

    // A group, what it allows, and the port in it.
    shell.says("securitygroup create web-group").await;
    shell
        .says("securitygroup rule add web-group ingress --protocol tcp --ports 8000-8099 --cidr 192.0.2.0/24")
        .await;
    shell
        .says("securitygroup rule add web-group ingress --icmp 8/0")
        .await;
    let named = shell
        .shows("securitygroup rule add web-group egress --remote-group default")
        .await;
    let rules = shell.shows("securitygroup rule list web-group").await;
    let rules = rules["rules"].as_array().unwrap();
    let tcp = rules.iter().find(|rule| rule["protocol"] == "tcp").unwrap();
    assert_eq!(
        (&tcp["port_min"], &tcp["port_max"], &tcp["remote_cidr"]),
        (&json!(8000), &json!(8099), &json!("192.0.2.0/24"))
    );
    let icmp = rules
        .iter()
        .find(|rule| rule["protocol"] == "icmp")
        .unwrap();
    assert_eq!(
        (&icmp["port_min"], &icmp["port_max"]),
        (&json!(8), &json!(0))
    );
    let default = shell.shows("securitygroup get default").await;
    assert_eq!(named["remote_group_id"], default["id"]);
    let rule = named["id"].as_str().unwrap();
    shell
        .says(&format!("securitygroup rule delete web-group {rule}"))
        .await;
    let table = shell.says("securitygroup rule list web-group").await;
    assert!(
        table.starts_with("ID ") && table.lines().count() == 3,
        "{table}"
    );
    let groups = shell.shows("securitygroup get web-group").await["id"].clone();
    let moved = shell
        .shows("port update front --group web-group --no-host")
        .await;
    assert_eq!(moved["security_group_ids"], json!([groups]));
    assert_eq!(
        (&moved["host_id"], &moved["status"]),
        (&Value::Null, &json!("down"))
    );
    let alone = shell.shows("port update front --no-groups").await;
    assert_eq!(alone["security_group_ids"], json!([]));

    // Routes have no name; where they lead is known.
    shell.says("route create app 172.16.0.0/12 10.0.1.10").await;
    let route = shell.shows("route get 172.16.0.0/12").await;
    assert_eq!(route["next_hop"], "10.0.1.10");

    // Filters take names, too.
    for (line, rows, count) in [
        ("vpc list --name app", "vpcs", 1),
        ("vpc list --name other", "vpcs", 0),
        ("vpc list --project other", "vpcs", 0),
        ("subnet list --vpc app", "subnets", 1),
        (
            "port list --vpc app --subnet web --ip 10.0.1.10",
            "ports",
            1,
        ),
        ("port list --host host-1", "ports", 0),
        ("port list --group web-group", "ports", 0),
        ("route list --vpc app", "routes", 1),
        ("securitygroup list --project shop", "security_groups", 2),
    ] {
        let listed = shell.shows(line).await;
        assert_eq!(all(&listed, rows, "id").len(), count, "{line}: {listed}");
    }
    let table = shell.says("port list").await;
    assert!(
        table.contains("IP_ADDRESS") && table.contains("10.0.1.10"),
        "{table}"
    );
    assert_eq!(shell.says("vpc list -o name").await, format!("{id}\n"));

    // What is in use stays, and what uses it is said.
    let (code, message) = shell.fails("vpc delete app").await;
    assert_eq!(code, 6);
    assert!(message.contains("IN_USE"), "{message}");
    let changed = shell
        .shows("vpc update app --name apps --internet-access")
        .await;
    assert_eq!(
        (&changed["name"], &changed["internet_access"]),
        (&json!("apps"), &json!(true))
    );
    let revision = changed["revision"].as_i64().unwrap();
    let line = format!("vpc update apps --no-internet-access --if-revision {revision}");
    assert_eq!(shell.shows(&line).await["internet_access"], false);
    for (word, access) in [("on", true), ("off", false)] {
        let line = format!("vpc update apps --internet-access {word}");
        assert_eq!(shell.shows(&line).await["internet_access"], access);
    }
    assert_eq!(
        shell
            .fails("vpc update apps --internet-access maybe")
            .await
            .0,
        2
    );
    assert_eq!(shell.fails(&line).await.0, 6);
    assert_eq!(shell.fails("vpc update apps").await.0, 2);
    for line in [
        "route delete 172.16.0.0/12",
        "port delete front",
        "subnet delete web",
        "securitygroup delete web-group",
        "vpc delete apps",
    ] {
        let said = shell.says(line).await;
        assert!(said.ends_with(" deleted\n"), "{line}: {said}");
    }
    assert_eq!(shell.fails(&format!("vpc get {id}")).await.0, 3);
    house.stop().await;
}

#[tokio::test]
async fn a_name_means_one_thing_or_is_refused() {
    let house = House::with_a_project().await;
    let shell = &house.shell;
    let first = shell.makes("vpc create app 10.0.0.0/16").await;
    let (code, message) = shell.fails("vpc get other").await;
    assert_eq!(code, 3);
    assert!(message.contains("there is no VPC other"), "{message}");
    shell.says("project create Blog --org acme --id blog").await;
    let second = house
        .operator()
        .makes("vpc create app 10.0.0.0/16 --project blog")
        .await;
    // Two of one name, in two projects: who sees both is refused, and told both ids.
    let operator = house.operator();
    let (code, message) = operator.fails("vpc delete app").await;
    assert_eq!(code, 2);
    for id in [&first, &second] {
        assert!(message.contains(id.as_str()), "{message}");
    }
    // The project tells them apart, and so does the id.
    for line in [
        "vpc get app --project blog".to_owned(),
        format!("vpc get {second}"),
    ] {
        assert_eq!(operator.shows(&line).await["id"], second.as_str(), "{line}");
    }
    // The login's scope does, too.
    assert_eq!(shell.shows("vpc get app").await["id"], first.as_str());
    // An id of another project is none of this one's.
    let line = format!("vpc get {first} --project blog");
    assert_eq!(operator.fails(&line).await.0, 3);
    // What a name may be is not taken for a part of the address.
    for name in ["../vpcs", "a b&c=d#?", ".."] {
        let made = shell
            .words(&["vpc", "create", name, "10.0.0.0/16", "-o", "json"])
            .await;
        let found = shell.words(&["vpc", "get", name, "-o", "json"]).await;
        assert_eq!(document(&made)["id"], document(&found)["id"], "{name}");
    }
    house.stop().await;
}

#[tokio::test]
async fn lists_are_followed_to_their_end() {
    let house = House::with_a_project().await;
    let shell = &house.shell;
    shell.says("vpc create app 10.0.0.0/16").await;
    let mut made = Vec::new();
    for number in 0..3 {
        let line = format!("subnet create s{number} 10.0.{number}.0/24 --vpc app");
        made.push(shell.makes(&line).await);
    }
    let mut seen = Vec::new();
    let mut line = "subnet list --limit 2".to_owned();
    loop {
        let page = shell.shows(&line).await;
        seen.extend(all(&page, "subnets", "id").iter().map(|id| id.to_string()));
        match page["next_page_token"].as_str() {
            Some(next) => line = format!("subnet list --limit 2 --page-token {next}"),
            None => break,
        }
    }
    made.sort();
    seen.sort();
    assert_eq!(seen, made);
    assert_eq!(shell.fails("subnet list --page-token x").await.0, 2);
    house.stop().await;
}

#[tokio::test]
async fn what_is_made_is_made_once() {
    let house = House::with_a_project().await;
    let shell = &house.shell;
    let line = "vpc create app 10.0.0.0/16 --idempotency-key monday";
    let first = shell.run(&format!("{line} -o json")).await;
    let again = shell.run(&format!("{line} -o json")).await;
    assert_eq!(document(&first)["id"], document(&again)["id"]);
    let note = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(note.contains("done before"), "{note}");

    // The answer is lost on the way back: it is asked for again, and made once.
    let (lossy, through) = house.lossy().await;
    through
        .says("vpc create blog 10.0.0.0/16 --project shop --org acme")
        .await;
    assert_eq!(lossy.lost(), 1);
    let listed = shell.shows("vpc list").await;
    assert_eq!(all(&listed, "vpcs", "name"), ["app", "blog"]);
    // So is a change that comes to the same when it is made twice.
    let (lossy, through) = house.lossy().await;
    let id = listed["vpcs"][0]["id"].as_str().unwrap();
    let changed = through.shows(&format!("vpc update {id} --name apps")).await;
    assert_eq!((&changed["name"], lossy.lost()), (&json!("apps"), 1));
    house.stop().await;
}

#[tokio::test]
async fn a_context_knows_where_networks_are_and_whose() {
    let house = House::with_a_project().await;
    let shell = &house.shell;
    shell.says("vpc create app 10.0.0.0/16").await;
    let contexts = shell.shows("context list").await;
    assert_eq!(
        contexts["items"][0]["network"],
        format!("{}/", shell.network)
    );
    let without = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(["vpc", "get", "app", "-o", "json"])
        .env("XDG_CONFIG_HOME", shell.home.path())
        .env_remove("PHOTONCTL_IAM")
        .env_remove("PHOTONCTL_NETWORK")
        .env_remove("PHOTONCTL_TOKEN")
        .output();
    assert_eq!(document(&without.await.unwrap())["project_id"], "shop");

    // Without a login the project has to be said, and its org where IAM does not know it.
    let nobody = house.operator();
    let (code, message) = nobody.fails("vpc create x 10.0.0.0/16").await;
    assert_eq!(code, 2);
    assert!(message.contains("--project"), "{message}");
    let (code, message) = nobody
        .fails("vpc create x 10.0.0.0/16 --project nowhere")
        .await;
    assert_eq!(code, 2);
    assert!(message.contains("--org"), "{message}");
    let made = nobody
        .shows("vpc create x 10.0.0.0/16 --project shop")
        .await;
    assert_eq!(made["org_id"], "acme");
    // The service's own words about what cannot be.
    let (code, message) = nobody
        .fails("vpc create x 10.0.0.1/16 --project shop")
        .await;
    assert_eq!(code, 1);
    assert!(message.contains("VALIDATION_ERROR"), "{message}");
    house.stop().await;
}

#[tokio::test]
async fn addresses_outside_from_their_pool_to_a_port_and_back() {
    let house = House::with_a_project().await;
    let (shell, operator) = (&house.shell, house.operator());
    let made = operator
        .shows("externalnetwork create lan 203.0.113.0/24 --gateway 203.0.113.1 --pool 203.0.113.10-203.0.113.11 --pool 203.0.113.20 --uplink host-1=eth1 --uplink host-2=br-lan")
        .await;
    assert_eq!(
        made["uplinks"],
        json!({"host-1": "eth1", "host-2": "br-lan"})
    );
    let table = operator.says("externalnetwork list").await;
    assert!(
        table.contains("203.0.113.10-203.0.113.11, 203.0.113.20-203.0.113.20")
            && table.contains("host-1=eth1, host-2=br-lan"),
        "{table}"
    );
    let changed = operator
        .shows("externalnetwork update lan --uplink host-1=eth2 --description office")
        .await;
    assert_eq!(
        (&changed["uplinks"], &changed["description"]),
        (&json!({"host-1": "eth2"}), &json!("office"))
    );

    let shown = shell.shows("externalnetwork get lan").await;
    assert_eq!(shown["id"], made["id"]);

    shell.says("vpc create app 10.0.0.0/16").await;
    shell.says("subnet create web 10.0.1.0/24 --vpc app").await;
    let port = shell.makes("port create web --name front").await;
    let first = shell.shows("floatingip create lan --port front").await;
    assert_eq!(first["port_id"], port.as_str());
    assert_eq!(
        (&first["project_id"], &first["org_id"]),
        (&json!("shop"), &json!("acme"))
    );
    let second = shell
        .shows("floatingip allocate lan --address 203.0.113.20")
        .await;
    assert_eq!(second["address"], "203.0.113.20");
    let table = shell.says("floatingip list").await;
    assert_eq!(table.lines().count(), 3, "{table}");

    for (line, count) in [
        ("floatingip list --port front", 1),
        ("floatingip list --external-network lan", 2),
    ] {
        let listed = shell.shows(line).await;
        assert_eq!(all(&listed, "floating_ips", "id").len(), count, "{line}");
    }
    // A port has one at most.
    let address = first["address"].as_str().unwrap();
    let taken = "floatingip associate 203.0.113.20 front";
    assert_eq!(shell.fails(taken).await.0, 6);
    let line = format!("floatingip dissociate {address}");
    assert_eq!(shell.shows(&line).await["port_id"], Value::Null);
    assert_eq!(shell.shows(taken).await["port_id"], port.as_str());
    let said = shell
        .shows("floatingip update 203.0.113.20 --description mail")
        .await;
    assert_eq!(
        (&said["description"], &said["port_id"]),
        (&json!("mail"), &json!(port))
    );
    let got = shell.shows("floatingip get 203.0.113.20").await;
    assert_eq!(got["id"], said["id"]);

    assert_eq!(operator.fails("externalnetwork delete lan").await.0, 6);
    shell.says("floatingip delete 203.0.113.20").await;
    shell.says(&format!("floatingip release {address}")).await;
    operator.says("externalnetwork delete lan").await;
    assert_eq!(operator.fails("externalnetwork get lan").await.0, 3);
    house.stop().await;
}

#[tokio::test]
async fn networks_are_listed_among_the_services() {
    let mut house = House::dev().await;
    let endpoint = house.iam.chainfire().endpoint();
    let listed = crate::listed(&endpoint, "prismnet").await;
    let item = &listed["items"][0];
    assert_eq!(item["addresses"]["rest"], json!(house.shell.network));
    house.stop().await;
}
