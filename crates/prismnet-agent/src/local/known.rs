//! What the agent's other parts tell the local socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use photon_core::Name;
use prismnet_model::{PortId, VpcId};
use tokio::sync::{Notify, watch};

use super::{kept::Kept, plugged::Plugged, verdicts::Verdicts};
use crate::{
    config::Config,
    desired::{Here, PortHere, Wanted},
    kernel::Namespaces,
    metadata::Source,
    mode::Mode,
    worker::Outcomes,
};

/// What the store says, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whether it can be relied on.
    pub store: StoreState,
    /// Ports of this host.
    pub here: BTreeMap<PortId, (VpcId, PortHere)>,
    /// Ports that are to be taken down here: on another host, on none, or deleted.
    pub away: Vec<PortId>,
}

/// How far the store is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// It has not answered since the start.
    #[default]
    Unheard,
    /// It is followed; what it said last counts when it is away.
    Heard,
    /// It is another one, or went back: nothing is changed.
    Changed,
}

/// Everything that the local socket works with.
#[derive(Debug)]
pub struct Local {
    /// This host.
    pub host: Name,
    /// Name servers that ports are told.
    pub dns: Vec<Ipv4Addr>,
    /// How groups are enforced.
    pub mode: Mode,
    /// Where namespaces are.
    pub namespaces: Namespaces,
    /// What the workers tell.
    pub outcomes: Arc<Outcomes>,
    /// What was plugged.
    pub plugged: Plugged,
    /// The sockets that answer for ports at the metadata address.
    pub metadata: Arc<Kept<PathBuf>>,
    /// What a person decided about orphans.
    pub verdicts: Verdicts,
    /// Held by whoever makes devices of ports, or takes them away.
    pub changing: tokio::sync::Mutex<()>,
    /// That there is another verdict.
    pub decided: Notify,
    /// Floating IPs that a person has purged, as long as they are being taken down.
    pub(super) released: Mutex<BTreeSet<Ipv4Addr>>,
    known: watch::Sender<Arc<Known>>,
}

impl Local {
    /// Nothing is known yet but what earlier runs kept.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn new(
        config: &Config,
        here: &Here,
        metadata: Source,
        outcomes: Arc<Outcomes>,
    ) -> std::io::Result<Self> {
        let directory: &Path = &config.state_directory;
        Ok(Self {
            host: config.host.clone(),
            dns: config.dhcp.dns.clone(),
            mode: here.mode,
            namespaces: Namespaces::new(&config.namespace_directory),
            outcomes,
            plugged: Plugged::read(&directory.join("plugged"))?,
            metadata: metadata.sockets,
            verdicts: Verdicts::read(directory)?,
            changing: tokio::sync::Mutex::default(),
            decided: Notify::new(),
            released: Mutex::default(),
            known: watch::Sender::default(),
        })
    }

    /// What the store says now; what a person has decided is added to it.
    pub fn learn(&self, all: &mut BTreeMap<VpcId, Wanted>) {
        self.take(all);
        let over = self.verdicts.apply(all);
        if let Err(error) = self.verdicts.withdraw(&over) {
            tracing::warn!(%error, "what a person decided is not forgotten");
        }
    }

    /// Floating IPs that a person has purged: they are nobody's.
    #[must_use]
    pub fn released(&self) -> BTreeSet<Ipv4Addr> {
        self.released.lock().clone()
    }

    fn take(&self, all: &BTreeMap<VpcId, Wanted>) {
        let mut known = Known {
            store: StoreState::Heard,
            ..Known::default()
        };
        for (vpc, wanted) in all {
            let ports = wanted.ports.iter();
            known
                .here
                .extend(ports.map(|(id, port)| (*id, (*vpc, port.clone()))));
            known.away.extend(&wanted.removed);
        }
        self.known.send_replace(Arc::new(known));
    }

    /// The store is not what it was.
    pub fn distrust(&self) {
        self.known.send_modify(|known| {
            let known = Arc::make_mut(known);
            known.store = StoreState::Changed;
        });
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Where somebody waits for more.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }
}
