//! Ids in paths. What is no id of the kind names nothing, and is told so in the words for an id that nobody has.

use axum::extract::FromRequestParts;
use http::request::Parts;
use photon_core::{Error, Id, Kind};
use photon_server::rest::RestError;
use prismnet_model::id::{
    ExternalNetworkKind, FloatingIpKind, GroupKind, PortKindId, RouteKind, RuleKind, SubnetKind,
    VpcKind,
};

/// What people call one.
pub(crate) trait Called: Kind {
    const WHAT: &'static str;
}

macro_rules! called {
    ($($kind:ident $what:literal;)*) => {$(
        impl Called for $kind {
            const WHAT: &'static str = $what;
        }
    )*};
}

called! {
    VpcKind "vpc";
    SubnetKind "subnet";
    PortKindId "port";
    GroupKind "security group";
    RuleKind "rule";
    RouteKind "route";
    ExternalNetworkKind "external network";
    FloatingIpKind "floating ip";
}

/// The ids of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

fn read<K: Called>(text: &str) -> Result<Id<K>, Error> {
    // The text itself is not repeated: it may be long.
    text.parse().map_err(|_| Error::not_found(K::WHAT))
}

impl<K: Called, S: Send + Sync> FromRequestParts<S> for Path<Id<K>> {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RestError> {
        let text = photon_server::rest::Path::<String>::from_request_parts(parts, state).await?;
        Ok(Self(read(&text.0)?))
    }
}

impl<A: Called, B: Called, S: Send + Sync> FromRequestParts<S> for Path<(Id<A>, Id<B>)> {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RestError> {
        type Texts = (String, String);
        let texts = photon_server::rest::Path::<Texts>::from_request_parts(parts, state).await?;
        let (first, second) = &texts.0;
        Ok(Self((read(first)?, read(second)?)))
    }
}
