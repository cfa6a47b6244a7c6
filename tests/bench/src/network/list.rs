//! Many ports by pages: whether the last page takes longer than the first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Options;
use super::control::{Control, ORG};
use super::figures::{Figure, Goal, Line, Table};
use crate::keep_alive::{KeepAlive, request};
use crate::server::{Daemon, Store};

const PROJECT: &str = "list";
/// Rows of a page.
const PAGES: [usize; 2] = [100, 500];
const FILLING: Duration = Duration::from_secs(600);
/// By how much the last page may be slower before it counts as slowing.
const SLOWING: f64 = 1.25;

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
    let mut lines = Vec::new();
    for page in PAGES {
        let mut walks = Vec::new();
        for _ in 0..options.rounds {
            let walk = walk(&service.rest, page, options.listed).await?;
            println!(
                "list by {page}: {} pages in {:?}, first {:?}, last {:?}",
                walk.len(),
                walk.iter().sum::<Duration>(),
                walk[0],
                walk[walk.len() - 1]
            );
            walks.push(walk);
        }
        lines.push(line(options.listed, page, &walks));
    }
    Ok(Table {
        part: "ports listed",
        columns: &[
            "first page ms",
            "last page ms",
            "last tenth / first tenth",
            "all pages s",
        ],
        lines,
    })
}

fn line(listed: usize, page: usize, walks: &[Vec<Duration>]) -> Line {
    let of = |time: fn(&[Duration]) -> f64| Figure::of(walks.iter().map(|walk| time(walk)));
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    // A page alone is as long as what came between; a tenth of them is less so.
    let slowing = of(|walk| {
        let tenth = walk.len().div_ceil(10);
        let sum = |pages: &[Duration]| pages.iter().sum::<Duration>().as_secs_f64();
        sum(&walk[walk.len() - tenth..]) / sum(&walk[..tenth])
    });
    Line {
        what: format!("{listed} ports by {page}"),
        goal: slowing.middle().map(|slowing| Goal {
            text: "no slowing: <= 1.25",
            is_reached: slowing <= SLOWING,
        }),
        figures: vec![
            Figure::of(walks.iter().map(|walk| ms(walk.first()))),
            Figure::of(walks.iter().map(|walk| ms(walk.last()))),
            slowing,
            of(|walk| walk.iter().sum::<Duration>().as_secs_f64()),
        ],
    }
}

/// The time of each page, from the first to the last.
async fn walk(address: &str, page: usize, listed: usize) -> anyhow::Result<Vec<Duration>> {
    let mut connection = KeepAlive::connect(address).await?;
    let mut times = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rows = 0;
    let mut token = String::new();
    loop {
        let line =
            format!("GET /api/v1/ports?org_id={ORG}&project_id={PROJECT}&limit={page}{token}");
        let bytes = request(address, &line, "", "");
        let began = Instant::now();
        let status = connection.exchange(&bytes).await?;
        times.push(began.elapsed());
        ensure!(status == 200, "{line}: {status}");
        let mut answer: Value = serde_json::from_slice(connection.body())?;
        let data = answer["data"].take();
        let ports = data["ports"].as_array().context("no list of ports")?;
        rows += ports.len();
        ids.extend(ports.iter().map(|port| port["id"].to_string()));
        match data["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    ensure!(
        rows == listed && ids.len() == listed,
        "{rows} rows and {} different ones of {listed} ports are listed",
        ids.len()
    );
    Ok(times)
}
