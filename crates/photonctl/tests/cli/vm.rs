//! PlasmaVMC's commands, against PlasmaVMC and IAM in this process and a host without a hypervisor.

use std::{path::Path, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};
use photon_proto::photon::plasmavmc::agent::v1::{self as pb, consoles_server};
use photon_store::{Options, Store};
use photon_testkit::{
    InProcessIam,
    fake_host::{FakeHost, Habits},
    in_process_iam,
    poll::eventually,
};
use plasmavmc::{Config, Running, Sockets};
use plasmavmc_agent::{blobs::Blobs, console::Consoles, door, files::Files, images::Images};
use plasmavmc_model::{ObservedAgent, observed};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::{PATIENCE, lossy::Lossy, shell::Shell};

/// IAM, PlasmaVMC over the same store, a host, and somebody's shell with a login in a project.
struct House {
    iam: InProcessIam,
    /// Where the store is.
    endpoint: String,
    compute: Running,
    host: FakeHost,
    shell: Shell,
}

impl House {
    async fn with_a_host(habits: Habits) -> Self {
        let mut iam = Box::pin(in_process_iam()).await.unwrap();
        let endpoint = iam.chainfire().endpoint();
        let mut config = Config::default();
        config.store.endpoints = vec![endpoint.clone()];
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        let compute = Box::pin(plasmavmc::start(config, Sockets::default()))
            .await
            .unwrap();
        let store = Store::connect(Options::new([&endpoint])).await.unwrap();
        let host = FakeHost::start_with(store, "host-1", habits).await;
        let shell = Shell {
            home: tempfile::tempdir().unwrap(),
            iam: iam.rest_url(),
            credit: String::new(),
            network: String::new(),
            compute: format!("http://{}", compute.rest_address()),
        };
        let house = Self {
            iam,
            endpoint,
            compute,
            host,
            shell,
        };
        let operator = house.operator();
        eventually("the host is known", PATIENCE, || async {
            let listed = operator.run("host list").await;
            let table = String::from_utf8(listed.stdout).unwrap();
            table.contains("host-1  up ").then_some(())
        })
        .await
        .unwrap();
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
            network: String::new(),
            compute: self.shell.compute.clone(),
        }
    }

    async fn stop(mut self) {
        self.host.go_silent().await;
        self.compute.stop().await;
        self.iam.stop().await;
    }
}

