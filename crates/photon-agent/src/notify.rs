//! systemd is told how it is. Without systemd nothing happens.

pub use sd_notify::NotifyState;

/// Tells it.
pub fn tell_systemd(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
