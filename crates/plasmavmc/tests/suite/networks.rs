//! VMs' interfaces, with a real PrismNET: what is made, what is refused, what goes wrong on the way, and what is left of it: nothing.

use std::net::SocketAddr;

use photon_core::Id;
use photon_reconcile::{
    Operation, Operations,
    operation::{OperationState, StepState},
};
use photon_testkit::{
    InProcessChainfire,
    fake_host::{FakeHost, Habits},
    in_process_chainfire,
    poll::eventually,
};
use plasmavmc_model::{DesiredVm, OperationId, Vm, desired, id::OperationKind, key, vm};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::house::{Caller, House, PATIENCE, VMS, config, over, ready, store_at};

/// Both services over one store.
struct Connected {
    house: House,
    prismnet: Option<prismnet::Running>,
    net: Caller,
    at: SocketAddr,
}

async fn prismnet_at(store: &str, grpc: TcpListener) -> prismnet::Running {
    let mut config = prismnet::Config::default();
    config.store.endpoints = vec![store.to_owned()];
    config.rest.address.set_port(0);
    let sockets = prismnet::Sockets {
        rest: None,
        grpc: Some(grpc),
    };
    let running = Box::pin(prismnet::start(config, sockets)).await.unwrap();
    ready(&Caller::at(&format!("http://{}", running.rest_address()))).await;
    running
}

fn compute(chainfire: &InProcessChainfire, at: SocketAddr) -> plasmavmc::Config {
    let mut config = config(&chainfire.endpoint());
    config.prismnet.endpoint = Some(format!("http://{at}"));
    config
}

