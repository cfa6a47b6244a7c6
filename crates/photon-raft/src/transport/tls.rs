//! Certificates between peers: both sides show one, both verify it against the cluster's authority.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, SignatureVerificationAlgorithm, UnixTime,
        pem::PemObject,
    },
    server::{ParsedCertificate, WebPkiClientVerifier},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::Error;

/// Certificates for the peer listener and for calling other peers.
#[derive(Clone)]
pub struct PeerTls {
    /// PEM chain this node shows, as server and as client.
    pub certificate: Vec<u8>,
    /// PEM key of `certificate`.
    pub key: Vec<u8>,
    /// PEM certificates of the authority that signed every peer's certificate.
    pub ca: Vec<u8>,
    /// DNS name that every peer's certificate must carry. `None`: servers must carry the name or address
    /// they are called by. In either case a caller's certificate must be good for servers and clients
    /// alike (its extended key usage), so that a client's of the same authority is not taken for a peer's.
    pub peer_name: Option<String>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTls")
            .field("peer_name", &self.peer_name)
            .finish_non_exhaustive()
    }
}

/// How the listener accepts.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) tls: tokio_rustls::TlsAcceptor,
    roots: Arc<RootCertStore>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    peer_name: Option<ServerName<'static>>,
}

fn invalid(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("peer {what}: {error}"))
}

impl PeerTls {
    /// Reads the three PEM files.
    ///
    /// # Errors
    /// When one cannot be read; the text names it.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        ca: &Path,
        peer_name: Option<String>,
    ) -> Result<Self, Error> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
        };
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
            ca: read(ca)?,
            peer_name,
        })
    }

    fn name(&self) -> Result<Option<ServerName<'static>>, Error> {
        self.peer_name
            .clone()
            .map(|name| ServerName::try_from(name).map_err(|error| invalid("name", error)))
            .transpose()
    }

    pub(super) fn acceptor(&self) -> Result<Acceptor, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            roots
                .add(certificate.map_err(|error| invalid("ca", error))?)
                .map_err(|error| invalid("ca", error))?;
        }
        let roots = Arc::new(roots);
        let algorithms = provider.signature_verification_algorithms.all;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| invalid("ca", error))?;
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid("certificate", error))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| invalid("key", error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("tls", error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| invalid("certificate", error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Acceptor {
            tls: Arc::new(config).into(),
            roots,
            algorithms,
            peer_name: self.name()?,
        })
    }

    pub(super) fn client(&self) -> Result<ClientTlsConfig, Error> {
        self.name()?;
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.certificate, &self.key));
        Ok(match &self.peer_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

impl Acceptor {
    /// Whether the client's verified certificate is a peer's: it would also do for a server, and carries
    /// the peers' name if they have one.
    pub(super) fn is_peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> bool {
        let Some((leaf, intermediates)) = certificates.and_then(<[_]>::split_first) else {
            return false;
        };
        let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
            return false;
        };
        let serves = verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            intermediates,
            UnixTime::now(),
            self.algorithms,
        );
        let named = |name| verify_server_name(&leaf, name).is_ok();
        serves.is_ok() && self.peer_name.as_ref().is_none_or(named)
    }
}
