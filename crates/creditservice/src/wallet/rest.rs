//! `/api/v1/wallets`.

use std::sync::Arc;

use axum::extract::State;
use creditservice_ledger::{
    Amount, Charge, Description, Figures, Mode, Resource, ResourceId, Settings, Sku, Status,
    Thresholds, WalletChanges,
};
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Deposit, Direct, Moved, NewWallet, Returned, Wallet, service,
    shape::{self, AmountNumber, ChargeNumber, Signed, or_zero},
};
use crate::{
    app::App,
    idempotency::Given,
    listing::Ask,
    rest::{
        Envelope, Failure, Outcome,
        schema::{CurrencyText, DescriptionText, IdText, KeyHeader, ResourceText, TransactionText},
    },
    transaction::{self, shown_at},
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .post("/api/v1/wallets", "creditservice.wallets.create", create)
        .get("/api/v1/wallets", "creditservice.wallets.list", list)
        .get(
            "/api/v1/wallets/{project}",
            "creditservice.wallets.get",
            get,
        )
        .patch(
            "/api/v1/wallets/{project}",
            "creditservice.wallets.update",
            update,
        )
        .post(
            "/api/v1/wallets/{project}/topup",
            "creditservice.wallets.topup",
            top_up,
        )
        .post(
            "/api/v1/wallets/{project}/charge",
            "creditservice.wallets.charge",
            charge,
        )
        .post(
            "/api/v1/wallets/{project}/refund",
            "creditservice.wallets.refund",
            refund,
        )
        .post(
            "/api/v1/wallets/{project}/adjust",
            "creditservice.wallets.adjust",
            adjust,
        )
}

/// A wallet to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWallet)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// What is in it at first, in minor units. Absent: nothing.
    #[schema(value_type = Option<ChargeNumber>)]
    initial_balance: Option<Charge>,
    /// For good. Default: JPY.
    #[schema(value_type = Option<CurrencyText>)]
    currency: Option<String>,
    /// Who reserves and charges: `manual`, whoever creates things; `metered`, the services by the price book. Default:
    /// `manual`.
    #[schema(value_type = Option<String>, example = "manual")]
    billing_mode: Option<Mode>,
    /// How far below zero `available` may go. Default: 0.
    #[schema(value_type = Option<ChargeNumber>)]
    overdraft_limit: Option<Charge>,
    /// Whether a commit may take more than was held. Default: no.
    allow_overage: Option<bool>,
    /// Balances at or below which an event is raised; at most 8.
    #[schema(value_type = Option<Vec<ChargeNumber>>)]
    low_balance: Option<Thresholds>,
    /// The project; it has one wallet at most.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// The project's org.
    #[schema(value_type = IdText)]
    org_id: Name,
}

/// What changes of a wallet; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WalletChanges)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    /// `active`; `suspended`: nothing new is held or charged; `closed`: for good, and only when nothing is in it.
    #[schema(value_type = Option<String>, example = "suspended")]
    status: Option<Status>,
    /// `manual` or `metered`.
    #[schema(value_type = Option<String>, example = "metered")]
    billing_mode: Option<Mode>,
    /// How far below zero `available` may go; not less than is used of it.
    #[schema(value_type = Option<ChargeNumber>)]
    overdraft_limit: Option<Charge>,
    /// Whether a commit may take more than was held.
    allow_overage: Option<bool>,
    /// Balances at or below which an event is raised; at most 8.
    #[schema(value_type = Option<Vec<ChargeNumber>>)]
    low_balance: Option<Thresholds>,
}

/// Credit that comes in.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TopUp)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopUpBody {
    /// In minor units.
    #[schema(value_type = AmountNumber)]
    amount: Amount,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// Must be the wallet's.
    #[schema(value_type = Option<CurrencyText>)]
    currency: Option<String>,
    /// Where it comes from. Default: `bank`.
    #[schema(value_type = Option<IdText>)]
    source: Option<Name>,
}

/// A charge without a reservation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Charge)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChargeBody {
    /// In minor units.
    #[schema(value_type = AmountNumber)]
    amount: Amount,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// Must be the wallet's.
    #[schema(value_type = Option<CurrencyText>)]
    currency: Option<String>,
    /// For which resource.
    #[schema(value_type = Option<ResourceText>)]
    resource_id: Option<ResourceId>,
    /// What was sold.
    #[schema(value_type = Option<IdText>)]
    sku: Option<Sku>,
}

