//! From the API's answer to a rule's making until every port of its group lets the ping in, and from the answer to its
//! deletion until none does: counted by the pings that a port of another group sends to all of them every ten milliseconds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::control::Control;
use super::lab::Lab;
use super::{Options, inside, probe};
use crate::figures::{Figure, Goal, Line, Table};

const PROJECT: &str = "rule";
const ASK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
const SETTING_UP: Duration = Duration::from_secs(300);
/// How long nobody must answer before nobody counts as answering.
const SILENCE: Duration = Duration::from_millis(500);
/// How long everybody answers before the rule goes.
const OPEN: Duration = Duration::from_millis(300);

/// Measures it.
///
/// # Errors
/// What went wrong first; a port that answers before anything lets it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let lab = Lab::start(options.programs(), 1, 0).await?;
    let mut bench = Bench::set_up(&lab, options.members).await?;
    let mode = lab.mode().await?;
    let mut made = Vec::new();
    let mut deleted = Vec::new();
    // Who is asked for the first time is looked for by ARP; and it shows that nobody answers yet.
    bench.expect_silence().await?;
    for round in 0..options.rounds {
        let (rule, opened) = bench.make().await?;
        let closed = bench.delete(&rule).await?;
        println!(
            "rule {round}: counts after {:?}, no longer {:?} after its deletion",
            opened.all, closed.all
        );
        made.push(opened);
        deleted.push(closed);
    }
    let what = |what: &str| format!("{what}, {} ports, mode {mode}", options.members);
    Ok(Table {
        part: "API answer until a rule counts",
        columns: &["on all, ms", "on half, ms"],
        lines: vec![
            line(what("made"), &made, "all <= 200"),
            line(what("deleted"), &deleted, "all <= 200"),
        ],
    })
}

/// How long it took until it was so on all ports, and on half of them.
struct Took {
    all: Duration,
    half: Duration,
}

impl Took {
    fn new(at: &BTreeMap<Ipv4Addr, Instant>, since: Instant) -> anyhow::Result<Self> {
        let mut each: Vec<Duration> = at
            .values()
            .map(|at| at.saturating_duration_since(since))
            .collect();
        each.sort_unstable();
        Ok(Self {
            all: *each.last().context("no port")?,
            half: each[each.len() / 2],
        })
    }
}

fn line(what: String, took: &[Took], text: &'static str) -> Line {
    let ms = |of: fn(&Took) -> Duration| {
        Figure::of(took.iter().map(move |one| of(one).as_secs_f64() * 1000.0))
    };
    let all = ms(|one| one.all);
    Line {
        what,
        goal: all.middle().map(|median| Goal {
            text,
            is_reached: median <= 200.0,
        }),
        figures: vec![all, ms(|one| one.half)],
    }
}

struct Bench {
    control: Control,
    group: String,
    /// Where is asked from.
    from: PathBuf,
    addresses: Vec<Ipv4Addr>,
}

impl Bench {
    async fn set_up(lab: &Lab, members: usize) -> anyhow::Result<Self> {
        let host = &lab.hosts[0];
        let mut control = Control::connect(&lab.network.rest).await?;
        let subnet = control.subnet(PROJECT).await?;
        let body = json!({"subnet_id": subnet, "kind": "service", "host_id": host.name});
        // In the project's default group, which lets everything out.
        let asking = control.port(&body).await?;
        let group = control.group(PROJECT, "members").await?;
        let body = json!({
            "subnet_id": subnet, "kind": "service", "host_id": host.name, "security_group_ids": [group],
        });
        control.ports(&body, members, SETTING_UP).await?;
        let all = control
            .active(&subnet, &host.name, members + 1, SETTING_UP)
            .await?;
        let others = all.iter().filter(|port| port.id != asking.id);
        Ok(Self {
            control,
            group,
            from: host.port(&asking.id),
            addresses: others.map(|port| port.address).collect(),
        })
    }

    async fn expect_silence(&self) -> anyhow::Result<()> {
        let addresses = self.addresses.clone();
        let ask = move || probe::last_answers(&addresses, ASK_EVERY, SILENCE * 3, PATIENCE);
        let answered = inside::run(&self.from, ask).await?;
        ensure!(
            answered.is_empty(),
            "{} ports answer that nothing lets in",
            answered.len()
        );
        Ok(())
    }

    async fn make(&mut self) -> anyhow::Result<(String, Took)> {
        let addresses = self.addresses.clone();
        let ask = move || probe::first_answers(&addresses, ASK_EVERY, PATIENCE);
        let asking = inside::start(&self.from, ask)?;
        let rule = json!({"direction": "ingress", "protocol": "icmp"});
        let rule = self.control.rule(&self.group, &rule).await?;
        let since = Instant::now();
        Ok((rule, Took::new(&asking.end().await?, since)?))
    }

    async fn delete(&mut self, rule: &str) -> anyhow::Result<Took> {
        let addresses = self.addresses.clone();
        let ask = move || probe::last_answers(&addresses, ASK_EVERY, SILENCE, PATIENCE);
        let asking = inside::start(&self.from, ask)?;
        tokio::time::sleep(OPEN).await;
        self.control.delete_rule(&self.group, rule).await?;
        let since = Instant::now();
        let last = asking.end().await?;
        ensure!(
            last.len() == self.addresses.len(),
            "only {} ports answered before the rule went",
            last.len()
        );
        Took::new(&last, since)
    }
}