#[tokio::test]
async fn a_vm_from_its_image_to_its_end() {
    let house = House::with_a_host(Habits::default()).await;
    let shell = &house.shell;
    assert_eq!(shell.says("image list -o name").await, "photon-mini\n");
    // The project is the login's, the org is what IAM says.
    let made = shell
        .shows("vm create web --cpus 2 --memory 1G --disk 5 --hypervisor qemu --label tier=web --label zone=a")
        .await;
    assert_eq!(made["state"], "Creating");
    let operation = made["operation_id"].as_str().unwrap();
    let followed = shell
        .run(&format!("operation get {operation} --follow"))
        .await;
    assert!(followed.status.success());
    let told = String::from_utf8(followed.stderr).unwrap();
    assert!(told.contains("begun") && told.contains("done"), "{told}");
    let shown = shell.says(&format!("operation show {operation}")).await;
    assert!(
        shown.contains("place done, prepare done") && shown.contains("begun"),
        "{shown}"
    );
    let made = shell.shows("vm wait web").await;
    for (field, expected) in [
        ("name", json!("web")),
        ("state", json!("Stopped")),
        ("cpus", json!(2)),
        ("memory_mb", json!(1024)),
        ("disk_size_gb", json!(5)),
        ("hypervisor", json!("qemu")),
        ("image_id", json!("photon-mini")),
        ("project_id", json!("shop")),
        ("org_id", json!("acme")),
        ("labels", json!({"tier": "web", "zone": "a"})),
        ("deletion_protection", json!(false)),
    ] {
        assert_eq!(made[field], expected, "{field}: {made}");
    }
    let id = made["id"].as_str().unwrap();

    // What is asked for is waited for.
    for (line, state) in [
        ("vm start web --wait", "Running"),
        ("vm wait web --for running", "Running"),
        ("vm reboot web --force --wait", "Running"),
        ("vm wait web", "Running"),
        ("vm stop web --wait", "Stopped"),
        ("vm start web --wait", "Running"),
        ("vm stop web --force --wait", "Stopped"),
        ("vm wait web --for Stopped", "Stopped"),
    ] {
        assert_eq!(shell.shows(line).await["state"], state, "{line}");
    }
    assert_eq!(house.host.starts(id), 3);

    let people = shell.says("vm show web").await;
    assert!(
        people.contains("tier=web, zone=a") && people.contains("Stopped"),
        "{people}"
    );
    for (line, count) in [
        ("vm list --name web", 1),
        ("vm list --name other", 0),
        ("vm list --state stopped", 1),
        ("vm list --state Running", 0),
        ("vm list --project other", 0),
    ] {
        let listed = shell.shows(line).await;
        assert_eq!(listed["vms"].as_array().unwrap().len(), count, "{line}");
    }
    let hosts = house.operator().says("host list").await;
    assert!(
        hosts.contains("emulation  1    2/2   1024/24576  5/1000"),
        "{hosts}"
    );

    let changed = shell
        .shows("vm update web --name shop --no-labels --deletion-protection")
        .await;
    assert_eq!(
        (&changed["name"], &changed["labels"]),
        (&json!("shop"), &json!({}))
    );
    let (code, message) = shell.fails("vm delete shop").await;
    assert_eq!(code, 6);
    assert!(message.contains("DELETION_PROTECTED"), "{message}");
    assert_eq!(shell.fails("vm update shop").await.0, 2);
    let revision = changed["revision"].as_i64().unwrap();
    let line = format!("vm update shop --no-deletion-protection --if-revision {revision}");
    assert_eq!(shell.shows(&line).await["deletion_protection"], false);
    assert_eq!(shell.fails(&line).await.0, 6);
    let deleted = shell.says("vm delete shop --wait").await;
    assert_eq!(deleted, format!("{id} deleted\n"));
    assert!(!house.host.has(id));
    for line in [format!("vm get {id}"), format!("vm wait {id}")] {
        // What nobody wants any more is as it should be.
        let code = shell.run(&line).await.status.code();
        assert_eq!(code, Some(if line.contains("wait") { 0 } else { 3 }));
    }
    let gone = shell.says("vm wait shop --for gone").await;
    assert_eq!(gone, "shop is gone\n");
    let wait = format!("vm wait {id} --for running");
    assert_eq!(shell.fails(&wait).await.0, 3);
    house.stop().await;
}

