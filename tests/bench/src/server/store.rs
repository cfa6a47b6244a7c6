//! The store that a service keeps its state in: a ChainFire of its own, of one member or of three.

use std::path::Path;

use anyhow::bail;

use super::{Cluster, Kind, Single, Usage};

/// A running store.
#[derive(Debug)]
pub(crate) enum Store {
    /// A ChainFire of one member.
    One(Single),
    /// Of three.
    Three(Cluster),
    /// One that another service's daemon keeps, by its endpoints. What it uses is counted there.
    Shared(Vec<String>),
}

impl Store {
    /// Starts one with `members` members, empty.
    ///
    /// # Errors
    /// What could not be started.
    pub(crate) async fn start(
        chainfire: &Path,
        members: usize,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let kind = Kind::Chainfire(chainfire.to_owned());
        match members {
            1 => Ok(Self::One(Single::start(&kind, directory).await?)),
            3 => Ok(Self::Three(Cluster::start(&kind, directory).await?)),
            other => bail!("a store of {other} members is not among what can be started"),
        }
    }

    /// Where its members are asked.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        match self {
            Self::One(single) => vec![single.endpoint()],
            Self::Three(cluster) => cluster.endpoints(),
            Self::Shared(endpoints) => endpoints.clone(),
        }
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When a member has ended.
    pub(crate) async fn usage(&self) -> anyhow::Result<Usage> {
        match self {
            Self::One(single) => single.usage().await,
            Self::Three(cluster) => cluster.usage().await,
            Self::Shared(_) => Ok(Usage::default()),
        }
    }
}
