//! TLS with certificates that are read again when their files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{config::TlsConfig, peer::CertificateIdentity};

/// Why a listener cannot encrypt.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of that kind.
    #[error("cannot read {} as PEM", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// A file has nothing of the kind in it.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The certificate, the key or the authorities are refused, for example because they do not belong together.
    #[error("{} and {} cannot be used: {reason}", certificate.display(), key.display())]
    Refused {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// The certificate is not valid now.
    #[error("{} is not valid now: from {from} to {to}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Since when it is valid.
        from: String,
        /// Until when.
        to: String,
    },
    /// The certificate is for something else.
    #[error("{} is not for {}: its extended key usage lacks {}", path.display(), usage.holders(), usage.name())]
    Usage {
        /// The file.
        path: PathBuf,
        /// What it is not for.
        usage: Usage,
    },
    /// The certificate does not say the name it is asked for by.
    #[error("{} does not carry the name {name:?}; its DNS names: {}", path.display(), or_none(carried))]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The DNS names it does carry.
        carried: Vec<String>,
    },
    /// The certificate was signed by somebody else.
    #[error("{} was signed by no authority in {}: {reason}", path.display(), authorities.display())]
    Stranger {
        /// The file.
        path: PathBuf,
        /// The authorities.
        authorities: PathBuf,
        /// Why.
        reason: String,
    },
    /// `require_client_certificate` without an authority to check one against.
    #[error("tls.require_client_certificate needs tls.client_ca")]
    NoClientCa,
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// What a certificate is shown for; RFC 5280, 4.2.1.12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// By a listener to its callers.
    Server,
    /// By a caller to a listener.
    Client,
}

impl Usage {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "serverAuth",
            Self::Client => "clientAuth",
        }
    }

    fn holders(self) -> &'static str {
        match self {
            Self::Server => "servers",
            Self::Client => "clients",
        }
    }
}

/// A listener's certificates.
pub(super) struct Tls {
    config: TlsConfig,
    current: Mutex<Current>,
}

struct Current {
    server: Arc<ServerConfig>,
    seen: Stamp,
}

/// What tells one version of the files from the next.
type Stamp = Vec<Option<(SystemTime, u64, u64)>>;

impl Tls {
    pub(super) fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let seen = stamp(&config);
        let server = server_config(&config)?;
        // Not a reason to stay away: it is read again when it has been renewed.
        if let Err(error) = check_validity(&config.certificate) {
            tracing::warn!(%error, "callers will refuse this listener's certificate");
        }
        Ok(Self {
            current: Mutex::new(Current { server, seen }),
            config,
        })
    }

    /// The handshake, and who the client proved to be.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<CertificateIdentity>)> {
        let stream = TlsAcceptor::from(self.current()).accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = match certificates.and_then(<[_]>::first) {
            None => None,
            Some(der) => Some(CertificateIdentity::from_der(der).ok_or_else(|| {
                io::Error::other("the client certificate names nobody, or several")
            })?),
        };
        Ok((stream, certificate))
    }

    /// The newest configuration that could be read; a look at the files costs three `stat` calls, which is
    /// nothing beside a handshake. A bad file does not stop a listener that works.
    fn current(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        let seen = stamp(&self.config);
        if seen != current.seen {
            match server_config(&self.config) {
                Ok(server) => {
                    tracing::info!(certificate = %self.config.certificate.display(), "certificates read again");
                    current.server = server;
                    current.seen = seen;
                }
                Err(error) => {
                    // The stamp stays old: certificate and key may be between two writes.
                    tracing::warn!(%error, "changed certificates cannot be used; the old ones stay");
                }
            }
        }
        Arc::clone(&current.server)
    }
}

/// Whether a listener could use these files now: they can be read, the key belongs to the certificate, the certificate
/// is a server's and valid at this time.
///
/// # Errors
/// What is wrong, and with which file.
pub fn check_tls(config: &TlsConfig) -> Result<(), TlsError> {
    server_config(config)?;
    check_validity(&config.certificate)?;
    check_usage(&config.certificate, Usage::Server)
}