/// Opens the real agent's door on the host, over a directory.
async fn open_a_door(house: &House, directory: &Path, stop: CancellationToken) {
    let mut config = plasmavmc_agent::Config::new(house.host.name.clone());
    config.state_directory = directory.to_owned();
    config.door.listen.set_port(0);
    let images = Arc::new(Images::new(directory));
    let blobs = Arc::new(Blobs::new(directory, images));
    let consoles = Consoles::new(Files::new(directory));
    let opened = door::open(&config, blobs, consoles, stop).await;
    let url = opened.unwrap().unwrap().url;
    let store = Store::connect(Options::new([&house.endpoint]));
    let all = store.await.unwrap().collection::<ObservedAgent>();
    let key = observed::agent_key(&house.host.name);
    let mut agent = all.get(&key).await.unwrap().unwrap();
    agent.value.door = Some(url);
    all.replace(agent).await.unwrap();
    let operator = house.operator();
    eventually("the door is known", PATIENCE, || async {
        let hosts = operator.shows("host list").await;
        let is_open = hosts["hosts"][0]["agent"]["door"].is_string();
        is_open.then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_registered_uploaded_and_forgotten() {
    let house = House::with_a_host(Habits::default()).await;
    let shell = &house.shell;
    let made = shell
        .shows("image create tiny --format kernel --alias small --default")
        .await;
    assert_eq!(
        (&made["state"], &made["default"]),
        (&json!("Pending"), &json!(true))
    );
    let (code, message) = shell.fails("image create tiny").await;
    assert!(code != 0 && message.contains("ALREADY_EXISTS"), "{message}");
    let (code, message) = shell
        .fails("image create other --url https://example.org/a")
        .await;
    assert!(code != 0 && message.contains("url"), "{message}");

    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let file = |name: &str| directory.path().join(name).display().to_string();
    // More than one piece.
    std::fs::write(file("k"), vec![7; (16 << 20) + 5]).unwrap();
    std::fs::write(file("r"), b"initramfs").unwrap();
    let upload = |part: &str, name: &str| format!("image upload tiny {} --part {part}", file(name));
    let (_, message) = shell.fails(&upload("kernel", "k")).await;
    assert!(message.contains("NO_CAPACITY"), "{message}");
    open_a_door(&house, &directory.path().join("state"), stop.clone()).await;
    shell.says(&upload("initramfs", "r")).await;
    let ready = shell.shows(&upload("kernel", "k")).await;
    assert_eq!(ready["state"], "Ready");
    assert_eq!(ready["size_bytes"], (16 << 20) + 5 + 9);
    let (_, message) = shell.fails(&upload("kernel", "k")).await;
    assert!(message.contains("FAILED_PRECONDITION"), "{message}");

    let changed = shell
        .shows("image update tiny --name little --default false")
        .await;
    assert_eq!(
        (&changed["name"], &changed["default"]),
        (&json!("little"), &json!(false))
    );
    let listed = shell.says("image list").await;
    assert!(
        listed.contains("little") && listed.contains("photon-mini"),
        "{listed}"
    );
    assert_eq!(
        shell.shows("image show little").await["aliases"],
        json!(["small"])
    );
    shell.says("image delete little").await;
    let (code, _) = shell.fails("image show little").await;
    assert_ne!(code, 0);
    stop.cancel();
    house.stop().await;
}

#[tokio::test]
async fn who_waits_hears_why_it_will_not_be() {
    let habits = Habits {
        broken: Some("no space left".to_owned()),
        ..Habits::default()
    };
    let house = House::with_a_host(habits).await;
    let shell = &house.shell;
    // What is there is said where it is refused.
    let (code, message) = shell
        .fails("vm create web --memory 512 --image ubuntu-22.04")
        .await;
    assert_eq!(code, 1);
    assert!(
        message.contains("VALIDATION_ERROR") && message.contains("image add"),
        "{message}"
    );
    let (code, message) = shell.fails("vm create web --memory 1024G").await;
    assert_eq!(code, 6);
    assert!(message.contains("NO_CAPACITY"), "{message}");

    // A VM that cannot be made.
    let (code, message) = shell
        .fails("vm create web --memory 512 --start --wait")
        .await;
    assert_eq!(code, 6);
    assert!(
        message.contains("error: web is Error: ") && message.contains("no space left"),
        "{message}"
    );
    let told = message.split("photonctl ").nth(1).unwrap();
    let operation = told.split_whitespace().nth(2).unwrap();
    let shown = shell.shows(&format!("operation get {operation}")).await;
    assert_eq!(shown["state"], "failed", "{shown}");
    let follow = format!("operation get {operation} --follow");
    let (code, message) = shell.fails(&follow).await;
    assert_eq!(code, 6);
    assert!(message.contains("vm.create failed: "), "{message}");
    // What could not be made is made anew.
    house.host.habits(|habits| habits.broken = None);
    let started = shell.shows("vm start web --wait").await;
    assert_eq!(started["state"], "Running");

    // One that takes too long.
    house.host.habits(|habits| habits.stuck = true);
    let (code, message) = shell.fails("vm stop web --wait --within 1").await;
    assert_eq!(code, 4);
    assert!(message.contains("after 1 s: web is Stopping"), "{message}");
    shell.says("vm start web").await;
    house.host.habits(|habits| habits.stuck = false);
    assert_eq!(shell.shows("vm wait web").await["state"], "Running");
    // Its guest shuts down: who waits for it to run need not wait for long.
    let id = started["id"].as_str().unwrap();
    house.host.power_off_from_within(id);
    let stopped = shell.shows("vm wait web --for stopped").await;
    assert_eq!(stopped["wanted_state"], "Stopped");

    // A name that two have.
    let first = shell.makes("vm create twin --memory 64").await;
    let second = shell.makes("vm create twin --memory 64").await;
    let (code, message) = shell.fails("vm start twin").await;
    assert_eq!(code, 2);
    for id in [&first, &second] {
        assert!(message.contains(id.as_str()), "{message}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_vm() {
    let house = House::with_a_host(Habits::default()).await;
    let lossy = Lossy::before(&house.shell.compute).await;
    let through = Shell {
        compute: lossy.address.clone(),
        ..house.operator()
    };
    let line = "vm create web --memory 64 --project shop --org acme";
    let made = through.makes(line).await;
    assert_eq!(lossy.lost(), 1);
    let listed = house.shell.says("vm list -o name").await;
    assert_eq!(listed, format!("{made}\n"));
    house.stop().await;
}

#[test]
fn the_shipped_settings_of_enforce_mode_are_good() {
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/config/plasmavmc-enforce.toml"
    );
    let config = Config::load(Some(shipped.as_ref())).unwrap();
    assert_eq!(format!("{:?}", config.auth.mode), "Enforce");
    assert!(config.rest.tls.is_some() && config.grpc.tls.is_some());
}

#[tokio::test]
async fn a_guest_is_told_what_files_say() {
    let house = House::with_a_host(Habits::default()).await;
    let shell = &house.shell;
    let file = |name: &str, text: &str| {
        let path = shell.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS";
    let keys = file("keys", &format!("# ours\n{key} ann\n\n{key} bob\n"));
    let script = file("script", "#!/bin/sh\necho $(hostname)\n");
    let other = format!("{key} eve");
    let words = [
        "vm",
        "create",
        "web",
        "--memory",
        "128",
        "--hostname",
        "one.example",
    ];
    let told = [
        "--ssh-key",
        &keys,
        "--ssh-key",
        &other,
        "--user-data",
        &script,
        "-o",
        "json",
    ];
    let made = shell.words(&[&words[..], &told[..]].concat()).await;
    assert!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["hostname"], "one.example");
    let id = made["id"].as_str().unwrap();
    let guest = shell.shows(&format!("vm guest {id}")).await;
    assert_eq!(guest["user_data"], "#!/bin/sh\necho $(hostname)\n");
    let expected = ["ann", "bob", "eve"].map(|name| format!("{key} {name}"));
    assert_eq!(guest["ssh_keys"], json!(expected));
    let (code, message) = shell
        .fails("vm create x --memory 128 --user-data /nonexistent")
        .await;
    assert!(code == 2 && message.contains("/nonexistent"), "{message}");
    house.stop().await;
}

/// The door of a host whose guests answer in capitals.
struct Door;

#[tonic::async_trait]
impl consoles_server::Consoles for Door {
    async fn log(
        &self,
        request: Request<pb::ConsoleLogRequest>,
    ) -> Result<Response<pb::ConsoleLog>, Status> {
        let text = "\u{1b}[1mboot\u{1b}[0m\r\nready\r\n";
        let offset = usize::try_from(request.into_inner().offset.unwrap()).unwrap();
        // A part at a time.
        let data = text.as_bytes()[offset..].iter().copied().take(10);
        Ok(Response::new(pb::ConsoleLog {
            offset: offset as u64,
            data: data.collect::<Vec<u8>>().into(),
            first: 0,
            end: text.len() as u64,
        }))
    }

    type AttachStream = BoxStream<'static, Result<pb::ConsoleOutput, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::ConsoleInput>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let answer = |input: Result<pb::ConsoleInput, Status>| {
            let typed = String::from_utf8(input?.data.to_vec()).unwrap();
            let data = Vec::from(typed.to_uppercase()).into();
            Ok(pb::ConsoleOutput { offset: 0, data })
        };
        Ok(Response::new(request.into_inner().map(answer).boxed()))
    }
}

#[tokio::test]
async fn a_console_is_read_and_typed_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = format!("http://{}", listener.local_addr().unwrap());
    let serving = tonic::transport::Server::builder()
        .add_service(consoles_server::ConsolesServer::new(Door))
        .serve_with_incoming(TcpIncoming::from(listener));
    let serving = tokio::spawn(serving);
    let house = House::with_a_host(Habits {
        door: Some(door),
        ..Habits::default()
    })
    .await;
    let shell = &house.shell;
    shell
        .says("vm create web --memory 128 --start --wait")
        .await;
    assert_eq!(shell.says("vm log web").await, "^[[1mboot^[[0m\nready\n");
    let raw = shell.says("vm log web --raw").await;
    assert_eq!(raw, "\u{1b}[1mboot\u{1b}[0m\r\nready\r\n");
    assert_eq!(shell.shows("vm log web").await["next_offset"], 10);

    let mut child = shell.begin("vm console web");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"echo hello\n").await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = [0; 11];
    let read = tokio::time::timeout(PATIENCE, stdout.read_exact(&mut seen));
    read.await.unwrap().unwrap();
    // A line ends as a terminal ends it.
    assert_eq!(&seen, b"ECHO HELLO\r");
    // Its host goes: it is looked for a while, and then said.
    child.kill().await.unwrap();
    let (code, _) = shell.fails("vm console other").await;
    assert_eq!(code, 3);
    house.stop().await;
    serving.abort();
}
