//! Ways to prove who one is.

use std::net::IpAddr;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use photon_authz::{PrincipalKind, PrincipalRef};
use photon_core::{Error, Name};
use photon_server::{CertificateIdentity, Peer};

use crate::{
    auth::Auth,
    caller::{Caller, OnBehalf, Who},
};

/// With it a service says for which principal it acts, as `user:alice`.
pub const ON_BEHALF_OF: &str = "photon-on-behalf-of";
/// With it a service says for which project it acts.
pub const ON_BEHALF_PROJECT: &str = "photon-on-behalf-project";

/// What the common names of services' certificates begin with.
const SERVICE_PREFIX: &str = "svc/";

/// A request whose caller is asked for. gRPC metadata are its headers.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Who checks.
    pub auth: &'a Auth,
    /// The request without its body.
    pub request: &'a Parts,
    /// The other end of its connection.
    pub peer: Option<&'a Peer>,
}

impl Asking<'_> {
    /// Where it came from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.addr.ip().to_canonical())
    }
}

/// One way to prove who one is. Those built in are bearer tokens, client certificates of services and, in dev mode,
/// having no credential at all; [`crate::AuthOptions::schemes`] brings others.
pub trait Scheme: Send + Sync + 'static {
    /// `Ok(None)`: the request has no credential of this kind, the next is asked. `Err`: it has one and it is bad, which
    /// is refused in every mode. Whether the principal is disabled, and for whom a service acts, is asked afterwards.
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>>;
}

/// `Authorization: Bearer <token>` (RFC 6750). Any other `Authorization` is a bad credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer;

impl Scheme for Bearer {
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>> {
        Box::pin(async move {
            let Some(token) = bearer(&asking.request.headers)? else {
                return Ok(None);
            };
            let verified = asking.auth.believe(token).await?;
            let caller = Caller {
                who: Who::Principal(verified.principal.clone()),
                limit: Some(verified.limit.clone()),
                source: asking.source(),
                on_behalf: None,
                token_id: Some(verified.claims.jti.as_str().into()),
                acting: verified.claims.acting().cloned(),
            };
            Ok(Some(caller))
        })
    }
}

/// What a subprotocol begins with that is a token: pages cannot give a WebSocket an `Authorization`.
const TOKEN_PROTOCOL: &str = "photon.bearer.";

/// The token of a request that has one: in `Authorization` or, where a WebSocket is asked for, as the subprotocol
/// `photon.bearer.<token>`.
///
/// # Errors
/// 401 for an `Authorization` that is something else, and for more than one.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return by_protocol(headers);
    };
    if values.next().is_some() {
        return Err(Error::unauthenticated(
            "the Authorization header is there more than once",
        ));
    }
    token_of(value)
        .map(Some)
        .ok_or_else(|| Error::unauthenticated("the Authorization header must be: Bearer <token>"))
}

fn by_protocol(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let is_websocket = headers
        .get(header::UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return Ok(None);
    }
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let words = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    let mut tokens = words.filter_map(|word| word.trim().strip_prefix(TOKEN_PROTOCOL));
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err(Error::unauthenticated("there is more than one token")),
        (Some(""), None) => Err(Error::unauthenticated("the token is empty")),
        (token, _) => Ok(token),
    }
}

