//! Wakes the worker of a port whose device comes up in the host's namespace: of that the VPC's namespace does not tell.

use std::{sync::Arc, time::Duration};

use prismnet_model::VpcId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{kernel::notice::Notices, worker::Outcomes};

/// What comes within this time is looked at once.
const QUIET: Duration = Duration::from_millis(5);
/// After how long it listens anew where that was not possible.
const AGAIN: Duration = Duration::from_secs(5);

/// Until it is stopped. The calling thread stands in the host's namespace.
pub async fn watch(outcomes: Arc<Outcomes>, stop: CancellationToken) {
    let wake = Arc::new(Notify::new());
    let listen = async {
        let _notices = loop {
            match Notices::open(&wake) {
                Ok(notices) => break notices,
                Err(error) => {
                    tracing::warn!(%error, "nobody tells of devices in the host's namespace");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        loop {
            wake.notified().await;
            tokio::time::sleep(QUIET).await;
            waiting(&outcomes)
                .into_iter()
                .for_each(|vpc| outcomes.wake(vpc));
        }
    };
    stop.run_until_cancelled(listen).await;
}

/// VPCs with a port that waits for its device.
fn waiting(outcomes: &Outcomes) -> Vec<VpcId> {
    let all = outcomes.all.lock();
    let waiting = all
        .iter()
        .filter(|(_, outcome)| outcome.ports.values().any(|port| port.waits));
    waiting.map(|(vpc, _)| *vpc).collect()
}
