//! Other people's software against a service: Python scripts beside its tests, in one environment for all, with what is in
//! `proof/requirements.txt`. It comes from the Python package index, once. What the scripts share is in `proof/`, too.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// The first time packages are fetched.
const PREPARED_WITHIN: Duration = Duration::from_secs(300);

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proof")
}

/// A script to be run by [`run`], in an environment below the build directory of a binary: `env!("CARGO_BIN_EXE_…")`.
///
/// # Errors
/// An environment that cannot be made.
pub async fn script(binary: &str, script: &Path) -> anyhow::Result<Command> {
    // <target>/<profile>/<binary>
    let target = Path::new(binary).ancestors().nth(2);
    let target = target.with_context(|| format!("{binary} is in no build directory"))?;
    let environment = target.join("proof-python");
    let mut setup = Command::new(shared().join("setup"));
    run(setup.arg(&environment), PREPARED_WITHIN).await?;
    let mut python = Command::new(environment.join("bin/python"));
    python
        .arg(script)
        .env("PYTHONPATH", shared())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

/// Runs something to its end and shows what it says.
///
/// # Errors
/// It fails, with what it says, or does not end in time.
pub async fn run(command: &mut Command, within: Duration) -> anyhow::Result<()> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(within, running)
        .await
        .with_context(|| format!("not done within {within:?}"))??;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success(), "{said}");
    eprintln!("{said}");
    Ok(())
}
