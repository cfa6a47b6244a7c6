//! The local certificate authority: one self-signed root, leaves of 90 days, plain PEM files.
//!
//! ```text
//! Authority::create ──> ca.crt (0644), ca.key (0600)
//!     │ issue(LeafRequest) / renew(certificate)
//!     │ sign(LeafRequest, request)      <── KeyRequest: who has the key never shows it
//!     v
//! Leaf ──> <name>.crt (0644), <name>.key (0600)      describe(certificate) ──> names, expiry, due?
//! ```
//!
//! ECDSA P-256 throughout, by aws-lc-rs. Pure apart from [`files`].

#![warn(missing_docs)]

mod authority;
mod describe;
pub mod files;
mod leaf;
mod request;

pub use authority::Authority;
pub use describe::{Description, describe, describe_der};
pub use leaf::{Leaf, LeafRequest, Purpose, SubjectName};
pub use request::KeyRequest;

use std::path::PathBuf;

/// Why something about a certificate cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Making a key or a certificate.
    #[error("cannot make the certificate")]
    Make(#[from] rcgen::Error),
    /// Text that is not the PEM it should be.
    #[error("not a usable {0} in PEM")]
    Pem(&'static str),
    /// A certificate signing request that is not answered.
    #[error("the certificate signing request {0}")]
    Request(&'static str),
    /// A name that cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate")]
    Name(String),
    /// A client or peer certificate without a common name identifies nobody.
    #[error("a common name is required")]
    NoCommonName,
    /// A certificate that another authority issued, or an authority's own.
    #[error("{0}")]
    NotOurs(String),
}
