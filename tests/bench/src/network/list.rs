//! Many ports by pages: whether the last page takes longer than the first.

use std::time::Duration;

use serde_json::json;

use super::Options;
use super::control::{Control, ORG};
use crate::figures::Table;
use crate::pages::{self, Pages};
use crate::server::{Daemon, Store};

const PROJECT: &str = "list";
/// Rows of a page.
const PAGES: [usize; 2] = [100, 500];
const FILLING: Duration = Duration::from_secs(600);

/// Measures it.
///
/// # Errors
/// What went wrong first; ports that are missing, or listed twice.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let scratch = super::scratch(options)?;
    let store = Store::start(&options.chainfire, 1, scratch.path()).await?;
    let mut service = Daemon::over(store, &options.prismnet, scratch.path(), "")?;
    service.start().await?;
    let mut control = Control::connect(&service.rest).await?;
    let subnet = control.subnet(PROJECT).await?;
    let body = json!({"subnet_id": subnet});
    control.ports(&body, options.listed, FILLING).await?;
    let path = format!("/api/v1/ports?org_id={ORG}&project_id={PROJECT}");
    let mut lines = Vec::new();
    for page in PAGES {
        let pages = Pages {
            address: &service.rest,
            path: &path,
            rows: "ports",
            page,
            listed: options.listed,
        };
        lines.push(pages.measure(options.rounds).await?);
    }
    Ok(Table {
        part: "ports listed",
        columns: pages::COLUMNS,
        lines,
    })
}
