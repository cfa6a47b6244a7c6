//! `photonctl reservation`.

use serde_json::{Map, Value};

use super::{
    Once,
    cli::Reservation,
    connection::Credit,
    record::{self, Field, Show},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Body,
        cli::Page,
        list::{self, Rows},
    },
};

const COLUMNS: &[Field] = &[
    ("id", Show::Plain),
    ("amount", Show::Money),
    ("units", Show::Plain),
    ("resource_type", Show::Plain),
    ("resource_id", Show::Plain),
    ("expires_at", Show::Until),
];

const FIELDS: &[Field] = &[
    ("id", Show::Plain),
    ("project_id", Show::Plain),
    ("status", Show::Plain),
    ("amount", Show::Money),
    ("actual_amount", Show::Money),
    ("units", Show::Plain),
    ("resource_type", Show::Plain),
    ("resource_id", Show::Plain),
    ("resolved_at", Show::Plain),
    ("expires_at", Show::Until),
];

pub(crate) async fn run(credit: &Credit<'_>, command: Reservation) -> Result<(), Failure> {
    match command {
        Reservation::Create {
            project,
            amount,
            units,
            ttl,
            resource_type,
            resource_id,
            description,
            once,
        } => {
            let body = Body::default()
                .set("project_id", project)
                .maybe("amount", amount)
                .maybe("units", of_kinds(units)?)
                .maybe("ttl_seconds", ttl)
                .maybe("resource_type", resource_type)
                .maybe("resource_id", resource_id)
                .maybe("description", description);
            let made = credit.post(&["api", "v1", "reservations"], body, once);
            let made = made.await?;
            show(credit, &made).await
        }
        Reservation::Get { id } => {
            let found = credit.get(&["api", "v1", "reservations", &id]).await?;
            show(credit, &found).await
        }
        Reservation::List { project, page } => open(credit, project, page).await,
        Reservation::Commit {
            id,
            amount,
            resource_id,
            description,
            once,
        } => {
            let body = Body::default()
                .maybe("actual_amount", amount)
                .maybe("resource_id", resource_id)
                .maybe("description", description);
            resolve(credit, &id, "commit", body, once).await
        }
        Reservation::Release { id, reason, once } => {
            let body = Body::default().maybe("reason", reason);
            resolve(credit, &id, "release", body, once).await
        }
        Reservation::Extend { id, ttl, once } => {
            let body = Body::default().set("ttl_seconds", ttl);
            resolve(credit, &id, "extend", body, once).await
        }
    }
}

/// Units by kind; a kind that is named twice may be a slip.
fn of_kinds(units: Vec<(String, u64)>) -> Result<Option<Value>, Failure> {
    let mut kinds = Map::new();
    for (kind, count) in units {
        if kinds.contains_key(&kind) {
            return Err(Failure::usage(format!("--units names {kind} twice")));
        }
        kinds.insert(kind, count.into());
    }
    Ok((!kinds.is_empty()).then_some(Value::Object(kinds)))
}

async fn resolve(
    credit: &Credit<'_>,
    id: &str,
    verb: &str,
    body: Body,
    once: Once,
) -> Result<(), Failure> {
    let path = ["api", "v1", "reservations", id, verb];
    let resolved = credit.post(&path, body, once).await?;
    show(credit, &resolved).await
}

async fn show(credit: &Credit<'_>, reservation: &Value) -> Result<(), Failure> {
    let Format::Data(notation) = credit.format else {
        let project = reservation["project_id"].as_str().unwrap_or_default();
        let currency = credit.currency(project).await;
        let mut shown = reservation.clone();
        // When it would have expired says nothing any more.
        if reservation["status"] != "active" {
            shown["expires_at"] = Value::Null;
        }
        return record::print(&shown, FIELDS, currency.as_deref());
    };
    output::data(notation, reservation)
}

async fn open(credit: &Credit<'_>, project: String, page: Page) -> Result<(), Failure> {
    let filters = [("project_id", Some(project.clone()))];
    let path = ["api", "v1", "reservations"];
    let found = credit.list(&path, "reservations", &filters, page);
    let Some(Rows { rows, next }) = found.await? else {
        return Ok(());
    };
    let currency = credit.currency(&project).await;
    record::table(COLUMNS, &rows, |_| currency.as_deref())?;
    list::tell_of_more(next.as_deref());
    Ok(())
}
