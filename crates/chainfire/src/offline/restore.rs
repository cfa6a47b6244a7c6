//! A snapshot becomes the data directory of a new cluster with one member.
//!
//! Keys, users, roles and leases are kept, as etcd does; a lease has at least its last checkpointed time left when the
//! new cluster elects its leader. Members and alarms go: they are not there any more.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
};

use anyhow::Context as _;
use chainfire_engine::{Engine, Options};
use photon_raft::{Member, offline::Stopped};

use super::{
    archive,
    founding::{self, Founded},
    verify::examine_unpacked,
};
use crate::{
    app::{LeaderDesk, Machine},
    data_dir::DataDir,
};

/// What to restore, where, and who the only member is.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The snapshot.
    pub file: PathBuf,
    /// An empty directory, or one that does not exist yet.
    pub data_dir: PathBuf,
    /// The member; its addresses as it will be configured.
    pub member: Member,
    /// By how much the revision is raised; at least 1.
    pub bump: i64,
}

/// Makes the data directory. A crash in between leaves one that does not start and says why.
///
/// # Errors
/// A directory that is not empty, a damaged snapshot, a disk that refuses.
pub fn restore(plan: &Restore) -> anyhow::Result<Founded> {
    let dir = &plan.data_dir;
    let data_dir = DataDir::begin_empty(
        dir,
        &format!(
            "restoring {} was interrupted: empty this directory and restore again",
            plan.file.display()
        ),
    )?;
    let founded = fill(plan).with_context(|| {
        format!(
            "nothing was restored; empty {} before the next attempt",
            dir.display()
        )
    })?;
    data_dir.finish()?;
    Ok(founded)
}

fn fill(plan: &Restore) -> anyhow::Result<Founded> {
    let unpacked = plan.data_dir.join("incoming");
    fs::create_dir(&unpacked).with_context(|| format!("cannot create {}", unpacked.display()))?;
    let contents = archive::read(&plan.file, Some(&unpacked))?;
    examine_unpacked(&plan.file, &contents, &unpacked)?;
    File::open(&unpacked)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot sync {}", unpacked.display()))?;
    let engine = Engine::open(&plan.data_dir.join("state"), Options::default())?;
    engine
        .install(&unpacked)
        .context("the state is not taken")?;
    let machine = Machine::new(engine.clone(), LeaderDesk::new(engine.clone()));
    let stopped = Stopped::open(&plan.data_dir, &machine)?;
    // Nobody of the old cluster can reach the new one: its ids are free.
    founding::found(&engine, stopped, &plan.member, &BTreeSet::new(), plan.bump)
}
