//! The root.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use crate::{
    Description, Leaf, LeafRequest, PkiError, Purpose, SubjectName, describe, files, request,
};

/// How long a root is valid: ten years.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Clocks of different hosts may differ by this much.
const BACKDATE: Duration = Duration::from_secs(2 * 3600);

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// A certificate authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    description: Description,
}

impl Authority {
    /// A new root with a new key.
    pub fn create(common_name: &str) -> Result<Self, PkiError> {
        if common_name.is_empty() {
            return Err(PkiError::NoCommonName);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        // Leaves only: it signs no further authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, SystemTime::now(), LIFETIME);
        let certificate_pem = params.self_signed(&key)?.pem();
        Self::from_pem(&certificate_pem, &key.serialize_pem())
    }

    /// A root from its two PEM texts.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let description = describe(certificate_pem)?;
        if !description.is_authority {
            return Err(PkiError::NotOurs(
                "the certificate is not an authority's".to_owned(),
            ));
        }
        let key = KeyPair::from_pem(key_pem).map_err(|_| PkiError::Pem("private key"))?;
        if rcgen::PublicKeyData::subject_public_key_info(&key) != description.public_key {
            return Err(PkiError::NotOurs(
                "the key does not belong to the authority's certificate".to_owned(),
            ));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)?;
        Ok(Self {
            issuer,
            certificate_pem: certificate_pem.to_owned(),
            description,
        })
    }

