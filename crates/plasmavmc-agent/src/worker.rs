//! One task for each VM: looks, plans, acts, looks again, and tells what it saw.
//!
//! ```text
//!  wanted changed ─┐
//!  libvirt told ───┼─> look ─> plan ─> act ─> look … ─> tell ─> wait
//!  30 s, or a deadline ─┘
//! ```
//!
//! One that hangs or fails holds up nobody else. It does nothing when it ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use plasmavmc_model::{
    Boot, DesiredDisk, DesiredVm, Digest, Hypervisor, ObservedState, Power, Probe, Revert, VmId,
    VolumeId,
};
use rand::Rng as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls,
    copies::{self, Copies},
    disk,
    driver::Error,
    files::{Files, Note, VmFiles},
    images::Images,
    machine::{Boots, Disk, Domain, Machine},
    outcome::{Outcome, Outcomes},
    plan::{self, Ability, Found, Plan, Step, Wanted},
    ports::{Plugged, Ports},
    seed::Seed,
    snapshots::{Snapshots, work::Work},
    vm_disks::{self, VmDisks},
};

/// Of what was not asked to be emulated, and is.
const EMULATED: &str = "it is emulated: kvm does not work on its host";
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The most rounds of looking and acting before it waits for another reason.
const ROUNDS: usize = 8;
/// What libvirt tells within this time is looked at once.
const QUIET: Duration = Duration::from_millis(5);

/// What a worker is made with.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its VM.
    pub vm: VmId,
    /// The driver.
    pub calls: Calls,
    /// Where its files are.
    pub files: Files,
    /// The images.
    pub images: Arc<Images>,
    /// Its ports.
    pub ports: Arc<Ports>,
    /// What is being copied from other hosts.
    pub copies: Copies,
    /// What runs guests here, once it is known.
    pub probe: watch::Receiver<Option<Probe>>,
    /// Where it tells what it saw.
    pub outcomes: Arc<Outcomes>,
    /// That its domain changed.
    pub wake: Arc<Notify>,
    /// After which time it is looked at anyway.
    pub resync: Duration,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// Works until it is stopped, nobody wants anything any more, or nothing of the VM is left.
