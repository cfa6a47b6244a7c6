//! Certificate signing requests: a key stays with its owner, and the authority sees only its public half.

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKey, PublicKeyData as _,
};

use crate::PkiError;

/// A PEM text that is longer is no request of anybody's.
const MOST_BYTES: usize = 16 * 1024;

/// A new key and the request (PKCS#10) to certify it.
#[derive(Clone)]
pub struct KeyRequest {
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// The request.
    pub request_pem: String,
}

impl KeyRequest {
    /// A new key. The authority decides on the names; this one is for people who look at the request.
    pub fn create(common_name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        Ok(Self {
            request_pem: params.serialize_request(&key)?.pem()?,
            key_pem: key.serialize_pem(),
        })
    }
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRequest").finish_non_exhaustive()
    }
}

/// The key of a request whose signature shows that the sender has it.
pub(crate) fn public_key(pem: &str) -> Result<PublicKey, PkiError> {
    if pem.len() > MOST_BYTES {
        return Err(PkiError::Request("is longer than 16 KiB"));
    }
    if pem.contains("PRIVATE KEY") {
        return Err(PkiError::Request("has a private key beside it"));
    }
    let request = CertificateSigningRequestParams::from_pem(pem).map_err(|_| {
        PkiError::Request("is not a PKCS#10 request in PEM that its key has signed")
    })?;
    // The length tells the curve: an algorithm that belongs to another one would make a certificate nobody can use.
    let known = [
        (&PKCS_ECDSA_P256_SHA256, 65),
        (&PKCS_ECDSA_P384_SHA384, 97),
        (&PKCS_ED25519, 32),
    ];
    let key = request.public_key;
    let fits = |(algorithm, length): &(&rcgen::SignatureAlgorithm, usize)| {
        key.algorithm() == *algorithm && key.der_bytes().len() == *length
    };
    if !known.iter().any(fits) {
        return Err(PkiError::Request(
            "has no key of ECDSA P-256, ECDSA P-384 or Ed25519",
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::{Authority, LeafRequest, Purpose, describe};

    #[test]
    fn the_authority_decides_and_the_key_is_the_requests() {
        let authority = Authority::create("root").unwrap();
        let asked = KeyRequest::create("somebody-else").unwrap();
        let request = LeafRequest::client("plasmavmc-agent@h1");
        let certificate = authority.sign(&request, &asked.request_pem).unwrap();
        let found = describe(&certificate).unwrap();
        assert_eq!(found.common_name, "plasmavmc-agent@h1");
        assert_eq!(
            (found.purpose, found.names.len()),
            (Some(Purpose::Client), 0)
        );
        let key = KeyPair::from_pem(&asked.key_pem).unwrap();
        assert_eq!(
            rcgen::PublicKeyData::subject_public_key_info(&key),
            found.public_key
        );
        assert!(!format!("{asked:?}").contains("PRIVATE"));
        // A renewal keeps what it was issued for.
        let again = authority.sign(&authority.renewal(&found).unwrap(), &asked.request_pem);
        assert_eq!(
            describe(&again.unwrap()).unwrap().common_name,
            found.common_name
        );
    }

    #[test]
    fn what_is_not_signed_by_its_key_is_refused() {
        let asked = KeyRequest::create("x").unwrap();
        let other = KeyRequest::create("x").unwrap();
        let lines = |pem: &str| pem.lines().map(str::to_owned).collect::<Vec<_>>();
        // Somebody else's signature under this one's key: the end of one over the beginning of the other.
        let (mut mixed, tail) = (lines(&asked.request_pem), lines(&other.request_pem));
        let last = mixed.len() - 2;
        mixed[last].clone_from(&tail[last]);
        for bad in [
            String::new(),
            "x".repeat(20_000),
            asked.key_pem.clone(),
            format!("{}{}", asked.request_pem, asked.key_pem),
            mixed.join("\n"),
        ] {
            assert!(
                matches!(public_key(&bad), Err(PkiError::Request(_))),
                "{bad}"
            );
        }
        public_key(&asked.request_pem).unwrap();
    }
}
