//! The survivor of a lost quorum becomes the only member of a new cluster.
//!
//! It keeps everything in its log, also entries it did not know to be committed: an acknowledged write that reached this
//! node is among them. The price is that a write whose client never got an answer may appear, which such a client has
//! to expect anyway.

use std::{collections::BTreeSet, fmt, path::Path};

use anyhow::{Context as _, bail, ensure};
use chainfire_engine::{Engine, Options, examine};
use photon_raft::{
    Member, NodeId,
    offline::{self, Report, Stopped},
};

use super::{
    founding::{self, Founded},
    line,
};
use crate::{
    app::{LeaderDesk, Machine},
    config::MAX_ID,
    data_dir::DataDir,
};

/// What would be done, for a person to agree to. The data directory is ours while this lives.
#[derive(Debug)]
pub struct Plan {
    data_dir: DataDir,
    report: Report,
    revision: i64,
    member: Member,
    bump: i64,
}

/// Looks at the data directory and says what would become of it; changes nothing.
///
/// # Errors
/// A directory that is in use, not a node's, or damaged; a node that was never a member or is the only one.
pub fn plan(path: &Path, node_id: Option<NodeId>, bump: i64) -> anyhow::Result<Plan> {
    let data_dir = DataDir::existing(path)?;
    let state = examine(&path.join("state"))
        .context("this node's state cannot become a cluster; restore a snapshot instead")?
        .context("there is no state: this node has never been part of a cluster")?;
    let report = offline::examine(path, state.mark)?;
    let old = report
        .node_id
        .context("the log belongs to no node: this node has never been part of a cluster")?;
    let me = report.members.iter().find(|member| member.node_id == old);
    // A run that was interrupted may have come as far as that.
    let me = me.or_else(|| {
        (data_dir.unfinished().is_some())
            .then(|| report.members.first())
            .flatten()
    });
    let Some(me) = me else {
        bail!("node {old} is not a member of the cluster in its log; restore a snapshot instead");
    };
    let alone = report.members.len() == 1 && !me.learner;
    if alone && data_dir.unfinished().is_none() {
        bail!("node {old} is the only member already: it has its quorum, start it");
    }
    let new = node_id.unwrap_or(old);
    ensure!(
        (1..MAX_ID).contains(&new),
        "a node id is 1 to 2^53 - 1, not {new}"
    );
    let member = Member {
        node_id: new,
        learner: false,
        ..me.clone()
    };
    Ok(Plan {
        data_dir,
        revision: state.revision,
        member,
        report,
        bump,
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        let unknown = report.last_log.saturating_sub(report.committed);
        write!(
            f,
            "{}{}{}{}",
            line(
                "this node",
                format_args!(
                    "{} {}, {}",
                    self.member.node_id, self.member.name, self.member.peer_address
                )
            ),
            line(
                "its log",
                format_args!(
                    "ends at entry {} (term {}); known to be committed: up to {}; in the flushed state: up to {}",
                    report.last_log, report.term, report.committed, report.applied
                )
            ),
            line(
                "revision",
                format_args!(
                    "{} or later, before it is raised by {}",
                    self.revision, self.bump
                )
            ),
            line("dropped", self.dropped()),
        )?;
        write!(
            f,
            "\nThis makes it the only member of a NEW cluster.\n\
             - Lost: every write that other members acknowledged and that is not in this log, that is, behind entry {}.\n\
             - Kept although nobody may have been told that it succeeded: {unknown} entries behind {}.\n\
             - Every client's revisions become invalid: watches and caches start again.\n\
             - The dropped members must never run on their data again. Empty their data directories and add them under \
               new ids.\n",
            report.last_log, report.committed
        )
    }
}

impl Plan {
    /// Ids the new cluster never takes: those that were used up before, and those of everybody who is dropped.
    fn retired(&self) -> BTreeSet<NodeId> {
        let members = self.report.members.iter().map(|member| member.node_id);
        let used = members.chain(self.report.node_id);
        let used = used.chain(self.report.retired.iter().copied());
        used.filter(|id| *id != self.member.node_id).collect()
    }

    fn dropped(&self) -> String {
        let me = self.report.node_id;
        let others: Vec<String> = self
            .report
            .members
            .iter()
            .filter(|member| Some(member.node_id) != me)
            .map(|member| {
                format!(
                    "{} {} ({})",
                    member.node_id, member.name, member.peer_address
                )
            })
            .collect();
        if others.is_empty() {
            "nobody".to_owned()
        } else {
            others.join(", ")
        }
    }

    /// Does it. A crash in between leaves a data directory that does not start and says why; doing it again goes on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn carry_out(self) -> anyhow::Result<Founded> {
        self.data_dir.begin(
            "`chainfire recover --force-new-cluster` was interrupted: run it again with this data directory",
        )?;
        let path = self.data_dir.path();
        let founded = {
            let engine = Engine::open(&path.join("state"), Options::default())?;
            let machine = Machine::new(engine.clone(), LeaderDesk::new(engine.clone()));
            let mut stopped = Stopped::open(path, &machine)?;
            stopped.apply_all()?;
            founding::found(&engine, stopped, &self.member, &self.retired(), self.bump)?
        };
        self.data_dir.finish()?;
        Ok(founded)
    }
}