pub async fn work(order: Order, mut wanted: watch::Receiver<Wanted>) {
    let mut probe = order.probe.clone();
    let mut pause = FIRST_PAUSE;
    loop {
        let now = wanted.borrow_and_update().clone();
        let pass = tokio::select! {
            () = order.stop.cancelled() => return,
            pass = order.pass(&now) => pass,
        };
        let wait = match pass {
            Ok(Pass::Gone) if now == Wanted::Gone => {
                order.outcomes.put_gone(order.vm);
                return;
            }
            Ok(Pass::Gone) => {
                order.outcomes.forget(order.vm);
                return;
            }
            Ok(Pass::Done(next)) => {
                pause = FIRST_PAUSE;
                next.unwrap_or(order.resync).min(order.resync)
            }
            Err(_) => {
                pause = (pause * 2).min(order.resync);
                pause.mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        tokio::select! {
            () = order.stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = order.wake.notified() => tokio::time::sleep(QUIET).await,
            changed = probe.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

enum Pass {
    /// All is as it is wanted, or will be; there is something to do after that time.
    Done(Option<Duration>),
    /// Nothing of it is left, as it was ordered.
    Gone,
}

/// What was found, with what is needed to act on it.
struct Seen {
    found: Found,
    machine: Option<Machine>,
}

impl Order {
    async fn pass(&self, wanted: &Wanted) -> Result<Pass, String> {
        let done = self.rounds(wanted).await;
        if let Err(problem) = &done {
            tracing::warn!(vm = %self.vm, problem, "not done; trying again");
        }
        done
    }

    async fn rounds(&self, wanted: &Wanted) -> Result<Pass, String> {
        let files = self.files.of(self.vm);
        if let Wanted::Vm(desired) = wanted {
            self.keep(&files, desired).await?;
        }
        for _ in 0..ROUNDS {
            // If it cannot be looked, what was told last stands: nobody knows better.
            let seen = self.look(wanted, &files).await?;
            let plan = plan::plan(wanted, &seen.found, Timestamp::now());
            self.tell(wanted, &seen.found, &plan, None);
            if plan.steps.is_empty() {
                return Ok(match wanted {
                    Wanted::Gone | Wanted::Purged => Pass::Gone,
                    Wanted::Vm(_) => Pass::Done(plan.next),
                });
            }
            let mut trouble = None;
            for step in &plan.steps {
                match self.act(step, wanted, &seen, &files).await {
                    Ok(()) => tracing::info!(vm = %self.vm, %step, reason = plan.reason, "done"),
                    Err(error) => {
                        trouble.get_or_insert(format!("{step}: {error}"));
                        // Of one volume nothing is said of the others.
                        if !matches!(step, Step::AttachVolume(_) | Step::DetachVolume(_)) {
                            break;
                        }
                    }
                }
            }
            if let Some(problem) = trouble {
                self.tell(wanted, &seen.found, &plan, Some(&problem));
                return Err(problem);
            }
        }
        // It goes on, but others come in between.
        Ok(Pass::Done(Some(FIRST_PAUSE)))
    }

    /// Keeps on disk what is wanted, if that is new.
    async fn keep(&self, files: &VmFiles, desired: &DesiredVm) -> Result<(), String> {
        let (files, desired) = (files.clone(), desired.clone());
        let keep = move || {
            if files.desired()?.as_ref() != Some(&desired) {
                files.keep_desired(&desired)?;
            }
            Ok(())
        };
        blocking(keep).await
    }

    /// What is found of the VM.
    ///
    /// # Errors
    /// It cannot be looked.
    pub async fn found(&self, wanted: &Wanted) -> Result<Found, String> {
        let files = self.files.of(self.vm);
        Ok(self.look(wanted, &files).await?.found)
    }

    async fn look(&self, wanted: &Wanted, files: &VmFiles) -> Result<Seen, String> {
        let domain = self.calls.look(self.vm).await;
        let domain = domain.map_err(|error| error.to_string())?;
        let (note, plugged) = {
            let files = files.clone();
            blocking(move || Ok((files.note()?, files.plugged()?))).await?
        };
        let disks = self.disks(wanted, files).await?;
        let ports = match wanted {
            Wanted::Vm(desired) => &desired.ports[..],
            Wanted::Gone | Wanted::Purged => &[],
        };
        let mut found = Found {
            domain,
            note,
            missing: disks.missing,
            small: disks.small,
            absent: disks.absent,
            is_seed_missing: false,
            ability: Ability::NotYet(String::new()),
            has_files: files.exist(),
            links: self.ports.links(ports, &plugged),
            has_room: disks.has_room,
            snapshots: Snapshots::default(),
        };
        let Wanted::Vm(desired) = wanted else {
            return Ok(Seen {
                found,
                machine: None,
            });
        };
        let paths = disks.disks.iter().map(|disk| disk.path.clone());
        found.snapshots = snapshots(desired, &found, files, paths.collect()).await?;
        found.snapshots.are_partial =
            disks.disks.len() < desired.disks.len() || !found.absent.is_empty();
        let seed = Seed::of(desired).map(|seed| files.seed(seed.digest()));
        found.is_seed_missing = seed.as_ref().is_some_and(|seed| !seed.exists());
        let probe = self.probe.borrow().clone();
        let machine = self.machine(desired, probe.as_ref(), files, &plugged).await;
        let reverted = found.note.reverted;
        let machine = machine.map(|machine| Machine {
            seed,
            reverted,
            disks: disks.disks,
            ..machine
        });
        let machine = match machine {
            Ok(machine) => machine,
            Err(ability) => {
                found.ability = ability;
                return Ok(Seen {
                    found,
                    machine: None,
                });
            }
        };
        found.ability = match (self.calls.check(&machine), disks.trouble) {
            (Ok(()), None) => Ability::Able(self.calls.digest(&machine)),
            (Ok(()), Some(why)) => Ability::NotYet(why),
            (Err(problem), _) => Ability::Unable(problem),
        };
        Ok(Seen {
            found,
            machine: Some(machine),
        })
    }

    /// Its disks, as they are. One that is to run waits for those who are at work on its volumes.
    async fn disks(&self, wanted: &Wanted, files: &VmFiles) -> Result<VmDisks, String> {
        let Wanted::Vm(desired) = wanted else {
            return Ok(VmDisks::default());
        };
        let mut disks = {
            let (files, desired) = (files.clone(), desired.clone());
            blocking(move || Ok(vm_disks::look(&files, &desired))).await?
        };
        let volumes = desired.disks.iter().filter_map(|disk| disk.volume);
        for busy in volumes.filter(|volume| self.outcomes.is_busy(volume.id)) {
            disks.absent.insert(busy.id);
            if desired.power != Power::Stopped {
                let why = || format!("{} is being prepared", busy.id);
                disks.trouble.get_or_insert_with(why);
            }
        }
        Ok(disks)
    }

    /// The machine that the record means, with what is on this host; but for its disks.
    async fn machine(
        &self,
        desired: &DesiredVm,
        probe: Option<&Probe>,
        files: &VmFiles,
        plugged: &Plugged,
    ) -> Result<Machine, Ability> {
        let hypervisor = hypervisor(desired.hypervisor, probe)?;
        for base in desired.disks.iter().filter_map(|disk| disk.base) {
            self.content(base).await?;
        }
        let boots = match &desired.boots_from {
            Boot::Disk => Boots::Disk,
            Boot::Kernel {
                kernel,
                initramfs,
                cmdline,
            } => {
                let kernel = self.content(*kernel).await?;
                let initramfs = self.content(*initramfs).await?;
                Boots::Kernel {
                    kernel,
                    initramfs,
                    cmdline: cmdline.clone(),
                }
            }
        };
        Ok(Machine {
            id: self.vm,
            boot: 0,
            reverted: 0,
            hypervisor,
            vcpus: desired.vcpus,
            memory_mib: desired.memory_mib,
            hardware: desired.hardware.clone(),
            boots,
            disks: Vec::new(),
            seed: None,
            // Before they were ever plugged it has none; a start plugs them first.
            interfaces: plugged.interfaces(&desired.ports),
            console: files.console(),
            console_socket: files.console_socket(),
        })
    }

    /// The file with that content; read over, unless it was before and has not changed.
    async fn content(&self, digest: Digest) -> Result<PathBuf, Ability> {
        let images = Arc::clone(&self.images);
        let found = tokio::task::spawn_blocking(move || images.file(digest)).await;
        let found = found.unwrap_or_else(|error| Err(error.to_string()));
        found.map_err(|problem| match self.copies.state(digest) {
            Some(copies::State::UnderWay) => {
                Ability::NotYet(format!("its image (sha256:{digest}) is being copied"))
            }
            Some(copies::State::Failed(why)) => Ability::Unable(format!(
                "its image (sha256:{digest}) cannot be copied: {why}"
            )),
            None => Ability::Unable(problem),
        })
    }

    async fn make_disk(&self, disk: &DesiredDisk, files: &VmFiles) -> Result<(), String> {
        let base = disk.base.map(|digest| self.images.path(digest));
        let base = base.as_deref().map(|path| disk::Base {
            path,
            format: disk.base_format,
        });
        disk::make(&self.path(disk, files).await?, disk.size_gib, base).await
    }

    async fn path(&self, disk: &DesiredDisk, files: &VmFiles) -> Result<PathBuf, String> {
        let (files, disk) = (files.clone(), disk.clone());
        blocking(move || files.disk(&disk).map_err(std::io::Error::other)).await
    }

    async fn act(
        &self,
        step: &Step,
        wanted: &Wanted,
        seen: &Seen,
        files: &VmFiles,
    ) -> Result<(), String> {
        let note = &seen.found.note;
        let now = Timestamp::now();
        let said = |error: Error| error.to_string();
        match step {
            Step::NoteBoot(boot) => self.note(files, plan::began(note, *boot, now)).await,
            Step::NoteEnd(by) => {
                let generation = match wanted {
                    Wanted::Vm(desired) => desired.generation,
                    Wanted::Gone | Wanted::Purged => note.generation,
                };
                let ended = plan::ended(note, *by, generation, now);
                self.note(files, ended).await
            }
            Step::MakeSeed => {
                let Wanted::Vm(desired) = wanted else {
                    return Ok(());
                };
                let (files, seed) = (files.clone(), Seed::of(desired));
                blocking(move || seed.map_or(Ok(()), |seed| files.keep_seed(&seed))).await
            }
            Step::Plug | Step::Attach | Step::Unplug => {
                let ports = match wanted {
                    Wanted::Vm(desired) => &desired.ports[..],
                    Wanted::Gone | Wanted::Purged => &[],
                };
                match step {
                    Step::Plug => self.ports.plug(self.vm, ports, files).await,
                    Step::Attach => {
                        self.ports.attach(ports).await;
                        Ok(())
                    }
                    _ => self.ports.unplug(self.vm, files).await,
                }
            }
            Step::MakeDisk(disk) => self.make_disk(disk, files).await,
            Step::GrowDisk(disk) => disk::grow(&self.path(disk, files).await?, disk.size_gib).await,
            Step::AttachVolume(disk) => {
                let disk = Disk {
                    path: self.path(disk, files).await?,
                    volume: disk.volume,
                };
                self.calls.attach_volume(self.vm, disk).await.map_err(said)
            }
            Step::DetachVolume(volume) => {
                let detached = self.calls.detach_volume(self.vm, *volume);
                detached.await.map_err(said)
            }
            Step::Define(boot) => {
                let machine = seen.machine.clone().ok_or("it cannot be defined")?;
                let machine = Machine {
                    boot: *boot,
                    ..machine
                };
                self.calls.define(machine).await.map_err(said)
            }
            Step::Start(boot) => self.start(files, note, *boot, now).await,
            Step::Ask => {
                self.note(files, plan::asked(note, now)).await?;
                self.calls.press_power_button(self.vm).await.map_err(said)
            }
            Step::NoteAsked => self.note(files, plan::to_ask(note, now)).await,
            Step::Pause => {
                // First that it is us who said so: nobody else's standing still is ended by us.
                self.note(files, paused(note, true)).await?;
                self.calls.pause(self.vm).await.map_err(said)
            }
            Step::Resume => {
                self.calls.resume(self.vm).await.map_err(said)?;
                self.note(files, paused(note, false)).await
            }
            Step::Save => {
                self.note(files, plan::saved(note)).await?;
                self.calls.save(self.vm).await.map_err(said)
            }
            Step::Restore => self.restore(files, note).await,
            Step::DropMemory => self.calls.drop_memory(self.vm).await.map_err(said),
            Step::TakeSnapshot(id) => self.work(seen, files).take(*id).await,
            Step::FailSnapshot(id, reason) => self.work(seen, files).fail(*id, reason).await,
            Step::NoteSnapshot(id) => self.work(seen, files).adopt(*id).await,
            Step::RemoveSnapshot(id) => self.work(seen, files).remove(*id).await,
            Step::NoteReverted(number) => self.note(files, reverted(note, *number)).await,
            Step::RevertDisks(revert) => {
                self.work(seen, files).apply(revert).await?;
                self.note(files, reverted(note, revert.number)).await
            }
            Step::Revert(revert, boot) => {
                let machine = seen.machine.clone().ok_or("it cannot be defined")?;
                let machine = Machine {
                    boot: *boot,
                    reverted: revert.number,
                    ..machine
                };
                self.revert(files, note, machine, revert).await
            }
            Step::PowerOff => {
                // Of what is taken down, nothing needs to be remembered.
                if matches!(wanted, Wanted::Vm(_)) {
                    let powered_off = Note {
                        powered_off: true,
                        ..note.clone()
                    };
                    self.note(files, powered_off).await?;
                }
                self.calls.power_off(self.vm).await.map_err(said)
            }
            Step::Undefine => self.calls.undefine(self.vm).await.map_err(said),
            Step::RemoveFiles => {
                let files = files.clone();
                blocking(move || files.remove()).await
            }
        }
    }

    /// First it is noted that the boot begins: one that began and is not there has ended. One that was refused did not begin.
    async fn start(
        &self,
        files: &VmFiles,
        before: &Note,
        boot: u64,
        now: Timestamp,
    ) -> Result<(), String> {
        self.ports.used();
        let began = paused(&plan::began(before, boot, now), false);
        self.note(files, began).await?;
        match self.calls.start(self.vm).await {
            Err(Error::Refused(problem)) => {
                self.note(files, before.clone()).await?;
                Err(problem)
            }
            done => done.map_err(|error| error.to_string()),
        }
    }

    /// It stands still afterwards. What was refused several times is not to be had any more.
    async fn restore(&self, files: &VmFiles, note: &Note) -> Result<(), String> {
        self.ports.used();
        match self.calls.restore(self.vm).await {
            Err(Error::Refused(problem)) => {
                self.note(files, plan::not_restored(note, &problem)).await?;
                Err(problem)
            }
            Ok(()) => self.note(files, plan::saved(note)).await,
            Err(error) => Err(error.to_string()),
        }
    }

    /// First it is noted that the boot begins, as for any other; that it began with the memory of a snapshot, its definition says. It
    /// stands still afterwards.
    async fn revert(
        &self,
        files: &VmFiles,
        before: &Note,
        machine: Machine,
        revert: &Revert,
    ) -> Result<(), String> {
        self.ports.used();
        let boot = machine.boot;
        let said = |error: Error| error.to_string();
        self.calls.define(machine).await.map_err(said)?;
        let began = plan::began(before, boot, Timestamp::now());
        self.note(files, began.clone()).await?;
        match self.calls.revert(self.vm, revert.snapshot).await {
            Ok(()) => self.note(files, reverted(&began, revert.number)).await,
            Err(Error::Refused(problem)) => {
                self.note(files, before.clone()).await?;
                Err(problem)
            }
            Err(error) => Err(said(error)),
        }
    }

    /// For what is done to snapshots.
    fn work<'a>(&'a self, seen: &'a Seen, files: &'a VmFiles) -> Work<'a> {
        Work {
            vm: self.vm,
            calls: &self.calls,
            files,
            found: &seen.found.snapshots,
            runs: seen.found.domain.as_ref().is_some_and(Domain::is_active),
        }
    }

    async fn note(&self, files: &VmFiles, note: Note) -> Result<(), String> {
        let files = files.clone();
        blocking(move || files.keep_note(&note)).await
    }

    fn tell(&self, wanted: &Wanted, found: &Found, plan: &Plan, problem: Option<&str>) {
        let Wanted::Vm(desired) = wanted else {
            return;
        };
        let active = found.domain.as_ref().filter(|domain| domain.is_active());
        let state = match problem {
            // What runs, runs, whatever could not be done to it.
            // And what is suspended is that.
            Some(_) if active.is_none() && plan.state != ObservedState::Suspended => {
                ObservedState::Failed
            }
            _ => plan.state,
        };
        let hypervisor = active.map(|domain| domain.hypervisor);
        // Only of what runs: before and after, something else is waited for. Why, the host says.
        let emulated = || {
            let is_meant = desired.hypervisor == Some(Hypervisor::Qemu);
            let is_emulated = hypervisor == Some(Hypervisor::Qemu) && !is_meant;
            let runs = state == ObservedState::Running;
            let reason = if is_emulated && runs { EMULATED } else { "" };
            reason.to_owned()
        };
        let reason = match problem {
            Some(problem) => problem.to_owned(),
            None if plan.reason.is_empty() => emulated(),
            None => plan.reason.clone(),
        };
        let outcome = Outcome {
            generation: desired.generation,
            state,
            boot: active.map_or(found.note.boot, |domain| domain.boot),
            started: active.and(found.note.started),
            ended: match active {
                Some(_) => None,
                None => found.note.ended.clone(),
            },
            reason,
            hypervisor,
            volumes: domain_volumes(found),
            snapshots: found.snapshots.observed(&desired.snapshots),
            reverted: found.reverted(),
        };
        self.outcomes.put(self.vm, outcome);
    }
}

/// What there is of its snapshots; its disks are not looked into if nobody asks.
async fn snapshots(
    desired: &DesiredVm,
    found: &Found,
    files: &VmFiles,
    disks: Vec<PathBuf>,
) -> Result<Snapshots, String> {
    let is_off = !found.domain.as_ref().is_some_and(Domain::is_active);
    let reverts = desired
        .revert
        .is_some_and(|revert| revert.number > found.note.reverted);
    let is_asked = reverts || !desired.snapshots.is_empty();
    let files = files.clone();
    blocking(move || {
        let notes = files.snapshots()?;
        match is_asked || !notes.snapshots.is_empty() {
            true => Snapshots::read(notes, &disks, is_off),
            false => Ok(Snapshots::default()),
        }
    })
    .await
}

fn paused(note: &Note, paused: bool) -> Note {
    Note {
        paused,
        ..note.clone()
    }
}

fn reverted(note: &Note, number: u64) -> Note {
    Note {
        reverted: note.reverted.max(number),
        ..note.clone()
    }
}

/// What it has, or will have if its memory is on disk.
fn domain_volumes(found: &Found) -> Vec<VolumeId> {
    let held = found.domain.iter().flat_map(|domain| &domain.volumes);
    let mut volumes: Vec<VolumeId> = held.map(|volume| volume.id).collect();
    volumes.sort();
    volumes
}

/// What is to run a VM, from what was asked and what works.
fn hypervisor(asked: Option<Hypervisor>, probe: Option<&Probe>) -> Result<Hypervisor, Ability> {
    let emulated = |probe: &Probe, why: &str| match probe.emulation {
        true => Ok(Hypervisor::Qemu),
        false => Err(Ability::Unable(format!(
            "{why}, and this host does not emulate"
        ))),
    };
    match (asked, probe) {
        (_, None) => Err(Ability::NotYet(
            "what runs guests on this host is being tried".to_owned(),
        )),
        (Some(Hypervisor::Qemu), Some(probe)) => emulated(probe, "it is to be emulated"),
        (_, Some(probe)) if probe.kvm => Ok(Hypervisor::Kvm),
        (_, Some(probe)) => emulated(probe, &probe.reason),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn kvm_is_used_where_it_works_and_emulation_where_it_may() {
        use Hypervisor::{Kvm, Qemu};
        let probe = |kvm, emulation| Probe {
            kvm,
            emulation,
            reason: "why".to_owned(),
        };
        for (asked, kvm, emulation, is) in [
            (None, true, true, Some(Kvm)),
            (Some(Kvm), true, false, Some(Kvm)),
            (Some(Qemu), true, true, Some(Qemu)),
            (Some(Qemu), true, false, None),
            (None, false, true, Some(Qemu)),
            (Some(Kvm), false, true, Some(Qemu)),
            (Some(Kvm), false, false, None),
            (None, false, false, None),
        ] {
            let found = hypervisor(asked, Some(&probe(kvm, emulation)));
            assert_eq!(found.ok(), is, "{asked:?} {kvm} {emulation}");
        }
        assert!(matches!(hypervisor(None, None), Err(Ability::NotYet(_))));
    }
}
