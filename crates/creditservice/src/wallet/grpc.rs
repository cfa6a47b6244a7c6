//! `photon.credit.v1.Wallets`.

use creditservice_ledger::{Resource, Settings, Thresholds, WalletChanges};
use photon_core::Error;
use photon_proto::photon::credit::v1::{self as pb, wallets_server::Wallets};
use tonic::{Request, Response, Status};

use super::{
    Correction, Deposit, Direct, Moved, NewWallet, Returned, Wallet, WalletFilter, bank,
    service::{self, currency},
    shape::{self, Signed},
};
use crate::{
    grpc::{
        Doors,
        fields::{
            amount, ask, charge, given, invalid, maybe_name, maybe_text, moment, name, shown_time,
            text,
        },
    },
    transaction::{self, Transaction, TransactionType, shown_at},
};

impl From<Wallet> for pb::Wallet {
    fn from(wallet: Wallet) -> Self {
        let Wallet {
            project,
            org,
            figures,
            settings,
        } = wallet;
        Self {
            project_id: project.into(),
            org_id: org.into(),
            balance: figures.balance,
            reserved: figures.reserved,
            available: figures.available,
            currency: figures.currency.code().to_owned(),
            status: shape::status(figures.status).to_owned(),
            billing_mode: shape::mode(settings.mode).to_owned(),
            overdraft_limit: settings.overdraft.get(),
            allow_overage: settings.allow_overage,
            low_balance: settings.low_balance.into(),
            owed: figures.owed,
        }
    }
}

impl From<Moved> for pb::WalletChange {
    fn from(moved: Moved) -> Self {
        let transaction = pb::Transaction {
            id: moved.transaction.to_string(),
            project_id: moved.project.into(),
            amount: moved.amount,
            r#type: moved.kind.to_owned(),
            description: transaction::text(moved.description.as_ref()),
            resource_id: moved.resource.id.map(String::from).unwrap_or_default(),
            timestamp: Some(shown_time(shown_at(moved.transaction))),
            reservation_id: String::new(),
        };
        Self {
            transaction: Some(transaction),
            balance: moved.figures.balance,
            reserved: moved.figures.reserved,
            available: moved.figures.available,
            owed: moved.figures.owed,
            currency: moved.figures.currency.code().to_owned(),
        }
    }
}

impl From<Transaction> for pb::Transaction {
    fn from(transaction: Transaction) -> Self {
        Self {
            id: transaction.id.to_string(),
            project_id: transaction.project.into(),
            amount: transaction.amount,
            r#type: transaction.kind.word().to_owned(),
            description: transaction::text(transaction.description.as_ref()),
            resource_id: transaction
                .resource_id
                .map(String::from)
                .unwrap_or_default(),
            timestamp: Some(shown_time(transaction.at)),
            reservation_id: transaction
                .reservation
                .map(|id| id.to_string())
                .unwrap_or_default(),
        }
    }
}

fn thresholds(values: Vec<i64>) -> Result<Thresholds, Error> {
    Thresholds::new(values).map_err(|error| invalid("low_balance", error))
}

fn new_wallet(asked: pb::CreateWalletRequest) -> Result<NewWallet, Error> {
    Ok(NewWallet {
        initial_balance: charge("initial_balance", asked.initial_balance)?,
        currency: currency(given(&asked.currency))?,
        settings: Settings {
            mode: given(&asked.billing_mode)
                .map(shape::mode_of)
                .transpose()?
                .unwrap_or_default(),
            overdraft: charge("overdraft_limit", asked.overdraft_limit)?,
            allow_overage: asked.allow_overage,
            low_balance: thresholds(asked.low_balance)?,
        },
        project: name("project_id", &asked.project_id)?,
        org: name("org_id", &asked.org_id)?,
    })
}

fn changes(asked: pb::UpdateWalletRequest) -> Result<WalletChanges, Error> {
    Ok(WalletChanges {
        status: asked.status.as_deref().map(shape::status_of).transpose()?,
        mode: asked
            .billing_mode
            .as_deref()
            .map(shape::mode_of)
            .transpose()?,
        overdraft: asked
            .overdraft_limit
            .map(|limit| charge("overdraft_limit", limit))
            .transpose()?,
        allow_overage: asked.allow_overage,
        low_balance: asked
            .low_balance
            .map(|all| thresholds(all.values))
            .transpose()?,
    })
}

fn filter(asked: &pb::ListTransactionsRequest) -> Result<transaction::service::Filter, Error> {
    let newest_first = match asked.order.as_str() {
        "" | "desc" => true,
        "asc" => false,
        _ => {
            let message = "order must be one of desc, asc";
            return Err(Error::validation("order", "value", message));
        }
    };
    let types = if asked.types.is_empty() {
        TransactionType::USUAL.to_vec()
    } else {
        asked
            .types
            .iter()
            .map(|word| TransactionType::parse_field(word))
            .collect::<Result<_, _>>()?
    };
    Ok(transaction::service::Filter {
        newest_first,
        types,
        resource_id: maybe_text("resource_id", asked.resource_id.clone())?,
        from: moment("from", asked.from)?,
        to: moment("to", asked.to)?,
    })
}