/// Whether the first certificate in a PEM file is valid at this time.
///
/// # Errors
/// It is not, or there is none that can be read.
fn check_validity(path: &Path) -> Result<(), TlsError> {
    let der = first(path)?;
    let leaf = parsed(path, &der)?;
    let validity = leaf.validity();
    if validity.is_valid() {
        return Ok(());
    }
    Err(TlsError::Expired {
        path: path.to_owned(),
        from: validity.not_before.to_string(),
        to: validity.not_after.to_string(),
    })
}

/// Whether the first certificate in a PEM file may be shown for this. One that does not say what it is for may be
/// shown for everything, as rustls has it.
///
/// # Errors
/// It may not, or there is none that can be read.
fn check_usage(path: &Path, usage: Usage) -> Result<(), TlsError> {
    let der = first(path)?;
    let leaf = parsed(path, &der)?;
    let said = leaf
        .extended_key_usage()
        .map_err(|_| TlsError::Empty(path.to_owned()))?;
    let allowed = said.is_none_or(|said| match usage {
        Usage::Server => said.value.server_auth,
        Usage::Client => said.value.client_auth,
    });
    if allowed {
        return Ok(());
    }
    let path = path.to_owned();
    Err(TlsError::Usage { path, usage })
}

/// Whether the members of a cluster would take the first certificate in a PEM file for another member's: it is for
/// servers and for clients, valid now, carries the name if one is demanded, and one of the authorities signed it.
///
/// # Errors
/// What it lacks, or what cannot be read.
pub fn check_member(
    certificate: &Path,
    authorities: &Path,
    name: Option<&str>,
) -> Result<(), TlsError> {
    check_validity(certificate)?;
    check_usage(certificate, Usage::Server)?;
    check_usage(certificate, Usage::Client)?;
    let chain = certificates(certificate)?;
    let unreadable = || TlsError::Empty(certificate.to_owned());
    let (der, intermediates) = chain.split_first().ok_or_else(unreadable)?;
    let leaf = ParsedCertificate::try_from(der).map_err(|_| unreadable())?;
    if let Some(name) = name {
        let carries = |name| verify_server_name(&leaf, &name).is_ok();
        if !ServerName::try_from(name).is_ok_and(carries) {
            let identity = CertificateIdentity::from_der(der);
            return Err(TlsError::Name {
                path: certificate.to_owned(),
                name: name.to_owned(),
                carried: identity.map_or_else(Vec::new, |identity| identity.dns_names),
            });
        }
    }
    let stranger = |reason: String| TlsError::Stranger {
        path: certificate.to_owned(),
        authorities: authorities.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities)? {
        roots
            .add(authority)
            .map_err(|error| stranger(error.to_string()))?;
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &roots,
        intermediates,
        UnixTime::now(),
        provider.signature_verification_algorithms.all,
    )
    .map_err(|error| stranger(error.to_string()))
}

fn first(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    let mut chain = certificates(path)?.into_iter();
    chain.next().ok_or_else(|| TlsError::Empty(path.to_owned()))
}

fn parsed<'a>(
    path: &Path,
    der: &'a CertificateDer<'static>,
) -> Result<X509Certificate<'a>, TlsError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|_| TlsError::Empty(path.to_owned()))
}

fn stamp(config: &TlsConfig) -> Stamp {
    let files = [
        Some(&config.certificate),
        Some(&config.key),
        config.client_ca.as_ref(),
    ];
    files
        .into_iter()
        .flatten()
        .map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        })
        .collect()
}

fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let refused = |reason: String| TlsError::Refused {
        certificate: config.certificate.clone(),
        key: config.key.clone(),
        reason,
    };
    let chain = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|source| TlsError::Read {
        path: config.key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let builder = match verifier(config, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| refused(error.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn verifier(
    config: &TlsConfig,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &config.client_ca else {
        return if config.require_client_certificate {
            Err(TlsError::NoClientCa)
        } else {
            Ok(None)
        };
    };
    let refused = |reason: String| TlsError::Refused {
        certificate: path.clone(),
        key: config.key.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if config.require_client_certificate {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| refused(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() {
        Err(TlsError::Empty(path.to_owned()))
    } else {
        Ok(found)
    }
}
