//! `photonctl wallet`.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::Value;

use super::{
    Once,
    cli::Wallet,
    connection::Credit,
    money::Signed,
    record::{self, Field, Show},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Body,
        cli::Page,
        client::Call,
        list::{self, Rows},
        project,
    },
};

/// What IAM calls the project, where that is another word than its id.
const NAME: &str = "project_name";

const COLUMNS: &[Field] = &[
    ("project_id", Show::Plain),
    ("org_id", Show::Plain),
    ("status", Show::Plain),
    ("billing_mode", Show::Plain),
    ("balance", Show::Money),
    ("reserved", Show::Money),
    ("available", Show::Money),
    ("owed", Show::Debt),
];

const FIELDS: &[Field] = &[
    ("project_id", Show::Plain),
    (NAME, Show::Plain),
    ("org_id", Show::Plain),
    ("status", Show::Plain),
    ("balance", Show::Money),
    ("reserved", Show::Money),
    ("available", Show::Money),
    ("owed", Show::Money),
    ("billing_mode", Show::Plain),
    ("overdraft_limit", Show::Money),
    ("allow_overage", Show::Plain),
    ("low_balance", Show::Money),
    ("currency", Show::Plain),
];

/// A change, and what is in the wallet after it.
const CHANGE: &[Field] = &[
    ("id", Show::Plain),
    ("project_id", Show::Plain),
    ("type", Show::Plain),
    ("amount", Show::Money),
    ("description", Show::Plain),
    ("resource_id", Show::Plain),
    ("timestamp", Show::Plain),
    ("balance", Show::Money),
    ("reserved", Show::Money),
    ("available", Show::Money),
    ("owed", Show::Money),
    ("currency", Show::Plain),
];

pub(crate) async fn run(credit: &Credit<'_>, command: Wallet) -> Result<(), Failure> {
    match command {
        Wallet::Create {
            project,
            org,
            balance,
            billing_mode,
            overdraft_limit,
            allow_overage,
            low_balance,
            once,
        } => {
            let org = match org {
                Some(org) => org,
                None => project::org_of(&credit.iam()?, &project).await?,
            };
            let body = Body::default()
                .set("project_id", project)
                .set("org_id", org)
                .maybe("initial_balance", balance)
                .maybe("billing_mode", billing_mode.map(|mode| mode.word()))
                .maybe("overdraft_limit", overdraft_limit)
                .maybe("allow_overage", allow_overage.then_some(true))
                .list("low_balance", low_balance);
            let wallet = credit.post(&["api", "v1", "wallets"], body, once).await?;
            show(credit, wallet).await
        }
        Wallet::Get { project } => {
            let wallet = credit.get(&["api", "v1", "wallets", &project]).await?;
            show(credit, wallet).await
        }
        Wallet::List { org, page } => wallets(credit, org, page).await,
        Wallet::Update {
            project,
            status,
            billing_mode,
            overdraft_limit,
            allow_overage,
            no_overage,
            low_balance,
            no_low_balance,
            once,
        } => {
            let overage = (allow_overage || no_overage).then_some(allow_overage);
            let mut body = Body::default()
                .maybe("status", status.map(|status| status.word()))
                .maybe("billing_mode", billing_mode.map(|mode| mode.word()))
                .maybe("overdraft_limit", overdraft_limit)
                .maybe("allow_overage", overage)
                .list("low_balance", low_balance);
            if no_low_balance {
                body = body.set("low_balance", Vec::<u64>::new());
            }
            if body.is_empty() {
                return Err(Failure::usage("nothing is to be changed"));
            }
            let path = ["api", "v1", "wallets", &project];
            let wallet = credit.change(Method::PATCH, &path, Some(body), once);
            let wallet = wallet.await?;
            show(credit, wallet).await
        }
        Wallet::Topup {
            project,
            amount,
            description,
            source,
            once,
        } => {
            let body = Body::default()
                .set("amount", amount)
                .maybe("description", description)
                .maybe("source", source);
            moved(credit, &project, "topup", body, once).await
        }
        Wallet::Charge {
            project,
            amount,
            description,
            resource_id,
            sku,
            once,
        } => {
            let body = Body::default()
                .set("amount", amount)
                .maybe("description", description)
                .maybe("resource_id", resource_id)
                .maybe("sku", sku);
            moved(credit, &project, "charge", body, once).await
        }
        Wallet::Refund {
            project,
            transaction,
            amount,
            description,
            once,
        } => {
            let body = Body::default()
                .set("amount", amount)
                .set("transaction_id", transaction)
                .maybe("description", description);
            moved(credit, &project, "refund", body, once).await
        }
        Wallet::Adjust {
            project,
            amount: Signed(amount),
            reason,
            once,
        } => {
            let body = Body::default().set("amount", amount).set("reason", reason);
            moved(credit, &project, "adjust", body, once).await
        }
    }
}

