//! The line to a guest's serial console: a socket that qemu listens at, which has room for one. All who look at a console share it.
//!
//! What comes over it is thrown away, at once: the log has it, too, and everybody reads that at a pace of their own. So a guest never
//! waits for somebody who does not read, and what is kept in memory for one who looks is one piece.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a guest that does not run is looked for.
const AGAIN: Duration = Duration::from_millis(300);
/// The most who look at one console at once.
const MOST: usize = 16;
/// Pieces that are typed and not yet taken by the guest. More waits.
const TYPED: usize = 16;
/// How long a guest may take to take what was typed: one that does not read it never will.
const TAKE: Duration = Duration::from_secs(5);

/// The line to one guest. It is let go with the last who has it.
#[derive(Debug)]
pub(super) struct Line {
    typed: mpsc::Sender<Bytes>,
    wrote: watch::Receiver<u64>,
    room: Arc<Semaphore>,
    _end: DropGuard,
}

impl Line {
    /// To the guest at that socket, whenever it runs.
    pub(super) fn to(socket: PathBuf) -> Self {
        let (typed, to_type) = mpsc::channel(TYPED);
        let (heard, wrote) = watch::channel(0);
        let end = CancellationToken::new();
        let stop = end.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(hold(&socket, to_type, heard))
                .await;
        });
        Self {
            typed,
            wrote,
            room: Arc::new(Semaphore::new(MOST)),
            _end: end.drop_guard(),
        }
    }

    /// Room for one more, if there is.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Types something. What nobody runs for is lost, as at a machine that is off.
    pub(super) async fn type_in(&self, data: Bytes) {
        // The receiver lives as long as this does.
        let _ = self.typed.send(data).await;
    }

    /// Changes whenever the guest has written something.
    pub(super) fn wrote(&self) -> watch::Receiver<u64> {
        self.wrote.clone()
    }
}

/// Holds the line, over all boots of the guest.
async fn hold(socket: &Path, mut to_type: mpsc::Receiver<Bytes>, heard: watch::Sender<u64>) {
    loop {
        if let Ok(stream) = UnixStream::connect(socket).await {
            let (reading, writing) = stream.into_split();
            tokio::select! {
                ended = drain(reading, &heard) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a console has ended");
                    }
                }
                () = pass_on(writing, &mut to_type) => {}
            }
        }
        // Nobody is there: what is typed goes nowhere.
        let pause = tokio::time::sleep(AGAIN);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                typed = to_type.recv() => if typed.is_none() { return },
            }
        }
    }
}

async fn drain(mut reading: OwnedReadHalf, heard: &watch::Sender<u64>) -> io::Result<()> {
    let mut room = vec![0; 16 << 10];
    loop {
        let read = reading.read(&mut room).await?;
        if read == 0 {
            return Ok(());
        }
        heard.send_modify(|bytes| *bytes = bytes.wrapping_add(read as u64));
    }
}

/// Ends if the guest's end does; a guest that takes nothing loses what was typed.
async fn pass_on(mut writing: OwnedWriteHalf, to_type: &mut mpsc::Receiver<Bytes>) {
    while let Some(data) = to_type.recv().await {
        match tokio::time::timeout(TAKE, writing.write_all(&data)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => tracing::debug!("a guest does not take what is typed"),
        }
    }
    std::future::pending().await
}
