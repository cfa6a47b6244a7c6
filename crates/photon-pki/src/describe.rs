//! What a certificate says.

use std::{net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer as _, GeneralName, X509Certificate},
};

use crate::{PkiError, Purpose, SubjectName};

/// The contents of one certificate, as far as anybody here asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The subject's common name; empty when there is none.
    pub common_name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// DNS names and addresses.
    pub names: Vec<SubjectName>,
    /// What it may be used for; none for an authority.
    pub purpose: Option<Purpose>,
    /// Whether it is an authority's.
    pub is_authority: bool,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// When it becomes valid.
    pub not_before: Timestamp,
    /// When it ceases to be.
    pub not_after: Timestamp,
    /// The public key, as `SubjectPublicKeyInfo` in DER.
    pub public_key: Vec<u8>,
    pub(crate) subject_key: Option<Vec<u8>>,
    pub(crate) authority_key: Option<Vec<u8>>,
}

impl Description {
    /// From the first to the last moment, in the days it was issued for.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        let whole = self.not_after.duration_since(self.not_before);
        // Certificates are dated back a few minutes; those do not count.
        let days = whole.as_hours() / 24;
        if days > 0 {
            Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60)
        } else {
            whole.unsigned_abs()
        }
    }

    /// Whole days until it expires, negative afterwards.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after
            .duration_since(now)
            .as_secs()
            .div_euclid(24 * 60 * 60)
    }

    /// Whether it is no longer valid.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// Whether only one third of its life is left, which is when it is renewed.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let third: SignedDuration = self.not_after.duration_since(self.not_before) / 3;
        self.not_after.duration_since(now) <= third
    }
}

/// Reads the first certificate of a PEM text.
pub fn describe(pem: &str) -> Result<Description, PkiError> {
    const WHAT: PkiError = PkiError::Pem("certificate");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| WHAT)?;
    describe_der(&der)
}

/// Reads a certificate in DER.
pub fn describe_der(der: &[u8]) -> Result<Description, PkiError> {
    const WHAT: PkiError = PkiError::Pem("certificate");
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| WHAT)?;
    let time = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|_| WHAT)
    };
    let usage = certificate.extended_key_usage().map_err(|_| WHAT)?;
    let (server, client) = usage.map_or((false, false), |usage| {
        (usage.value.server_auth, usage.value.client_auth)
    });
    let mut subject_key = None;
    let mut authority_key = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => subject_key = Some(key.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(key) => {
                authority_key = key.key_identifier.as_ref().map(|key| key.0.to_vec());
            }
            _ => {}
        }
    }
    Ok(Description {
        common_name: common_name(certificate.subject()),
        issuer: common_name(certificate.issuer()),
        names: names(&certificate)?,
        purpose: Purpose::from_usages(server, client),
        is_authority: certificate.is_ca(),
        serial: certificate
            .raw_serial()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        public_key: certificate.public_key().raw.to_vec(),
        subject_key,
        authority_key,
    })
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    name.iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<SubjectName>, PkiError> {
    let Some(extension) = certificate
        .subject_alternative_name()
        .map_err(|_| PkiError::Pem("certificate"))?
    else {
        return Ok(Vec::new());
    };
    let names = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(SubjectName::Dns((*name).to_owned())),
            GeneralName::IPAddress(bytes) => address(bytes).map(SubjectName::Ip),
            _ => None,
        });
    Ok(names.collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        for bad in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(describe(bad), Err(PkiError::Pem(_))), "{bad}");
        }
    }
}