/// A charge that is given back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Refund)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundBody {
    /// In minor units; all refunds of a charge together are at most what it took.
    #[schema(value_type = AmountNumber)]
    amount: Amount,
    /// The charge.
    #[schema(value_type = TransactionText)]
    transaction_id: String,
    /// Why.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
}

/// A correction by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Adjustment)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdjustBody {
    /// In minor units; negative takes away. Not 0.
    #[schema(value_type = i64, example = -300)]
    amount: Signed,
    /// Why.
    #[schema(value_type = DescriptionText)]
    reason: Description,
}

/// Which wallets.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this org.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// Only that of this project.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A wallet. Amounts are in minor units of its currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Wallet)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = IdText)]
    org_id: Name,
    /// All of it: what is available and what is reserved.
    #[schema(example = 10000)]
    balance: i64,
    /// What open reservations hold.
    #[schema(example = 2500)]
    reserved: i64,
    /// What may be spent, without the overdraft.
    #[schema(example = 7500)]
    available: i64,
    #[schema(value_type = CurrencyText)]
    currency: &'static str,
    /// `active`, `suspended`, `closed`.
    #[schema(example = "active")]
    status: &'static str,
    /// `manual`, `metered`.
    #[schema(example = "manual")]
    billing_mode: &'static str,
    overdraft_limit: i64,
    allow_overage: bool,
    low_balance: Vec<i64>,
    /// Usage that could not be paid.
    #[schema(example = 0)]
    owed: i64,
}

/// Wallets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Wallets)]
pub(crate) struct ListAnswer {
    wallets: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// A transaction that was made, and what is in the wallet after it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WalletChange)]
pub(crate) struct MovedAnswer {
    /// The transaction's.
    #[schema(value_type = TransactionText)]
    id: String,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What the balance changed by.
    #[schema(example = 5000)]
    amount: i64,
    /// `deposit`, `charge`, `refund`, `adjustment`.
    #[serde(rename = "type")]
    #[schema(example = "deposit")]
    kind: &'static str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResourceText>, nullable = false)]
    resource_id: Option<ResourceId>,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    balance: i64,
    reserved: i64,
    available: i64,
    #[schema(value_type = CurrencyText)]
    currency: &'static str,
}

impl From<Wallet> for Answer {
    fn from(wallet: Wallet) -> Self {
        let Wallet {
            project,
            org,
            figures,
            settings,
        } = wallet;
        let Figures {
            balance,
            reserved,
            available,
            owed,
            currency,
            status,
        } = figures;
        Self {
            project_id: project,
            org_id: org,
            balance,
            reserved,
            available,
            currency: currency.code(),
            status: shape::status(status),
            billing_mode: shape::mode(settings.mode),
            overdraft_limit: settings.overdraft.get(),
            allow_overage: settings.allow_overage,
            low_balance: settings.low_balance.into(),
            owed,
        }
    }
}

impl From<Moved> for MovedAnswer {
    fn from(moved: Moved) -> Self {
        Self {
            id: moved.transaction.to_string(),
            project_id: moved.project,
            amount: moved.amount,
            kind: moved.kind,
            description: transaction::text(moved.description.as_ref()),
            resource_id: moved.resource.id,
            timestamp: shown_at(moved.transaction),
            balance: moved.figures.balance,
            reserved: moved.figures.reserved,
            available: moved.figures.available,
            currency: moved.figures.currency.code(),
        }
    }
}

/// Makes a project's wallet.
#[utoipa::path(
    post, path = "/api/v1/wallets", tag = "wallets", operation_id = "create_wallet",
    params(KeyHeader),
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Json(body): Json<CreateBody>,
) -> Result<Outcome<Answer>, RestError> {
    let new = NewWallet {
        project: body.project_id,
        org: body.org_id,
        currency: service::currency(body.currency.as_deref())?,
        initial_balance: or_zero(body.initial_balance),
        settings: Settings {
            mode: body.billing_mode.unwrap_or_default(),
            overdraft: or_zero(body.overdraft_limit),
            allow_overage: body.allow_overage.unwrap_or_default(),
            low_balance: body.low_balance.unwrap_or_default(),
        },
    };
    let done = service::create(&app, &ctx, &given, new).await?;
    Ok(Outcome::created(done.map(Answer::from)))
}

/// Lists the wallets that the caller may see, by project.
#[utoipa::path(
    get, path = "/api/v1/wallets", tag = "wallets", operation_id = "list_wallets",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let rows = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = super::WalletFilter {
        org: query.org_id,
        project: query.project_id,
    };
    let page = service::list(&app, &ctx, &filter, &rows).await?;
    Ok(Data(ListAnswer {
        wallets: page.rows.into_iter().map(Into::into).collect(),
        next_page_token: page.next_page_token,
    }))
}

