//! Client certificates as credentials: which one is registered, by its fingerprint.

use futures::future::BoxFuture;
use http::header;
use photon_auth::{Asking, Caller, Scheme, Who};
use photon_authz::{PrincipalRef, PrincipalState};
use photon_core::Error;
use photon_server::CertificateIdentity;
use photon_store::Store;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{Credential, certificate_index, used::Used};

/// More than a certificate has.
const MOST_BYTES: usize = 64 * 1024;

/// A certificate that may be registered.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) fingerprint: String,
    pub(super) common_name: String,
}

/// Reads one certificate in PEM.
pub(super) fn read(field: &str, pem: &str) -> Result<Certificate, Error> {
    let refuse = |constraint: &str, what: &str| {
        Err(Error::validation(
            field,
            constraint,
            format!("{field} {what}"),
        ))
    };
    if pem.len() > MOST_BYTES {
        return refuse("length", "must be at most 64 KiB");
    }
    if pem.contains("PRIVATE KEY") {
        return refuse(
            "private_key",
            "must be a certificate alone, without its private key",
        );
    }
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let der = match (all.next(), all.next()) {
        (Some(Ok(der)), None) => der,
        (Some(Ok(_)), Some(_)) => return refuse("single", "must be one certificate"),
        _ => return refuse("pem", "must be a certificate in PEM"),
    };
    let Some(identity) = CertificateIdentity::from_der(&der) else {
        return refuse(
            "certificate",
            "must be an X.509 certificate with at most one common name",
        );
    };
    if is_of_a_service(&identity.common_name) {
        return refuse(
            "reserved",
            "is one of a service of the suite; it speaks for that service",
        );
    }
    Ok(Certificate {
        fingerprint: identity.fingerprint,
        common_name: identity.common_name,
    })
}

/// Finds the principals of registered certificates. Asked of the store each time: a certificate that was taken back is
/// known no more with the next request.
#[derive(Clone, Debug)]
pub struct Registered {
    store: Store,
    used: Used,
}

impl Registered {
    /// Over a store.
    #[must_use]
    pub fn new(store: Store, used: Used) -> Self {
        Self { store, used }
    }

    /// The live credential of a certificate.
    pub(crate) async fn find(&self, fingerprint: &str) -> Result<Option<PrincipalRef>, Error> {
        let records = self.store.collection::<Credential>();
        let found = records
            .get_by_index(&certificate_index(fingerprint))
            .await?;
        let now = jiff::Timestamp::now();
        let Some(found) = found.filter(|found| found.value.is_usable(now)) else {
            return Ok(None);
        };
        // No token is verified on this way, which would tell.
        let principal = &found.value.principal;
        let states = self.store.collection::<PrincipalState>();
        let state = states.get(&crate::principal::key(principal)).await?;
        if state.is_none_or(|state| state.value.disabled) {
            return Ok(None);
        }
        self.used.touch(&found, now).await;
        Ok(Some(found.value.principal))
    }
}

impl Scheme for Registered {
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>> {
        Box::pin(async move {
            if asking.request.headers.contains_key(header::AUTHORIZATION) {
                return Ok(None);
            }
            let certificate = asking.peer.and_then(|peer| peer.certificate.as_deref());
            let Some(certificate) = certificate.filter(|one| !is_of_a_service(&one.common_name))
            else {
                return Ok(None);
            };
            let found = self.find(&certificate.fingerprint).await?;
            Ok(found.map(|principal| Caller {
                who: Who::Principal(principal),
                limit: None,
                source: asking.source(),
                on_behalf: None,
                token_id: None,
                acting: None,
            }))
        })
    }
}

fn is_of_a_service(common_name: &str) -> bool {
    common_name.starts_with("svc/") || photon_auth::SERVICES.contains(&common_name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_pki::{Authority, LeafRequest};

    use super::*;

    fn refused(pem: &str) -> String {
        let error = read("certificate", pem).unwrap_err();
        error.details().unwrap()["constraint"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn one_certificate_is_read() {
        let authority = Authority::create("test").unwrap();
        let leaf = |name: &str| {
            let leaf = authority.issue(&LeafRequest::client(name)).unwrap();
            leaf.certificate_pem.clone()
        };
        let alice = leaf("alice");
        let read_one = read("certificate", &alice).unwrap();
        assert_eq!(read_one.common_name, "alice");
        assert_eq!(read_one.fingerprint.len(), 64);
        assert_eq!(refused(&format!("{alice}{alice}")), "single");
        assert_eq!(refused(&leaf("svc/other")), "reserved");
        assert_eq!(refused(&leaf("prismnet")), "reserved");
        assert_eq!(refused(""), "pem");
        assert_eq!(
            refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "certificate"
        );
        assert_eq!(refused("-----BEGIN PRIVATE KEY-----"), "private_key");
        assert_eq!(refused(&"x".repeat(MOST_BYTES + 1)), "length");
    }
}
