//! One virsh that is told line after line: opening libvirt is not part of what is measured.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What it ends every answer with.
const PROMPT: &[u8] = b"virsh # ";
/// How long one answer may take: the first definition finds out what qemu can do.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to end that was killed.
const END: Duration = Duration::from_secs(10);

/// A virsh that is open. Killed when this is dropped; what it has started runs on.
#[derive(Debug)]
pub(super) struct Virsh {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    log: std::path::PathBuf,
}

impl Virsh {
    /// Opens a libvirt, in a namespace if one is named, with errors in `log`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) async fn open(
        namespace: Option<&Path>,
        uri: &str,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(namespace) = namespace {
            command
                .arg("nsenter")
                .arg(format!("--net={}", namespace.display()));
        }
        // Words as they are known here, and no escapes between them.
        let mut child = command
            .args(["virsh", "-c", uri])
            .envs([("LC_ALL", "C"), ("TERM", "dumb")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start virsh")?;
        let mut virsh = Self {
            input: child.stdin.take().context("no pipe to virsh")?,
            output: child.stdout.take().context("no pipe from virsh")?,
            child,
            log: log.to_owned(),
        };
        virsh.answer().await.context("virsh does not open")?;
        Ok(virsh)
    }

    /// Tells it a line, and waits until it has answered, with these words among others.
    ///
    /// # Errors
    /// It answers something else.
    pub(super) async fn tell(&mut self, line: &str, expected: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = self.answer().await.with_context(|| line.to_owned())?;
        ensure!(
            answer.contains(expected),
            "virsh {line}: {answer}{}",
            self.problem()
        );
        Ok(())
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        let mut heard = Vec::new();
        let hear = async {
            while !heard.ends_with(PROMPT) {
                let count = self.output.read_buf(&mut heard).await?;
                ensure!(count > 0, "virsh has ended");
            }
            Ok(())
        };
        let done = tokio::time::timeout(PATIENCE, hear).await;
        let done = done.context("virsh does not answer").flatten();
        done.with_context(|| self.problem())?;
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    /// The last line of its errors.
    fn problem(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Virsh {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.start_kill();
        let end = Instant::now() + END;
        // What it writes is removed next.
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
