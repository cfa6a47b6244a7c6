//! `photonctl quota`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Once,
    cli::{DefaultLimit, Quota},
    connection::Credit,
    record::{self, Field, Show},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Body, client::Call},
};

const COLUMNS: &[Field] = &[
    ("kind", Show::Plain),
    ("limit", Show::Count),
    ("used", Show::Count),
    ("reserved", Show::Count),
    ("available", Show::Count),
    ("own", Show::Plain),
];

const LIMITS: &[Field] = &[("kind", Show::Plain), ("default", Show::Count)];

pub(crate) async fn run(credit: &Credit<'_>, command: Quota) -> Result<(), Failure> {
    match command {
        Quota::Get { project, kind } => get(credit, project, kind).await,
        Quota::Set {
            project,
            kind,
            limit,
            once,
        } => {
            let path = ["api", "v1", "quotas", &project, &kind];
            let body = Body::default().set("limit", limit);
            let quota = credit.change(Method::PUT, &path, Some(body), once).await?;
            show(credit, COLUMNS, &quota)
        }
        Quota::Unset {
            project,
            kind,
            once,
        } => {
            let path = ["api", "v1", "quotas", &project, &kind];
            let quota = credit.change(Method::DELETE, &path, None, once).await?;
            show(credit, COLUMNS, &quota)
        }
        Quota::Limits => {
            let answer = credit.get(&["api", "v1", "limits"]).await?;
            rows(credit, LIMITS, "limits", &answer)
        }
        Quota::Limit(DefaultLimit::Set { kind, limit }) => {
            let path = ["api", "v1", "limits", &kind];
            let body = Body::default().set("default", limit);
            // It may be repeated as it is; the key lets the client do so.
            let once = Once::default();
            let set = credit.change(Method::PUT, &path, Some(body), once).await?;
            show(credit, LIMITS, &set)
        }
    }
}

async fn get(credit: &Credit<'_>, project: String, kind: Option<String>) -> Result<(), Failure> {
    let path = ["api", "v1", "quotas"];
    let call = Call::get(&path).query("project_id", Some(project));
    let mut answer = credit.service.call(call).await?;
    let Some(kind) = kind else {
        return rows(credit, COLUMNS, "quotas", &answer);
    };
    let all = answer["quotas"].as_array_mut().into_iter().flatten();
    match all.into_iter().find(|quota| quota["kind"] == kind.as_str()) {
        Some(quota) => show(credit, COLUMNS, quota),
        None => Err(Failure::not_found(format!(
            "{kind} is no registered kind: photonctl quota limits"
        ))),
    }
}

fn show(credit: &Credit<'_>, fields: &[Field], one: &Value) -> Result<(), Failure> {
    match credit.format {
        Format::Human => record::print(one, fields, None),
        Format::Data(notation) => output::data(notation, one),
    }
}

fn rows(
    credit: &Credit<'_>,
    columns: &[Field],
    field: &str,
    answer: &Value,
) -> Result<(), Failure> {
    let Some(rows) = answer[field].as_array() else {
        let missing = format!("it has no {field}");
        return Err(credit.service.not_understood(&missing));
    };
    match credit.format {
        Format::Human => record::table(columns, rows, |_| None),
        Format::Data(notation) => output::data(notation, &json!({ field: rows })),
    }
}
