//! Where hosts are reached by each other: copied from what they say, if it can be.
//!
//! A host that was broken into can say what it wants of itself; it is told to the others only if its address is one of the
//! hosts' and nobody else's, nor one that may be given out as a floating IP.

use std::{collections::HashMap, net::Ipv4Addr};

use photon_core::Name;
use photon_server::Mode;
use photon_store::{PageRequest, Store};
use prismnet_model::{Block, ExternalNetwork, Host, ObservedAgent};

use crate::{config::Config, external::ranges};

/// Copies from one prefix to the other.
pub(super) struct Publisher {
    store: Store,
    underlay: Vec<Block>,
    mode: Mode,
    /// What was said last of a host that was not told to the others, so that it is logged once.
    refused: HashMap<Name, String>,
}

impl Publisher {
    pub(super) fn new(store: Store, config: &Config) -> Self {
        Self {
            store,
            underlay: config.network.underlay.clone(),
            mode: config.auth.mode,
            refused: HashMap::new(),
        }
    }

    /// Tells the others of a host, or why not. Every process does: what is as it should be is not written.
    pub(super) async fn publish(&mut self, host: &Name, agent: &ObservedAgent) {
        let Some(vtep) = agent.vtep else {
            return; // a host by itself
        };
        let told = match self.check(host, vtep).await {
            Ok(None) => self.write(host, vtep, agent.mtu).await,
            Ok(Some(why)) => {
                self.refuse(host, why);
                return;
            }
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => {
                self.refused.remove(host);
            }
            // Its next report, or the next start of a process, tries again.
            Err(error) => tracing::warn!(%host, %error, "a host could not be told to the others"),
        }
    }

    /// Why the address cannot be the host's; `None` if it can.
    async fn check(&self, host: &Name, vtep: Ipv4Addr) -> photon_store::Result<Option<String>> {
        let is_ours = self.underlay.iter().any(|block| block.has(vtep));
        let any_goes = self.underlay.is_empty() && self.mode == Mode::Dev;
        if !is_ours && !any_goes {
            return Ok(Some(format!("{vtep} is in none of network.underlay")));
        }
        let all = self.store.collection::<Host>();
        let page = all.list(&PageRequest::default()).await?;
        let other = page
            .items
            .iter()
            .find(|other| other.value.vtep == vtep && other.value.host != *host);
        if let Some(other) = other {
            return Ok(Some(format!("{vtep} is that of {}", other.value.host)));
        }
        let outside = self.store.collection::<ExternalNetwork>();
        let page = outside.list(&PageRequest::default()).await?;
        let mut outside = page.items.iter().map(|network| &network.value);
        let giving = outside.find(|network| ranges::has(&network.pool, vtep));
        Ok(giving.map(|network| format!("{vtep} is given out by {}", network.id)))
    }

    async fn write(&self, host: &Name, vtep: Ipv4Addr, mtu: u32) -> photon_store::Result<()> {
        let all = self.store.collection::<Host>();
        let new = Host {
            host: host.clone(),
            vtep,
            mtu,
        };
        let written = match all.get(&new.key()).await? {
            Some(mut stored) if stored.value != new => {
                stored.value = new;
                all.replace(stored).await.map(|_| ())
            }
            Some(_) => Ok(()),
            None => all.create(&new.key(), new).await.map(|_| ()),
        };
        match written {
            // Another process was faster.
            Err(
                photon_store::Error::AlreadyExists { .. } | photon_store::Error::Conflict { .. },
            ) => Ok(()),
            written => written,
        }
    }

    fn refuse(&mut self, host: &Name, why: String) {
        if self.refused.get(host) != Some(&why) {
            tracing::warn!(%host, why, "a host is not told to the others");
            self.refused.insert(host.clone(), why);
        }
    }
}
