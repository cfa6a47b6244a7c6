//! Pools: the directories where disks lie. `local` is the agent's own; the others are configured.
//!
//! ```text
//!   <pool>/pool.json                    what it is called, and which it is: made when it is first used
//!          vms/<vm>/root.qcow2          disks of VMs; of `local`: vm/<vm>/ in the agent's directory
//!          volumes/<volume>.qcow2       volumes, and beside each of them what is noted of it
//! ```
//!
//! A directory that somebody forgot to mount is an empty one. Disks made anew in it would be empty, too: a pool that was used here is used
//! again only if it is the same, by `pool.json` in it and `pools.json` in the agent's directory.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use parking_lot::Mutex;
use photon_agent::memory::replace;
use photon_core::Name;
use plasmavmc_model::{ObservedPool, PoolDriver, VmId, pool};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{config::Config, outcome::Outcomes};

/// What is in every pool but `local`.
const MARK: &str = "pool.json";
/// How often it is looked how full they are.
const LOOK: Duration = Duration::from_secs(10);
/// How long looking at all of them may take: one that is on another machine may never answer.
const LIMIT: Duration = Duration::from_secs(20);
/// What changes by less is no news.
const NEWS: u64 = 1 << 30;

/// The pools of this host. Clones are one.
#[derive(Clone, Debug)]
pub struct Pools(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The agent's directory.
    state: PathBuf,
    /// What is kept from VMs in its file system, in GiB.
    reserve_gib: u64,
    pools: Vec<PoolAt>,
    /// Whether a pool that is new is made one.
    changes: bool,
    /// Of whoever reads or writes `pools.json`.
    turn: Mutex<()>,
}

/// A pool beside `local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolAt {
    /// What it is called.
    pub name: Name,
    /// Where it is.
    pub path: PathBuf,
    /// Whether others see the same files.
    pub shared: bool,
}

/// Says which pool a directory is.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    v: u32,
    name: Name,
    id: Uuid,
}

/// Which pools were here.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    v: u32,
    pools: BTreeMap<Name, Uuid>,
}

/// How the pools are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Those that can be used, `local` first, with the bytes that are used.
    pub pools: Vec<(ObservedPool, u64)>,
    /// What is wrong with the others, a sentence each.
    pub problems: Vec<String>,
}

