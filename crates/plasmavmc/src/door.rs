//! The doors of hosts' agents, as their hosts tell them.

use std::sync::Arc;

use photon_core::{Error, Name};
use plasmavmc_door::{At, Doors};
use plasmavmc_model::ObservedAgent;

use crate::host::Hosts;

/// Where hosts can be asked, and the connections to them. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct HostDoors {
    hosts: Hosts,
    /// To ask: with one of [`HostDoors::at`].
    pub(crate) doors: Arc<Doors>,
}

impl HostDoors {
    /// Of these hosts.
    pub(crate) fn new(hosts: Hosts, doors: Doors) -> Self {
        Self {
            hosts,
            doors: Arc::new(doors),
        }
    }

    /// Hosts that report and have a door.
    pub(crate) fn open(&self) -> Vec<(At, ObservedAgent)> {
        let alive = self.hosts.alive().into_iter();
        let doors = alive.filter_map(|(host, agent)| {
            let url = agent.door.clone()?;
            Some((At { host, url }, agent))
        });
        doors.collect()
    }

    /// Where a host can be asked.
    ///
    /// # Errors
    /// 503: it is silent, or has no door.
    pub(crate) fn at(&self, host: &Name) -> Result<At, Error> {
        let found = self.open().into_iter().find(|(at, _)| at.host == *host);
        let found = found.map(|(at, _)| at);
        found.ok_or_else(|| Error::unavailable(format!("host {host} is silent, or has no door")))
    }
}
