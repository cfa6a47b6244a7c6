//! The use cases of decisions.

use std::time::Duration;

use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::{Decision, Granted, Policies, PrincipalKind, PrincipalRef, Question};
use photon_core::Error;
use serde_json::json;
use tokio::time::Instant;

use super::{Answer, Check, Semantic};
use crate::app::App;

/// The most questions at once.
pub(crate) const MOST_AT_ONCE: usize = 100;

/// How long an answer waits for a revision that it is to be made from: the client names it, and it may never come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers a question. About oneself nobody needs permission to ask.
///
/// # Errors
/// `UNAVAILABLE` when the revision asked for is not heard of in time.
pub async fn check(
    app: &App,
    ctx: &Context,
    check: &Check,
    min_revision: Option<i64>,
) -> Result<Answer, Error> {
    let who = may_ask(ctx, check)?;
    catch_up(app, ctx, min_revision).await?;
    app.auth.check_fresh()?;
    Ok(decide(&app.policies(), app.auth.revision(), who, check))
}

/// Answers several questions from one state, in their order.
///
/// # Errors
/// As [`check`]; more than [`MOST_AT_ONCE`].
pub async fn batch(
    app: &App,
    ctx: &Context,
    checks: &[Check],
    min_revision: Option<i64>,
    semantic: Semantic,
) -> Result<Vec<Answer>, Error> {
    if checks.len() > MOST_AT_ONCE {
        return Err(Error::validation(
            "checks",
            "length",
            format!("at most {MOST_AT_ONCE} questions are answered at once"),
        ));
    }
    let asked: Vec<&PrincipalRef> = checks
        .iter()
        .map(|check| may_ask(ctx, check))
        .collect::<Result<_, _>>()?;
    if checks.is_empty() {
        ctx.allow_self();
    }
    catch_up(app, ctx, min_revision).await?;
    app.auth.check_fresh()?;
    // A revision that may be less than that of the policies, never more: what is said to be known is.
    let revision = app.auth.revision();
    let policies = app.policies();
    let mut answers = Vec::with_capacity(checks.len());
    for (who, check) in asked.into_iter().zip(checks) {
        let answer = decide(&policies, revision, who, check);
        let last = match semantic {
            Semantic::All => false,
            Semantic::UntilDeny => !answer.allowed,
            Semantic::UntilPermit => answer.allowed,
        };
        answers.push(answer);
        if last {
            break;
        }
    }
    Ok(answers)
}

/// Whom a question is about, if the caller may ask it.
fn may_ask<'a>(ctx: &'a Context, check: &'a Check) -> Result<&'a PrincipalRef, Error> {
    let own = ctx.caller.principal();
    let Some(who) = check.principal.as_ref().or(own) else {
        return Err(Error::required("principal"));
    };
    if who.kind == PrincipalKind::Group {
        return Err(Error::validation(
            "principal",
            "kind",
            "principal must not be a group: groups do nothing",
        ));
    }
    if own == Some(who) {
        ctx.allow_self();
    } else {
        ctx.allow(&check.scope)?;
    }
    Ok(who)
}

async fn catch_up(app: &App, ctx: &Context, min_revision: Option<i64>) -> Result<(), Error> {
    match min_revision {
        Some(revision) if revision > app.auth.revision() => {
            let deadline = ctx.deadline.min(Instant::now() + PATIENCE);
            let waited = app.auth.wait_for(revision, deadline).await;
            waited.map_err(|_| not_there_yet(revision, app.auth.revision()))
        }
        _ => Ok(()),
    }
}

fn not_there_yet(asked: i64, known: i64) -> Error {
    let message = format!(
        "min_revision {asked} is not known here: this process decides by revision {known}; ask again, or for less"
    );
    Error::unavailable(message).with_details(json!({ "field": "min_revision", "revision": known }))
}

fn decide(policies: &Policies, revision: i64, who: &PrincipalRef, check: &Check) -> Answer {
    let decision = policies.decide(&Question {
        principal: who,
        permission: &check.permission,
        scope: &check.scope,
        now: check.time.unwrap_or_else(Timestamp::now),
        source: check.source,
        limit: None,
    });
    match decision {
        Decision::Allow { binding } => Answer {
            allowed: true,
            reason: None,
            granted_by: Some(match binding {
                Granted::Binding(id) => id.to_string(),
                Granted::BuiltIn => "built-in".to_owned(),
            }),
            revision,
        },
        Decision::Deny { reason } => Answer {
            allowed: false,
            reason: Some(reason.to_string()),
            granted_by: None,
            revision,
        },
    }
}
