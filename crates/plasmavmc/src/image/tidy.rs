//! Content that nobody needs goes, hosts are no longer told of what they have, and are told again of what they have lost. Whoever leads does it.
//!
//! Images are read before VMs: a VM is only written while its image is there, so one that is not among these VMs is made of an image
//! among these images. What came within the last hour no host deletes: whoever had it made may not have written it down yet.

use std::{collections::BTreeSet, time::Duration};

use photon_core::Error;
use photon_store::{Collection, Fence, PageRequest, Record, Stored};
use plasmavmc_model::{DesiredBlob, Digest, HeldImage, Image, Vm, desired};
use tokio_util::sync::CancellationToken;

use super::copies;
use crate::app::App;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(300);

/// Looks now and then, until somebody else leads.
pub(crate) async fn run(app: &App, fence: &Fence, over: &CancellationToken) {
    while over
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        if let Err(error) = tidy(app, fence).await {
            tracing::warn!(%error, "images' content is not tidied up; trying again");
        }
    }
}

async fn tidy(app: &App, fence: &Fence) -> Result<(), Error> {
    let images = all::<Image>(&app.records(), "").await?;
    let vms = all::<Vm>(&app.records(), "").await?;
    let contents = images
        .iter()
        .flat_map(|image| image.value.contents.values());
    let mut needed: BTreeSet<Digest> = contents.map(|content| content.digest).collect();
    needed.extend(vms.iter().flat_map(|vm| vm.value.blobs()));

    let hosts = app.hosts.alive();
    let held: BTreeSet<HeldImage> = app.hosts.images();
    needed.extend(held.iter().flat_map(HeldImage::files));
    for (host, agent) in &hosts {
        let wishes = app.records::<DesiredBlob>();
        let prefix = desired::blob_prefix(host);
        for wish in all(&wishes, &prefix).await? {
            let digest = wish.value.digest;
            let waits = vms.iter().any(|vm| {
                vm.value.host.as_ref() == Some(host) && vm.value.blobs().contains(&digest)
            });
            if agent.holds(digest) || !waits {
                let mut transaction = app.store.transaction();
                transaction.delete(&wishes, &wish)?.fenced(fence);
                transaction.commit().await?;
            }
        }
    }
    // Of a VM that is being made, its operation sees to it; of others, a host may have lost something.
    for vm in &vms {
        let on = hosts
            .iter()
            .find(|(host, _)| vm.value.host.as_ref() == Some(host));
        let (Some((host, agent)), None) = (on, vm.value.operation) else {
            continue;
        };
        let mut transaction = app.store.transaction();
        if copies::want(app, host, agent, &vm.value, &mut transaction).await? {
            transaction.fenced(fence);
            transaction.commit().await?;
        }
    }
    let blobs = hosts.iter().flat_map(|(_, agent)| &agent.blobs);
    let there: BTreeSet<Digest> = blobs.map(|blob| blob.digest).collect();
    for digest in there.difference(&needed) {
        match app.blobs.delete(*digest).await {
            Ok(()) => tracing::info!(%digest, "content that nobody needs is gone"),
            // A host knows better what is needed there.
            Err(error) => tracing::debug!(%digest, %error, "content stays"),
        }
    }
    Ok(())
}

/// All records below a prefix.
///
/// # Errors
/// One that cannot be read: nobody knows what it needs.
pub(super) async fn all<T: Record>(
    records: &Collection<T>,
    prefix: &str,
) -> Result<Vec<Stored<T>>, Error> {
    let request = PageRequest {
        prefix: prefix.to_owned(),
        ..PageRequest::default()
    };
    let page = records.list(&request).await?;
    match page.unreadable.first() {
        Some(first) => Err(Error::internal(format!("{} cannot be read", first.key))),
        None => Ok(page.items),
    }
}
