//! Work in a network namespace, on threads of its own: `setns` counts for a thread, and one that others use would take it
//! along.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

/// Something that is being done in a namespace.
#[derive(Debug)]
pub(crate) struct Work<T>(oneshot::Receiver<anyhow::Result<T>>);

impl<T> Work<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// Its own; that it panicked.
    pub(crate) async fn end(self) -> anyhow::Result<T> {
        self.0.await.context("a thread in a namespace panicked")?
    }
}

/// Starts something in the namespace of the file. It must have deadlines of its own: nobody can end it.
///
/// # Errors
/// No thread.
pub(crate) fn start<T: Send + 'static>(
    namespace: &Path,
    what: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<Work<T>> {
    let (tell, told) = oneshot::channel();
    let namespace: PathBuf = namespace.to_owned();
    std::thread::Builder::new()
        .name("inside".to_owned())
        .spawn(move || {
            // Nobody listens any more if the run was given up.
            let _ = tell.send(enter(&namespace).and_then(|()| what()));
        })
        .context("no thread for a namespace")?;
    Ok(Work(told))
}

/// Does something in the namespace of the file.
///
/// # Errors
/// Its own; that the namespace cannot be entered.
pub(crate) async fn run<T: Send + 'static>(
    namespace: &Path,
    what: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    start(namespace, what)?.end().await
}

fn enter(namespace: &Path) -> anyhow::Result<()> {
    let what = || namespace.display().to_string();
    let file = File::open(namespace).with_context(what)?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(what)
}
