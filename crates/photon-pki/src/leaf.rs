//! What a leaf certificate is for.

use std::{fmt, net::IpAddr, path::Path, str::FromStr, time::Duration};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use crate::{PkiError, files};

/// How long a leaf is valid: 90 days.
pub(crate) const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Who presents the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A listener.
    Server,
    /// A caller; its common name is who it is.
    Client,
    /// Both, as one member of a cluster towards another.
    Peer,
}

impl Purpose {
    fn usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Self::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Self::Peer => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        }
    }
}

/// A name that a listener is reached by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectName {
    /// A DNS name, possibly with a `*` label in front.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl SubjectName {
    /// `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn loopback() -> Vec<Self> {
        vec![
            Self::Dns("localhost".to_owned()),
            Self::Ip(IpAddr::from([127, 0, 0, 1])),
            Self::Ip(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        ]
    }
}

impl FromStr for SubjectName {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let host = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() <= 253 && host.split('.').all(label) {
            Ok(Self::Dns(text.to_owned()))
        } else {
            Err(PkiError::Name(text.to_owned()))
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A certificate to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's alternative names.
    pub names: Vec<SubjectName>,
    /// Who presents it.
    pub purpose: Purpose,
    /// How long it is valid from now.
    pub lifetime: Duration,
}

impl LeafRequest {
    /// A listener's certificate for these names and for loopback.
    #[must_use]
    pub fn server(
        common_name: impl Into<String>,
        names: impl IntoIterator<Item = SubjectName>,
    ) -> Self {
        Self::new(common_name, with_loopback(names), Purpose::Server)
    }

    /// A caller's certificate.
    #[must_use]
    pub fn client(common_name: impl Into<String>) -> Self {
        Self::new(common_name, Vec::new(), Purpose::Client)
    }

    /// A cluster member's certificate for these names and for loopback.
    #[must_use]
    pub fn peer(
        common_name: impl Into<String>,
        names: impl IntoIterator<Item = SubjectName>,
    ) -> Self {
        Self::new(common_name, with_loopback(names), Purpose::Peer)
    }

    fn new(common_name: impl Into<String>, names: Vec<SubjectName>, purpose: Purpose) -> Self {
        Self {
            common_name: common_name.into(),
            names,
            purpose,
            lifetime: LIFETIME,
        }
    }

    pub(crate) fn params(&self) -> Result<CertificateParams, PkiError> {
        if self.common_name.is_empty() {
            return Err(PkiError::NoCommonName);
        }
        if self.common_name.chars().any(char::is_control) || self.common_name.chars().count() > 64 {
            return Err(PkiError::Name(self.common_name.clone()));
        }
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        for name in &self.names {
            params.subject_alt_names.push(match name {
                SubjectName::Ip(address) => SanType::IpAddress(*address),
                SubjectName::Dns(dns) => SanType::DnsName(
                    dns.as_str()
                        .try_into()
                        .map_err(|_| PkiError::Name(dns.clone()))?,
                ),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.purpose.usages();
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn with_loopback(names: impl IntoIterator<Item = SubjectName>) -> Vec<SubjectName> {
    let mut all: Vec<SubjectName> = Vec::new();
    for name in names.into_iter().chain(SubjectName::loopback()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
}

impl Leaf {
    /// Writes `<stem>.crt` (0644) and `<stem>.key` (0600). The key goes first: whoever watches the
    /// certificate finds the key that belongs to it.
    pub fn save(&self, directory: &Path, stem: &str) -> Result<(), PkiError> {
        files::write(
            &directory.join(format!("{stem}.key")),
            &self.key_pem,
            files::PRIVATE,
        )?;
        files::write(
            &directory.join(format!("{stem}.crt")),
            &self.certificate_pem,
            files::PUBLIC,
        )
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}
