//! What is measured, with which load, and what is to be reached.

use std::time::Duration;

use etcd_client::KvClient;
use hdrhistogram::Histogram;

use crate::data::{KeySpace, Values};
use crate::load::{connect_kv, drive};
use crate::watch;
use crate::workers::{CompareAndPut, Consistency, Get, Page, Put, Range};

/// Measures of one stage share their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// 10,000 keys, nothing is written.
    Read,
    /// 10,000 keys.
    Write,
    /// Watchers.
    Watch,
    /// 1,000,000 keys.
    Many,
    /// Three members.
    Three,
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Puts to random keys.
    Put { clients: u64 },
    /// Gets of random keys.
    Get {
        clients: u64,
        consistency: Consistency,
    },
    /// Compare the revision and put.
    Txn { clients: u64 },
    /// The whole key space in one answer.
    Range { clients: u64 },
    /// The key space in pages.
    Page { clients: u64, page: u64 },
    /// Puts at a fixed rate under the eyes of many.
    Watch { watchers: usize, rate: u32 },
    /// Resident memory after filling.
    Memory,
    /// SIGKILL of the leader.
    Election,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// Name on the command line.
    pub(crate) id: &'static str,
    /// Name in the table.
    pub(crate) title: &'static str,
    /// Which servers it runs on.
    pub(crate) stage: Stage,
    /// What the clients do.
    pub(crate) load: Load,
    /// What is to be reached.
    pub(crate) goal: Goal,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// This many times the baseline (for times and sizes: the baseline this many times ours).
    Ratio(f64),
    /// Less than this, whatever the baseline.
    Below(f64),
}

/// What a run gave.
pub(crate) struct Measured {
    /// Operations per second, or for watchers the delivery p99 in milliseconds.
    pub(crate) value: f64,
    /// Operations of the whole run including its warm-up.
    pub(crate) operations: u64,
    /// Latencies in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Load {
    /// The unit of the value.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Watch { .. } | Self::Election => "ms",
            Self::Memory => "MiB",
            Self::Page { .. } => "pages/s",
            _ => "/s",
        }
    }

    /// Whether more is better.
    pub(crate) fn more_is_better(&self) -> bool {
        !matches!(self, Self::Watch { .. } | Self::Election | Self::Memory)
    }

    /// Whether the constant service answers this.
    pub(crate) fn has_ceiling(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Get { .. })
    }

    /// One run against the endpoints, to which the clients are dealt out. `start` is where paging begins.
    ///
    /// # Errors
    /// Any failed request.
    pub(crate) async fn run(
        &self,
        endpoints: &[String],
        keys: KeySpace,
        values: &Values,
        warm_up: Duration,
        duration: Duration,
        start: u64,
    ) -> anyhow::Result<Measured> {
        match *self {
            Self::Put { clients } => {
                let workers = deal(endpoints, clients, |client, _| Put {
                    client,
                    keys,
                    values: values.clone(),
                });
                closed(drive(workers.await?, warm_up, duration).await?)
            }
            Self::Get {
                clients,
                consistency,
            } => {
                let workers = deal(endpoints, clients, |client, _| Get {
                    client,
                    keys,
                    consistency,
                });
                closed(drive(workers.await?, warm_up, duration).await?)
            }
            Self::Txn { clients } => {
                let workers = deal(endpoints, clients, |client, index| {
                    CompareAndPut::new(client, keys, values.clone(), index, clients)
                });
                closed(drive(workers.await?, warm_up, duration).await?)
            }
            Self::Range { clients } => {
                let workers = deal(endpoints, clients, |client, _| Range { client, keys });
                closed(drive(workers.await?, warm_up, duration).await?)
            }
            Self::Page { clients, page } => {
                let workers = deal(endpoints, clients, |client, index| Page {
                    client,
                    keys,
                    page,
                    next: (start + index * keys.count / clients) % keys.count / page * page,
                });
                closed(drive(workers.await?, warm_up, duration).await?)
            }
            Self::Watch { watchers, rate } => {
                let plan = watch::Plan {
                    watchers,
                    writes_per_second: rate,
                    duration,
                };
                let latency = watch::delivery(&endpoints[0], plan).await?;
                Ok(Measured {
                    value: latency.value_at_quantile(0.99) as f64 / 1000.0,
                    operations: latency.len(),
                    latency,
                })
            }
            Self::Memory | Self::Election => {
                anyhow::bail!("not a load that runs for a given time")
            }
        }
    }
}

