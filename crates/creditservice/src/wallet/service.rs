//! The use cases of wallets.

use std::collections::BTreeMap;

use creditservice_ledger::{
    Adjust, Answer, Command, CreateWallet, Currency, Description, DirectCharge, Direction, Refund,
    Resource, TopUp, UpdateWallet, WalletChanges,
};
use futures::future::try_join_all;
use photon_auth::Context;
use photon_authz::Scope;
use photon_core::{Error, Name};
use photon_server::Mode;
use photon_store::Scan;

use super::{Correction, Deposit, Direct, Moved, NewWallet, Returned, Wallet, WalletFilter};
use crate::{
    app::{App, Done, odd},
    idempotency::Given,
    listing::{Ask as Rows, Page},
    scope,
    shard::{
        ask::{Ask, Reply, WalletView},
        layout,
        public::Published,
        stored,
    },
    transaction,
};

/// Public records read at once.
const CHUNK: u32 = 1_000;
/// Public records that one request looks at.
const LOOK_AT: usize = 100_000;

impl From<WalletView> for Wallet {
    fn from(view: WalletView) -> Self {
        let WalletView {
            project,
            org,
            figures,
            settings,
        } = view;
        Self {
            project,
            org,
            figures,
            settings,
        }
    }
}

/// Makes a project's wallet.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    given: &Given,
    new: NewWallet,
) -> Result<Done<Wallet>, Error> {
    ctx.allow(&Scope::Org(new.org.clone()))?;
    check_project(app, ctx, &new)?;
    let NewWallet {
        project,
        org,
        currency,
        initial_balance,
        settings,
    } = new;
    let command = Command::CreateWallet(CreateWallet {
        project: project.clone(),
        org: org.clone(),
        currency,
        initial_balance,
        settings,
    });
    let done = app.change(ctx, given, &project, command).await?;
    wallet_of(done, project, org)
}

/// In enforce mode the project must be there, and be one of the org's. Dev mode takes both as they come.
fn check_project(app: &App, ctx: &Context, new: &NewWallet) -> Result<(), Error> {
    if app.mode == Mode::Dev {
        return Ok(());
    }
    let policies = ctx.auth().policies();
    match policies.project(&new.project) {
        Some(known) if known.org == new.org && !known.disabled => Ok(()),
        Some(known) if known.org == new.org => Err(Error::failed_precondition(format!(
            "project {} is disabled",
            new.project
        ))),
        // One of another org is none of the caller's.
        _ => Err(Error::validation(
            "project_id",
            "exists",
            format!(
                "project_id {} is no project of org {}",
                new.project, new.org
            ),
        )),
    }
}

fn wallet_of(done: Done<Answer>, project: Name, org: Name) -> Result<Done<Wallet>, Error> {
    match done.value {
        Answer::Wallet { figures, settings } => Ok(Done {
            value: Wallet {
                project,
                org,
                figures,
                settings,
            },
            replayed: done.replayed,
        }),
        other => Err(odd(&other)),
    }
}

/// Reads a wallet.
pub(crate) async fn get(app: &App, ctx: &Context, project: &Name) -> Result<Wallet, Error> {
    scope::allow_in_project(ctx, project)?;
    read(app, ctx, project).await
}

/// Reads a wallet that may be seen.
pub(crate) async fn read(app: &App, ctx: &Context, project: &Name) -> Result<Wallet, Error> {
    let ask = Ask::Wallets {
        projects: vec![project.clone()],
    };
    let shard = app.shards.of_project(project);
    match app.shards.ask(shard, ask, ctx.deadline).await? {
        Reply::Wallets(found) => found
            .into_iter()
            .next()
            .map(Wallet::from)
            .ok_or_else(|| Error::not_found(scope::wallet(project))),
        other => Err(odd(&other)),
    }
}

/// Lists the wallets the caller may see, by project.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &WalletFilter,
    rows: &Rows<Name>,
) -> Result<Page<Wallet>, Error> {
    let visible = ctx.visible()?;
    let wanted = |project: &Name, published: &Published| {
        visible.project(project, Some(&published.org))
            && filter.org.as_ref().is_none_or(|org| *org == published.org)
            && filter.project.as_ref().is_none_or(|one| one == project)
    };
    let mut found = Vec::new();
    let mut after = rows.after.clone();
    let mut looked_at = 0;
    while found.len() < rows.rows() && looked_at < LOOK_AT {
        let scan = Scan {
            // The first key behind it: no name has this character.
            from: after
                .as_ref()
                .map(|project| format!("{}!", layout::public_wallet(project))),
            ..Scan::below(layout::PUBLIC_WALLETS, CHUNK)
        };
        let chunk = app.shards.store().scan(&scan).await?;
        looked_at += chunk.entries.len();
        for entry in &chunk.entries {
            let name = entry.key.strip_prefix(layout::PUBLIC_WALLETS);
            let Some(project) = name.and_then(|name| Name::new(name).ok()) else {
                continue;
            };
            if wanted(&project, &stored::read(entry)?) {
                found.push(project.clone());
            }
            after = Some(project);
        }
        if !chunk.more {
            break;
        }
    }
    let page = rows.page(found, Name::clone)?;
    Ok(Page {
        rows: read_all(app, ctx, page.rows).await?,
        next_page_token: page.next_page_token,
    })
}

