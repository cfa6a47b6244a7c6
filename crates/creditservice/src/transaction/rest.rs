//! `/api/v1/wallets/{project}/transactions`.

use std::sync::Arc;

use axum::extract::State;
use creditservice_ledger::{ResourceId, Time};
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Path, Query, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Transaction, TransactionType,
    service::{self, Filter},
    text,
};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure,
        schema::{IdText, ReservationText, ResourceText, TransactionText},
    },
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new().get(
        "/api/v1/wallets/{project}/transactions",
        "creditservice.transactions.list",
        list,
    )
}

/// Which transactions, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before, with the same order.
    page_token: Option<String>,
    /// `desc`, newest first; or `asc`. Default: `desc`.
    #[param(value_type = Option<String>, example = "asc")]
    order: Option<Order>,
    /// Which types, between commas: `deposit`, `charge`, `refund`, `adjustment`, `reservation`, `release`, `expiry`. Default:
    /// the first four, which move the balance.
    #[param(example = "deposit,charge")]
    types: Option<String>,
    /// Only those of this resource.
    #[param(value_type = Option<ResourceText>)]
    resource_id: Option<ResourceId>,
    /// From this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Desc,
    Asc,
}

/// A transaction: an entry that does not change any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transaction)]
pub(crate) struct Answer {
    #[schema(value_type = TransactionText)]
    id: String,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What the balance changed by, in minor units.
    #[schema(example = -1500)]
    amount: i64,
    /// `deposit`, `charge`, `refund`, `adjustment`, `reservation`, `release`, `expiry`.
    #[serde(rename = "type")]
    #[schema(example = "charge")]
    kind: &'static str,
    #[schema(example = "VM usage charge")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResourceText>, nullable = false)]
    resource_id: Option<ResourceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ReservationText>, nullable = false)]
    reservation_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

/// Transactions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transactions)]
pub(crate) struct ListAnswer {
    transactions: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Transaction> for Answer {
    fn from(transaction: Transaction) -> Self {
        Self {
            id: transaction.id.to_string(),
            project_id: transaction.project,
            amount: transaction.amount,
            kind: transaction.kind.word(),
            description: text(transaction.description.as_ref()),
            resource_id: transaction.resource_id,
            reservation_id: transaction.reservation.map(|id| id.to_string()),
            timestamp: transaction.at,
        }
    }
}

impl ListQuery {
    fn filter(&self) -> Result<Filter, Error> {
        let types = match &self.types {
            None => TransactionType::USUAL.to_vec(),
            Some(words) => words
                .split(',')
                .map(TransactionType::parse_field)
                .collect::<Result<_, _>>()?,
        };
        Ok(Filter {
            newest_first: self.order.unwrap_or_default() == Order::Desc,
            types,
            resource_id: self.resource_id.clone(),
            from: self.from.map(time),
            to: self.to.map(time),
        })
    }
}

/// A moment as the ledger counts it.
pub(crate) fn time(moment: Timestamp) -> Time {
    Time::from_micros(moment.as_microsecond())
}

/// Lists a project's transactions.
#[utoipa::path(
    get, path = "/api/v1/wallets/{project}/transactions", tag = "transactions", operation_id = "list_transactions",
    params(("project" = IdText, Path), ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(project): Path<Name>,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let filter = query.filter()?;
    let rows = Ask::new(query.limit, query.page_token.as_deref())?;
    let page = service::list(&app, &ctx, &project, &filter, &rows).await?;
    Ok(Data(ListAnswer {
        transactions: page.rows.into_iter().map(Into::into).collect(),
        next_page_token: page.next_page_token,
    }))
}
