//! Who is at the other end of a connection.

use std::{fmt, net::SocketAddr, sync::Arc};

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The other end of the connection a request came by. In the extensions of every request, REST and gRPC.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// Its certificate, verified against the listener's client authorities.
    pub certificate: Option<Arc<CertificateIdentity>>,
}

/// What a verified client certificate says about its holder.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The subject's common name; empty when it has none.
    pub common_name: String,
    /// The DNS names it is valid for.
    pub dns_names: Vec<String>,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    /// The certificate itself, for those who want to know more.
    pub der: Arc<[u8]>,
}

impl fmt::Debug for CertificateIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateIdentity")
            .field("common_name", &self.common_name)
            .field("dns_names", &self.dns_names)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl CertificateIdentity {
    /// Reads a certificate. `None` when it is not X.509 or its subject has more than one common name,
    /// so that two readers cannot disagree on who it is.
    #[must_use]
    pub fn from_der(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let common_name = match names.next() {
            Some(name) => name.as_str().ok()?.to_owned(),
            None => String::new(),
        };
        if names.next().is_some() {
            return None;
        }
        let dns_names = match certificate.subject_alternative_name().ok()? {
            Some(extension) => extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect(),
            None => Vec::new(),
        };
        let fingerprint = Sha256::digest(der)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(Self {
            common_name,
            dns_names,
            fingerprint,
            der: der.as_ref().into(),
        })
    }
}
