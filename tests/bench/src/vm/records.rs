//! What a VM leaves in the store, and the same for many: a VM is made by the service on a host without a hypervisor, and its
//! records are written as often as wanted, each time with other ids and another name. Nothing in them is made up here.

use std::time::Duration;

use anyhow::{Context, ensure};
use etcd_client::{GetOptions, KvClient, Txn, TxnOp, TxnOpResponse};
use photon_store::{Options as StoreOptions, Store};
use photon_testkit::fake_host::FakeHost;
use plasmavmc_model::{OperationId, VmId};
use serde_json::{Value, json};

use super::api;
use crate::load::connect_kv;
use crate::network::control::{Control, ORG};
use crate::server::Daemon;

pub(super) const PROJECT: &str = "list";
const ROOT: &str = "/photon/plasmavmc/";
/// Of the first; as long as those of the others.
const NAME: &str = "bench-00000";
/// Writes of a transaction.
const MOST_WRITES: usize = 128;
const HOST: &str = "host-0";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The records of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// The parts of its ids behind the kind: that of the VM, that of the operation.
    uuids: [String; 2],
    entries: Vec<(String, String)>,
}

/// Has the service make a VM that runs, and returns what it left. The host stays there, and silent.
///
/// # Errors
/// What is refused.
pub(super) async fn of_one(service: &Daemon) -> anyhow::Result<Records> {
    let store = Store::connect(StoreOptions::new(service.store.endpoints())).await?;
    let host = FakeHost::start(store, HOST).await;
    let mut control = Control::connect(&service.rest).await?;
    let is_up = |shown: &Value| {
        let hosts = shown["hosts"].as_array()?;
        let is_up = |host: &&Value| host["state"] == "up" && !host["agent"].is_null();
        hosts.iter().find(is_up).map(drop)
    };
    api::until(&mut control, "GET /api/v1/hosts", PATIENCE, is_up).await?;
    let wanted = json!({
        "name": NAME, "org_id": ORG, "project_id": PROJECT, "vcpus": 1, "memory_mib": 128,
        "disk_size_gb": 1, "start": true, "labels": {"tier": "web"},
    });
    let made = api::boot(&mut control, &wanted, None, LOOK_EVERY).await?;
    // It runs before its operation is written off.
    let line = format!("GET /api/v1/vms/{}", made.id);
    let is_over = |vm: &Value| vm["operation_id"].is_null().then_some(());
    api::until(&mut control, &line, PATIENCE, is_over).await?;
    drop(host);
    let mut kv = connect_kv(&service.store.endpoints()[0]).await?;
    let all = kv.get(ROOT, Some(GetOptions::new().with_prefix())).await?;
    let all = all.kvs().iter();
    let all = all.map(|kv| Ok((kv.key_str()?.to_owned(), kv.value_str()?.to_owned())));
    let all: Vec<(String, String)> = all.collect::<Result<_, etcd_client::Error>>()?;
    Records::among(&made.id, all)
}

impl Records {
    /// Those of a VM among all, with those of its operation: what is called by their ids.
    fn among(vm: &str, all: Vec<(String, String)>) -> anyhow::Result<Self> {
        let operations = format!("{ROOT}operation/");
        let mut of_vm = all
            .iter()
            .filter(|(key, value)| key.starts_with(&operations) && value.contains(vm));
        let operation = of_vm
            .next()
            .context("it has no operation")?
            .0
            .rsplit('/')
            .next();
        let uuid = |id: &str| id.split_once('-').map(|(_, uuid)| uuid.to_owned());
        let uuids = [uuid(vm), operation.and_then(uuid)].map(|found| found.context("no id"));
        let [vm, operation] = uuids;
        let uuids = [vm?, operation?];
        // What was done and by which request is not the VM's.
        let is_history = |key: &str| {
            let rest = key.strip_prefix(ROOT).unwrap_or(key);
            rest.starts_with("audit") || rest.starts_with("idempotency")
        };
        let is_its = |key: &str| uuids.iter().any(|uuid| key.contains(uuid));
        let entries = all.into_iter();
        let entries = entries.filter(|(key, _)| is_its(key) && !is_history(key));
        let entries: Vec<_> = entries.collect();
        ensure!(!entries.is_empty(), "it has left nothing");
        Ok(Self { uuids, entries })
    }

    /// How many keys there are, and how many bytes in them and their values.
    pub(super) fn size(&self) -> (usize, usize) {
        let bytes = self
            .entries
            .iter()
            .map(|(key, value)| key.len() + value.len());
        (self.entries.len(), bytes.sum())
    }

