//! Serial consoles: what guests have written, and typing to them.
//!
//! ```text
//!   guest ─> qemu ─┬─> vm/<vm>/console.log  <── log: read by everybody, each at a pace of their own; kept short
//!                  └─> vm/<vm>/console, a socket <── line: one for all who look, drained at once; what is typed goes in there
//! ```
//!
//! Both are qemu's and outlive the agent. Everybody who looks may type, as several at one terminal do.

mod line;
pub mod log;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use plasmavmc_model::VmId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{line::Line, log::Part};
use crate::files::Files;

/// The most who look at consoles of this host at once.
const MOST_VIEWERS: usize = 256;
/// Bytes that are sent at once.
const PIECE: usize = 32 << 10;
/// How often it is looked for more when nobody has told that there is.
const LOOK: Duration = Duration::from_millis(500);
/// And just after somebody has: the log is written a moment after the line.
const LOOK_SOON: Duration = Duration::from_millis(2);
const SOON: Duration = Duration::from_millis(50);
/// How often logs are cut: a guest writes a few MiB meanwhile, at most.
const TRIM: Duration = Duration::from_secs(1);

/// Why nobody can look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The VM is not on this host.
    #[error("it is not on this host")]
    NotHere,
    /// Too many look already.
    #[error("too many look at consoles already")]
    TooMany,
}

/// The consoles of all VMs here.
#[derive(Clone, Debug)]
pub struct Consoles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    room: Arc<Semaphore>,
    lines: Mutex<HashMap<VmId, Weak<Line>>>,
}

/// Somebody who looks at a console. Whoever drops it looks no more.
#[derive(Debug)]
pub struct Viewer {
    line: Arc<Line>,
    wrote: watch::Receiver<u64>,
    path: std::path::PathBuf,
    offset: Option<u64>,
    told: Instant,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Types to a console.
#[derive(Clone, Debug)]
pub struct Keyboard(Arc<Line>);

impl Consoles {
    /// Of the VMs that have these files.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self(Arc::new(Inner {
            files,
            room: Arc::new(Semaphore::new(MOST_VIEWERS)),
            lines: Mutex::default(),
        }))
    }

    /// What a VM has written; see [`log::read`]. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read; `NotFound` if the VM is not here.
    pub fn read(&self, vm: VmId, offset: Option<u64>, limit: usize) -> io::Result<Part> {
        let files = self.0.files.of(vm);
        if !files.exist() {
            return Err(io::Error::new(io::ErrorKind::NotFound, Refused::NotHere));
        }
        log::read(&files.console(), offset, limit)
    }

    /// Looks at a console, from that offset on; without one, from shortly before its end.
    ///
    /// # Errors
    /// The VM is not here; too many look.
    pub fn attach(&self, vm: VmId, offset: Option<u64>) -> Result<Viewer, Refused> {
        let files = self.0.files.of(vm);
        if !files.exist() {
            return Err(Refused::NotHere);
        }
        let room = Arc::clone(&self.0.room).try_acquire_owned();
        let room = room.map_err(|_| Refused::TooMany)?;
        let line = {
            let mut lines = self.0.lines.lock();
            lines.retain(|_, line| line.strong_count() > 0);
            match lines.get(&vm).and_then(Weak::upgrade) {
                Some(line) => line,
                None => {
                    let line = Arc::new(Line::to(files.console_socket()));
                    lines.insert(vm, Arc::downgrade(&line));
                    line
                }
            }
        };
        let of_one = line.room().ok_or(Refused::TooMany)?;
        Ok(Viewer {
            wrote: line.wrote(),
            line,
            path: files.console(),
            offset,
            told: Instant::now(),
            _room: (room, of_one),
        })
    }

    /// Keeps all logs short, until it is stopped.
    pub async fn keep_short(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TRIM);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let consoles = self.clone();
            // It ends soon, and says itself what it could not do.
            let _ = tokio::task::spawn_blocking(move || consoles.trim_all()).await;
        }
    }

    fn trim_all(&self) {
        let Ok(all) = self.0.files.list() else {
            return;
        };
        for vm in all {
            match log::trim(&self.0.files.of(vm).console()) {
                Ok(false) => {}
                Ok(true) => tracing::debug!(%vm, "the beginning of its console's log is cut off"),
                Err(error) => tracing::warn!(%vm, %error, "its console's log cannot be cut"),
            }
        }
    }
}