fn closed(outcome: crate::load::Outcome) -> anyhow::Result<Measured> {
    Ok(Measured {
        value: outcome.rate(),
        operations: outcome.operations_with_warm_up,
        latency: outcome.latency,
    })
}

async fn deal<W>(
    endpoints: &[String],
    clients: u64,
    worker: impl Fn(KvClient, u64) -> W,
) -> anyhow::Result<Vec<W>> {
    let mut workers = Vec::new();
    for (index, endpoint) in (0..clients).zip(endpoints.iter().cycle()) {
        workers.push(worker(connect_kv(endpoint).await?, index));
    }
    Ok(workers)
}

const fn put(id: &'static str, title: &'static str, clients: u64, ratio: f64) -> Measure {
    Measure {
        id,
        title,
        stage: Stage::Write,
        load: Load::Put { clients },
        goal: Goal::Ratio(ratio),
    }
}

const fn get(
    id: &'static str,
    title: &'static str,
    clients: u64,
    consistency: Consistency,
    ratio: f64,
) -> Measure {
    Measure {
        id,
        title,
        stage: Stage::Read,
        load: Load::Get {
            clients,
            consistency,
        },
        goal: Goal::Ratio(ratio),
    }
}

const fn watchers(id: &'static str, title: &'static str, watchers: usize) -> Measure {
    Measure {
        id,
        title,
        stage: Stage::Watch,
        load: Load::Watch {
            watchers,
            rate: 125,
        },
        goal: Goal::Ratio(1.0),
    }
}

/// Everything that is compared.
pub(crate) const MEASURES: &[Measure] = &[
    put("put-1", "put 256 B, 1 client", 1, 1.2),
    put("put-64", "put 256 B, 64 clients", 64, 2.0),
    put("put-256", "put 256 B, 256 clients", 256, 1.3),
    get(
        "get-linearizable-1",
        "linearizable get, 1 client",
        1,
        Consistency::Linearizable,
        1.0,
    ),
    get(
        "get-linearizable-64",
        "linearizable get, 64 clients",
        64,
        Consistency::Linearizable,
        2.2,
    ),
    get(
        "get-linearizable-256",
        "linearizable get, 256 clients",
        256,
        Consistency::Linearizable,
        1.8,
    ),
    get(
        "get-serializable-64",
        "serializable get, 64 clients",
        64,
        Consistency::Serializable,
        2.2,
    ),
    get(
        "get-serializable-256",
        "serializable get, 256 clients",
        256,
        Consistency::Serializable,
        1.8,
    ),
    Measure {
        id: "txn-64",
        title: "compare-and-put transaction, 64 clients",
        stage: Stage::Write,
        load: Load::Txn { clients: 64 },
        goal: Goal::Ratio(2.0),
    },
    Measure {
        id: "range",
        title: "prefix range over 10,000 keys, 8 clients",
        stage: Stage::Read,
        load: Load::Range { clients: 8 },
        goal: Goal::Ratio(2.0),
    },
    Measure {
        id: "memory",
        title: "resident memory with 1,000,000 x 256 B",
        stage: Stage::Many,
        load: Load::Memory,
        goal: Goal::Ratio(2.0),
    },
    Measure {
        id: "page",
        title: "paging 1,000,000 keys by 1,000 with count, 1 client",
        stage: Stage::Many,
        load: Load::Page {
            clients: 1,
            page: 1000,
        },
        goal: Goal::Ratio(10.0),
    },
    watchers("watch-200", "delivery p99, 200 watchers, 125 writes/s", 200),
    watchers(
        "watch-1000",
        "delivery p99, 1,000 watchers, 125 writes/s",
        1000,
    ),
    Measure {
        id: "cluster-put-64",
        title: "three members, put 256 B, 64 clients",
        stage: Stage::Three,
        load: Load::Put { clients: 64 },
        goal: Goal::Ratio(1.5),
    },
    Measure {
        id: "election",
        title: "SIGKILL of the leader to the first write",
        stage: Stage::Three,
        load: Load::Election,
        goal: Goal::Below(2000.0),
    },
];

/// The memory measure, which is taken while filling for the others of its stage.
pub(crate) fn memory() -> &'static Measure {
    MEASURES
        .iter()
        .find(|measure| matches!(measure.load, Load::Memory))
        .unwrap_or(&MEASURES[0])
}
