//! The driver for libvirt: `qemu:///embed?root=…`, where this process is the hypervisor's driver, or a libvirtd.
//!
//! Nothing else in PhotonCloud touches libvirt.

pub mod definition;
pub mod embed;
mod events;
pub mod monitor;
mod read;
mod snapshots;
mod volumes;
mod xml;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use plasmavmc_model::{SnapshotId, VmId, VolumeId};
use tokio::sync::mpsc::UnboundedSender;
use virt::{
    connect::Connect,
    domain::Domain as Handle,
    error::{Error as VirtError, ErrorNumber},
    sys,
};

use self::events::is_busy;
use crate::{
    driver::{About, Driver, Error},
    machine::{Disk, Domain, Machine},
};

/// How long domains that were running may take to be found again after a connection was made.
const SETTLE: Duration = Duration::from_secs(20);
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// Seconds between questions to a libvirtd whether it is there, and how many of them it may leave unanswered.
const KEEP_ALIVE: (i32, u32) = (5, 3);

/// A connection that is made anew when it breaks.
pub struct Libvirt {
    uri: String,
    /// Told of every domain whose state has changed.
    changed: UnboundedSender<VmId>,
    connection: Mutex<Option<Connect>>,
    about: OnceLock<About>,
}

impl std::fmt::Debug for Libvirt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libvirt")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl Libvirt {
    /// Connects, and looks what is on this machine. For an embedded one, [`embed::prepare`] comes before. Blocks.
    ///
    /// # Errors
    /// [`Error::Away`] with what libvirt says.
    pub fn open(uri: &str, changed: UnboundedSender<VmId>) -> Result<Arc<Self>, Error> {
        let libvirt = Self {
            uri: uri.to_owned(),
            changed,
            connection: Mutex::default(),
            about: OnceLock::new(),
        };
        libvirt.about()?;
        Ok(Arc::new(libvirt))
    }

    /// The connection that stands, or another. Whoever comes meanwhile waits for it.
    fn connection(&self) -> Result<Connect, Error> {
        let mut held = self.connection.lock();
        if let Some(connection) = &*held {
            if connection.is_alive().unwrap_or(false) {
                return Ok(connection.clone());
            }
            tracing::warn!(
                uri = self.uri,
                "the connection to libvirt is broken; another is made"
            );
            *held = None;
        }
        let connection = self.connect()?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn connect(&self) -> Result<Connect, Error> {
        events::run().map_err(|error| Error::Away(format!("no event loop: {error}")))?;
        let away = |error: VirtError| Error::Away(format!("{}: {}", self.uri, error.message()));
        let connection = Connect::open(Some(&self.uri)).map_err(away)?;
        // An embedded one has nobody to ask whether it is there.
        if !embed::is_embedded(&self.uri) {
            connection
                .set_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
                .map_err(away)?;
        }
        events::subscribe(&connection, self.changed.clone()).map_err(away)?;
        settle(&connection).map_err(away)?;
        Ok(connection)
    }

    /// Known since it was opened.
    fn emulator(&self) -> &str {
        self.about.get().map_or("", |about| &about.emulator)
    }

    /// A domain of ours by its UUID.
    fn find(&self, vm: VmId) -> Result<Option<(Handle, Domain)>, Error> {
        let connection = self.connection()?;
        let handle = match connection.lookup_domain_by_uuid_string(&vm.uuid().to_string()) {
            Ok(handle) => handle,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(refused(&error)),
        };
        match read::domain(&handle) {
            Ok(Some(domain)) => Ok(Some((handle, domain))),
            Ok(None) => Err(Error::Refused(format!(
                "there is a domain with the UUID of {vm} that is not ours"
            ))),
            // It went meanwhile.
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Does something with a domain that must be there.
    fn with(
        &self,
        vm: VmId,
        act: impl FnOnce(&Handle) -> Result<(), VirtError>,
    ) -> Result<(), Error> {
        match self.find(vm)? {
            Some((handle, _)) => act(&handle).map_err(|error| refused(&error)),
            None => Err(Error::Refused(format!("{vm} has no domain"))),
        }
    }
}

/// After a connection was made, libvirt looks for the machines that it knew, each in the background; until it has, it says of each what it
/// last knew, and mixes up what is asked of it meanwhile. It holds a job on each of them all that time.
fn settle(connection: &Connect) -> Result<(), VirtError> {
    let end = Instant::now() + SETTLE;
    for domain in connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
        while is_busy(&domain) && Instant::now() < end {
            std::thread::sleep(SETTLE_PAUSE);
        }
    }
    Ok(())
}

impl Driver for Libvirt {
    fn about(&self) -> Result<About, Error> {
        if let Some(about) = self.about.get() {
            return Ok(about.clone());
        }
        let connection = self.connection()?;
        let about = read::about(&connection).map_err(|error| refused(&error))?;
        Ok(self.about.get_or_init(|| about).clone())
    }

    fn digest(&self, machine: &Machine) -> String {
        definition::digest(machine, self.emulator())
    }

    fn check(&self, machine: &Machine) -> Result<(), String> {
        definition::check(machine)
    }

    fn list(&self) -> Result<Vec<Domain>, Error> {
        let connection = self.connection()?;
        let handles = connection
            .list_all_domains(0)
            .map_err(|error| refused(&error))?;
        let mut domains = Vec::with_capacity(handles.len());
        for handle in handles {
            match read::domain(&handle) {
                Ok(found) => domains.extend(found),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok(domains)
    }

    fn look(&self, vm: VmId) -> Result<Option<Domain>, Error> {
        Ok(self.find(vm)?.map(|(_, domain)| domain))
    }

    fn define(&self, machine: &Machine) -> Result<(), Error> {
        let connection = self.connection()?;
        let text = definition::define(machine, self.emulator());
        // A domain of that UUID that is not ours is not overwritten.
        self.find(machine.id)?;
        connection
            .define_domain_xml_flags(&text, sys::VIR_DOMAIN_DEFINE_VALIDATE)
            .map(drop)
            .map_err(|error| refused(&error))
    }

    fn start(&self, vm: VmId) -> Result<(), Error> {
        self.with(vm, |handle| match handle.create() {
            Err(error) if is_invalid(&error) && handle.is_active()? => Ok(()),
            done => done,
        })
    }

    fn press_power_button(&self, vm: VmId) -> Result<(), Error> {
        self.with(vm, |handle| {
            let pressed = handle.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
            unless_off(handle, pressed)
        })
    }

    fn resume(&self, vm: VmId) -> Result<(), Error> {
        self.with(vm, |handle| match handle.resume() {
            // It goes on already.
            Err(error) if is_invalid(&error) && handle.is_active()? => Ok(()),
            done => done,
        })
    }

    fn pause(&self, vm: VmId) -> Result<(), Error> {
        self.with(vm, |handle| unless_off(handle, handle.suspend()))
    }

    fn save(&self, vm: VmId) -> Result<(), Error> {
        self.with(vm, |handle| {
            // Whatever it did when it was saved, it is the agent who says whether it goes on.
            let saved = handle.managed_save(sys::VIR_DOMAIN_SAVE_RUNNING);
            unless_off(handle, saved)
        })
    }

    fn restore(&self, vm: VmId) -> Result<(), Error> {
        // libvirt removes the memory on disk when it was read. Not before that is sure does anything run which it would not fit any more.
        let paused = sys::VIR_DOMAIN_START_PAUSED;
        self.with(vm, |handle| match handle.create_with_flags(paused) {
            Err(error) if is_invalid(&error) && handle.is_active()? => Ok(()),
            done => done,
        })
    }

    fn drop_memory(&self, vm: VmId) -> Result<(), Error> {
        let Some((handle, _)) = self.find(vm)? else {
            return Ok(());
        };
        handle
            .managed_save_remove(0)
            .map_err(|error| refused(&error))
    }

    fn take_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with(vm, |handle| snapshots::take(handle, snapshot))
    }

    fn remove_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with(vm, |handle| snapshots::remove(handle, snapshot))
    }

    fn revert(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with(vm, |handle| snapshots::revert(handle, snapshot))
    }

    fn attach_volume(&self, vm: VmId, disk: &Disk) -> Result<(), Error> {
        self.with(vm, |handle| volumes::attach(handle, disk))
    }

    fn detach_volume(&self, vm: VmId, volume: VolumeId) -> Result<(), Error> {
        self.with(vm, |handle| volumes::detach(handle, volume))
    }

    fn power_off(&self, vm: VmId) -> Result<(), Error> {
        let Some((handle, _)) = self.find(vm)? else {
            return Ok(());
        };
        unless_off(&handle, handle.destroy()).map_err(|error| refused(&error))
    }

    fn undefine(&self, vm: VmId) -> Result<(), Error> {
        let Some((handle, _)) = self.find(vm)? else {
            return Ok(());
        };
        // Whatever libvirt keeps beside the definition goes with it.
        let beside = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
        match handle.undefine_flags(beside) {
            Err(error) if !is_missing(&error) => Err(refused(&error)),
            _ => Ok(()),
        }
    }
}

/// A refusal because nothing runs is none for whoever wants that nothing runs.
fn unless_off(handle: &Handle, done: Result<(), VirtError>) -> Result<(), VirtError> {
    match done {
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) if is_invalid(&error) && !handle.is_active()? => Ok(()),
        done => done,
    }
}

fn is(error: &VirtError, number: ErrorNumber) -> bool {
    error.code().is_known_and(|code| code == number)
}

fn is_missing(error: &VirtError) -> bool {
    is(error, ErrorNumber::NoDomain)
}

fn is_invalid(error: &VirtError) -> bool {
    is(error, ErrorNumber::OperationInvalid)
}

fn refused(error: &VirtError) -> Error {
    let message = error.message().trim().to_owned();
    let gone = [
        ErrorNumber::NoConnect,
        ErrorNumber::InvalidConn,
        ErrorNumber::Rpc,
    ];
    if gone.into_iter().any(|number| is(error, number)) {
        Error::Away(message)
    } else {
        Error::Refused(message)
    }
}
