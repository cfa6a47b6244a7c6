//! What was given out of an external network last: written, and never compared, by whoever takes an address of it; compared
//! by whoever makes its pool smaller. So many can take addresses at once, and nobody takes one that is being taken out of the
//! pool.

use photon_store::{Store, Transaction};
use prismnet_model::{ExternalNetworkId, FloatingIpId, key};
use serde_json::json;

/// The version of the stored form.
const VERSION: u32 = 1;

fn path(network: ExternalNetworkId) -> String {
    format!("{}external-given/{network}", key::ROOT)
}

/// Makes a transaction say that it gives out an address.
pub(crate) fn note(
    transaction: &mut Transaction,
    network: ExternalNetworkId,
    to: FloatingIpId,
) -> photon_store::Result<()> {
    let value = json!({ "v": VERSION, "id": to }).to_string();
    transaction.put_raw(&path(network), value, 0).map(|_| ())
}

/// Since when nothing was given out; `None` if nothing ever was.
pub(super) async fn since(
    store: &Store,
    network: ExternalNetworkId,
) -> photon_store::Result<Option<i64>> {
    let last = store.get_raw(&path(network)).await?;
    Ok(last.map(|last| last.revision))
}

/// Makes a transaction require that nothing was given out since.
pub(super) fn nothing_since(
    transaction: &mut Transaction,
    network: ExternalNetworkId,
    since: Option<i64>,
) -> photon_store::Result<()> {
    let path = path(network);
    match since {
        Some(revision) => transaction.at_revision(&path, revision)?,
        None => transaction.absent(&path)?,
    };
    Ok(())
}

/// Of a network that is deleted.
pub(super) fn forget(
    transaction: &mut Transaction,
    network: ExternalNetworkId,
) -> photon_store::Result<()> {
    transaction.delete_raw(&path(network)).map(|_| ())
}
