//! What every call does first and last: find out who calls; say a refusal in gRPC's terms.

use chainfire_engine::EtcdError;
use photon_server::Peer;
use tonic::{Code, Extensions, Request, Response, Status, metadata::MetadataMap};

use super::ByGateway;
use crate::app::{App, Caller, Credentials};

/// The caller and the message of a unary call.
///
/// # Errors
/// `no leader` for a caller who asked for one (metadata `hasleader`); what [`App::caller`] refuses.
pub(super) async fn enter<T>(app: &App, request: Request<T>) -> Result<(Caller, T), Status> {
    if wants_leader(request.metadata()) && !app.has_leader() {
        return Err(refuse(EtcdError::NO_LEADER));
    }
    let caller = caller(app, request.metadata(), request.extensions()).await;
    Ok((caller.map_err(refuse)?, request.into_inner()))
}

/// The caller and the messages of a stream of watches. As in etcd a token that does not hold ends no stream: every
/// watch that is asked for with it is refused by itself.
///
/// # Errors
/// Those of [`enter`] otherwise.
pub(super) async fn enter_to_watch<T>(
    app: &App,
    request: Request<T>,
) -> Result<(Caller, T), Status> {
    if wants_leader(request.metadata()) && !app.has_leader() {
        return Err(refuse(EtcdError::NO_LEADER));
    }
    let (metadata, extensions) = (request.metadata(), request.extensions());
    let caller = match caller(app, metadata, extensions).await {
        Err(error) if error == EtcdError::INVALID_AUTH_TOKEN => {
            let caller = Caller::unproven(Credentials {
                token: token(metadata),
                common_name: common_name(extensions),
            });
            match origin(extensions) {
                Origin::Gateway => caller.unnamed(),
                Origin::Grpc => caller,
            }
        }
        caller => caller.map_err(refuse)?,
    };
    Ok((caller, request.into_inner()))
}

/// Who calls, by token or certificate.
async fn caller(
    app: &App,
    metadata: &MetadataMap,
    extensions: &Extensions,
) -> Result<Caller, EtcdError> {
    let token = token(metadata);
    if let Some(token) = token {
        app.await_token(token).await?;
    }
    resolve(app, token, common_name(extensions), origin(extensions))
}

/// Where a call came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Grpc,
    Gateway,
}

pub(super) fn origin(extensions: &Extensions) -> Origin {
    match extensions.get::<ByGateway>() {
        Some(ByGateway) => Origin::Gateway,
        None => Origin::Grpc,
    }
}

pub(super) fn common_name(extensions: &Extensions) -> Option<&str> {
    let peer = extensions.get::<Peer>()?;
    let certificate = peer.certificate.as_ref()?;
    Some(certificate.common_name.as_str())
}

/// The caller these credentials make. On the gateway a certificate lets in but names nobody.
pub(super) fn resolve(
    app: &App,
    token: Option<&str>,
    common_name: Option<&str>,
    origin: Origin,
) -> Result<Caller, EtcdError> {
    let caller = app.caller(Credentials { token, common_name })?;
    let named_by_certificate = token.is_none() && caller.user().is_some();
    match origin {
        Origin::Gateway if named_by_certificate => Err(EtcdError::USER_EMPTY),
        Origin::Gateway => Ok(caller.unnamed()),
        Origin::Grpc => Ok(caller),
    }
}

/// etcd's own key, or `authorization` as its gateway takes it.
pub(super) fn token(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata
        .get("token")
        .or_else(|| metadata.get("authorization"))?;
    value.to_str().ok()
}

/// Whether the call is to fail, and its stream to end, while there is no leader.
pub(super) fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get("hasleader")
        .is_some_and(|value| value.as_bytes() == b"true")
}

pub(crate) fn refuse(error: EtcdError) -> Status {
    Status::new(Code::from_i32(error.code), error.message)
}

pub(super) fn answer<T>(outcome: Result<T, EtcdError>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(refuse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_text() {
        for error in EtcdError::ALL {
            let status = refuse(error.clone());
            assert_eq!(status.code() as i32, error.code);
            assert_eq!(status.message(), error.message);
        }
    }

    #[test]
    fn etcds_metadata_is_understood() {
        let mut metadata = MetadataMap::new();
        assert_eq!(token(&metadata), None);
        assert!(!wants_leader(&metadata));
        metadata.insert("token", "abc".parse().unwrap());
        metadata.insert("hasleader", "true".parse().unwrap());
        assert_eq!(token(&metadata), Some("abc"));
        assert!(wants_leader(&metadata));
    }
}
