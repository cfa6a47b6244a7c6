//! Debian's PostgreSQL in a cluster of its own: durable as it is by default, with settings that a server of its own gets.

use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::unistd::{User, geteuid};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::server::{Process, Usage};

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// The user that it runs as if we are root, which it refuses.
const USER: &str = "postgres";
const PORT: u16 = 5432;

/// Durable, on a Unix socket alone, and with memory for all that the runs write. The rest is PostgreSQL's defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "4GB"),
    ("max_connections", "300"),
    ("listen_addresses", ""),
];

/// A running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    process: Process,
    programs: PathBuf,
    data: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    /// Makes a cluster under `directory` and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed, cannot be started or does not answer in time.
    pub(crate) async fn start(programs: &Path, directory: &Path) -> anyhow::Result<Self> {
        ensure!(
            programs.join("postgres").exists(),
            "no PostgreSQL in {}: deploy/toolchain/install-packages postgresql-15",
            programs.display()
        );
        let home = std::path::absolute(directory.join("postgres"))?;
        std::fs::create_dir_all(&home)?;
        let log = home.join("log");
        if geteuid().is_root() {
            let user = User::from_name(USER)?
                .with_context(|| format!("root cannot run it, and there is no user {USER}"))?;
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let data = home.join("data");
        make_cluster(programs, &data, &home)?;
        let (program, arguments) = as_its_user(
            &programs.join("postgres"),
            &["-D".to_owned(), data.display().to_string()],
        );
        let mut server = Self {
            process: Process::start(&program, &arguments, &log)?,
            programs: programs.to_owned(),
            data,
            socket: home,
        };
        server
            .ready()
            .await
            .with_context(|| format!("log in {}", log.display()))?;
        Ok(server)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            self.process.check()?;
            match self.connect().await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(PROBE_EVERY).await,
            }
        }
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(&self.socket)
            .port(PORT)
            .user(USER)
            .dbname("postgres")
            .connect_timeout(Duration::from_secs(10))
            .connect(NoTls)
            .await?;
        // Ends with the client; an error of it is one of the client's requests, too.
        tokio::spawn(connection);
        Ok(client)
    }

    /// What it has used so far: all of its processes, and the syncs of its log.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) async fn usage(&self) -> anyhow::Result<Usage> {
        let client = self.connect().await?;
        let row = client
            .query_one("SELECT wal_sync::float8 FROM pg_stat_wal", &[])
            .await?;
        Ok(Usage {
            cpu_s: family_cpu_s(self.process.id())?,
            fsyncs: Some(row.get(0)),
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let arguments = ["stop", "--mode=immediate", "--no-wait", "-D"].map(str::to_owned);
        let arguments = [&arguments[..], &[self.data.display().to_string()]].concat();
        let (program, arguments) = as_its_user(&self.programs.join("pg_ctl"), &arguments);
        // In order, so that its processes end with it. If that fails it is killed, and they notice.
        let _ = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while self.process.check().is_ok() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn make_cluster(programs: &Path, data: &Path, socket: &Path) -> anyhow::Result<()> {
    let arguments = [
        "-D".to_owned(),
        data.display().to_string(),
        "--username".to_owned(),
        USER.to_owned(),
        "--auth=trust".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C".to_owned(),
    ];
    let (program, arguments) = as_its_user(&programs.join("initdb"), &arguments);
    let output = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut settings = String::new();
    for (name, value) in SETTINGS {
        // Writing to a string cannot fail.
        let _ = writeln!(settings, "{name} = '{value}'");
    }
    let _ = writeln!(
        settings,
        "port = {PORT}\nunix_socket_directories = '{}'",
        socket.display()
    );
    // What stands last in the file counts.
    let file = data.join("postgresql.conf");
    let written = std::fs::read_to_string(&file)? + &settings;
    std::fs::write(&file, written)?;
    Ok(())
}

/// A program of PostgreSQL, run as its user if we are root.
fn as_its_user(program: &Path, arguments: &[String]) -> (PathBuf, Vec<String>) {
    if !geteuid().is_root() {
        return (program.to_owned(), arguments.to_vec());
    }
    // Whoever changes its user is not killed with its parent any more, unless it says so again.
    let mut all: Vec<String> = [
        "--reuid",
        USER,
        "--regid",
        USER,
        "--init-groups",
        "--pdeathsig",
        "KILL",
        "--",
    ]
    .map(str::to_owned)
    .into();
    all.push(program.display().to_string());
    all.extend_from_slice(arguments);
    ("setpriv".into(), all)
}

/// User and system time of a process, of its children that ended, and of those that run, in seconds.
fn family_cpu_s(parent: u32) -> anyhow::Result<f64> {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?
        .context("the clock's ticks per second")?;
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let mut ticks = ticks(parent)?;
    for child in children.split_whitespace() {
        // One that ends meanwhile is counted by its parent the next time.
        ticks += child
            .parse()
            .map_or(0.0, |id| self::ticks(id).unwrap_or(0.0));
    }
    Ok(ticks / per_second as f64)
}

fn ticks(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after_name = stat.rsplit(')').next().context("/proc/PID/stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 to 17: own user and system time, and that of children that were waited for.
    let mut sum = 0.0;
    for field in fields.get(11..15).context("/proc/PID/stat")? {
        sum += field.parse::<f64>()?;
    }
    Ok(sum)
}
