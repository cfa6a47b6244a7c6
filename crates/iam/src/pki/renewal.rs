//! A certificate renewed over itself: who can still show it gets another of the same names.

use std::sync::Arc;

use photon_auth::SERVICES;
use photon_authz::{PrincipalRef, Scope};
use photon_core::{Error, Name};
use photon_pki::{Description, PkiError, describe, describe_der};
use photon_server::Peer;
use uuid::Uuid;

use super::authority::{self, Order};
use crate::{
    app::App,
    audit::{Act, Actor},
};

/// Whoever has it can do everything in the store: it is renewed where the authority's key is, not over a network.
const ROOT: &str = "root";

/// A certificate in place of the one that was shown.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) certificate: String,
    pub(crate) authority: String,
    pub(crate) description: Description,
}

/// Renews the certificate of the connection.
pub(crate) async fn renew(
    app: &App,
    peer: Option<&Peer>,
    request_id: Uuid,
    csr: &str,
) -> Result<Renewed, Error> {
    let shown = peer.and_then(|peer| peer.certificate.as_ref().map(|shown| (peer, shown)));
    let Some((peer, shown)) = shown else {
        return Err(Error::unauthenticated(
            "the certificate to be renewed must be shown as the client certificate of this connection",
        ));
    };
    let old = describe_der(&shown.der).map_err(Error::internal)?;
    check_holder(app, &old)?;
    let authority = authority::load(app).await?;
    let request = authority.renewal(&old).map_err(not_renewed)?;
    let order = Order {
        request,
        csr: csr.into(),
        field: "csr".to_owned(),
    };
    let certificate = authority::sign(Arc::clone(&authority), vec![order])
        .await?
        .pop()
        .ok_or_else(|| Error::internal("no certificate was made"))?;
    let description = describe(&certificate).map_err(Error::internal)?;
    // Nothing is stored but that it happened.
    let act = Act::new("certificate", &description.serial, Scope::System)
        .detail("common_name", description.common_name.as_str())
        .detail("in_place_of", old.serial.as_str())
        .detail("not_after", description.not_after.to_string());
    let action = "iam.certificates.renew".parse().map_err(Error::internal)?;
    let actor = Actor::certificate(&old.common_name, peer.addr.ip(), request_id);
    let entry = act.by(actor, action);
    app.audit.commit(&app.store.transaction(), &entry).await?;
    Ok(Renewed {
        certificate,
        authority: authority.certificate_pem().to_owned(),
        description,
    })
}

/// Whether the holder may go on being who it is.
fn check_holder(app: &App, old: &Description) -> Result<(), Error> {
    if old.common_name == ROOT {
        return Err(Error::forbidden(
            "the store's root certificate is renewed by photonctl pki renew only",
        ));
    }
    let Some(service) = service_of(&old.common_name) else {
        return Ok(());
    };
    let policies = app.policies();
    if policies
        .state_of(&service)
        .is_some_and(|state| state.disabled)
    {
        return Err(Error::forbidden(format!("{service} is disabled")));
    }
    Ok(())
}

/// The service that a certificate of this common name speaks for.
fn service_of(common_name: &str) -> Option<PrincipalRef> {
    let name = common_name
        .strip_prefix("svc/")
        .or_else(|| SERVICES.contains(&common_name).then_some(common_name))?;
    Name::new(name).ok().map(PrincipalRef::service)
}

fn not_renewed(error: PkiError) -> Error {
    match error {
        PkiError::NotOurs(_) => {
            Error::forbidden("the certificate was not issued by this authority").with_source(error)
        }
        error => Error::internal(error),
    }
}
