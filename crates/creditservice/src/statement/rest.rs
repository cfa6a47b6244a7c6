//! `/api/v1/wallets/{project}/statement`.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Path, Query, RestError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Statement, csv, file_name, service};
use crate::{
    app::App,
    refusal::shown,
    rest::{
        Envelope, Failure,
        schema::{CurrencyText, IdText},
    },
    transaction::{Transaction, rest::Answer as TransactionAnswer},
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new().get(
        "/api/v1/wallets/{project}/statement",
        "creditservice.statements.get",
        get,
    )
}

/// Which time, and how it is written.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatementQuery {
    /// A month in UTC; or `from` and `to`.
    #[param(example = "2026-11", pattern = "^[0-9]{4}-[0-9]{2}$")]
    month: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// `json`, or `csv` with the columns of FOCUS. Default: `json`.
    #[param(value_type = Option<String>, example = "csv")]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// A statement: `opening` and the sum of the amounts are `closing`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Statement)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = CurrencyText)]
    currency: &'static str,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// The balance before.
    opening: i64,
    /// What moved it, the oldest first.
    transactions: Vec<TransactionAnswer>,
    /// The balance after.
    closing: i64,
}

impl From<Statement> for Answer {
    fn from(statement: Statement) -> Self {
        let transactions = statement
            .entries
            .iter()
            .filter_map(|entry| Transaction::of(entry, statement.shard));
        Self {
            transactions: transactions.map(Into::into).collect(),
            project_id: statement.wallet.project,
            org_id: statement.wallet.org,
            currency: statement.wallet.figures.currency.code(),
            from: shown(statement.period.from),
            to: shown(statement.period.to),
            opening: statement.opening,
            closing: statement.closing,
        }
    }
}

/// A project's statement.
#[utoipa::path(
    get, path = "/api/v1/wallets/{project}/statement", tag = "statements", operation_id = "get_statement",
    params(("project" = IdText, Path), StatementQuery),
    responses(
        (status = 200, content(
            (Envelope<Answer> = "application/json"),
            (String = "text/csv"),
        )),
        Failure
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(project): Path<Name>,
    Query(query): Query<StatementQuery>,
) -> Result<Response, RestError> {
    let period = service::period(query.month.as_deref(), query.from, query.to)?;
    let statement = service::get(&app, &ctx, &project, period).await?;
    match query.format.unwrap_or_default() {
        Format::Json => Ok(Data(Answer::from(statement)).into_response()),
        Format::Csv => {
            let mut response = csv::of(&statement).into_response();
            let headers = response.headers_mut();
            let kind = HeaderValue::from_static("text/csv; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, kind);
            let attachment = format!("attachment; filename=\"{}\"", file_name(&project, period));
            // A name and dates are a header's value.
            if let Ok(attachment) = HeaderValue::from_str(&attachment) {
                headers.insert(header::CONTENT_DISPOSITION, attachment);
            }
            Ok(response)
        }
    }
}
