//! PlasmaVMC's commands, against PlasmaVMC and IAM in this process and a host without a hypervisor.

use photon_store::{Options, Store};
use photon_testkit::{
    InProcessIam,
    fake_host::{FakeHost, Habits},
    in_process_iam,
    poll::eventually,
};
use plasmavmc::{Config, Running, Sockets};
use serde_json::json;

use crate::{PATIENCE, lossy::Lossy, shell::Shell};

/// IAM, PlasmaVMC over the same store, a host, and somebody's shell with a login in a project.
struct House {
    iam: InProcessIam,
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
        let store = Store::connect(Options::new([endpoint])).await.unwrap();
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
