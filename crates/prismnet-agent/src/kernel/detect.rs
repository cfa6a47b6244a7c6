//! What this kernel offers, tried in a namespace that is thrown away.

use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::{Error, namespace, nft};
use crate::mode::Mode;

/// Tries it.
///
/// # Errors
/// No right to make a namespace, no nft, or one that cannot even make a table.
pub fn mode() -> Result<Mode, Error> {
    namespace::on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::system("unshare", errno))?;
        namespace::runtime()?.block_on(try_out())
    })
}

async fn try_out() -> Result<Mode, Error> {
    let table = json!({"family": "bridge", "name": "probe"});
    let chain = json!({
        "family": "bridge", "table": "probe", "name": "probe",
        "type": "filter", "hook": "forward", "prio": 0, "policy": "accept",
    });
    let frame = json!({"nftables": [{"add": {"table": table}}, {"add": {"chain": chain}}]});
    nft::apply(&frame).await?;
    let state = json!({"match": {
        "op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"],
    }});
    let rule = json!({
        "family": "bridge", "table": "probe", "chain": "probe", "expr": [state, {"accept": null}],
    });
    let bridge_ct = match nft::apply(&json!({"nftables": [{"add": {"rule": rule}}]})).await {
        Ok(()) => true,
        Err(Error::Nft(said)) => {
            tracing::debug!(said, "the bridge family knows no connections");
            false
        }
        Err(error) => return Err(error),
    };
    let br_netfilter = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    Ok(Mode {
        bridge_ct,
        br_netfilter,
    })
}