async fn show(credit: &Credit<'_>, mut wallet: Value) -> Result<(), Failure> {
    match credit.format {
        Format::Human => {
            let id = wallet["project_id"].as_str().unwrap_or_default().to_owned();
            if let Some(name) = name_of(credit, &id).await {
                wallet[NAME] = name.into();
            }
            record::print(&wallet, FIELDS, wallet["currency"].as_str())
        }
        Format::Data(notation) => output::data(notation, &wallet),
    }
}

/// Makes a change of a balance, and shows what is in the wallet after it.
async fn moved(
    credit: &Credit<'_>,
    project: &str,
    verb: &str,
    body: Body,
    once: Once,
) -> Result<(), Failure> {
    let path = ["api", "v1", "wallets", project, verb];
    let change = credit.post(&path, body, once).await?;
    match credit.format {
        Format::Human => record::print(&change, CHANGE, change["currency"].as_str()),
        Format::Data(notation) => output::data(notation, &change),
    }
}

async fn wallets(credit: &Credit<'_>, org: Option<String>, page: Page) -> Result<(), Failure> {
    let filters = [("org_id", org.clone())];
    let path = ["api", "v1", "wallets"];
    let found = credit.list(&path, "wallets", &filters, page);
    let Some(Rows { mut rows, next }) = found.await? else {
        return Ok(());
    };
    let names = names(credit, org).await;
    let mut named = false;
    for row in &mut rows {
        let id = row["project_id"].as_str().unwrap_or_default();
        if let Some(name) = names.get(id).cloned() {
            row[NAME] = name.into();
            named = true;
        }
    }
    let mut columns = COLUMNS.to_vec();
    if named {
        columns.insert(1, (NAME, Show::Plain));
    }
    record::table(&columns, &rows, |row| row["currency"].as_str())?;
    list::tell_of_more(next.as_deref());
    Ok(())
}

/// What IAM calls a project. Whether it says so is not worth an error: the wallet is what was asked for.
async fn name_of(credit: &Credit<'_>, project: &str) -> Option<String> {
    let path = ["api", "v1", "projects", project];
    let known = credit.iam().ok()?.call(Call::get(&path)).await.ok()?;
    let name = known["name"].as_str().filter(|name| *name != project)?;
    Some(name.to_owned())
}

/// The names of projects that have another one than their id, as far as IAM says.
async fn names(credit: &Credit<'_>, org: Option<String>) -> HashMap<String, String> {
    let Ok(iam) = credit.iam() else {
        return HashMap::new();
    };
    let path = ["api", "v1", "projects"];
    let filters = [("org_id", org)];
    let Ok(found) = list::rows(&iam, &path, "projects", &filters, Page::default()).await else {
        return HashMap::new();
    };
    let name = |row: &Value| {
        let (id, name) = (row["id"].as_str()?, row["name"].as_str()?);
        (id != name).then(|| (id.to_owned(), name.to_owned()))
    };
    found.rows.iter().filter_map(name).collect()
}
