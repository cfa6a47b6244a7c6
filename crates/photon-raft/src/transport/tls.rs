//! Certificates between peers: both sides show one, both verify it against the cluster's authority. Files that change
//! are read again; connections that are open go on with what they began with.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

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
use tokio::time::Instant;
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
    /// Where the three were read, if they are to be read again when the files change.
    pub files: Option<PeerTlsFiles>,
}

/// The files of a [`PeerTls`].
#[derive(Clone, Debug)]
pub struct PeerTlsFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority.
    pub ca: PathBuf,
}

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one version of the files from the next.
type Stamp = Vec<Option<(SystemTime, u64, u64)>>;

impl PeerTlsFiles {
    fn read(&self, peer_name: Option<String>) -> Result<PeerTls, Error> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
        };
        Ok(PeerTls {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            ca: read(&self.ca)?,
            peer_name,
            files: Some(self.clone()),
        })
    }

    fn stamp(&self) -> Stamp {
        let files = [&self.certificate, &self.key, &self.ca].into_iter();
        files
            .map(|path| {
                let meta = fs::metadata(path).ok()?;
                Some((meta.modified().ok()?, meta.len(), meta.ino()))
            })
            .collect()
    }
}

/// The certificates in use: the newest that could be read.
pub(super) struct Credentials(Mutex<Current>);

struct Current {
    tls: PeerTls,
    acceptor: Acceptor,
    client: ClientTlsConfig,
    /// Counts the changes.
    version: u64,
    seen: Stamp,
    looked: Instant,
}

impl Credentials {
    pub(super) fn new(tls: &PeerTls) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(Mutex::new(Current {
            seen: tls
                .files
                .as_ref()
                .map_or_else(Stamp::new, PeerTlsFiles::stamp),
            acceptor: tls.acceptor()?,
            client: tls.client()?,
            tls: tls.clone(),
            version: 0,
            looked: Instant::now(),
        }))))
    }

    /// For a connection that was accepted.
    pub(super) fn acceptor(&self) -> Acceptor {
        let mut current = self.0.lock();
        current.look();
        current.acceptor.clone()
    }

    /// For connections that are to be made.
    pub(super) fn client(&self) -> ClientTlsConfig {
        self.0.lock().client.clone()
    }

    /// A number that changes with the certificates.
    pub(super) fn version(&self) -> u64 {
        let mut current = self.0.lock();
        current.look();
        current.version
    }
}

impl Current {
    /// Takes up files that changed. Bad ones do not stop what works: certificate and key may be between two writes.
    fn look(&mut self) {
        let Some(files) = &self.tls.files else { return };
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let seen = files.stamp();
        if seen == self.seen {
            return;
        }
        let read = files.read(self.tls.peer_name.clone());
        let made = read.and_then(|tls| Ok((tls.acceptor()?, tls.client()?, tls)));
        match made {
            Ok((acceptor, client, tls)) => {
                tracing::info!(certificate = %files.certificate.display(), "peer certificates read again");
                (self.acceptor, self.client, self.tls) = (acceptor, client, tls);
                (self.seen, self.version) = (seen, self.version + 1);
            }
            Err(error) => {
                tracing::warn!(%error, "changed peer certificates cannot be used; the old ones stay");
            }
        }
    }
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
    /// Reads the three PEM files, which are read again when they change.
    ///
    /// # Errors
    /// When one cannot be read; the text names it.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        ca: &Path,
        peer_name: Option<String>,
    ) -> Result<Self, Error> {
        let files = PeerTlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            ca: ca.to_owned(),
        };
        files.read(peer_name)
    }

    /// Whether the peer listener and calls to other peers could use these: everything is PEM, the key belongs to the
    /// certificate. Not whether it is valid at this time.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), Error> {
        self.acceptor()?;
        self.client().map(drop)
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
        if chain.is_empty() {
            return Err(invalid("certificate", "there is none in the file"));
        }
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
