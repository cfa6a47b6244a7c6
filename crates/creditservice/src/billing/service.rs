//! The use cases of an org's terms.

use creditservice_ledger::Billing;
use photon_auth::{Context, Tell};
use photon_authz::Scope;
use photon_core::{Error, Name};
use photon_server::Mode;

use super::{Stored, Terms, key};
use crate::{app::App, shard::stored};

/// What a project without a wallet means here. Read from the store each time: who asks is about to write there.
///
/// # Errors
/// 503.
pub(crate) async fn of_project(app: &App, project: &Name) -> Result<Billing, Error> {
    let org = app.auth.policies().org_of(project).cloned();
    let required = match org {
        Some(org) => terms(app, org).await?.required,
        None => by_default(app),
    };
    Ok(if required {
        Billing::Required
    } else {
        Billing::Optional
    })
}

/// An org's terms.
pub(crate) async fn get(app: &App, ctx: &Context, org: Name) -> Result<Terms, Error> {
    ctx.allow_hidden(&Scope::Org(org.clone()), format!("org {org}"))?;
    terms(app, org).await
}

/// Says whether an org's projects must have a wallet, or leaves it to the configuration again.
pub(crate) async fn set(
    app: &App,
    ctx: &Context,
    org: Name,
    required: Option<bool>,
) -> Result<Terms, Error> {
    // Who rules an org must not free it from paying.
    ctx.allow(&Scope::System)?;
    let mut transaction = app.shards.store().transaction();
    match required {
        Some(required) => {
            transaction.put_raw(&key(&org), stored::encode(&Stored { required })?, 0)?
        }
        None => transaction.delete_raw(&key(&org))?,
    };
    ctx.once(&mut transaction, "billing", org.as_str(), Tell::Again)?;
    transaction.commit().await?;
    terms(app, org).await
}

async fn terms(app: &App, org: Name) -> Result<Terms, Error> {
    let entry = app.shards.store().get_raw(&key(&org)).await?;
    let said = entry.as_ref().map(stored::read::<Stored>).transpose()?;
    Ok(Terms {
        required: said.map_or_else(|| by_default(app), |said| said.required),
        own: said.is_some(),
        org,
    })
}

fn by_default(app: &App) -> bool {
    let required = app.config.billing.required;
    required.unwrap_or(app.mode == Mode::Enforce)
}
