//! `photonctl check`: an AuthZEN evaluation.

use serde_json::{Value, json};

use super::{cli::Check, token};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Session, client::Call},
};

pub(crate) async fn run(session: &Session, format: Format, asked: Check) -> Result<(), Failure> {
    let iam = session.iam()?;
    let subject = match asked.principal {
        Some(principal) => principal,
        None => ourselves(&iam.call(Call::get(&["api", "v1", "whoami"])).await?)?,
    };
    let (kind, id) = token::principal(&subject);
    // The system is one: its id is its name.
    let (scope_kind, scope_id) = asked
        .scope
        .split_once(':')
        .unwrap_or((&asked.scope, &asked.scope));
    let mut body = json!({
        "subject": { "type": kind, "id": id },
        "action": { "name": asked.permission },
        "resource": { "type": scope_kind, "id": scope_id },
    });
    if let Some(source) = asked.source {
        body["context"]["source_address"] = source.to_string().into();
    }
    if let Some(revision) = asked.min_revision {
        body["context"]["min_revision"] = revision.into();
    }
    let path = ["access", "v1", "evaluation"];
    let answer = iam.raw(Call::post(&path, body)).await?;
    let Some(allowed) = answer["decision"].as_bool() else {
        return Err(Failure::other(anyhow::anyhow!(
            "IAM's answer has no decision"
        )));
    };
    match format {
        Format::Human => output::line(if allowed { "allowed" } else { "denied" })?,
        Format::Data(notation) => output::data(notation, &answer)?,
    }
    if allowed {
        return Ok(());
    }
    Err(Failure::denied(format!(
        "{subject} may not {} at {}{}",
        asked.permission,
        asked.scope,
        reason(&answer)
    )))
}

fn ourselves(whoami: &Value) -> Result<String, Failure> {
    match whoami["principal"].as_str() {
        Some(principal) if principal.contains(':') => Ok(principal.to_owned()),
        _ => Err(Failure::usage(
            "nobody is logged in: say who with --principal",
        )),
    }
}

fn reason(answer: &Value) -> String {
    answer["context"]["reason"]
        .as_str()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}
