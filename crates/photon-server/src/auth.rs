//! Who a REST request is from.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use http::{HeaderValue, header, request::Parts};
use photon_core::Error;

use crate::peer::{CertificateIdentity, Peer};

/// The caller of a request, as the door found it. In the extensions of every request behind a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A request without a credential in dev mode.
    DevOperator,
    /// A verified client certificate.
    Certificate(Arc<CertificateIdentity>),
    /// The subject of an accepted token.
    Token {
        /// Who it was issued to.
        subject: Arc<str>,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DevOperator => f.write_str("dev-operator"),
            Self::Certificate(certificate) => write!(f, "cert:{}", certificate.common_name),
            Self::Token { subject } => write!(f, "token:{subject}"),
        }
    }
}

/// What a door does with a request that its authenticator has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The caller is known.
    Known(Identity),
    /// There is no credential: the local operator in dev mode, refused otherwise.
    Anonymous,
    /// The route is for everybody: the request passes in every mode, whatever credential it carries.
    Open,
}

/// Finds the caller's credential and checks it.
pub trait Authenticator: Send + Sync + 'static {
    /// `Ok(None)`: there is no credential. `Err`: there is one and it is bad, which is refused in every mode.
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Option<Identity>, Error>>;

    /// How a caller is to prove itself, for the `WWW-Authenticate` of a 401 (RFC 9110, 11.6.1). `None`: by nothing that
    /// goes into a header.
    fn challenge(&self) -> Option<HeaderValue> {
        None
    }

    /// What a door asks. An authenticator that has more to say than an [`Identity`] leaves it in the request's
    /// extensions, for the handlers; one that knows routes for everybody tells here. The matched path is in the
    /// extensions already.
    fn admit<'a>(
        &'a self,
        request: &'a mut Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Admission, Error>> {
        Box::pin(async move {
            let found = self.authenticate(request, peer).await?;
            Ok(found.map_or(Admission::Anonymous, Admission::Known))
        })
    }
}

/// Accepts client certificates and nothing else: an `Authorization` header is a bad credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateAuthenticator;

impl Authenticator for CertificateAuthenticator {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Option<Identity>, Error>> {
        Box::pin(std::future::ready(by_certificate(request, peer)))
    }
}

fn by_certificate(request: &Parts, peer: Option<&Peer>) -> Result<Option<Identity>, Error> {
    if request.headers.contains_key(header::AUTHORIZATION) {
        return Err(Error::unauthenticated("this service accepts no tokens"));
    }
    let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) else {
        return Ok(None);
    };
    if certificate.common_name.is_empty() {
        return Err(Error::unauthenticated(
            "the client certificate has no common name",
        ));
    }
    Ok(Some(Identity::Certificate(Arc::clone(certificate))))
}