/// Wallets of several shards, in the order of their projects.
async fn read_all(app: &App, ctx: &Context, projects: Vec<Name>) -> Result<Vec<Wallet>, Error> {
    let mut by_shard = BTreeMap::<_, Vec<Name>>::new();
    for project in projects {
        let shard = app.shards.of_project(&project);
        by_shard.entry(shard).or_default().push(project);
    }
    let asking = by_shard.into_iter().map(|(shard, projects)| {
        app.shards
            .ask(shard, Ask::Wallets { projects }, ctx.deadline)
    });
    let mut all = Vec::new();
    for reply in try_join_all(asking).await? {
        match reply {
            Reply::Wallets(found) => all.extend(found.into_iter().map(Wallet::from)),
            other => return Err(odd(&other)),
        }
    }
    all.sort_by(|one, other| one.project.cmp(&other.project));
    Ok(all)
}

/// Changes how a wallet behaves, and whether it may be used.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    changes: WalletChanges,
) -> Result<Done<Wallet>, Error> {
    scope::allow_over_project(ctx, project)?;
    let org = read(app, ctx, project).await?.org;
    let command = Command::UpdateWallet(UpdateWallet {
        project: project.clone(),
        changes,
    });
    let done = app.change(ctx, given, project, command).await;
    wallet_of(in_path(done, project)?, project.clone(), org)
}

/// Brings credit in.
pub(crate) async fn top_up(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    deposit: Deposit,
) -> Result<Done<Moved>, Error> {
    scope::allow_over_project(ctx, project)?;
    let Deposit {
        amount,
        source,
        description,
    } = deposit;
    let moving = Moving {
        kind: "deposit",
        amount: amount.get(),
        description: description.clone(),
        resource: Resource::default(),
    };
    let command = Command::TopUp(TopUp {
        project: project.clone(),
        amount,
        source,
        description,
    });
    move_money(app, ctx, given, project, command, moving).await
}

/// Charges at once, without a reservation.
pub(crate) async fn charge(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    direct: Direct,
) -> Result<Done<Moved>, Error> {
    scope::allow_in_project(ctx, project)?;
    let Direct {
        amount,
        sku,
        resource,
        description,
    } = direct;
    let moving = Moving {
        kind: "charge",
        amount: -amount.get(),
        description: description.clone(),
        resource: resource.clone(),
    };
    let command = Command::Charge(DirectCharge {
        project: project.clone(),
        amount,
        sku,
        resource,
        description,
    });
    move_money(app, ctx, given, project, command, moving).await
}

/// Corrects a balance by hand.
pub(crate) async fn adjust(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    correction: Correction,
) -> Result<Done<Moved>, Error> {
    scope::allow_over_project(ctx, project)?;
    let Correction {
        direction,
        amount,
        reason,
    } = correction;
    let moving = Moving {
        kind: "adjustment",
        amount: match direction {
            Direction::Credit => amount.get(),
            Direction::Debit => -amount.get(),
        },
        description: Some(reason.clone()),
        resource: Resource::default(),
    };
    let command = Command::Adjust(Adjust {
        project: project.clone(),
        direction,
        amount,
        reason,
    });
    move_money(app, ctx, given, project, command, moving).await
}

/// Gives back a charge, or part of it.
pub(crate) async fn refund(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    returned: Returned,
) -> Result<Done<Moved>, Error> {
    scope::allow_over_project(ctx, project)?;
    let Returned {
        transaction,
        amount,
        description,
    } = returned;
    let of = transaction::service::charge_of(app, ctx, project, transaction).await?;
    let moving = Moving {
        kind: "refund",
        amount: amount.get(),
        description: description.clone(),
        resource: Resource::default(),
    };
    let command = Command::Refund(Refund {
        project: project.clone(),
        amount,
        of,
        description,
    });
    move_money(app, ctx, given, project, command, moving).await
}

/// What is said of a change beside what the ledger answers.
struct Moving {
    kind: &'static str,
    amount: i64,
    description: Option<Description>,
    resource: Resource,
}

async fn move_money(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    command: Command,
    moving: Moving,
) -> Result<Done<Moved>, Error> {
    let done = in_path(app.change(ctx, given, project, command).await, project)?;
    match done.value {
        Answer::Transaction { id, figures } => Ok(Done {
            value: Moved {
                transaction: id,
                project: project.clone(),
                amount: moving.amount,
                kind: moving.kind,
                description: moving.description,
                resource: moving.resource,
                figures,
            },
            replayed: done.replayed,
        }),
        other => Err(odd(&other)),
    }
}

/// Where the wallet is named by the path, its absence is 404.
fn in_path<T>(result: Result<T, Error>, project: &Name) -> Result<T, Error> {
    result.map_err(|error| {
        if error.code() == photon_core::Code::WALLET_NOT_FOUND {
            Error::not_found(scope::wallet(project))
        } else {
            error
        }
    })
}

/// The currency that a caller names, if any, must be one we have; whether it is the wallet's, the ledger is not asked:
/// there is one.
pub(crate) fn currency(code: Option<&str>) -> Result<Currency, Error> {
    match code {
        None => Ok(Currency::Jpy),
        Some(code) => Currency::by_code(code).ok_or_else(|| {
            Error::validation(
                "currency",
                "supported",
                "currency must be JPY: no other is kept here",
            )
        }),
    }
}
