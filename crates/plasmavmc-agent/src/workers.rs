//! The workers: one for each VM of which something is wanted here.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use plasmavmc_model::{ObservedState, OrphanVm, Probe, VmId, VolumeId};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls,
    copies::Copies,
    feed::Records,
    files::Files,
    images::Images,
    metadata::Metadata,
    outcome::Outcomes,
    plan::Wanted,
    ports::{Ports, Socket},
    verdicts::{Verdict, Verdicts},
    volumes::Volumes,
    worker::{Order, work},
};

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The driver.
    pub calls: Calls,
    /// VMs' files.
    pub files: Files,
    /// The images.
    pub images: Arc<Images>,
    /// Where prismnet-agent is.
    pub prismnet: Socket,
    /// What is being copied from other hosts.
    pub copies: Copies,
    /// What runs guests here.
    pub probe: watch::Receiver<Option<Probe>>,
    /// Where everybody tells.
    pub outcomes: Arc<Outcomes>,
    /// What guests are told who ask.
    pub metadata: Metadata,
    /// The socket where they are told.
    pub answers: PathBuf,
    /// What a person decided.
    pub verdicts: Verdicts,
    /// After which time everything is looked at anyway.
    pub resync: Duration,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// Whom to wake for which VM.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    vms: Arc<Mutex<BTreeMap<VmId, Arc<Notify>>>>,
    /// Of volumes.
    pub(crate) volumes: Arc<Mutex<BTreeMap<VolumeId, Arc<Notify>>>>,
    /// A domain changed of which nobody works.
    pub others: Arc<Notify>,
}

impl Wakes {
    /// Has it looked at a VM.
    pub fn wake(&self, vm: VmId) {
        if let Some(wake) = self.vms.lock().get(&vm) {
            wake.notify_one();
        }
    }

    /// Has it looked at all of them, and at volumes.
    pub fn wake_all(&self) {
        let vms = Vec::from_iter(self.vms.lock().values().cloned());
        let volumes = Vec::from_iter(self.volumes.lock().values().cloned());
        vms.into_iter()
            .chain(volumes)
            .for_each(|wake| wake.notify_one());
        self.others.notify_one();
    }

    /// Passes on what the driver tells.
    pub async fn pass_on(self, mut changed: mpsc::UnboundedReceiver<VmId>) {
        while let Some(vm) = changed.recv().await {
            match self.vms.lock().get(&vm) {
                Some(wake) => wake.notify_one(),
                None => self.others.notify_one(),
            }
        }
    }
}

/// The tasks, by VM.
#[derive(Debug)]
pub struct Workers {
    shop: Shop,
    wakes: Wakes,
    /// Those of volumes.
    volumes: Volumes,
    running: BTreeMap<VmId, Running>,
    /// What was here when it was looked last.
    here: BTreeMap<VmId, ObservedState>,
    /// What a person had decided.
    decided: BTreeMap<VmId, Verdict>,
}

#[derive(Debug)]
struct Running {
    wanted: watch::Sender<Wanted>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Workers {
    /// None yet.
    #[must_use]
    pub fn new(shop: Shop, wakes: Wakes) -> Self {
        let volumes = Volumes::new(
            shop.files.pools().clone(),
            Arc::clone(&shop.outcomes),
            wakes.clone(),
            shop.resync,
            shop.stop.child_token(),
        );
        Self {
            shop,
            wakes,
            volumes,
            running: BTreeMap::new(),
            here: BTreeMap::new(),
            decided: BTreeMap::new(),
        }
    }

    /// From what earlier runs kept, as long as the store has not answered: what was wanted running runs again.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn from_disk(&mut self) -> std::io::Result<()> {
        let mut all = BTreeMap::new();
        for vm in self.shop.files.list()? {
            match self.shop.files.of(vm).desired() {
                Ok(Some(desired)) => drop(all.insert(vm, Wanted::Vm(Box::new(desired)))),
                Ok(None) => {}
                Err(error) => tracing::warn!(%vm, %error, "left as it is"),
            }
        }
        self.set(all);
        Ok(())
    }

    /// As the store says, and a person. Answers whether there may be other orphans than before.
    ///
    /// # Errors
    /// Verdicts that cannot be read.
    pub fn update(&mut self, records: &Records) -> std::io::Result<bool> {
        // Before those are told who need it.
        self.shop.copies.update(&records.blobs);
        let are_other_volumes = self.volumes.update(records);
        let decided = self.shop.verdicts.all()?;
        let is_decided = decided != self.decided;
        let purged = decided
            .iter()
            .filter(|(vm, verdict)| **verdict == Verdict::Purged && !records.know(**vm))
            .map(|(vm, _)| (*vm, Wanted::Purged));
        let mut all: BTreeMap<VmId, Wanted> = purged.collect();
        for (vm, desired) in &records.vms {
            all.insert(*vm, Wanted::Vm(Box::new(desired.clone())));
        }
        // An order counts, whatever else is said.
        all.extend(records.gone.iter().map(|vm| (*vm, Wanted::Gone)));
        let has_ended = self.set(all);
        self.decided = decided;
        self.tell_known(records);
        Ok(is_decided || has_ended || are_other_volumes)
    }