fn token_of(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A certificate that the listener has verified and whose common name is that of a service: `svc/<name>`, or the name
/// alone for those named in [`crate::AuthOptions::services`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceCertificate;

impl Scheme for ServiceCertificate {
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>> {
        Box::pin(async move {
            let certificate = asking.peer.and_then(|peer| peer.certificate.as_deref());
            let Some(certificate) = certificate else {
                return Ok(None);
            };
            let service = service_of(certificate, &asking.auth.options().services)?;
            let caller = Caller {
                who: Who::Principal(PrincipalRef::service(service)),
                limit: None,
                source: asking.source(),
                on_behalf: None,
                token_id: None,
                acting: None,
            };
            Ok(Some(caller))
        })
    }
}

fn service_of(certificate: &CertificateIdentity, plain: &[Name]) -> Result<Name, Error> {
    let name = certificate.common_name.as_str();
    let service = match name.strip_prefix(SERVICE_PREFIX) {
        Some(service) => Name::new(service).ok(),
        None => plain.iter().find(|known| known.as_str() == name).cloned(),
    };
    service.ok_or_else(|| {
        Error::unauthenticated("the client certificate is not that of a service; show a token")
    })
}

/// In dev mode whoever has no credential is the operator of this machine. Checked again here although dev mode does not
/// start on other listeners: this is the one place that lets somebody in for nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DevOperator;

impl Scheme for DevOperator {
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>> {
        let source = asking.source();
        let local = source.is_none_or(|address| address.is_loopback());
        let caller = local.then(|| Caller::dev_operator(source));
        Box::pin(std::future::ready(Ok(caller)))
    }
}

/// For whom a service says it acts. What others say of themselves with these headers is not looked at.
pub(crate) fn read_on_behalf(
    caller: &PrincipalRef,
    headers: &HeaderMap,
) -> Result<Option<OnBehalf>, Error> {
    if caller.kind != PrincipalKind::Service {
        return Ok(None);
    }
    let text = |name: &'static str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    match (text(ON_BEHALF_OF), text(ON_BEHALF_PROJECT)) {
        (None, None) => Ok(None),
        (Some(principal), Some(project)) => Ok(Some(OnBehalf {
            principal: PrincipalRef::parse_field(ON_BEHALF_OF, principal)?,
            project: Name::parse_field(ON_BEHALF_PROJECT, project)?,
        })),
        (Some(_), None) => Err(Error::required(ON_BEHALF_PROJECT)),
        (None, Some(_)) => Err(Error::required(ON_BEHALF_OF)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_one_bearer_token_is_a_good_authorization() {
        let read = |all: &[(&'static str, &str)]| {
            bearer(&headers(all)).map(|token| token.map(str::to_owned))
        };
        assert_eq!(read(&[]).unwrap(), None);
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            let token = read(&[("authorization", good)]).unwrap();
            assert_eq!(token.as_deref(), Some("a.b.c"), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ", "Basic YTpi", "a.b.c", "Bearer\ta"] {
            let error = read(&[("authorization", bad)]).unwrap_err();
            assert_eq!(error.code().http, 401, "{bad}");
        }
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(read(&twice).unwrap_err().code().http, 401);
    }

    #[test]
    fn a_websocket_may_have_its_token_among_its_protocols() {
        let upgrade = ("upgrade", "WebSocket");
        let read = |all: &[(&'static str, &str)]| {
            bearer(&headers(all)).map(|token| token.map(str::to_owned))
        };
        let protocol = "sec-websocket-protocol";
        let told = (protocol, "photon.console.v1, photon.bearer.a.b-c_d.e");
        assert_eq!(
            read(&[upgrade, told]).unwrap().as_deref(),
            Some("a.b-c_d.e")
        );
        // Nothing else has one, and `Authorization` counts first.
        assert_eq!(read(&[told]).unwrap(), None);
        assert_eq!(read(&[upgrade, (protocol, "chat")]).unwrap(), None);
        let both = [upgrade, told, ("authorization", "Bearer x")];
        assert_eq!(read(&both).unwrap().as_deref(), Some("x"));
        for bad in ["photon.bearer.", "photon.bearer.a, photon.bearer.b"] {
            let error = read(&[upgrade, (protocol, bad)]).unwrap_err();
            assert_eq!(error.code().http, 401, "{bad}");
        }
    }

    #[test]
    fn services_are_known_by_their_common_name() {
        let plain = [Name::new("prismnet").unwrap()];
        let of = |common_name: &str| {
            let certificate = CertificateIdentity {
                common_name: common_name.to_owned(),
                dns_names: vec!["prismnet".to_owned()],
                fingerprint: String::new(),
                der: std::sync::Arc::default(),
            };
            service_of(&certificate, &plain)
        };
        assert_eq!(of("svc/anything").unwrap().as_str(), "anything");
        assert_eq!(of("prismnet").unwrap().as_str(), "prismnet");
        for other in ["", "root", "svc/", "svc/a/b", "svc/A", "SVC/a", "prismnet2"] {
            assert_eq!(of(other).unwrap_err().code().http, 401, "{other}");
        }
    }

    #[test]
    fn only_services_act_for_others() {
        let of = |caller: &str, all: &[(&'static str, &str)]| {
            read_on_behalf(&caller.parse().unwrap(), &headers(all))
        };
        let both = [(ON_BEHALF_OF, "user:alice"), (ON_BEHALF_PROJECT, "shop")];
        let read = of("service:k8shost", &both).unwrap().unwrap();
        assert_eq!(read.principal.to_string(), "user:alice");
        assert_eq!(read.project.as_str(), "shop");
        assert_eq!(of("user:eve", &both).unwrap(), None);
        assert_eq!(of("service:k8shost", &[]).unwrap(), None);
        for (bad, field) in [
            (&both[..1], ON_BEHALF_PROJECT),
            (&both[1..], ON_BEHALF_OF),
            (
                &[(ON_BEHALF_OF, "alice"), (ON_BEHALF_PROJECT, "shop")][..],
                ON_BEHALF_OF,
            ),
            (
                &[(ON_BEHALF_OF, "user:alice"), (ON_BEHALF_PROJECT, "a/b")][..],
                ON_BEHALF_PROJECT,
            ),
        ] {
            let error = of("service:k8shost", bad).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], field);
        }
    }
}