    /// Reads `ca.crt` and `ca.key`.
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        Self::from_pem(
            &files::read(&directory.join(CERTIFICATE))?,
            &files::read(&directory.join(KEY))?,
        )
    }

    /// Writes `ca.crt` (0644) and `ca.key` (0600) into a directory, which is made (0700) if it is not there.
    /// An authority that is there already is never overwritten.
    pub fn save(&self, directory: &Path) -> Result<(), PkiError> {
        files::make_directory(directory)?;
        files::create(
            &directory.join(KEY),
            &self.issuer.key().serialize_pem(),
            files::PRIVATE,
        )?;
        files::create(
            &directory.join(CERTIFICATE),
            &self.certificate_pem,
            files::PUBLIC,
        )
    }

    /// The root's certificate, which others trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What the root's certificate says.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Issues a certificate with a new key, valid from now.
    pub fn issue(&self, request: &LeafRequest) -> Result<Leaf, PkiError> {
        self.issue_at(request, SystemTime::now())
    }

    /// As [`Authority::issue`], valid from another time.
    pub fn issue_at(&self, request: &LeafRequest, now: SystemTime) -> Result<Leaf, PkiError> {
        let mut params = request.params()?;
        set_validity(&mut params, now, request.lifetime);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Signs the key of a certificate signing request (PEM) and returns the certificate. The request proves that its
    /// sender has the key; names, purpose and lifetime are those of `request`, whatever it asks for.
    pub fn sign(&self, request: &LeafRequest, signing_request: &str) -> Result<String, PkiError> {
        let key = request::public_key(signing_request)?;
        let mut params = request.params()?;
        set_validity(&mut params, SystemTime::now(), request.lifetime);
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    /// A certificate of the same names, purpose and lifetime with a new key. Only for certificates of this
    /// authority; one that has expired is renewed too.
    pub fn renew(&self, certificate_pem: &str) -> Result<Leaf, PkiError> {
        self.issue(&self.renewal(&describe(certificate_pem)?)?)
    }

    /// What is to be issued in place of a certificate of this authority.
    pub fn renewal(&self, old: &Description) -> Result<LeafRequest, PkiError> {
        if old.is_authority {
            return Err(PkiError::NotOurs(
                "an authority's own certificate is not renewed".to_owned(),
            ));
        }
        // The name alone could be another root's: the identifier is derived from the root's key.
        if old.issuer != self.description.common_name
            || old.authority_key.is_none()
            || old.authority_key != self.description.subject_key
        {
            return Err(PkiError::NotOurs(format!(
                "{} was not issued by this authority",
                old.common_name
            )));
        }
        Ok(LeafRequest {
            lifetime: old.lifetime(),
            purpose: old.purpose.ok_or(PkiError::Pem("leaf certificate"))?,
            common_name: old.common_name.clone(),
            names: old.names.clone(),
        })
    }

    /// Issues a server certificate; see [`LeafRequest::server`].
    pub fn server(&self, common_name: &str, names: Vec<SubjectName>) -> Result<Leaf, PkiError> {
        self.issue(&LeafRequest::server(common_name, names))
    }

    /// Issues a client certificate.
    pub fn client(&self, common_name: &str) -> Result<Leaf, PkiError> {
        self.issue(&LeafRequest::client(common_name))
    }

    /// Issues a peer certificate; see [`LeafRequest::peer`].
    pub fn peer(&self, common_name: &str, names: Vec<SubjectName>) -> Result<Leaf, PkiError> {
        self.issue(&LeafRequest::peer(common_name, names))
    }
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + lifetime).into();
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

impl Purpose {
    pub(crate) fn from_usages(server: bool, client: bool) -> Option<Self> {
        match (server, client) {
            (true, true) => Some(Self::Peer),
            (true, false) => Some(Self::Server),
            (false, true) => Some(Self::Client),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn leaves_say_what_was_asked_for() {
        let authority = Authority::create("test root").unwrap();
        let names = vec![
            "node-1.example".parse().unwrap(),
            "10.0.0.1".parse().unwrap(),
        ];
        for (request, purpose) in [
            (
                LeafRequest::server("node-1", names.clone()),
                Purpose::Server,
            ),
            (LeafRequest::peer("node-1", names.clone()), Purpose::Peer),
            (LeafRequest::client("alice"), Purpose::Client),
        ] {
            let leaf = authority.issue(&request).unwrap();
            let found = describe(&leaf.certificate_pem).unwrap();
            assert_eq!(found.common_name, request.common_name);
            assert_eq!(found.names, request.names);
            assert_eq!(found.purpose, Some(purpose));
            assert_eq!(found.issuer, "test root");
            assert!(!found.is_authority);
            assert_eq!(found.days_left(Timestamp::now()), 89);
        }
    }

    #[test]
    fn listeners_are_always_valid_on_loopback() {
        let request = LeafRequest::server("n", ["localhost".parse().unwrap()]);
        assert_eq!(request.names, SubjectName::loopback());
    }

    #[test]
    fn the_last_third_is_the_time_to_renew() {
        let authority = Authority::create("root").unwrap();
        let leaf = authority.client("alice").unwrap();
        let found = describe(&leaf.certificate_pem).unwrap();
        let day = jiff::SignedDuration::from_hours(24);
        let now = Timestamp::now();
        assert!(!found.is_due(now));
        assert!(!found.is_due(now + day * 59));
        assert!(found.is_due(now + day * 61));
        assert!(!found.is_expired(now + day * 89));
        assert!(found.is_expired(now + day * 91));
        assert!(found.days_left(now + day * 91) < 0);
    }

    #[test]
    fn renewal_keeps_the_names_and_changes_the_key() {
        let authority = Authority::create("root").unwrap();
        let request = LeafRequest::peer("m1", ["m1.example".parse().unwrap()]);
        let long_ago = SystemTime::now() - Duration::from_secs(200 * 24 * 3600);
        let old = authority.issue_at(&request, long_ago).unwrap();
        let new = authority.renew(&old.certificate_pem).unwrap();
        let (before, after) = (
            describe(&old.certificate_pem).unwrap(),
            describe(&new.certificate_pem).unwrap(),
        );
        assert!(before.is_expired(Timestamp::now()) && !after.is_expired(Timestamp::now()));
        assert_eq!(after.lifetime(), LeafRequest::client("x").lifetime);
        assert_eq!(
            (before.common_name, before.names, before.purpose),
            (after.common_name, after.names, after.purpose)
        );
        assert_ne!(before.public_key, after.public_key);
        assert_ne!(old.key_pem, new.key_pem);

        // The same name does not make another root ours.
        let stranger = Authority::create("root").unwrap();
        assert!(matches!(
            stranger.renew(&old.certificate_pem),
            Err(PkiError::NotOurs(_))
        ));
        assert!(matches!(
            authority.renew(authority.certificate_pem()),
            Err(PkiError::NotOurs(_))
        ));
    }

    #[test]
    fn files_have_their_modes_and_are_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let pki = directory.path().join("pki");
        let authority = Authority::create("root").unwrap();
        authority.save(&pki).unwrap();
        let mode = |name: &str| {
            std::fs::metadata(pki.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("ca.crt"), mode("ca.key"), mode(".")),
            (0o644, 0o600, 0o700)
        );
        assert!(Authority::create("other").unwrap().save(&pki).is_err());

        let again = Authority::load(&pki).unwrap();
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
        let leaf = again.client("alice").unwrap();
        leaf.save(&pki, "alice").unwrap();
        again
            .renew(&leaf.certificate_pem)
            .unwrap()
            .save(&pki, "alice")
            .unwrap();
        assert_eq!((mode("alice.crt"), mode("alice.key")), (0o644, 0o600));
        assert_eq!(
            std::fs::read_dir(&pki).unwrap().count(),
            4,
            "nothing temporary is left"
        );
    }

    #[test]
    fn a_key_of_another_root_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let one = Authority::create("root").unwrap();
        one.save(directory.path()).unwrap();
        let other = Authority::create("root").unwrap();
        std::fs::write(directory.path().join("ca.crt"), other.certificate_pem()).unwrap();
        assert!(matches!(
            Authority::load(directory.path()),
            Err(PkiError::NotOurs(_))
        ));
    }

    #[test]
    fn bad_names_are_refused() {
        let authority = Authority::create("root").unwrap();
        assert!(matches!(authority.client(""), Err(PkiError::NoCommonName)));
        assert!(matches!(authority.client("a\nb"), Err(PkiError::Name(_))));
        for bad in [
            "",
            "-a",
            "a..b",
            "a b",
            "a*.b",
            "ä.example",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<SubjectName>().is_err(), "{bad:?}");
        }
        for good in ["a", "*.example", "a-b.c_d", "::1", "1.2.3.4"] {
            assert_eq!(good.parse::<SubjectName>().unwrap().to_string(), good);
        }
    }
}
