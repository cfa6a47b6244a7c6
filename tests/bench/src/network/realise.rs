//! From the API's answer to the first answered ping of a port of the kind `service`: one after another, and ten at once; asked
//! from a port on the same host and from one on another.
//!
//! Whoever asks begins before the port is made, and asks every two milliseconds; its address and MAC are chosen here and known
//! to the neighbour tables of those who ask. So an answer is the first packet that gets through, and not the end of a wait
//! for ARP, which repeats a question after a second.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use serde_json::json;

use super::control::Control;
use super::lab::Lab;
use super::{Options, inside, probe};
use crate::figures::{Figure, Goal, Line, Table, milliseconds};

/// The most ports of a measure: those of two measures and two sizes fit below an address's third number.
pub(crate) const MOST: usize = 10_000;
const ASK_EVERY: Duration = Duration::from_millis(2);
/// How long a port may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long those that are only there may take.
const SETTING_UP: Duration = Duration::from_secs(300);
/// Ports made at once.
const AT_ONCE: usize = 10;
const PROJECT: &str = "realise";

/// A port to be made.
#[derive(Clone, Debug)]
struct Planned {
    address: Ipv4Addr,
    mac: String,
}

/// Measures it.
///
/// # Errors
/// What went wrong first.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let mut lines = Vec::new();
    for &beside in &options.beside {
        let lab = Lab::start(options.programs(), 2, 0).await?;
        let mut bench = Bench::set_up(lab, beside, options.ports).await?;
        for at_once in [1, AT_ONCE] {
            let [here, elsewhere] = bench.measure(at_once, options.ports).await?;
            let how = if at_once == 1 {
                "one after another".to_owned()
            } else {
                format!("{at_once} at once")
            };
            let what = format!("{} ports {how}, beside {beside}", options.ports);
            lines.push(line(
                format!("{what}, pinged from the same host"),
                &here,
                at_once == 1,
            ));
            lines.push(line(
                format!("{what}, pinged from another host"),
                &elsewhere,
                false,
            ));
        }
    }
    Ok(Table {
        part: "API answer to first answered ping",
        columns: &["p50 ms", "p99 ms", "longest ms"],
        lines,
    })
}

fn line(what: String, latency: &Histogram<u64>, has_goal: bool) -> Line {
    let (p50, p99) = (milliseconds(latency, 0.5), milliseconds(latency, 0.99));
    Line {
        what,
        goal: has_goal.then_some(Goal {
            text: "p50 <= 150, p99 <= 500",
            is_reached: p50 <= 150.0 && p99 <= 500.0,
        }),
        figures: vec![
            Figure::One(p50),
            Figure::One(p99),
            Figure::One(latency.max() as f64 / 1000.0),
        ],
    }
}

struct Bench {
    lab: Lab,
    control: Control,
    subnet: String,
    /// Where is asked from: on the first host and on the second.
    from: [std::path::PathBuf; 2],
    planned: Vec<Planned>,
}

impl Bench {
    async fn set_up(lab: Lab, beside: usize, ports: usize) -> anyhow::Result<Self> {
        let mut control = Control::connect(&lab.network.rest).await?;
        let subnet = control.subnet(PROJECT).await?;
        let mut from = Vec::new();
        for host in &lab.hosts {
            let body = json!({"subnet_id": subnet, "kind": "service", "host_id": host.name});
            control.port(&body).await?;
            let there = control.active(&subnet, &host.name, 1, SETTING_UP).await?;
            from.push(host.port(&there[0].id));
        }
        let here = &lab.hosts[0].name;
        let body = json!({"subnet_id": subnet, "kind": "service", "host_id": here});
        control.ports(&body, beside, SETTING_UP).await?;
        control
            .active(&subnet, here, beside + 1, SETTING_UP)
            .await?;
        let planned: Vec<Planned> = (0..2 * ports.next_multiple_of(AT_ONCE))
            .map(plan)
            .collect::<anyhow::Result<_>>()?;
        let from: [std::path::PathBuf; 2] = from.try_into().ok().context("two hosts")?;
        for namespace in &from {
            know(namespace, &planned)?;
        }
        Ok(Self {
            lab,
            control,
            subnet,
            from,
            planned,
        })
    }