impl Viewer {
    /// To type with.
    #[must_use]
    pub fn keyboard(&self) -> Keyboard {
        Keyboard(Arc::clone(&self.line))
    }

    /// What comes next, with the offset that it begins at: at once as long as there is something, else when the guest has written.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// A log that cannot be read; `NotFound` once the VM is gone.
    pub async fn next(&mut self) -> io::Result<(u64, Bytes)> {
        loop {
            let (path, offset) = (self.path.clone(), self.offset);
            let read = move || {
                let part = log::read(&path, offset, PIECE)?;
                let is_gone = part.end == 0 && path.parent().is_none_or(|parent| !parent.exists());
                if is_gone {
                    return Err(io::Error::new(io::ErrorKind::NotFound, Refused::NotHere));
                }
                Ok(part)
            };
            let part = tokio::task::spawn_blocking(read).await;
            let part = part.map_err(io::Error::other)??;
            self.offset = Some(part.offset + part.data.len() as u64);
            if !part.data.is_empty() {
                return Ok((part.offset, part.data.into()));
            }
            let pause = if self.told.elapsed() < SOON {
                LOOK_SOON
            } else {
                LOOK
            };
            if let Ok(Ok(())) = tokio::time::timeout(pause, self.wrote.changed()).await {
                self.told = Instant::now();
            }
        }
    }
}

impl Keyboard {
    /// Types. Waits while the guest does not take it.
    pub async fn type_in(&self, data: Bytes) {
        self.0.type_in(data).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;

    /// What a viewer sees until it has seen the text.
    async fn until(viewer: &mut Viewer, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (_, data) = tokio::time::timeout(Duration::from_secs(20), viewer.next())
                .await
                .unwrap_or_else(|_| panic!("no {text:?} in {seen:?}"))
                .unwrap();
            seen.push_str(&String::from_utf8_lossy(&data));
        }
        seen
    }

    #[tokio::test]
    async fn many_look_all_type_and_a_machine_may_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let consoles = Consoles::new(files.clone());
        let vm = VmId::generate();
        assert_eq!(consoles.attach(vm, None).unwrap_err(), Refused::NotHere);
        files.of(vm).prepare().unwrap();
        let path = files.of(vm).console();
        let mut log = std::fs::OpenOptions::new();
        let mut log = log.create(true).append(true).open(path).unwrap();
        log.write_all(b"before\n").unwrap();

        // Before it runs there is history, and typing goes nowhere.
        let mut one = consoles.attach(vm, Some(0)).unwrap();
        until(&mut one, "before").await;
        one.keyboard().type_in("lost".into()).await;

        for boot in 1..=2 {
            let socket = files.of(vm).console_socket();
            let _ = std::fs::remove_file(&socket);
            let listener = UnixListener::bind(socket).unwrap();
            let (mut machine, _) = listener.accept().await.unwrap();
            let mut two = consoles.attach(vm, None).unwrap();
            until(&mut two, "before").await;
            one.keyboard().type_in("a".into()).await;
            two.keyboard().type_in("b".into()).await;
            let mut typed = [0; 2];
            machine.read_exact(&mut typed).await.unwrap();
            assert!(typed == *b"ab" || typed == *b"ba", "{typed:?}");
            // A machine that writes more than a socket holds is not held up, though nobody reads.
            let many = vec![b'x'; 4 << 20];
            let wrote = tokio::time::timeout(Duration::from_secs(20), machine.write_all(&many));
            wrote.await.unwrap().unwrap();
            let said = format!("boot {boot}\n");
            log.write_all(said.as_bytes()).unwrap();
            machine.write_all(said.as_bytes()).await.unwrap();
            until(&mut one, &said).await;
            until(&mut two, &said).await;
        }
        let mut all: Vec<Viewer> = Vec::new();
        let refused = loop {
            match consoles.attach(vm, None) {
                Ok(viewer) => all.push(viewer),
                Err(refused) => break refused,
            }
        };
        assert_eq!((refused, all.len()), (Refused::TooMany, 15));
        drop(all);
        files.of(vm).remove().unwrap();
        let gone = one.next().await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