    /// Answers whether somebody ended.
    fn set(&mut self, mut all: BTreeMap<VmId, Wanted>) -> bool {
        // Of what a person had taken down, nothing is left: it is looked whether that is so before anybody tries again.
        all.retain(|vm, wanted| {
            let running = self.running.get(vm);
            let has_ended = running.is_some_and(|running| running.task.is_finished());
            *wanted != Wanted::Purged || !has_ended
        });
        let vms = all.values().filter_map(|wanted| match wanted {
            Wanted::Vm(desired) => Some(&**desired),
            Wanted::Gone | Wanted::Purged => None,
        });
        self.shop.metadata.set(vms);
        let over = self.running.keys().filter(|vm| !all.contains_key(vm));
        let over = Vec::from_iter(over.copied());
        for vm in &over {
            self.end(*vm);
        }
        for (vm, wanted) in all {
            // Of one that ended because nothing was left, nothing is left.
            let is_done = wanted == Wanted::Gone && self.shop.outcomes.is_gone(vm);
            let works = |running: &&Running| !running.task.is_finished();
            match self.running.get(&vm).filter(works) {
                Some(running) => {
                    running.wanted.send_if_modified(|now| {
                        let is_new = *now != wanted;
                        *now = wanted;
                        is_new
                    });
                }
                None if is_done => {}
                None => self.start(vm, wanted),
            }
        }
        !over.is_empty()
    }

    fn start(&mut self, vm: VmId, wanted: Wanted) {
        let (sender, receiver) = watch::channel(wanted);
        let wake = Arc::new(Notify::new());
        self.wakes.vms.lock().insert(vm, Arc::clone(&wake));
        let stop = self.shop.stop.child_token();
        let order = Order {
            vm,
            calls: self.shop.calls.clone(),
            files: self.shop.files.clone(),
            images: Arc::clone(&self.shop.images),
            ports: Arc::new(Ports::new(
                self.shop.prismnet.clone(),
                self.shop.answers.clone(),
                self.shop.resync,
            )),
            copies: self.shop.copies.clone(),
            probe: self.shop.probe.clone(),
            outcomes: Arc::clone(&self.shop.outcomes),
            wake,
            resync: self.shop.resync,
            stop: stop.clone(),
        };
        let running = Running {
            wanted: sender,
            stop,
            task: tokio::spawn(work(order, receiver)),
        };
        self.running.insert(vm, running);
    }

    fn end(&mut self, vm: VmId) {
        if let Some(running) = self.running.remove(&vm) {
            running.stop.cancel();
        }
        self.wakes.vms.lock().remove(&vm);
        self.shop.outcomes.forget(vm);
    }

    /// Nobody does anything any more; what was told stands.
    pub async fn stop(&mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            running.stop.cancel();
            let _ = running.task.await;
        }
        self.volumes.stop().await;
        self.wakes.vms.lock().clear();
    }

    fn tell_known(&self, records: &Records) {
        let known = records.vms.keys().chain(&records.gone);
        let known = known
            .chain(records.unreadable.keys())
            .chain(self.here.keys());
        let unreadable = records.unreadable.iter();
        let unreadable =
            unreadable.map(|(vm, why)| format!("the record of {vm} cannot be read: {why}"));
        self.shop.outcomes.change(|facts| {
            facts.known = Some(known.copied().collect());
            facts.orders = Some(records.gone.clone());
            facts.problems.insert("records", unreadable.collect());
        });
    }

    /// Looks what is here that nobody knows, and withdraws verdicts that are over.
    pub async fn look_for_orphans(&mut self, records: &Records) {
        self.volumes.look_for_strays(records).await;
        let looked = self.look(records).await;
        self.tell_known(records);
        self.shop.outcomes.change(|facts| match looked {
            Ok(orphans) => {
                facts.orphans = orphans;
                facts.problems.remove("looking");
            }
            Err(problem) => drop(facts.problems.insert("looking", vec![problem])),
        });
    }

    async fn look(&mut self, records: &Records) -> Result<Vec<OrphanVm>, String> {
        let domains = self.shop.calls.list().await;
        let domains = domains.map_err(|error| error.to_string())?;
        let files = self.shop.files.list().map_err(|error| error.to_string())?;
        let files = files.into_iter().map(|vm| (vm, ObservedState::Stopped));
        self.here = files.collect();
        let domains = domains.iter().map(|domain| (domain.id, domain.observed()));
        self.here.extend(domains);
        let verdicts = self.shop.verdicts.all();
        let verdicts = verdicts.map_err(|error| error.to_string())?;
        let is_over = |vm: &&VmId| records.know(**vm) || !self.here.contains_key(vm);
        let over = Vec::from_iter(verdicts.keys().filter(is_over).copied());
        if let Err(error) = self.shop.verdicts.withdraw(&over) {
            tracing::warn!(%error, "what a person decided is not forgotten");
        }
        let orphans = self.here.iter().filter(|(vm, _)| {
            let is_adopted = verdicts.get(vm) == Some(&Verdict::Adopted);
            !records.know(**vm) && !is_adopted
        });
        let orphans = orphans.map(|(vm, state)| OrphanVm {
            id: *vm,
            name: self.name(*vm),
            state: *state,
        });
        Ok(orphans.collect())
    }

    fn name(&self, vm: VmId) -> String {
        let desired = self.shop.files.of(vm).desired();
        let desired = desired.ok().flatten();
        desired.map(|desired| desired.name).unwrap_or_default()
    }
}