impl Pools {
    /// As configured. Nothing is made or looked at.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(config, true)
    }

    /// As configured, for whoever is only to look.
    #[must_use]
    pub fn looking(config: &Config) -> Self {
        Self::with(config, false)
    }

    /// With no other than `local`, in the agent's directory.
    #[must_use]
    pub fn local(state: &Path) -> Self {
        Self(Arc::new(Inner {
            state: state.to_owned(),
            reserve_gib: 0,
            pools: Vec::new(),
            changes: false,
            turn: Mutex::default(),
        }))
    }

    fn with(config: &Config, changes: bool) -> Self {
        let pools = config.pools.iter().map(|configured| PoolAt {
            name: configured.name.clone(),
            path: configured.path.clone(),
            shared: configured.shared,
        });
        Self(Arc::new(Inner {
            state: config.state_directory.clone(),
            reserve_gib: config.reserve.disk_gib,
            pools: pools.collect(),
            changes,
            turn: Mutex::default(),
        }))
    }

    /// Where a VM's own disks are. Blocks.
    ///
    /// # Errors
    /// Why that pool cannot be used, in a sentence.
    pub fn disks_of(&self, name: Option<&Name>, vm: VmId) -> Result<PathBuf, String> {
        let vm = vm.to_string();
        Ok(match self.usable(name)? {
            None => self.0.state.join("vm").join(vm),
            Some(pool) => pool.path.join("vms").join(vm),
        })
    }

    /// Where volumes are. Blocks.
    ///
    /// # Errors
    /// Why that pool cannot be used, in a sentence.
    pub fn volumes(&self, name: &Name) -> Result<PathBuf, String> {
        Ok(match self.usable(Some(name))? {
            None => self.0.state.join("volumes"),
            Some(pool) => pool.path.join("volumes"),
        })
    }

    /// The pools whose files are this host's alone: `local`, and those that are not shared.
    #[must_use]
    pub fn own(&self) -> Vec<Name> {
        let others = self.0.pools.iter().filter(|pool| !pool.shared);
        let others = others.map(|pool| pool.name.clone());
        std::iter::once(pool::local()).chain(others).collect()
    }

    /// A pool that can be used; `None` is `local`.
    fn usable(&self, name: Option<&Name>) -> Result<Option<&PoolAt>, String> {
        let Some(name) = name.filter(|name| name.as_str() != pool::LOCAL) else {
            return Ok(None);
        };
        let found = self.0.pools.iter().find(|pool| pool.name == *name);
        let found = found.ok_or_else(|| format!("this host has no pool {name}"))?;
        self.check(found)?;
        Ok(Some(found))
    }

    /// Whether a pool can be used: it is there, the same as before, and can be written to.
    fn check(&self, pool: &PoolAt) -> Result<(), String> {
        let (name, path) = (&pool.name, pool.path.display());
        if !pool.path.is_dir() {
            return Err(format!("pool {name} is not there: {path} is no directory"));
        }
        access(&pool.path, AccessFlags::W_OK)
            .map_err(|error| format!("pool {name} cannot be written to: {path}: {error}"))?;
        let known = self.0.state.join("pools.json");
        let said = |error: io::Error| format!("pool {name}: {error}");
        // Nobody waits for a pool that does not answer but who needs it.
        let mark: Option<Mark> = read(&pool.path.join(MARK)).map_err(said)?;
        let seen = || {
            let _turn = self.0.turn.lock();
            read::<Seen>(&known).map(Option::unwrap_or_default)
        };
        let before = seen().map_err(said)?.pools.get(name).copied();
        let mark = match (mark, before) {
            (Some(mark), _) if mark.name != *name => {
                return Err(format!("{path} is not pool {name}, but {}", mark.name));
            }
            (Some(mark), Some(before)) if mark.id != before => {
                return Err(format!(
                    "pool {name} is another one than before: what is meant by it? If {path} is, remove it from {}",
                    known.display()
                ));
            }
            (Some(_), Some(_)) => return Ok(()),
            (Some(mark), None) => mark,
            (None, Some(_)) => {
                return Err(format!(
                    "pool {name} is not there: {path} is not what it was; is it mounted?"
                ));
            }
            (None, None) if !self.0.changes => return Ok(()),
            (None, None) => self.begin(pool).map_err(said)?,
        };
        if self.0.changes {
            self.remember(&known, name, mark.id).map_err(said)?;
        }
        Ok(())
    }

    fn remember(&self, known: &Path, name: &Name, id: Uuid) -> io::Result<()> {
        let _turn = self.0.turn.lock();
        let mut seen: Seen = read(known)?.unwrap_or_default();
        seen.v = 1;
        seen.pools.insert(name.clone(), id);
        replace(known, &serde_json::to_vec(&seen)?)
    }

    /// Makes a directory a pool. If another host does it at the same time, it is that one's.
    fn begin(&self, pool: &PoolAt) -> io::Result<Mark> {
        let mark = Mark {
            v: 1,
            name: pool.name.clone(),
            id: Uuid::new_v4(),
        };
        let (path, beside) = (
            pool.path.join(MARK),
            pool.path.join(format!("{}.new", mark.id)),
        );
        fs::write(&beside, serde_json::to_vec(&mark)?)?;
        fs::File::open(&beside)?.sync_all()?;
        let linked = fs::hard_link(&beside, &path);
        fs::remove_file(&beside)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::File::open(&pool.path)?.sync_all()?,
        }
        read(&path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How they are. Blocks.
    #[must_use]
    pub fn look(&self) -> Look {
        let mut look = Look::default();
        let (capacity, used) = space(&self.0.state).unwrap_or_default();
        let told = |name: Name, shared, capacity_gib, used: u64| {
            let pool = ObservedPool {
                name,
                driver: PoolDriver::Directory,
                shared,
                capacity_gib,
                used_gib: used.div_ceil(1 << 30),
            };
            (pool, used)
        };
        let capacity = (capacity >> 30).saturating_sub(self.0.reserve_gib);
        look.pools.push(told(pool::local(), false, capacity, used));
        for pool in &self.0.pools {
            let found = self.check(pool).and_then(|()| {
                let found = space(&pool.path);
                found.map_err(|error| format!("pool {}: {error}", pool.name))
            });
            match found {
                Ok((capacity, used)) => {
                    // What is kept for others is kept of the file system, whichever directories of it are used.
                    let reserve = match is_same(&pool.path, &self.0.state) {
                        true => self.0.reserve_gib,
                        false => 0,
                    };
                    let capacity = (capacity >> 30).saturating_sub(reserve);
                    let name = pool.name.clone();
                    look.pools.push(told(name, pool.shared, capacity, used));
                }
                Err(problem) => look.problems.push(problem),
            }
        }
        look
    }

    /// Tells how they are, until it is stopped; `changed` is called when others can be used than before.
    pub async fn follow(
        self,
        outcomes: Arc<Outcomes>,
        changed: impl Fn(),
        stop: CancellationToken,
    ) {
        let mut last: Option<Look> = None;
        loop {
            let now = self.look_in_time(last.as_ref()).await;
            if let Some(now) = now {
                let names = |look: &Look| {
                    let all = look.pools.iter().map(|(pool, _)| pool.name.clone());
                    all.collect::<Vec<_>>()
                };
                let are_others = last.as_ref().is_some_and(|last| names(last) != names(&now));
                last = Some(tell(last.as_ref(), now, &outcomes));
                if are_others {
                    changed();
                }
            }
            let pause = tokio::time::sleep(LOOK);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// If they do not answer, that is told, and it is waited until they do: there is never more than one who waits.
    async fn look_in_time(&self, last: Option<&Look>) -> Option<Look> {
        let pools = self.clone();
        let mut looking = tokio::task::spawn_blocking(move || pools.look());
        if let Ok(looked) = tokio::time::timeout(LIMIT, &mut looking).await {
            return looked.ok();
        }
        tracing::warn!("pools do not answer");
        if last.is_none() {
            // The rest of the agent does not wait for them.
            let pools = Self::local(&self.0.state);
            let mut look = tokio::task::spawn_blocking(move || pools.look())
                .await
                .ok()?;
            look.problems.push("pools do not answer".to_owned());
            return Some(look);
        }
        looking.await.ok()
    }
}

/// Tells it, as far as it is news; answers what is told now.
fn tell(last: Option<&Look>, mut now: Look, outcomes: &Outcomes) -> Look {
    for (pool, used) in &mut now.pools {
        let before = last.and_then(|last| {
            let mut all = last.pools.iter();
            all.find(|(before, _)| before.name == pool.name)
        });
        if let Some((before, was_used)) = before
            && before.capacity_gib == pool.capacity_gib
            && used.abs_diff(*was_used) < NEWS
        {
            (*pool, *used) = (before.clone(), *was_used);
        }
    }
    outcomes.change(|facts| {
        facts.pools = now.pools.iter().map(|(pool, _)| pool.clone()).collect();
        facts.problems.insert("pools", now.problems.clone());
    });
    now
}

/// Bytes of a file system, and those that are used.
fn space(directory: &Path) -> io::Result<(u64, u64)> {
    let found = statvfs(directory)?;
    let size = found.fragment_size();
    let used = found.blocks().saturating_sub(found.blocks_free());
    Ok((
        found.blocks().saturating_mul(size),
        used.saturating_mul(size),
    ))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let device = |path| fs::metadata(path).map(|found| found.dev()).ok();
    device(one).is_some() && device(one) == device(other)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let problem = format!("{}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::config::PoolConfig;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn config(state: &Path, path: &Path) -> Config {
        let mut config = Config::new(name("here"));
        config.state_directory = state.to_owned();
        config.pools.push(PoolConfig {
            name: name("fast"),
            path: path.to_owned(),
            shared: false,
        });
        fs::create_dir_all(state).unwrap();
        config
    }

    #[test]
    fn a_pool_that_is_not_what_it_was_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let (state, path) = (directory.path().join("state"), directory.path().join("p"));
        let config = config(&state, &path);
        let pools = Pools::new(&config);
        let fast = name("fast");
        // One that is not there is told, and not offered; others are.
        let look = pools.look();
        assert_eq!((look.pools.len(), look.problems.len()), (1, 1));
        assert_eq!(look.pools[0].0.name, pool::local());
        assert!(pools.volumes(&fast).unwrap_err().contains("no directory"));
        fs::create_dir(&path).unwrap();
        // Who only looks makes nothing.
        assert_eq!(Pools::looking(&config).look().pools.len(), 2);
        assert!(!path.join(MARK).exists());
        let look = pools.look();
        assert_eq!((look.pools.len(), look.problems.len()), (2, 0));
        assert_eq!(pools.volumes(&fast).unwrap(), path.join("volumes"));
        let vm = VmId::generate();
        let there = path.join("vms").join(vm.to_string());
        assert_eq!(pools.disks_of(Some(&fast), vm).unwrap(), there);
        let own = state.join("vm").join(vm.to_string());
        assert_eq!(pools.disks_of(None, vm).unwrap(), own);
        let local = pools.disks_of(Some(&pool::local()), vm).unwrap();
        assert_eq!(local, own);
        assert!(pools.volumes(&name("slow")).is_err());

        // Somebody forgot to mount it; then something else is mounted there.
        let elsewhere = directory.path().join("q");
        fs::rename(&path, &elsewhere).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(pools.look().problems[0].contains("mounted"));
        assert!(pools.disks_of(Some(&fast), vm).is_err());
        let other = Pools::new(&self::config(&directory.path().join("other"), &path));
        assert_eq!(other.look().pools.len(), 2);
        assert!(pools.look().problems[0].contains("another one"));
        // And under a name that is not its.
        let mut renamed = self::config(&directory.path().join("third"), &path);
        renamed.pools[0].name = name("slow");
        assert!(Pools::new(&renamed).look().problems[0].contains("but fast"));
        fs::remove_dir_all(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(pools.look().pools.len(), 2);
    }

    #[test]
    fn what_changes_by_less_than_a_gib_is_no_news() {
        let outcomes = Outcomes::default();
        let look = |used: u64, capacity_gib| Look {
            pools: vec![(
                ObservedPool {
                    name: pool::local(),
                    driver: PoolDriver::Directory,
                    shared: false,
                    capacity_gib,
                    used_gib: used.div_ceil(1 << 30),
                },
                used,
            )],
            problems: Vec::new(),
        };
        let told = || outcomes.facts().pools[0].used_gib;
        let gib: u64 = 1 << 30;
        let last = tell(None, look(2 * gib, 9), &outcomes);
        let last = tell(Some(&last), look(2 * gib + 1, 9), &outcomes);
        assert_eq!(told(), 2);
        let last = tell(Some(&last), look(3 * gib - 1, 9), &outcomes);
        assert_eq!(told(), 2);
        let last = tell(Some(&last), look(3 * gib, 9), &outcomes);
        assert_eq!(told(), 3);
        tell(Some(&last), look(3 * gib + 1, 10), &outcomes);
        assert_eq!(told(), 4);
    }
}
