//! The making of a VM, with each step failing, done twice, and cut off after what it does elsewhere and before what it writes:
//! it ends with one of everything, or with nothing.

use jiff::Timestamp;
use photon_store::Store;
use photon_testkit::{fake_host::Habits, poll::eventually};
use plasmavmc::Config;
use serde_json::{Value, json};

use crate::{
    house::{Caller, PATIENCE, VMS, config, over},
    paid::{Paid, asks},
};

const STEPS: [&str; 3] = ["quota", "place", "prepare"];

/// What is stored of a VM and of the operation that made it.
#[derive(Clone)]
struct Records {
    vm: String,
    operation: String,
    index: String,
    operation_index: String,
    vm_id: String,
    operation_id: String,
}

fn vm_key(id: &str) -> String {
    format!("/photon/plasmavmc/vm/acme/shop/{id}")
}

fn operation_key(id: &str) -> String {
    format!("/photon/plasmavmc/operation/acme/shop/{id}")
}

async fn text(store: &Store, key: &str) -> String {
    let found = store.get_raw(key).await.unwrap();
    let found = found.unwrap_or_else(|| panic!("no {key}"));
    String::from_utf8(found.value.to_vec()).unwrap()
}

impl Records {
    async fn of(store: &Store, vm: &str, operation: &str) -> Self {
        Self {
            vm: text(store, &vm_key(vm)).await,
            operation: text(store, &operation_key(operation)).await,
            index: text(store, &format!("/photon/plasmavmc/id/vm/{vm}")).await,
            operation_index: text(
                store,
                &format!("/photon/plasmavmc/id/operation/{operation}"),
            )
            .await,
            vm_id: vm.to_owned(),
            operation_id: operation.to_owned(),
        }
    }

    /// Of another VM, whose making was just asked for.
    fn another(&self, number: usize) -> Self {
        let renamed = |id: &str| format!("{}{number:04}", &id[..id.len() - 4]);
        let (vm_id, operation_id) = (renamed(&self.vm_id), renamed(&self.operation_id));
        let text = |text: &str| {
            text.replace(&self.vm_id, &vm_id)
                .replace(&self.operation_id, &operation_id)
        };
        let mut other = Self {
            vm: text(&self.vm),
            operation: text(&self.operation),
            index: text(&self.index),
            operation_index: text(&self.operation_index),
            vm_id: vm_id.clone(),
            operation_id: operation_id.clone(),
        };
        other.change_vm(|vm| {
            for member in ["host", "hardware", "account"] {
                vm.as_object_mut().unwrap().remove(member);
            }
        });
        other.rewind(0);
        other
    }

    fn change_vm(&mut self, change: impl FnOnce(&mut Value)) {
        let mut vm: Value = serde_json::from_str(&self.vm).unwrap();
        change(&mut vm);
        self.vm = vm.to_string();
    }