    /// How long ports took, asked from here and from elsewhere, in microseconds.
    async fn measure(
        &mut self,
        at_once: usize,
        ports: usize,
    ) -> anyhow::Result<[Histogram<u64>; 2]> {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..ports.div_ceil(at_once) {
            let some = self.planned.split_off(self.planned.len() - at_once);
            let made = self.make(&some).await?;
            for (side, answered) in made.answered.iter().enumerate() {
                for (address, at) in answered {
                    let made_at = made.at.get(address).context("nobody made that")?;
                    took[side].push(at.saturating_duration_since(*made_at));
                }
            }
        }
        let [here, elsewhere] = took;
        let median = |of: &[Duration]| of.get(of.len() / 2).copied().unwrap_or_default();
        println!(
            "realise: {at_once} at once, one of them: {:?}, from another host {:?}",
            median(&here),
            median(&elsewhere)
        );
        Ok([probe::histogram(here)?, probe::histogram(elsewhere)?])
    }

    async fn make(&mut self, some: &[Planned]) -> anyhow::Result<Made> {
        let addresses: Vec<Ipv4Addr> = some.iter().map(|one| one.address).collect();
        let mut asking = Vec::new();
        for namespace in &self.from {
            let addresses = addresses.clone();
            asking.push(inside::start(namespace, move || {
                probe::first_answers(&addresses, ASK_EVERY, PATIENCE)
            })?);
        }
        let mut at = BTreeMap::new();
        if let [one] = some {
            let body = self.body(one);
            at.insert(one.address, self.control.port(&body).await?.at);
        } else {
            let mut connections = Vec::new();
            for _ in some {
                connections.push(Control::connect(&self.lab.network.rest).await?);
            }
            let each = connections.iter_mut().zip(some).map(|(control, one)| {
                let body = self.body(one);
                async move { control.port(&body).await }
            });
            for port in try_join_all(each).await? {
                at.insert(port.address, port.at);
            }
        }
        let mut answered = Vec::new();
        for work in asking {
            answered.push(work.end().await?);
        }
        Ok(Made { at, answered })
    }

    fn body(&self, one: &Planned) -> serde_json::Value {
        json!({
            "subnet_id": self.subnet, "kind": "service", "host_id": self.lab.hosts[0].name,
            "ip_address": one.address, "mac_address": one.mac,
        })
    }
}

/// Ports, and when they were made and answered.
struct Made {
    at: BTreeMap<Ipv4Addr, Instant>,
    answered: Vec<BTreeMap<Ipv4Addr, Instant>>,
}

/// Addresses far from where the service begins.
fn plan(index: usize) -> anyhow::Result<Planned> {
    let [_, _, high, low] = u32::try_from(index)?.to_be_bytes();
    Ok(Planned {
        address: Ipv4Addr::new(10, 10, 128 + high, low),
        mac: format!("0a:00:00:00:{high:02x}:{low:02x}"),
    })
}

/// The namespace knows which MACs the addresses will have.
fn know(namespace: &Path, planned: &[Planned]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for one in planned {
        let Planned { address, mac } = one;
        lines += &format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent\n");
    }
    let mut child = Command::new("nsenter")
        .arg(format!("--net={}", namespace.display()))
        .args(["ip", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run nsenter")?;
    let mut input = child.stdin.take().context("no pipe to ip")?;
    input.write_all(lines.as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "ip knows no neighbours");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_planned_port_has_an_address_and_a_mac_of_its_own() {
        let all: Vec<Planned> = (0..2 * MOST).map(|index| plan(index).unwrap()).collect();
        let addresses: BTreeSet<Ipv4Addr> = all.iter().map(|one| one.address).collect();
        let macs: BTreeSet<&String> = all.iter().map(|one| &one.mac).collect();
        assert_eq!((addresses.len(), macs.len()), (2 * MOST, 2 * MOST));
        let block = |address: &&Ipv4Addr| address.octets()[..2] == [10, 10];
        assert_eq!(addresses.iter().filter(block).count(), 2 * MOST);
        assert!(!addresses.contains(&Ipv4Addr::new(10, 10, 255, 255)));
    }
}
