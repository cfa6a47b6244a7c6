//! Reading trails, and checking them.

use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::Scope;
use photon_core::{Code, Error, Name, PageToken};
use photon_store::{
    Unreadable,
    audit::{AuditRecord, Verdict},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::trail_of;
use crate::app::App;

/// The most records of a list without a limit, and the largest limit (decision 16).
pub(crate) const MOST_RECORDS: u64 = 10_000;

/// Records checked by one request; a longer trail is checked in several.
const MOST_CHECKED: u64 = 100_000;

/// Which part of a trail.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    pub(crate) scope: Scope,
    /// Records at or after this.
    pub(crate) from: Option<Timestamp>,
    /// Records before this.
    pub(crate) to: Option<Timestamp>,
    pub(crate) limit: Option<u64>,
    pub(crate) page_token: Option<String>,
}

/// Part of a trail, oldest first.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) records: Vec<AuditRecord>,
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) next_page_token: Option<String>,
}

/// Where a page continues.
#[derive(Serialize, Deserialize)]
struct Position {
    trail: String,
    seq: u64,
}

/// What a scope's trail is called by callers: `project:shop`, or the guide's bare id.
pub(crate) async fn scope_of(app: &App, text: &str) -> Result<Scope, Error> {
    if text == crate::scope::SYSTEM || text.contains(':') {
        return Scope::parse_field("scope", text);
    }
    let id = Name::parse_field("scope", text)?;
    let scope = crate::scope::resolve(app, &id).await?;
    // The trail of what has been deleted is found by its full name only.
    scope
        .ok_or_else(|| Error::not_found(format!("an org or project {id} (org:{id}, project:{id})")))
}

/// Records of one trail.
pub(crate) async fn list(app: &App, ctx: &Context, which: &Which) -> Result<Records, Error> {
    ctx.allow(&which.scope)?;
    let trails = app.audit.trails();
    let trail = trail_of(&which.scope);
    let limit = limit_of(which)?;
    if let (Some(from), Some(to)) = (which.from, which.to)
        && to < from
    {
        let message = "to must not be before from";
        return Err(Error::validation("to", "range", message));
    }
    let start = match (&which.page_token, which.from) {
        (Some(token), _) => continued(token, &trail)?,
        (None, Some(from)) => trails.seek(&trail, from).await?,
        (None, None) => 0,
    };
    // One more than asked for tells whether there is more.
    let wanted = usize::try_from(limit.unwrap_or(MOST_RECORDS) + 1).unwrap_or(usize::MAX);
    let mut found = trails.records(&trail, start, wanted).await?;
    if let Some(to) = which.to {
        let ends = |record: &Result<AuditRecord, _>| record.as_ref().is_ok_and(|r| r.at >= to);
        if let Some(end) = found.iter().position(ends) {
            found.truncate(end);
        }
    }
    let more = found.len() == wanted;
    if more && limit.is_none() {
        return Err(too_many());
    }
    let beyond = more.then(|| found.pop()).flatten();
    let next_page_token = beyond
        .map(|next| {
            let seq = next.map_or_else(|unreadable| seq_in(&unreadable.key), |record| record.seq);
            PageToken::encode(&Position { trail, seq })
        })
        .transpose()?;
    let mut answer = Records {
        records: Vec::new(),
        unreadable: Vec::new(),
        next_page_token: next_page_token.map(PageToken::into_string),
    };
    for record in found {
        match record {
            Ok(record) => answer.records.push(record),
            Err(unreadable) => answer.unreadable.push(unreadable),
        }
    }
    Ok(answer)
}

/// Checks a trail: every hash, every link, and its end.
pub(crate) async fn verify(
    app: &App,
    ctx: &Context,
    scope: &Scope,
    from: u64,
) -> Result<Verdict, Error> {
    ctx.allow(scope)?;
    let trails = app.audit.trails();
    let verdict = trails.verify(&trail_of(scope), from, MOST_CHECKED).await?;
    if let Some(fault) = &verdict.fault {
        tracing::error!(%scope, seq = fault.seq, fault = fault.what, "an audit trail is broken");
    }
    Ok(verdict)
}

fn limit_of(which: &Which) -> Result<Option<u64>, Error> {
    match which.limit {
        Some(limit) if !(1..=MOST_RECORDS).contains(&limit) => {
            let message = format!("limit must be 1 to {MOST_RECORDS}");
            Err(Error::validation("limit", "range", message))
        }
        limit => Ok(limit),
    }
}

fn continued(token: &str, trail: &str) -> Result<u64, Error> {
    let position: Position = PageToken::decode(token)?;
    // A token is not signed: one of another trail is none of this list.
    if position.trail != trail {
        let message = "page_token is not one of this list";
        return Err(Error::validation("page_token", "format", message));
    }
    Ok(position.seq)
}

/// The number at the end of a record's key.
fn seq_in(key: &str) -> u64 {
    let number = key.rsplit('/').next().and_then(|last| last.parse().ok());
    number.unwrap_or(u64::MAX)
}

fn too_many() -> Error {
    let message =
        format!("there are more than {MOST_RECORDS}: give a limit, and page through them");
    Error::new(Code::VALIDATION_ERROR, message)
        .with_details(json!({ "field": "limit", "constraint": "required" }))
}
