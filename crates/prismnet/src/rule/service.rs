//! The use cases of rules. What they need is decided for their group.

use photon_auth::Context;
use photon_core::Error;
use photon_store::{Stored, Transaction};
use prismnet_model::{
    GroupId, Remote, Rule, RuleId, SecurityGroup, Tally, key,
    rule::{MOST_RULES, key_of},
    tally,
};

use super::NewRule;
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    group::service::{self as groups, refuse_deleting},
    listing::{self, Ask, Listing},
    quota::{Held, Unit},
    refusal,
    scope::Owner,
    subnet::service::in_body,
    versioned::Versioned,
};

fn named(id: RuleId) -> String {
    format!("rule {id}")
}

fn act(group: &SecurityGroup, rule: &Rule) -> Act {
    Act::new("security_group_rule", rule.id, &group.project)
        .detail("security_group_id", group.id.to_string())
        .detail("allows", rule.content())
}

/// Adds a rule to a group.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    group: GroupId,
    new: NewRule,
) -> Result<Versioned<Rule>, Error> {
    let found = groups::find(app, ctx, group, &Owner::default()).await?;
    refuse_deleting(&found.value)?;
    let rule = Rule {
        id: RuleId::generate(),
        group,
        direction: new.direction,
        services: new.services,
        remote: new.remote,
        description: new.description.into(),
        created_at: clock::now(),
    };
    let project = &found.value.project;
    let held = app
        .quota
        .hold(ctx, project, Unit::Rule, &rule.id.to_string())
        .await?;
    match create_in_turn(app, ctx, &rule, &held).await {
        Ok(revision) => {
            app.quota.made(held, revision);
            Ok(Versioned::new(rule, revision))
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(error)
        }
    }
}

async fn create_in_turn(app: &App, ctx: &Context, rule: &Rule, held: &Held) -> Result<i64, Error> {
    let _turn = app.turns.take(ctx, rule.group).await?;
    contended(ctx, || try_create(app, ctx, rule, held)).await
}

async fn try_create(app: &App, ctx: &Context, rule: &Rule, held: &Held) -> Result<i64, Lost> {
    let group = groups::find(app, ctx, rule.group, &Owner::default()).await?;
    refuse_deleting(&group.value)?;
    let mut tally = tally_of(app, rule.group).await?;
    if tally.value.rules >= MOST_RULES {
        let most = usize::try_from(MOST_RULES).unwrap_or(usize::MAX);
        return Err(refusal::too_many("rules in a security group", most).into());
    }
    tally.value.rules += 1;
    let mut transaction = app.store.transaction();
    transaction.unchanged(&app.records(), &group)?;
    if let Some(other) = other_group(app, ctx, rule, &group).await? {
        transaction.unchanged(&app.records(), &other)?;
    }
    transaction.replace(&app.records(), &tally)?;
    transaction.create(&app.records(), &rule.key(), rule)?;
    app.quota.remember(&mut transaction, held)?;
    let same = key::same_rule(rule.group, &rule.content());
    match app
        .commit_new(ctx, transaction, &act(&group.value, rule))
        .await
    {
        Ok(revision) => Ok(revision),
        Err(photon_store::Error::AlreadyExists { key }) if key == same => {
            let other = app.records::<Rule>().get_by_index(&same).await?;
            let id = other.map(|other| other.value.id);
            Err(refusal::exists("a rule that allows this", id).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The group that a rule names as the other side, if it is another one: of the same project, as nobody else's ports are
/// in its VPCs.
async fn other_group(
    app: &App,
    ctx: &Context,
    rule: &Rule,
    group: &Stored<SecurityGroup>,
) -> Result<Option<Stored<SecurityGroup>>, Error> {
    const FIELD: &str = "remote_group_id";
    let id = match rule.remote {
        Remote::Group(id) if id != rule.group => id,
        Remote::Group(_) | Remote::Cidr(_) => return Ok(None),
    };
    let home = groups::home(group);
    let owner = Owner {
        org: Some(home.org),
        project: Some(home.project),
    };
    let other = groups::find(app, ctx, id, &owner).await;
    let other = other.map_err(|error| in_body(FIELD, error))?;
    refuse_deleting(&other.value)?;
    Ok(Some(other))
}

async fn tally_of(app: &App, group: GroupId) -> Result<Stored<Tally>, Lost> {
    let found = app.records::<Tally>().get(&tally::key(group)).await?;
    // The group was there a moment ago: it is being deleted by somebody else.
    found.ok_or(Lost::Race)
}

/// Lists the rules of a group.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    group: GroupId,
    ask: &Ask,
) -> Result<Listing<Rule>, Error> {
    groups::find(app, ctx, group, &Owner::default()).await?;
    listing::list(&app.records(), &format!("{group}/"), ask, |_| true).await
}

/// Takes a rule out of a group.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    group: GroupId,
    id: RuleId,
) -> Result<i64, Error> {
    let _turn = app.turns.take(ctx, group).await?;
    contended(ctx, || try_delete(app, ctx, group, id)).await
}

async fn try_delete(app: &App, ctx: &Context, group: GroupId, id: RuleId) -> Result<i64, Lost> {
    let group = groups::find(app, ctx, group, &Owner::default()).await?;
    let rule = app
        .records::<Rule>()
        .get(&key_of(group.value.id, id))
        .await?;
    let rule = rule.ok_or_else(|| Error::not_found(named(id)))?;
    let mut tally = tally_of(app, group.value.id).await?;
    tally.value.rules = tally.value.rules.saturating_sub(1);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &tally)?;
    transaction.delete(&app.records(), &rule)?;
    let freed = free(app, &mut transaction, &group.value, id)?;
    let act = act(&group.value, &rule.value);
    let revision = app.commit(ctx, &transaction, &act).await?;
    app.quota.made(freed, revision);
    Ok(revision)
}

fn free(
    app: &App,
    transaction: &mut Transaction,
    group: &SecurityGroup,
    rule: RuleId,
) -> photon_store::Result<Held> {
    app.quota
        .forget(transaction, &group.project, Unit::Rule, &rule.to_string())
}

/// Takes some rules out of a group that is being deleted. Its tally is not kept any more.
pub(crate) async fn remove_batch(
    app: &App,
    ctx: &Context,
    group: &SecurityGroup,
    rules: &[Stored<Rule>],
) -> Result<(), Error> {
    let mut transaction = app.store.transaction();
    let mut freed = Vec::new();
    for rule in rules {
        transaction.delete(&app.records(), rule)?;
        freed.push(free(app, &mut transaction, group, rule.value.id)?);
    }
    let ids: Vec<String> = rules.iter().map(|rule| rule.value.id.to_string()).collect();
    let act = groups::act(group).detail("removed", ids);
    match app.commit(ctx, &transaction, &act).await {
        Ok(revision) => {
            for one in freed {
                app.quota.made(one, revision);
            }
            Ok(())
        }
        // Somebody else deletes the group, too: what is left is found by whoever looks next.
        Err(photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
