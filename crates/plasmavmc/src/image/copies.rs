//! Content that hosts are to copy: what VMs that were put there begin with.

use photon_core::{Error, Name};
use photon_store::Transaction;
use plasmavmc_model::{DesiredBlob, Digest, Image, ObservedAgent, Vm, catalog, desired};

use crate::app::App;

/// Adds what a host is to copy for a VM, and from where. Answers whether that is anything new. Of what nobody holds at present, what a host
/// was told before stays.
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
        let from = app.blobs.holders(digest);
        let bytes = bytes(app, vm, digest).await?;
        let Some(bytes) = bytes.filter(|_| !from.is_empty()) else {
            continue;
        };
        let wanted = DesiredBlob {
            digest,
            bytes,
            from,
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

/// The length of content: as it was when it was taken in, while the image is called what it was; else as hosts say.
async fn bytes(app: &App, vm: &Vm, digest: Digest) -> Result<Option<u64>, Error> {
    let all = app.records::<Image>();
    let name = &vm.image.name;
    let own = catalog::own(&vm.org, &vm.project, name);
    for index in [own, catalog::public(name)] {
        let found = all.get_by_index(&index).await?;
        if let Some(bytes) = found.and_then(|image| length(&image.value, digest)) {
            return Ok(Some(bytes));
        }
    }
    Ok(app.hosts.blob_bytes(digest))
}

/// The length of that content of an image.
fn length(image: &Image, digest: Digest) -> Option<u64> {
    let mut contents = image.contents.values();
    let found = contents.find(|content| content.digest == digest);
    found.map(|content| content.bytes)
}