impl Connected {
    async fn start(change: impl FnOnce(&mut plasmavmc::Config)) -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let prismnet = prismnet_at(&chainfire.endpoint(), socket).await;
        let net = Caller::at(&format!("http://{}", prismnet.rest_address()));
        let mut config = compute(&chainfire, at);
        change(&mut config);
        let running = over(config).await;
        Self {
            house: House {
                operator: Caller::of(&running),
                running: Some(running),
                chainfire,
            },
            prismnet: Some(prismnet),
            net,
            at,
        }
    }

    async fn net_goes(&mut self) {
        self.prismnet.take().unwrap().stop().await;
    }

    async fn net_comes_back(&mut self) {
        let bind = || async { TcpListener::bind(self.at).await.ok() };
        let socket = eventually("its address is free", PATIENCE, bind).await;
        let prismnet = prismnet_at(&self.house.chainfire.endpoint(), socket.unwrap()).await;
        self.net = Caller::at(&format!("http://{}", prismnet.rest_address()));
        self.prismnet = Some(prismnet);
    }

    async fn vpc(&self, project: &str, cidr_block: &str) -> String {
        let body = json!({
            "name": "net", "org_id": "acme", "project_id": project, "cidr_block": cidr_block,
        });
        self.net.post("/api/v1/vpcs", body).await.id()
    }

    async fn subnet(&self, vpc: &str, cidr_block: &str) -> String {
        let body = json!({ "name": "net", "vpc_id": vpc, "cidr_block": cidr_block });
        self.net.post("/api/v1/subnets", body).await.id()
    }

    /// A subnet of acme's shop.
    async fn shop(&self, cidr_block: &str) -> String {
        let vpc = self.vpc("shop", "10.0.0.0/16").await;
        self.subnet(&vpc, cidr_block).await
    }

    async fn port(&self, subnet: &str, more: Value) -> String {
        let mut body = json!({ "subnet_id": subnet });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        self.net.post("/api/v1/ports", body).await.id()
    }

    /// All ports there are.
    async fn ports(&self) -> Vec<Value> {
        let all = self.net.get("/api/v1/ports").await;
        all.data()["ports"].as_array().unwrap().clone()
    }

    async fn named(&self, port: &str) -> Value {
        let found = self.net.get(&format!("/api/v1/ports/{port}")).await;
        found.data().clone()
    }

    async fn vm(&self, networks: Value) -> crate::house::Answer {
        let body = json!({ "start": true, "networks": networks });
        self.house.operator.vm(body).await
    }

    async fn delete(&self, vm: &str) {
        let path = format!("{VMS}/{vm}");
        self.house.operator.delete(&path).await.data();
        self.house.operator.until_gone(vm).await;
    }

    /// PlasmaVMC stops, and does not know which ports it has made for a VM.
    async fn stop_and_forget_ports_of(&mut self, id: &str) {
        self.house.running.take().unwrap().stop().await;
        let vms = store_at(&self.house.chainfire.endpoint())
            .await
            .collection::<Vm>();
        let found = vms.get_by_index(&vm::index(id.parse().unwrap())).await;
        let mut found = found.unwrap().unwrap();
        found
            .value
            .interfaces
            .iter_mut()
            .for_each(|one| one.port = None);
        vms.replace(found).await.unwrap();
    }

    async fn start_again(&mut self) {
        let running = over(compute(&self.house.chainfire, self.at)).await;
        self.house.operator = Caller::of(&running);
        self.house.running = Some(running);
    }

    async fn stop(mut self) {
        if let Some(prismnet) = self.prismnet.take() {
            prismnet.stop().await;
        }
        self.house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_has_its_addresses_before_it_boots_and_gives_its_ports_back() {
    let lab = Connected::start(|_| {}).await;
    let _host = lab.house.host("host-1").await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let own = lab
        .port(&subnet, json!({ "ip_address": "10.0.1.77" }))
        .await;
    let made = lab
        .vm(json!([{ "subnet_id": subnet }, { "port_id": own }]))
        .await;
    let asked = &made.data()["networks"];
    assert_eq!(
        (&asked[0]["subnet_id"], &asked[1]["port_id"]),
        (&json!(subnet), &json!(own))
    );
    let vm = made.id();
    let running = lab.house.operator.until(&vm, "Running").await;
    let networks = running["networks"].as_array().unwrap().clone();
    assert_eq!(networks.len(), 2);
    assert_eq!(networks[1]["ip_address"], "10.0.1.77");
    for network in &networks {
        let port = lab.named(network["port_id"].as_str().unwrap()).await;
        for member in ["subnet_id", "vpc_id", "ip_address", "mac_address"] {
            assert_eq!(port[member], network[member], "{member}");
        }
        assert_eq!(
            (&port["device_id"], &port["host_id"], &port["kind"]),
            (&json!(vm), &json!("host-1"), &json!("guest"))
        );
    }
    // Its host is told the same.
    let host = photon_core::Name::new("host-1").unwrap();
    let told = lab.house.store().await.collection::<DesiredVm>();
    let told = told.get(&desired::vm_key(&host, vm.parse().unwrap())).await;
    let told = serde_json::to_value(told.unwrap().unwrap().value.ports).unwrap();
    for (number, network) in networks.iter().enumerate() {
        assert_eq!(told[number]["port"], network["port_id"]);
        assert_eq!(told[number]["mac_address"], network["mac_address"]);
    }
    // They stay the same through stop and start.
    lab.house.operator.ask(&vm, "stop", json!({})).await.data();
    lab.house.operator.until(&vm, "Stopped").await;
    lab.house.operator.ask(&vm, "start", json!({})).await.data();
    let again = lab.house.operator.until(&vm, "Running").await;
    assert_eq!(again["networks"], running["networks"]);

    lab.delete(&vm).await;
    let left = lab.ports().await;
    assert_eq!(left.len(), 1, "{left:?}");
    let let_go = lab.named(&own).await;
    assert_eq!(
        (&let_go["device_id"], &let_go["host_id"]),
        (&json!(null), &json!(null))
    );
    // So it may be used again.
    let next = lab.vm(json!([{ "port_id": own }])).await.id();
    lab.house.operator.until(&next, "Running").await;
    lab.delete(&next).await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_at_the_door() {
    let mut lab = Connected::start(|_| {}).await;
    let _host = lab.house.host("host-1").await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let other = lab.vpc("other", "10.0.0.0/16").await;
    let other = lab.subnet(&other, "10.0.1.0/24").await;
    let others_port = lab.port(&other, json!({})).await;
    let service = lab.port(&subnet, json!({ "kind": "service" })).await;
    let used = lab
        .port(&subnet, json!({ "device_id": "vm-elsewhere" }))
        .await;
    let ports = lab.ports().await.len();
    let nowhere = "019ac8e5-3c00-7001-8c00-000000000099";
    let subnet_of = |more: Value| {
        let mut network = json!({ "subnet_id": subnet });
        let members = network.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        network
    };
    for (networks, error) in [
        (
            json!([{ "subnet_id": format!("subnet-{nowhere}") }]),
            (400, "VALIDATION_ERROR", "networks[0].subnet_id"),
        ),
        (
            json!([{ "subnet_id": subnet }, { "subnet_id": other }]),
            (400, "VALIDATION_ERROR", "networks[1].subnet_id"),
        ),
        (
            json!([{ "port_id": others_port }]),
            (400, "VALIDATION_ERROR", "networks[0].port_id"),
        ),
        (
            json!([{ "port_id": service }]),
            (400, "VALIDATION_ERROR", "networks[0].port_id"),
        ),
        (
            json!([{ "port_id": used }]),
            (409, "IN_USE", "networks[0].port_id"),
        ),
        (
            json!([subnet_of(
                json!({ "security_group_ids": [format!("sg-{nowhere}")] })
            )]),
            (400, "VALIDATION_ERROR", "networks[0].security_group_ids"),
        ),
        (
            json!([subnet_of(json!({ "port_id": used }))]),
            (400, "VALIDATION_ERROR", "networks[0].port_id"),
        ),
        (
            json!([{}]),
            (400, "VALIDATION_ERROR", "networks[0].subnet_id"),
        ),
        (
            json!(vec![subnet_of(json!({})); 9]),
            (400, "VALIDATION_ERROR", "networks"),
        ),
    ] {
        let refused = lab.vm(networks.clone()).await;
        assert_eq!(refused.error(), error, "{networks}");
    }
    assert_eq!(lab.ports().await.len(), ports);
    lab.net_goes().await;
    let away = lab.vm(json!([{ "subnet_id": subnet }])).await;
    assert_eq!(away.error(), (503, "UNAVAILABLE", ""));
    // Nobody else waits for it.
    lab.house.operator.started().await;
    lab.stop().await;

    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let networks = json!({ "networks": [{ "subnet_id": format!("subnet-{nowhere}") }] });
    let refused = house.operator.vm(networks).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", "networks"));
    house.operator.made().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prismnet_refuses_ends_the_creation_and_gives_everything_back() {
    let lab = Connected::start(|_| {}).await;
    let _host = lab.house.host("host-1").await;
    // The gateway has one of six addresses, and others four more.
    let subnet = lab.shop("10.0.1.0/29").await;
    for _ in 0..4 {
        lab.port(&subnet, json!({})).await;
    }
    let made = lab
        .vm(json!([{ "subnet_id": subnet }, { "subnet_id": subnet }]))
        .await;
    let operation = lab
        .house
        .operator
        .until_over(&made.text("operation_id"))
        .await;
    assert_eq!(operation["state"], "failed");
    let error = operation["error"].as_str().unwrap();
    assert!(
        error.starts_with("ports: all") && error.contains("in use"),
        "{error}"
    );
    let vm = made.id();
    let failed = lab.house.operator.until(&vm, "Error").await;
    assert_eq!(failed["state_reason"], operation["error"]);
    assert_eq!(failed["networks"][0]["port_id"], json!(null));
    assert_eq!(lab.ports().await.len(), 4);
    // With room it is made.
    let free = lab.ports().await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/ports/{free}");
    lab.net
        .call(Method::DELETE, &path, None, None)
        .await
        .unwrap();
    lab.house.operator.ask(&vm, "start", json!({})).await.data();
    lab.house.operator.until(&vm, "Running").await;
    assert_eq!(lab.ports().await.len(), 5);
    lab.delete(&vm).await;
    assert_eq!(lab.ports().await.len(), 3);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_two_want_one_gets() {
    let lab = Connected::start(|_| {}).await;
    let _host = lab.house.host("host-1").await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let port = lab.port(&subnet, json!({})).await;
    let networks = json!([{ "subnet_id": subnet }, { "port_id": port }]);
    let both = tokio::join!(lab.vm(networks.clone()), lab.vm(networks));
    let mut won = Vec::new();
    for made in [both.0, both.1] {
        if made.status == 409 {
            assert_eq!(made.error(), (409, "IN_USE", "networks[1].port_id"));
            continue;
        }
        let over = lab
            .house
            .operator
            .until_over(&made.text("operation_id"))
            .await;
        if over["state"] == "done" {
            won.push(made.id());
        } else {
            assert_eq!(over["error"], format!("ports: {port} is in use"));
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(lab.named(&port).await["device_id"], json!(won[0]));
    // What was made beside it for the other one is gone.
    assert_eq!(lab.ports().await.len(), 2);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_later_gives_the_ports_back() {
    let lab = Connected::start(|_| {}).await;
    let broken = Habits {
        broken: Some("the disk is full".to_owned()),
        ..Habits::default()
    };
    let host = lab.house.host_with("host-1", broken).await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let port = lab.port(&subnet, json!({})).await;
    let made = lab
        .vm(json!([{ "subnet_id": subnet }, { "port_id": port }]))
        .await;
    let vm = made.id();
    let failed = lab.house.operator.until(&vm, "Error").await;
    assert_eq!(failed["state_reason"], "prepare: the disk is full");
    let left = lab.ports().await;
    assert_eq!((left.len(), &left[0]["device_id"]), (1, &json!(null)));
    host.habits(|habits| habits.broken = None);
    lab.house.operator.ask(&vm, "start", json!({})).await.data();
    lab.house.operator.until(&vm, "Running").await;
    assert_eq!(lab.named(&port).await["device_id"], json!(vm));
    lab.delete(&vm).await;
    assert_eq!(lab.ports().await.len(), 1);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_while_it_is_made_leaves_no_port() {
    let lab = Connected::start(|_| {}).await;
    let host = lab.house.host("host-1").await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let networks = json!([{ "subnet_id": subnet }, { "subnet_id": subnet }]);
    for round in 0..6 {
        host.habits(|habits| habits.slow = true);
        let vm = lab.vm(networks.clone()).await.id();
        // At once, and in the middle.
        if round % 2 == 1 {
            let is_so = |vm: &Value| !vm["networks"][1]["port_id"].is_null();
            lab.house
                .operator
                .until_it(&vm, "it has its ports", is_so)
                .await;
        }
        let path = format!("{VMS}/{vm}");
        lab.house.operator.delete(&path).await.data();
        host.habits(|habits| habits.slow = false);
        lab.house.operator.until_gone(&vm).await;
        assert_eq!(lab.ports().await, Vec::<Value>::new(), "round {round}");
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_prismnet_is_away_what_needs_it_waits_and_goes_on_when_it_is_back() {
    let mut lab = Connected::start(|config| config.deadlines.connecting_seconds = 1).await;
    let broken = Habits {
        broken: Some("no".to_owned()),
        ..Habits::default()
    };
    let host = lab.house.host_with("host-1", broken).await;
    let subnet = lab.shop("10.0.1.0/24").await;
    let networks = json!([{ "subnet_id": subnet }]);
    let vm = lab.vm(networks.clone()).await.id();
    lab.house.operator.until(&vm, "Error").await;
    host.habits(|habits| habits.broken = None);
    let runs = lab.vm(networks).await.id();
    lab.house.operator.until(&runs, "Running").await;
    lab.net_goes().await;

    // It is tried until its deadline, and then to be undone until it is.
    let asked = lab.house.operator.ask(&vm, "start", json!({})).await;
    let operation = asked.text("operation_id");
    let is_so = |vm: &Value| {
        let reason = vm["state_reason"].as_str().unwrap();
        reason.contains("PrismNET to take its ports back")
    };
    lab.house
        .operator
        .until_it(&vm, "it is undone", is_so)
        .await;
    // A VM that runs is deleted as far as it goes.
    let path = format!("{VMS}/{runs}");
    lab.house.operator.delete(&path).await.data();
    lab.house
        .operator
        .until_it(&runs, "its ports are left", is_so)
        .await;
    assert!(!host.has(&runs));

    lab.net_comes_back().await;
    let over = lab.house.operator.until_over(&operation).await;
    let error = over["error"].as_str().unwrap();
    assert_eq!(over["state"], "failed");
    assert!(
        error.starts_with("ports: it took longer than 1 s"),
        "{error}"
    );
    lab.house.operator.until(&vm, "Error").await;
    lab.house.operator.until_gone(&runs).await;
    assert_eq!(lab.ports().await, Vec::<Value>::new());
    lab.stop().await;
}

/// The service's operations, as its records are.
#[derive(Clone, Debug, PartialEq)]
struct Theirs;

impl Operations for Theirs {
    type Kind = OperationKind;
    const ROOT: &'static str = "/photon/plasmavmc/operation/";

    fn index(id: Id<OperationKind>) -> String {
        key::by_id("operation", id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_done_but_not_noted_is_done_again_and_makes_nothing_twice() {
    let mut lab = Connected::start(|_| {}).await;
    let host = lab.house.host("host-1").await;
    host.habits(|habits| habits.slow = true);
    let subnet = lab.shop("10.0.1.0/24").await;
    let own = lab.port(&subnet, json!({})).await;
    let made = lab
        .vm(json!([{ "subnet_id": subnet }, { "port_id": own }]))
        .await;
    let (id, operation) = (made.id(), made.text("operation_id"));
    let is_placed = |vm: &Value| !vm["host_id"].is_null();
    let before = lab.house.operator.until_it(&id, "placed", is_placed).await;
    // As if it had died between PrismNET's answer and its own note of it.
    lab.stop_and_forget_ports_of(&id).await;
    let store = store_at(&lab.house.chainfire.endpoint()).await;
    let operation: OperationId = operation.parse().unwrap();
    let operations = store.collection::<Operation<Theirs>>();
    let mut record = operations
        .get_by_index(&Theirs::index(operation))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.value.state, OperationState::Running);
    let steps: Vec<&str> = record.value.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(steps, ["quota", "ports", "place", "bind", "prepare"]);
    record
        .value
        .steps
        .iter_mut()
        .for_each(|step| step.state = StepState::Waiting);
    operations.replace(record).await.unwrap();

    lab.start_again().await;
    host.habits(|habits| habits.slow = false);
    let again = lab.house.operator.until(&id, "Running").await;
    assert_eq!(again["networks"], before["networks"]);
    assert_eq!(lab.ports().await.len(), 2);

    // A port that nobody noted is found when the VM goes.
    lab.stop_and_forget_ports_of(&id).await;
    lab.start_again().await;
    lab.delete(&id).await;
    let left = lab.ports().await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(own)));
    assert_eq!(left[0]["device_id"], json!(null));
    drop::<FakeHost>(host);
    lab.stop().await;
}