/// A project's wallet.
#[utoipa::path(
    get, path = "/api/v1/wallets/{project}", tag = "wallets", operation_id = "get_wallet",
    params(("project" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(project): Path<Name>,
) -> RestResult<Answer> {
    Ok(Data(service::get(&app, &ctx, &project).await?.into()))
}

/// Changes how a wallet behaves, and whether it may be used.
#[utoipa::path(
    patch, path = "/api/v1/wallets/{project}", tag = "wallets", operation_id = "update_wallet",
    params(("project" = IdText, Path), KeyHeader),
    request_body = UpdateBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(project): Path<Name>,
    Json(body): Json<UpdateBody>,
) -> Result<Outcome<Answer>, RestError> {
    let changes = WalletChanges {
        status: body.status,
        mode: body.billing_mode,
        overdraft: body.overdraft_limit,
        allow_overage: body.allow_overage,
        low_balance: body.low_balance,
    };
    let done = service::update(&app, &ctx, &given, &project, changes).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}

/// Brings credit in. Usage that could not be paid is paid first.
#[utoipa::path(
    post, path = "/api/v1/wallets/{project}/topup", tag = "wallets", operation_id = "top_up_wallet",
    params(("project" = IdText, Path), KeyHeader),
    request_body = TopUpBody,
    responses((status = 200, body = Envelope<MovedAnswer>), Failure)
)]
pub(crate) async fn top_up(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(project): Path<Name>,
    Json(body): Json<TopUpBody>,
) -> Result<Outcome<MovedAnswer>, RestError> {
    service::currency(body.currency.as_deref())?;
    let deposit = Deposit {
        amount: body.amount,
        source: body.source.map_or_else(super::bank, Ok)?,
        description: body.description,
    };
    let done = service::top_up(&app, &ctx, &given, &project, deposit).await?;
    Ok(Outcome::ok(done.map(MovedAnswer::from)))
}

/// Charges at once, without a reservation.
#[utoipa::path(
    post, path = "/api/v1/wallets/{project}/charge", tag = "wallets", operation_id = "charge_wallet",
    params(("project" = IdText, Path), KeyHeader),
    request_body = ChargeBody,
    responses((status = 200, body = Envelope<MovedAnswer>), Failure)
)]
pub(crate) async fn charge(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(project): Path<Name>,
    Json(body): Json<ChargeBody>,
) -> Result<Outcome<MovedAnswer>, RestError> {
    service::currency(body.currency.as_deref())?;
    let direct = Direct {
        amount: body.amount,
        sku: body.sku,
        resource: Resource {
            kind: None,
            id: body.resource_id,
        },
        description: body.description,
    };
    let done = service::charge(&app, &ctx, &given, &project, direct).await?;
    Ok(Outcome::ok(done.map(MovedAnswer::from)))
}

/// Gives a charge back, or part of it.
#[utoipa::path(
    post, path = "/api/v1/wallets/{project}/refund", tag = "wallets", operation_id = "refund_charge",
    params(("project" = IdText, Path), KeyHeader),
    request_body = RefundBody,
    responses((status = 200, body = Envelope<MovedAnswer>), Failure)
)]
pub(crate) async fn refund(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(project): Path<Name>,
    Json(body): Json<RefundBody>,
) -> Result<Outcome<MovedAnswer>, RestError> {
    let returned = Returned {
        transaction: transaction::id_field(&body.transaction_id)?,
        amount: body.amount,
        description: body.description,
    };
    let done = service::refund(&app, &ctx, &given, &project, returned).await?;
    Ok(Outcome::ok(done.map(MovedAnswer::from)))
}

/// Corrects a balance by hand; an entry of its own, as every correction.
#[utoipa::path(
    post, path = "/api/v1/wallets/{project}/adjust", tag = "wallets", operation_id = "adjust_wallet",
    params(("project" = IdText, Path), KeyHeader),
    request_body = AdjustBody,
    responses((status = 200, body = Envelope<MovedAnswer>), Failure)
)]
pub(crate) async fn adjust(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(project): Path<Name>,
    Json(body): Json<AdjustBody>,
) -> Result<Outcome<MovedAnswer>, RestError> {
    let Signed { direction, amount } = body.amount;
    let done = service::adjust(
        &app,
        &ctx,
        &given,
        &project,
        super::Correction {
            direction,
            amount,
            reason: body.reason,
        },
    )
    .await?;
    Ok(Outcome::ok(done.map(MovedAnswer::from)))
}
