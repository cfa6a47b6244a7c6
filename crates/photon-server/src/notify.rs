//! What systemd is told. Without systemd nothing happens.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

pub(crate) fn ready() {
    send(&NotifyState::Ready);
}

pub(crate) fn stopping() {
    send(&NotifyState::Stopping);
}

fn send(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Pats the watchdog at half its interval. It runs on the workers that requests run on: if those hang,
/// it stops.
pub(crate) async fn watchdog(stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut tick = tokio::time::interval(interval / 2);
    let work = async {
        loop {
            tick.tick().await;
            send(&NotifyState::Watchdog);
        }
    };
    stop.run_until_cancelled(work).await;
}