    /// The same for another VM.
    fn like(&self, vm: VmId, operation: OperationId, name: &str) -> Vec<(String, String)> {
        let uuids = [vm.to_string(), operation.to_string()];
        let put = |text: &str| {
            let mut text = text.replace(NAME, name);
            for (of_first, id) in self.uuids.iter().zip(&uuids) {
                let uuid = id.split_once('-').map_or("", |(_, uuid)| uuid);
                text = text.replace(of_first, uuid);
            }
            text
        };
        let entries = self.entries.iter();
        entries.map(|(key, value)| (put(key), put(value))).collect()
    }

    /// Writes those of so many more, and returns the ids of the VMs and the last revision.
    ///
    /// # Errors
    /// What is refused.
    pub(super) async fn write(
        &self,
        kv: &mut KvClient,
        more: usize,
    ) -> anyhow::Result<(Vec<String>, i64)> {
        let together = (MOST_WRITES / self.entries.len()).max(1);
        let numbers: Vec<usize> = (1..=more).collect();
        let (mut ids, mut revision) = (Vec::new(), 0);
        for some in numbers.chunks(together) {
            let mut writes = Vec::new();
            for number in some {
                let vm = VmId::generate();
                let entries = self.like(vm, OperationId::generate(), &name(*number));
                writes.extend(
                    entries
                        .into_iter()
                        .map(|(key, value)| TxnOp::put(key, value, None)),
                );
                ids.push(vm.to_string());
            }
            let answer = kv.txn(Txn::new().and_then(writes)).await?;
            let header = answer.header().context("no header")?;
            revision = header.revision();
            let is_put = |response: &TxnOpResponse| matches!(response, TxnOpResponse::Put(_));
            ensure!(
                answer.op_responses().iter().all(is_put),
                "not all was written"
            );
        }
        Ok((ids, revision))
    }
}

fn name(number: usize) -> String {
    format!("bench-{number:05}")
}

/// How many records of VMs, and of what hosts are told of them, were written after that revision.
///
/// # Errors
/// What the store says.
pub(super) async fn changed_after(kv: &mut KvClient, revision: i64) -> anyhow::Result<usize> {
    let mut changed = 0;
    for prefix in ["vm/", "host/host-0/desired/"] {
        let prefix = format!("{ROOT}{prefix}");
        let all = kv
            .get(prefix, Some(GetOptions::new().with_prefix()))
            .await?;
        let later = all.kvs().iter().filter(|kv| kv.mod_revision() > revision);
        changed += later.count();
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn records_are_the_same_but_for_ids_and_name() {
        let vm = "vm-019ac8e5-3c00-7001-8c00-000000000001";
        let op = "op-019ac8e5-3c00-7001-8c00-000000000002";
        let all = [
            (
                format!("{ROOT}vm/bench/list/{vm}"),
                format!("{{\"id\":\"{vm}\",\"name\":\"{NAME}\"}}"),
            ),
            (format!("{ROOT}id/vm/{vm}"), format!("vm/bench/list/{vm}")),
            (
                format!("{ROOT}operation/bench/list/{op}"),
                format!("{{\"id\":\"{op}\",\"of\":\"{vm}\"}}"),
            ),
            (
                format!("{ROOT}id/operation/{op}"),
                format!("operation/bench/list/{op}"),
            ),
            (format!("{ROOT}audit/1"), format!("made {vm}")),
            (format!("{ROOT}idempotency/{op}"), String::new()),
            (format!("{ROOT}use/host-0"), "1".to_owned()),
        ];
        let records = Records::among(vm, all.to_vec()).unwrap();
        assert_eq!(records.entries, all[..4]);
        assert_eq!(records.size().0, 4);
        let (other, work) = (VmId::generate(), OperationId::generate());
        let like = records.like(other, work, "bench-00007");
        let expected = [
            (
                format!("{ROOT}vm/bench/list/{other}"),
                format!("{{\"id\":\"{other}\",\"name\":\"bench-00007\"}}"),
            ),
            (
                format!("{ROOT}id/vm/{other}"),
                format!("vm/bench/list/{other}"),
            ),
            (
                format!("{ROOT}operation/bench/list/{work}"),
                format!("{{\"id\":\"{work}\",\"of\":\"{other}\"}}"),
            ),
            (
                format!("{ROOT}id/operation/{work}"),
                format!("operation/bench/list/{work}"),
            ),
        ];
        assert_eq!(like, expected);
        Records::among("vm-1", all.to_vec()).unwrap_err();
    }
}
