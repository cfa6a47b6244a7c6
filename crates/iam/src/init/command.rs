//! `iam init` and `iam recover-admin`, at a terminal.

use std::io::{self, Write as _};

use anyhow::Context as _;
use photon_server::{Mode, face::rfc3339};
use photon_store::Store;

use super::{OneTime, found, recover};
use crate::{app::UNGUARDED, config::Config};

/// What is done once, at this machine, and not by a running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// First start: makes the org `root`, the user `admin` and the keys, and prints the admin's one-time credential.
    Init,
    /// Prints a new one-time credential of `admin`, and sees to it that it can be used.
    RecoverAdmin,
}

impl Command {
    /// Does it, and tells what came of it on standard output.
    ///
    /// # Errors
    /// What [`found`] and [`recover`] say, and a store that does not answer.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let store = Store::connect(config.store.options()?)
            .await
            .with_context(|| format!("the store at {}", config.store.endpoints.join(", ")))?;
        let done = match self {
            Self::Init => found(config, &store).await?,
            Self::RecoverAdmin => recover(config, &store).await?,
        };
        // By hand and not by a macro: that nobody reads is an error to be told, not a panic.
        // What was made must be told, also when this cannot be found out.
        let guarded = store.is_guarded().await.unwrap_or(true);
        let text = told(self, config, &done, guarded);
        io::stdout()
            .write_all(text.as_bytes())
            .context("the credential was made and could not be printed: run `iam recover-admin`")
    }
}

fn told(command: Command, config: &Config, done: &OneTime, guarded: bool) -> String {
    let mut text = String::new();
    if command == Command::Init {
        text.push_str("iam is initialized.\n");
        text.push_str(&format!(
            "the key that wraps its signing keys is in {}; keep a copy in a safe place, and one on every host \
             where iam runs\n",
            done.wrapping_key_file.display()
        ));
    }
    text.push_str(&format!(
        "API key of {}, until {}, shown this once:\n\n  {}\n\nlog in with it and set a password: photonctl login\n",
        done.principal,
        rfc3339(done.expires_at),
        done.api_key.expose()
    ));
    if config.auth.mode == Mode::Dev {
        text.push_str("auth.mode is \"dev\": nobody needs it until it is \"enforce\"\n");
    } else if !guarded {
        text.push_str(&format!("WARNING: {UNGUARDED}\n"));
    }
    text
}
