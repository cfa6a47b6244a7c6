//! Removing what hangs on something that is going away.
//!
//! In steps that are bounded and may be repeated: after a crash, the same delete takes up where it ended. Whoever calls
//! has first seen to it that nothing new can be hung on it.

use photon_auth::Context;
use photon_authz::{Binding, DenyRule, Group, PrincipalKind, PrincipalRef};
use photon_core::{Error, Name};
use photon_store::{Collection, PageRequest, Record, Stored};

use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
};

/// Records looked at together.
const CHUNK: usize = 1_000;

/// Records removed in one transaction: with an index key each, two writes apiece, of the 128 that etcd takes.
const BATCH: usize = 40;

/// Removes the bindings that `goes` picks, among all there are.
pub(crate) async fn bindings(
    app: &App,
    ctx: &Context,
    because: &Act,
    goes: impl Fn(&Binding) -> bool,
) -> Result<(), Error> {
    sweep(app, ctx, "", because, goes).await
}

/// Removes the deny rules that `goes` picks.
pub(crate) async fn deny_rules(
    app: &App,
    ctx: &Context,
    because: &Act,
    goes: impl Fn(&DenyRule) -> bool,
) -> Result<(), Error> {
    sweep(app, ctx, "", because, goes).await
}

/// Removes what a principal has that has been closed at a revision: credentials, memberships, bindings, deny rules about
/// it.
pub(crate) async fn all_of_principal(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    closed: i64,
    because: &Act,
) -> Result<(), Error> {
    if principal.kind != PrincipalKind::Group {
        crate::credential::service::remove_all(app, ctx, principal).await?;
    }
    // Everything it was given before is known here then, and need not be looked for among what everybody has.
    app.auth.wait_for(closed, ctx.deadline).await?;
    memberships(app, ctx, principal, because).await?;
    bindings_of(app, ctx, principal, because).await?;
    let about_it = |rule: &DenyRule| rule.principal.as_ref() == Some(principal);
    deny_rules(app, ctx, because, about_it).await
}

/// Takes a principal out of the groups it is in.
async fn memberships(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    because: &Act,
) -> Result<(), Error> {
    let groups = app.policies().groups_of(principal);
    for group in groups.iter() {
        contended(ctx, || leave(app, ctx, group, principal, because)).await?;
    }
    Ok(())
}

async fn leave(
    app: &App,
    ctx: &Context,
    group: &Name,
    principal: &PrincipalRef,
    because: &Act,
) -> Result<(), Lost> {
    let groups = app.records::<Group>();
    let Some(mut group) = groups.get(group.as_str()).await? else {
        return Ok(());
    };
    if !group.value.members.contains(principal) {
        return Ok(()); // only by way of another group
    }
    group.value.members.retain(|member| member != principal);
    let mut transaction = app.store.transaction();
    transaction.replace(&groups, &group)?;
    let act = because.clone().detail("left", group.key.as_str());
    app.publish(ctx, transaction, act).await?;
    Ok(())
}

/// Removes the bindings of a principal that are known here.
pub(crate) async fn bindings_of(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    because: &Act,
) -> Result<(), Error> {
    let known: Vec<String> = app
        .policies()
        .bindings_of(principal)
        .map(|binding| binding.id.to_string())
        .collect();
    let records = app.records::<Binding>();
    for ids in known.chunks(BATCH) {
        let mut batch = Vec::with_capacity(ids.len());
        for id in ids {
            batch.extend(records.get(id).await?);
        }
        remove(app, ctx, &records, &batch, because).await?;
    }
    Ok(())
}

/// Removes the records below `prefix` that `goes` picks, in batches.
async fn sweep<T: Record>(
    app: &App,
    ctx: &Context,
    prefix: &str,
    because: &Act,
    goes: impl Fn(&T) -> bool,
) -> Result<(), Error> {
    let records = app.records::<T>();
    let mut after = None;
    loop {
        let mut page = records.list(&page(prefix, after)).await?;
        page.items.retain(|stored| goes(&stored.value));
        for batch in page.items.chunks(BATCH) {
            remove(app, ctx, &records, batch, because).await?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn remove<T: Record>(
    app: &App,
    ctx: &Context,
    records: &Collection<T>,
    batch: &[Stored<T>],
    because: &Act,
) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut transaction = app.store.transaction();
    for stored in batch {
        transaction.delete(records, stored)?;
    }
    let keys = batch.iter().map(|stored| stored.key.as_str());
    let act = because.clone().detail("removed", removed::<T>(keys));
    match app.publish(ctx, transaction, act).await {
        Ok(_) => Ok(()),
        // One of them was changed, or removed, meanwhile: one at a time then.
        Err(photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. }) => {
            for stored in batch {
                let key = stored.key.as_str();
                contended(ctx, || remove_one(app, ctx, records, key, because)).await?;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove_one<T: Record>(
    app: &App,
    ctx: &Context,
    records: &Collection<T>,
    key: &str,
    because: &Act,
) -> Result<(), Lost> {
    let Some(stored) = records.get(key).await? else {
        return Ok(());
    };
    let mut transaction = app.store.transaction();
    transaction.delete(records, &stored)?;
    let act = because.clone().detail("removed", removed::<T>([key]));
    app.publish(ctx, transaction, act).await?;
    Ok(())
}

/// What the audit says of records that went with something: `binding/bnd-…`.
fn removed<'a, T: Record>(keys: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let kind = T::ROOT.trim_end_matches('/').rsplit('/').next();
    let kind = kind.unwrap_or_default();
    keys.into_iter()
        .map(|key| format!("{kind}/{key}"))
        .collect()
}

fn page(prefix: &str, after: Option<String>) -> PageRequest {
    PageRequest {
        prefix: prefix.to_owned(),
        after,
        limit: CHUNK,
        revision: 0,
    }
}
