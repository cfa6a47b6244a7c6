//! A child process that cannot outlive the test that started it.
//!
//! Children are started by one thread that lives as long as the test process, under
//! `setpriv --pdeathsig KILL`: the kernel kills them when that thread ends, so even a test process
//! that is itself killed leaves nothing behind. (The parent-death signal follows the *thread* that
//! forked; an async worker thread may end long before the test does.)

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::time::Instant;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Name for messages.
    pub name: String,
    /// The program, found through `PATH` if it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables set in addition to the test's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Network namespace to run in (see [`crate::netlab`]).
    pub namespace: Option<String>,
    /// File that receives standard output and error; appended to, so a restart keeps the earlier log.
    pub log: PathBuf,
}

impl Spec {
    /// A program without arguments, environment and namespace.
    pub fn new(name: &str, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            namespace: None,
            log: log.into(),
        }
    }

    /// Adds one argument.
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }
}

/// A running (or ended) child. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    spec: Spec,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts the process.
    ///
    /// # Errors
    /// When the log cannot be opened or `setpriv` cannot be run. A program that does not exist is seen as
    /// an early exit (status 127) with a message in the log.
    pub fn start(spec: Spec) -> anyhow::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("cannot open log {}", spec.log.display()))?;
        let child = spawn_on_lasting_thread(command(&spec, log)?)
            .with_context(|| format!("cannot start {}", spec.name))?;
        Ok(Self {
            child,
            spec,
            ended: None,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// `kill -9`, and waits until it is gone. Works on a paused process. Does nothing if it has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// SIGTERM, then waits for the end until the deadline (from now).
    ///
    /// # Errors
    /// When it is still running at the deadline; it is not killed then.
    pub async fn terminate(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline).await
    }

    /// Waits for the end until the deadline (from now).
    ///
    /// # Errors
    /// When it is still running at the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("{} is still running after {deadline:?}", self.spec.name);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGSTOP: the process freezes, its sockets stay open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends any signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} has ended: {status}", self.spec.name);
        }
        let pid = Pid::from_raw(self.pid().try_into().context("process id")?);
        signal::kill(pid, signal).with_context(|| format!("{signal} to {}", self.spec.name))
    }

    /// The last lines of the log, for error messages.
    pub fn log_tail(&self) -> String {
        log_tail(&self.spec.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("cannot kill {}: {error}", self.spec.name);
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.spec.name, self.log_tail());
        }
    }
}

/// The last lines of a log file; what went wrong if it cannot be read.
pub fn log_tail(path: &Path) -> String {
    const LINES: usize = 30;
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        }
        Err(error) => format!("({}: {error})", path.display()),
    }
}

fn command(spec: &Spec, log: File) -> io::Result<Command> {
    let mut words: Vec<OsString> = ["setpriv", "--pdeathsig", "KILL", "--"]
        .map(OsString::from)
        .into();
    if let Some(namespace) = &spec.namespace {
        words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
    }
    words.push(spec.program.clone().into());
    words.extend(spec.arguments.iter().cloned());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .envs(spec.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    // A global because its point is to live exactly as long as the test process.
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Whoever asked waits for the answer; if it is gone, dropping the child is all that is left.
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let (answer, answered) = mpsc::channel();
    let gone = |_| io::Error::other("the spawning thread has ended");
    spawner
        .send((command, answer))
        .map_err(|_| io::Error::other("the spawning thread has ended"))?;
    answered.recv().map_err(gone)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::scratch::Scratch;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn state(pid: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.trim().chars().next()
    }

    #[tokio::test]
    async fn output_is_kept_and_the_status_is_seen() {
        let dir = Scratch::new("process").unwrap();
        let spec = Spec::new("sh", "sh", dir.path().join("log"))
            .argument("-c")
            .argument("echo out; echo err >&2; exit 3");
        let mut process = Process::start(spec).unwrap();
        assert_eq!(process.wait(DEADLINE).await.unwrap().code(), Some(3));
        let log = process.log_tail();
        assert!(log.contains("out") && log.contains("err"), "{log}");
    }

    #[tokio::test]
    async fn pause_resume_kill() {
        let dir = Scratch::new("process").unwrap();
        let spec = Spec::new("sleep", "sleep", dir.path().join("log")).argument("1000");
        let mut process = Process::start(spec).unwrap();
        let pid = process.pid();
        process.pause().unwrap();
        crate::poll::eventually_true("stopped", DEADLINE, || async { state(pid) == Some('T') })
            .await
            .unwrap();
        process.resume().unwrap();
        crate::poll::eventually_true("running", DEADLINE, || async { state(pid) == Some('S') })
            .await
            .unwrap();
        process.pause().unwrap();
        assert_eq!(process.kill().unwrap().signal(), Some(9));
        assert!(process.pause().is_err(), "a signal to an ended process");
    }

    #[tokio::test]
    async fn dropped_means_dead() {
        let dir = Scratch::new("process").unwrap();
        let spec = Spec::new("sleep", "sleep", dir.path().join("log")).argument("1000");
        let process = Process::start(spec).unwrap();
        let pid = process.pid();
        drop(process);
        assert_eq!(state(pid), None);
    }
}
