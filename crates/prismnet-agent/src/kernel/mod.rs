//! The machine: reads what is there and does what it is told. Decides nothing.

use std::{io, time::Duration};

pub mod announce;
mod carrier;
pub mod conntrack;
pub mod detect;
pub mod far;
pub mod host;
pub mod namespace;
mod netfilter;
pub mod netlink;
pub mod nft;
pub mod notice;
pub mod read;
pub mod seen;
pub mod settings;
pub mod space;
pub mod tap;

pub use host::HostSpace;
pub use namespace::Namespaces;
pub use space::Space;

/// How long one call of a program or of netlink may take.
pub const CALL: Duration = Duration::from_secs(10);

/// What the machine refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Netlink.
    #[error("{what}: {source}")]
    Netlink {
        /// What was tried.
        what: String,
        /// Why not.
        source: rtnetlink::Error,
    },
    /// A system call or a file.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// nft, in its own words.
    #[error("nft: {0}")]
    Nft(String),
    /// No answer in time.
    #[error("{0}: no answer in time")]
    Late(String),
    /// The namespace is not the one this thread is in.
    #[error("the namespace was replaced by another")]
    Replaced,
}

impl Error {
    /// A system call that failed.
    pub(crate) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System {
            what: what.into(),
            source: source.into(),
        }
    }
}