    /// As if the steps from that one on had not been written down.
    fn rewind(&mut self, to: usize) {
        let mut operation: Value = serde_json::from_str(&self.operation).unwrap();
        operation["state"] = json!("running");
        operation["step_since"] = json!(Timestamp::now());
        operation.as_object_mut().unwrap().remove("ended_at");
        for step in operation["steps"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .skip(to)
        {
            step["state"] = json!("waiting");
        }
        self.operation = operation.to_string();
        let id = self.operation_id.clone();
        self.change_vm(|vm| {
            vm["operation"] = json!(id);
            vm["status"]["state"] = json!("Creating");
        });
    }

    async fn write(&self, store: &Store) {
        let mut transaction = store.transaction();
        for (key, value) in [
            (vm_key(&self.vm_id), &self.vm),
            (operation_key(&self.operation_id), &self.operation),
            (
                format!("/photon/plasmavmc/id/vm/{}", self.vm_id),
                &self.index,
            ),
            (
                format!("/photon/plasmavmc/id/operation/{}", self.operation_id),
                &self.operation_index,
            ),
        ] {
            transaction.put_raw(&key, value.clone(), 0).unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

fn hasty(config: &mut Config) {
    config.deadlines.quota_seconds = 1;
    config.deadlines.placing_seconds = 1;
    config.deadlines.preparing_seconds = 1;
}

async fn stop_service(paid: &mut Paid) {
    paid.house.running.take().unwrap().stop().await;
}

async fn start_service(paid: &mut Paid, change: impl FnOnce(&mut Config)) {
    let mut config = config(&paid.house.chainfire.endpoint());
    asks(&mut config, paid.address());
    change(&mut config);
    let again = over(config).await;
    paid.house.operator = Caller::of(&again);
    paid.house.running = Some(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_done_again_and_is_there_once() {
    let mut paid = Paid::start(|_| {}).await;
    let host = paid.house.host("host-1").await;
    paid.wallet(1_000_000, "metered").await;
    let made = paid.house.operator.vm(json!({ "start": true })).await;
    let (vm, operation) = (made.id(), made.text("operation_id"));
    paid.house.operator.until(&vm, "Running").await;
    let units = paid.units().await;
    let balance = paid.figure("balance").await;
    for (number, step) in STEPS.iter().enumerate() {
        stop_service(&mut paid).await;
        let store = paid.house.store().await;
        let mut records = Records::of(&store, &vm, &operation).await;
        records.rewind(number);
        records.write(&store).await;
        start_service(&mut paid, |_| {}).await;
        let over = paid.house.operator.until_over(&operation).await;
        assert_eq!(over["state"], "done", "{step}: {over}");
        paid.house.operator.until(&vm, "Running").await;
        assert_eq!(paid.units().await, units, "{step}");
        assert_eq!(host.starts(&vm), 1, "{step}");
        let hosts = paid.house.operator.get("/api/v1/hosts").await;
        assert_eq!(hosts.data()["hosts"][0]["used"]["vms"], 1, "{step}");
    }
    // A period is an hour: nothing was charged yet, and one is held.
    assert_eq!(paid.figure("balance").await, balance);
    let operator = paid.house.operator.clone();
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_that_fails_leaves_nothing_behind() {
    let mut paid = Paid::start(hasty).await;
    let mut host = paid.house.host("host-1").await;
    paid.wallet(1_000_000, "metered").await;
    let made = paid.house.operator.vm(json!({})).await;
    let (vm, operation) = (made.id(), made.text("operation_id"));
    paid.house.operator.until(&vm, "Stopped").await;
    let store = paid.house.store().await;
    let template = Records::of(&store, &vm, &operation).await;
    paid.house.operator.delete_vm(&vm).await;
    for (number, (step, reason)) in [
        ("quota", "quota: "),
        (
            "quota, because CreditService is away",
            "quota: it took longer than 1 s",
        ),
        ("place", "place: it took longer than 1 s"),
        ("prepare", "prepare: the disk is full"),
    ]
    .into_iter()
    .enumerate()
    {
        stop_service(&mut paid).await;
        match number {
            0 => paid.limit("vm", 0).await,
            1 => paid.credit_goes().await,
            2 => host.go_silent().await,
            _ => host.habits(|habits| habits.broken = Some("the disk is full".to_owned())),
        }
        let records = template.another(number);
        records.write(&store).await;
        start_service(&mut paid, hasty).await;
        let operator = paid.house.operator.clone();
        let over = operator.until_over(&records.operation_id).await;
        assert_eq!(over["state"], "failed", "{step}: {over}");
        let error = over["error"].as_str().unwrap();
        assert!(error.starts_with(reason), "{step}: {error}");
        let failed = operator.until(&records.vm_id, "Error").await;
        assert_eq!(failed["state_reason"], error, "{step}");
        match number {
            0 => paid.limit("vm", 50).await,
            1 => paid.credit_returns().await,
            2 => host.come_back().await,
            _ => host.habits(|habits| *habits = Habits::default()),
        }
        paid.until_nothing_is_held().await;
        operator.until_host("host-1", "up").await;
        let hosts = operator.get("/api/v1/hosts").await;
        assert_eq!(hosts.data()["hosts"][0]["used"]["vms"], 0, "{step}");
        // Made anew it is there; then nothing is left.
        operator
            .ask(&records.vm_id, "start", json!({}))
            .await
            .data();
        operator.until(&records.vm_id, "Running").await;
        assert_eq!(paid.units().await["vm"], (1, 0), "{step}");
        assert!(paid.figure("reserved").await > 0, "{step}");
        operator.delete_vm(&records.vm_id).await;
        paid.until_nothing_is_held().await;
    }
    eventually("nothing is left", PATIENCE, || async {
        let keys = paid.house.keys().await;
        keys.iter().all(|key| key.contains("/use/")).then_some(())
    })
    .await
    .unwrap();
    paid.stop().await;
}

/// The request has taken what a start needs, and what comes of it fails: all of it is given back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_has_taken_is_given_back_when_it_comes_to_nothing() {
    let paid = Paid::start(|_| {}).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.wallet(10_000, "metered").await;
    host.habits(|habits| habits.broken = Some("the disk is full".to_owned()));
    let failed = operator.vm(json!({ "start": true })).await.id();
    operator.until(&failed, "Error").await;
    paid.until_nothing_is_held().await;
    // Deleted while it is made.
    host.habits(|habits| {
        *habits = Habits {
            slow: true,
            ..Habits::default()
        };
    });
    let slow = operator.vm(json!({ "start": true })).await.id();
    let is_placed = |vm: &Value| !vm["host_id"].is_null();
    operator.until_it(&slow, "placed", is_placed).await;
    assert!(paid.figure("reserved").await > 0);
    for vm in [&slow, &failed] {
        operator.delete_vm(vm).await;
    }
    paid.until_nothing_is_held().await;
    // Asked for twice by one key, with what the second one took given back.
    host.habits(|habits| *habits = Habits::default());
    let body = json!({
        "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 128, "start": true,
    });
    let (one, two) = tokio::join!(
        operator.keyed("key-1", VMS, body.clone()),
        operator.keyed("key-1", VMS, body.clone())
    );
    let made = [&one, &two].into_iter().find(|answer| answer.status == 201);
    let made = made.unwrap_or_else(|| panic!("{one:?} {two:?}")).id();
    operator.until(&made, "Running").await;
    eventually("one counts", PATIENCE, || async {
        (paid.units().await["vm"] == (1, 0)).then_some(())
    })
    .await
    .unwrap();
    operator.delete_vm(&made).await;
    paid.until_nothing_is_held().await;
    assert_eq!(
        paid.figure("balance").await,
        10_000 - paid.charges().await.iter().map(|one| one.cost).sum::<i64>()
    );
    paid.stop().await;
}