#[tonic::async_trait]
impl Wallets for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateWalletRequest>,
    ) -> Result<Response<pb::Wallet>, Status> {
        self.change(
            "Wallets/Create",
            request,
            |app, ctx, given, asked| async move {
                let new = new_wallet(asked)?;
                let done = service::create(&app, &ctx, &given, new).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetWalletRequest>,
    ) -> Result<Response<pb::Wallet>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let project = name("project_id", &asked.project_id)?;
            Ok(service::get(&app, &ctx, &project).await?.into())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListWalletsRequest>,
    ) -> Result<Response<pb::ListWalletsResponse>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let filter = WalletFilter {
                org: maybe_name("org_id", &asked.org_id)?,
                project: None,
            };
            let rows = ask(asked.limit, &asked.page_token)?;
            let page = service::list(&app, &ctx, &filter, &rows).await?;
            Ok(pb::ListWalletsResponse {
                wallets: page.rows.into_iter().map(Into::into).collect(),
                next_page_token: page.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateWalletRequest>,
    ) -> Result<Response<pb::Wallet>, Status> {
        self.change(
            "Wallets/Update",
            request,
            |app, ctx, given, asked| async move {
                let project = name("project_id", &asked.project_id)?;
                let changes = changes(asked)?;
                let done = service::update(&app, &ctx, &given, &project, changes).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn top_up(
        &self,
        request: Request<pb::TopUpRequest>,
    ) -> Result<Response<pb::WalletChange>, Status> {
        self.change(
            "Wallets/TopUp",
            request,
            |app, ctx, key, asked| async move {
                let deposit = Deposit {
                    amount: amount("amount", asked.amount)?,
                    source: maybe_name("source", &asked.source)?.map_or_else(bank, Ok)?,
                    description: maybe_text("description", asked.description)?,
                };
                currency(given(&asked.currency))?;
                let project = name("project_id", &asked.project_id)?;
                let done = service::top_up(&app, &ctx, &key, &project, deposit).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn charge(
        &self,
        request: Request<pb::ChargeRequest>,
    ) -> Result<Response<pb::WalletChange>, Status> {
        self.change(
            "Wallets/Charge",
            request,
            |app, ctx, key, asked| async move {
                let direct = Direct {
                    amount: amount("amount", asked.amount)?,
                    sku: maybe_name("sku", &asked.sku)?,
                    resource: Resource {
                        kind: None,
                        id: maybe_text("resource_id", asked.resource_id)?,
                    },
                    description: maybe_text("description", asked.description)?,
                };
                currency(given(&asked.currency))?;
                let project = name("project_id", &asked.project_id)?;
                let done = service::charge(&app, &ctx, &key, &project, direct).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn refund(
        &self,
        request: Request<pb::RefundRequest>,
    ) -> Result<Response<pb::WalletChange>, Status> {
        self.change(
            "Wallets/Refund",
            request,
            |app, ctx, key, asked| async move {
                let returned = Returned {
                    amount: amount("amount", asked.amount)?,
                    transaction: transaction::id_field(&asked.transaction_id)?,
                    description: maybe_text("description", asked.description)?,
                };
                let project = name("project_id", &asked.project_id)?;
                let done = service::refund(&app, &ctx, &key, &project, returned).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn adjust(
        &self,
        request: Request<pb::AdjustRequest>,
    ) -> Result<Response<pb::WalletChange>, Status> {
        self.change(
            "Wallets/Adjust",
            request,
            |app, ctx, key, asked| async move {
                let Signed { direction, amount } =
                    Signed::new(asked.amount).map_err(|error| invalid("amount", error))?;
                let correction = Correction {
                    direction,
                    amount,
                    reason: text("reason", asked.reason)?,
                };
                let project = name("project_id", &asked.project_id)?;
                let done = service::adjust(&app, &ctx, &key, &project, correction).await?;
                Ok(done.map(Into::into))
            },
        )
        .await
    }

    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let filter = filter(&asked)?;
            let rows = ask(asked.limit, &asked.page_token)?;
            let project = name("project_id", &asked.project_id)?;
            let page = transaction::service::list(&app, &ctx, &project, &filter, &rows).await?;
            Ok(pb::ListTransactionsResponse {
                transactions: page.rows.into_iter().map(Into::into).collect(),
                next_page_token: page.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use creditservice_ledger::Charge;

    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let good = pb::CreateWalletRequest {
            project_id: "shop".to_owned(),
            org_id: "acme".to_owned(),
            initial_balance: 5,
            ..Default::default()
        };
        let made = new_wallet(good.clone()).unwrap();
        assert_eq!(made.initial_balance, Charge::new(5).unwrap());
        let field = |asked: pb::CreateWalletRequest| {
            let error = new_wallet(asked).unwrap_err();
            error.details().unwrap()["field"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let negative = pb::CreateWalletRequest {
            initial_balance: -1,
            ..good.clone()
        };
        assert_eq!(field(negative), "initial_balance");
        let dollars = pb::CreateWalletRequest {
            currency: "USD".to_owned(),
            ..good.clone()
        };
        assert_eq!(field(dollars), "currency");
        let nobodys = pb::CreateWalletRequest {
            project_id: String::new(),
            ..good
        };
        assert_eq!(field(nobodys), "project_id");
    }
}
