//! Content that hosts are to copy: what VMs that were put there begin with.

use photon_core::{Error, Name};
use photon_store::Transaction;
use plasmavmc_model::{DesiredBlob, ObservedAgent, Vm, desired};

use crate::app::App;

/// Adds what a host is to copy for a VM, and from where. Answers whether that is anything new.
pub(crate) async fn want(
    app: &App,
    host: &Name,
    agent: &ObservedAgent,
    vm: &Vm,
    writes: &mut Transaction,
) -> Result<bool, Error> {
    let all = app.records::<DesiredBlob>();
    let mut is_new = false;
    for digest in vm.blobs() {
        if agent.holds(digest) {
            continue;
        }
        let wanted = DesiredBlob {
            digest,
            bytes: app.hosts.blob_bytes(digest).unwrap_or(0),
            from: app.blobs.holders(digest),
        };
        let key = desired::blob_key(host, digest);
        match all.get(&key).await? {
            Some(told) if told.value == wanted => continue,
            Some(mut told) => {
                told.value = wanted;
                writes.replace(&all, &told)?;
            }
            None => {
                writes.create(&all, &key, &wanted)?;
            }
        }
        is_new = true;
    }
    Ok(is_new)
}
