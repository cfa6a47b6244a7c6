//! From the command line to a running service, the same for every daemon.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use photon_core::error::in_one_line;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, LogConfig, load};

/// The flags every daemon has; flatten them into its own.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// The configuration file (TOML). The environment overrides it: PREFIX__SECTION__KEY.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Checks the configuration and ends.
    #[arg(long)]
    pub check: bool,
}

/// A service's whole configuration.
pub trait ServiceConfig: DeserializeOwned {
    /// What is logged, and how.
    fn log(&self) -> &LogConfig;
    /// What the types cannot say: values that do not go together. Looks at nothing but the configuration.
    fn validate(&self) -> Result<(), ConfigError>;
    /// What `--check` looks at besides: files and directories that are named, and would be found bad at the start or
    /// by whoever calls. Leaves nothing behind.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// Loads the configuration, prepares the process, runs the service until it ends, and says how it went.
///
/// `run` gets a token that is cancelled by SIGTERM or SIGINT; it should return once it has drained. A second
/// signal ends the process at once. Call it first in `main`, before any thread is started.
pub fn main_with<C, R, F>(args: &CommonArgs, env_prefix: &str, run: R) -> ExitCode
where
    C: ServiceConfig,
    R: FnOnce(C, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let config: C = match load(args.config.as_deref(), env_prefix).and_then(|config: C| {
        config.validate()?;
        if args.check {
            config.check()?;
        }
        Ok(config)
    }) {
        Ok(config) => config,
        Err(error) => return fail(&error.into()),
    };
    if args.check {
        tell("the configuration is good");
        return ExitCode::SUCCESS;
    }
    match prepare(config.log()).and_then(|runtime| {
        let stop = CancellationToken::new();
        runtime.block_on(async {
            let signals = tokio::spawn(cancel_on_signal(stop.clone()));
            let result = run(config, stop).await;
            signals.abort();
            result
        })
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Cryptography, log, descriptors and runtime of the process.
fn prepare(log: &LogConfig) -> anyhow::Result<tokio::runtime::Runtime> {
    install_crypto();
    crate::log::init(log)?;
    raise_descriptor_limit();
    // One more than there are cores: a thread may wait for a disk, and others must go on.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + 1)
        .enable_all()
        .build()?)
}

/// Makes aws-lc-rs the process's TLS provider. Harmless when it is already.
pub fn install_crypto() {
    // An error says only that one is installed; there is no other in the tree.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The soft limit is 1024 on most systems, for the sake of programs that use select(2).
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
    let raised =
        getrlimit(RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn cancel_on_signal(stop: CancellationToken) {
    let (mut term, mut int) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(term), Ok(int)) => (term, int),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen for signals; the process can only be killed");
            return;
        }
    };
    let name = tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "asked to stop");
    stop.cancel();
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    tracing::warn!("asked to stop a second time; ending without draining");
    std::process::exit(130);
}

fn fail(error: &anyhow::Error) -> ExitCode {
    tell(&format!("error: {}", in_one_line(error.as_ref())));
    ExitCode::FAILURE
}

#[expect(
    clippy::print_stderr,
    reason = "before the log exists, and for a person at a terminal"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}
