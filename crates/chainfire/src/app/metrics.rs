//! What `/metrics` says about consensus and the store, read at each scrape. Names are etcd's where etcd has one, so that
//! its dashboards and alerts work; `docs/operations.md` lists them.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use photon_proto::etcdserverpb::RangeRequest;
use photon_raft::Role;
use photon_server::Metrics;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::App;

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    leader_changes: AtomicU64,
    failed_proposals: AtomicU64,
}

impl Counts {
    /// A proposal failed, or its outcome is unknown.
    pub(super) fn proposal_failed(&self) {
        self.failed_proposals.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the leaders this node sees. Runs for the life of the node.
pub(super) async fn count_leaders(app: Arc<App>) {
    let mut raft = app.raft_watch();
    let mut last = None;
    loop {
        let leader = {
            let status = raft.borrow_and_update();
            status.leader.map(|leader| (status.term, leader))
        };
        if leader.is_some() && leader != last {
            last = leader;
            app.counts.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            changed = raft.changed() => if changed.is_err() { return },
        }
    }
}

impl App {
    /// Adds this node's figures to what is scraped.
    pub(crate) fn register_metrics(self: &Arc<Self>, metrics: &Metrics) {
        let figures = Figures(Arc::downgrade(self));
        metrics.register_unprefixed(|registry| registry.register_collector(Box::new(figures)));
    }

    /// How many keys there are now; costs little however many.
    fn keys(&self) -> i64 {
        let all = RangeRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            count_only: true,
            ..RangeRequest::default()
        };
        self.engine.range(&all).map_or(0, |found| found.count)
    }
}

/// The node's figures; gone with it.
struct Figures(Weak<App>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(app) = self.0.upgrade() else {
            return Ok(());
        };
        let mut sheet = Sheet(encoder);
        consensus(&app, &mut sheet)?;
        store(&app, &mut sheet)?;
        clients(&app, &mut sheet)
    }
}

fn consensus(app: &App, sheet: &mut Sheet<'_>) -> fmt::Result {
    let raft = app.raft_status();
    let is = |yes: bool| i64::from(yes);
    sheet.gauge(
        "etcd_server_has_leader",
        "Whether there is a leader with a quorum",
        is(app.is_led()),
    )?;
    sheet.gauge(
        "etcd_server_is_leader",
        "Whether this node leads and a quorum confirms it",
        is(raft.role == Role::Leader),
    )?;
    sheet.gauge(
        "etcd_server_is_learner",
        "Whether this node does not vote",
        is(raft.is_learner),
    )?;
    sheet.count(
        "etcd_server_leader_changes_seen",
        "Leaders seen since the start",
        app.counts.leader_changes.load(Ordering::Relaxed),
    )?;
    sheet.count(
        "etcd_server_proposals_committed",
        "Index of the last log entry known to be on a majority",
        raft.committed,
    )?;
    sheet.count(
        "etcd_server_proposals_applied",
        "Index of the last log entry applied here",
        raft.applied,
    )?;
    sheet.gauge(
        "etcd_server_proposals_pending",
        "Writes under way at this node",
        size(app.proposals.load(Ordering::Relaxed)),
    )?;
    sheet.count(
        "etcd_server_proposals_failed",
        "Writes at this node that failed or whose outcome is unknown",
        app.counts.failed_proposals.load(Ordering::Relaxed),
    )?;
    // Only the count of etcd's histogram: how long each took is not measured.
    sheet.number(
        "etcd_disk_wal_fsync_duration_seconds_count",
        "Fsyncs of the log since the start",
        MetricType::Unknown,
        count(app.group.fsyncs()),
    )?;
    sheet.gauge("photon_chainfire_raft_term", "The term", count(raft.term))?;
    sheet.gauge(
        "photon_chainfire_raft_log_last_index",
        "Index of the last entry in this node's log",
        count(raft.last_log),
    )?;
    sheet.gauge(
        "photon_chainfire_raft_log_purged_index",
        "Index up to which this node's log is gone",
        count(raft.purged),
    )?;
    sheet.gauge(
        "photon_chainfire_members",
        "Members, learners included",
        size(raft.members.len()),
    )?;
    sheet.gauge(
        "photon_chainfire_membership_changing",
        "Whether the voters are being changed",
        is(raft.changing),
    )?;
    sheet.gauge(
        "photon_chainfire_recovered",
        "Whether everything committed before the start is applied",
        is(app.is_recovered()),
    )
}

fn store(app: &App, sheet: &mut Sheet<'_>) -> fmt::Result {
    let bytes = app.engine.size();
    sheet.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Bytes of the store on disk",
        bytes.total,
    )?;
    sheet.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Of those, bytes that are not garbage",
        bytes.in_use,
    )?;
    sheet.gauge(
        "photon_chainfire_store_live_bytes",
        "Keys, values and history before compression: what the quota is compared with",
        bytes.live,
    )?;
    sheet.gauge(
        "etcd_server_quota_backend_bytes",
        "Bytes of live data after which writes are refused; 0: no quota",
        app.engine.quota_bytes().max(0),
    )?;
    sheet.gauge(
        "etcd_debugging_mvcc_current_revision",
        "The newest revision",
        app.engine.revision(),
    )?;
    sheet.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The compacted revision; -1 before the first compaction",
        app.engine.compacted(),
    )?;
    sheet.gauge("etcd_debugging_mvcc_keys_total", "Keys", app.keys())?;
    sheet.gauge(
        "photon_chainfire_alarms",
        "Alarms that are raised",
        size(app.engine.alarms().len()),
    )
}

fn clients(app: &App, sheet: &mut Sheet<'_>) -> fmt::Result {
    let watches = app.engine.watches().stats();
    sheet.gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Open watch streams",
        size(watches.streams),
    )?;
    sheet.gauge(
        "etcd_debugging_mvcc_watcher_total",
        "Watchers",
        size(watches.watchers),
    )?;
    sheet.gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Watchers that are behind",
        size(watches.unsynced),
    )?;
    sheet.gauge(
        "photon_chainfire_watch_queued_bytes",
        "Bytes of events that wait for clients to take them",
        size(watches.queued_bytes),
    )?;
    let (granted, revoked) = app.desk.lease_counts();
    sheet.count(
        "etcd_debugging_lease_granted",
        "Leases granted since the start",
        granted,
    )?;
    sheet.count(
        "etcd_debugging_lease_revoked",
        "Leases revoked or expired since the start",
        revoked,
    )?;
    sheet.gauge(
        "photon_chainfire_leases",
        "Leases",
        size(app.engine.leases().len()),
    )
}

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Where the figures are written.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn number(&mut self, name: &str, help: &str, kind: MetricType, value: i64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, kind)?;
        ConstGauge::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        self.number(name, help, MetricType::Gauge, value)
    }

    /// `_total` is put behind the name.
    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }
}
