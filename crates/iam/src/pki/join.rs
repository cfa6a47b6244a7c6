//! A host joins: its token is used up, and its agents get certificates.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use photon_core::{Error, Name};
use photon_pki::{Description, LeafRequest, describe};
use uuid::Uuid;

use super::{
    authority::{self, Order},
    config::PkiConfig,
    host_token::{self, HostToken},
};
use crate::{app::App, audit::Actor, credential::Secret};

/// Who asks: nobody has to be known to use a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    pub(crate) source: Option<IpAddr>,
    pub(crate) request_id: Uuid,
}

/// The keys to be certified.
#[derive(Debug)]
pub(crate) enum Requests {
    /// One key for all agents of the host.
    Shared(String),
    /// A key for each, by the agent's name.
    Each(BTreeMap<String, String>),
}

/// What a host got.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) host: Name,
    pub(crate) authority: String,
    pub(crate) certificates: Vec<AgentCertificate>,
}

/// One agent's certificate.
#[derive(Debug)]
pub(crate) struct AgentCertificate {
    pub(crate) agent: Name,
    pub(crate) certificate: String,
    pub(crate) description: Description,
}

/// Uses a token up.
///
/// Certificates are made before the token is used, and shown after: a bad request costs nobody a token, and of two hosts
/// with one token only one gets anything.
pub(crate) async fn redeem(
    app: &App,
    visitor: Visitor,
    token: &Secret,
    requests: &Requests,
) -> Result<Joined, Error> {
    let Some(id) = host_token::id_of(token.expose()) else {
        // Not even the form of one: counted, too.
        let _wrong = app
            .guess
            .begin("host-token", visitor.source, Instant::now())?;
        return Err(not_accepted());
    };
    let attempt = app
        .guess
        .begin(&format!("host-token:{id}"), visitor.source, Instant::now())?;
    let records = app.records::<HostToken>();
    let found = records.get(&id.to_string()).await?;
    let now = crate::clock::now();
    let good = HostToken::accepts(
        found.as_ref().map(|found| &found.value),
        token.expose(),
        now,
    );
    let Some(mut found) = found.filter(|_| good) else {
        return Err(not_accepted());
    };
    attempt.give_back();

    let authority = authority::load(app).await?;
    let host = found.value.host.clone();
    let (agents, orders) = orders(&app.config.pki, &host, requests)?;
    let made = authority::sign(Arc::clone(&authority), orders).await?;
    let certificates: Vec<AgentCertificate> = agents
        .into_iter()
        .zip(made)
        .map(|(agent, certificate)| {
            let description = describe(&certificate).map_err(Error::internal)?;
            Ok(AgentCertificate {
                agent,
                certificate,
                description,
            })
        })
        .collect::<Result<_, Error>>()?;

    found.value.used_at = Some(now);
    found.value.used_from = visitor.source.map(|source| source.to_string());
    let serials: Vec<&str> = certificates
        .iter()
        .map(|made| made.description.serial.as_str())
        .collect();
    let act = host_token::act(&found.value).detail("certificates", serials);
    let action = "iam.host_tokens.redeem".parse().map_err(Error::internal)?;
    let entry = act.by(Actor::anonymous(visitor.source, visitor.request_id), action);
    let mut transaction = app.store.transaction();
    transaction.replace(&records, &found)?;
    match app.audit.commit(&transaction, &entry).await {
        Ok(_) => {}
        // Somebody else has used it, or taken it back, since it was read.
        Err(photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. }) => {
            return Err(not_accepted());
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(%host, token = %id, "a host has joined");
    Ok(Joined {
        host,
        authority: authority.certificate_pem().to_owned(),
        certificates,
    })
}

/// A certificate for each agent of the host.
fn orders(
    config: &PkiConfig,
    host: &Name,
    requests: &Requests,
) -> Result<(Vec<Name>, Vec<Order>), Error> {
    let order = |agent: &Name, csr: &str, field: String| Order {
        request: LeafRequest::client(PkiConfig::common_name(agent, host)),
        csr: csr.into(),
        field,
    };
    let known = &config.host_agents;
    match requests {
        Requests::Shared(csr) => Ok((
            known.clone(),
            known
                .iter()
                .map(|agent| order(agent, csr, "csr".to_owned()))
                .collect(),
        )),
        Requests::Each(csrs) => {
            let (mut agents, mut orders) = (Vec::new(), Vec::new());
            for (name, csr) in csrs {
                let field = format!("csrs.{name}");
                let Some(agent) = known.iter().find(|agent| agent.as_str() == name) else {
                    let names: Vec<&str> = known.iter().map(Name::as_str).collect();
                    let message = format!("csrs may only name {}", names.join(", "));
                    return Err(Error::validation("csrs", "unknown", message));
                };
                orders.push(order(agent, csr, field));
                agents.push(agent.clone());
            }
            Ok((agents, orders))
        }
    }
}

/// The same for every reason: who has no token learns nothing about those there are.
fn not_accepted() -> Error {
    Error::unauthenticated("the host token is not accepted: unknown, used, or its time is over")
}
