//! 169.254.169.254: what a port asks about itself, passed to whoever registered for it (`RegisterMetadata`).
//!
//! ```text
//!  port ──TCP 80──> listener in the VPC's namespace ──token?──> unix socket of PlasmaVMC's or k8shost's agent
//! ```
//!
//! Which port asks is known by its address, which it cannot forge: its device is held against it before anything gets here. A
//! request needs a token that was asked for by PUT before (as in IMDSv2): what a server behind the port can be tricked into
//! fetching is a GET without it. Answers go no further than one hop.

pub mod answer;
pub mod forward;
pub mod listener;
pub mod token;

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use listener::Listener;
pub use token::Tokens;

use crate::local::kept::Kept;

/// Where it is asked.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The port there.
pub const PORT: u16 = 80;

/// What all VPCs share.
#[derive(Clone, Debug)]
pub struct Source {
    /// What a token is held against.
    pub tokens: Arc<Tokens>,
    /// Who answers for which port.
    pub sockets: Arc<Kept<PathBuf>>,
}

impl Source {
    /// With what earlier runs kept in that directory.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            tokens: Arc::new(Tokens::read(directory)?),
            sockets: Arc::new(Kept::read(directory.join("metadata.json"))?),
        })
    }
}
