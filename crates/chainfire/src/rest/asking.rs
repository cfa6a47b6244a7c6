//! Who a REST request is from: etcd's users, named by a client certificate or an etcd token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use futures::future::BoxFuture;
use http::{HeaderValue, header, request::Parts};
use photon_core::Error;
use photon_server::{Authenticator, Identity, Peer, RestError};

use super::error::from_etcd;
use crate::app::{App, Caller, Credentials};

/// The store's caller, for handlers.
#[derive(Debug)]
pub(super) struct Asking(pub(super) Caller);

impl FromRequestParts<Arc<App>> for Asking {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, RestError> {
        let shown = parts.headers.get(header::AUTHORIZATION);
        let token = shown.map(HeaderValue::as_bytes);
        let peer = parts.extensions.get::<Peer>();
        Ok(Self(caller(app, token, peer).await?))
    }
}

/// Lets the door accept what the store accepts: certificates and etcd tokens. IAM's tokens are strangers here.
#[derive(Clone, Debug)]
pub struct EtcdCredentials(pub Arc<App>);

impl Authenticator for EtcdCredentials {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Option<Identity>, Error>> {
        Box::pin(self.check(request, peer))
    }
}

impl EtcdCredentials {
    async fn check(&self, request: &Parts, peer: Option<&Peer>) -> Result<Option<Identity>, Error> {
        if let Some(shown) = request.headers.get(header::AUTHORIZATION) {
            let caller = caller(&self.0, Some(shown.as_bytes()), peer).await?;
            return Ok(caller.user().map(|user| Identity::Token {
                subject: user.into(),
            }));
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
}

/// Who asks at one of our own doors: the holder of the token if one is shown (as `Bearer …` or bare), else
/// whom the connection's certificate names.
///
/// # Errors
/// `UNAUTHENTICATED`, also for any token while the store's authentication is off: a credential that is shown
/// and cannot be checked is not passed over.
pub(crate) async fn caller(
    app: &App,
    token: Option<&[u8]>,
    peer: Option<&Peer>,
) -> Result<Caller, Error> {
    let certificate = peer.and_then(|peer| peer.certificate.as_deref());
    let common_name = certificate.map(|certificate| certificate.common_name.as_str());
    let Some(token) = token else {
        let credentials = Credentials {
            token: None,
            common_name,
        };
        return app.caller(credentials).map_err(from_etcd);
    };
    let token = std::str::from_utf8(token)
        .map_err(|error| Error::unauthenticated("the token is not text").with_source(error))?;
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    app.await_token(token).await.map_err(from_etcd)?;
    let credentials = Credentials {
        token: Some(token),
        common_name,
    };
    let caller = app.caller(credentials).map_err(from_etcd)?;
    if caller.user().is_none() {
        return Err(Error::unauthenticated(
            "the store's authentication is off: it knows no tokens",
        ));
    }
    Ok(caller)
}
