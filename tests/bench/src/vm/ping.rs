//! The first answer of a guest to a ping, asked from a namespace.
//!
//! Nothing is known of the guest but its address. ARP asks again after a second, and an answer would be as late as that; so in the
//! namespaces from which is asked it does so every ten milliseconds.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::network::inside::{self, Work};
use crate::network::probe;

/// A guest's queue takes what is asked before it hears; so it must not be much.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ARP_EVERY_MS: &str = "10";
/// How long a guest may take that is emulated beside others.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes a namespace ask for addresses often.
///
/// # Errors
/// What cannot be set.
pub(super) async fn prepare(namespace: &Path, device: &str) -> anyhow::Result<()> {
    let setting = format!("/proc/sys/net/ipv4/neigh/{device}/retrans_time_ms");
    inside::run(namespace, move || {
        std::fs::write(&setting, ARP_EVERY_MS).with_context(|| setting)
    })
    .await
}

/// An answer that is waited for.
#[derive(Debug)]
pub(super) struct Pinging(Work<Instant>);

impl Pinging {
    /// Asks an address from a namespace until it answers.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start(namespace: &Path, address: Ipv4Addr) -> anyhow::Result<Self> {
        let ask = move || {
            let answered = probe::first_answers(&[address], ASK_EVERY, PATIENCE);
            let answered = answered.with_context(|| address.to_string())?;
            answered.get(&address).copied().context("nobody answered")
        };
        Ok(Self(inside::start(namespace, ask)?))
    }

    /// When it answered.
    ///
    /// # Errors
    /// It did not.
    pub(super) async fn answered(self) -> anyhow::Result<Instant> {
        self.0.end().await
    }
}
