//! Whether the cluster can be led right now, as this member can prove.
//!
//! Raft's status may still name a leader that a partition has hidden, so this member asks for a read index
//! now and then: whoever gets one has a leader with a quorum.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::{App, TICK};

/// The outcome of the probes.
#[derive(Debug)]
pub(super) struct Leadership(watch::Sender<bool>);

impl Leadership {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl App {
    /// Whether there was a leader with a quorum within the last three election timeouts.
    pub fn has_leader(&self) -> bool {
        *self.leadership.0.borrow()
    }

    /// Whether there is a leader with a quorum, or will be within three election timeouts: a member that has just
    /// started, or just lost its leader, is not given up at once.
    pub(crate) async fn comes_to_be_led(&self) -> bool {
        let mut led = self.leadership.0.subscribe();
        let found = led.wait_for(|led| *led);
        let found = tokio::time::timeout(self.config.leaderless_limit(), found).await;
        matches!(found, Ok(Ok(_)))
    }

    /// Returns when there has been no leader for three election timeouts.
    pub(crate) async fn leader_lost(&self) {
        let mut led = self.leadership.0.subscribe();
        if led.wait_for(|led| !led).await.is_err() {
            // The sender lives as long as the app.
            std::future::pending::<()>().await;
        }
    }
}

/// Runs for the life of the node.
pub(super) async fn probe(app: Arc<App>) {
    let patience = app.config.leaderless_limit();
    let mut last_proof = None::<Instant>;
    let mut raft = app.raft_watch();
    loop {
        let asked = Instant::now();
        let proof = tokio::select! {
            () = app.stop.cancelled() => return,
            proof = app.group.read_index(asked + patience / 3) => proof,
        };
        if proof.is_ok() {
            last_proof = Some(asked);
        }
        let led = last_proof.is_some_and(|at| at.elapsed() < patience);
        app.leadership
            .0
            .send_if_modified(|known| std::mem::replace(known, led) != led);
        // While there is none, any news may be that of a leader.
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(if led { TICK } else { TICK / 5 }) => {}
            changed = raft.changed(), if !led => if changed.is_err() { return },
        }
    }
}
