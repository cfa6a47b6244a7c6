//! Somebody's shell: a home of its own, and where the services are.

use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{PATIENCE, json as document, text};

/// A shell. A service without an address is looked for where it usually is.
pub(crate) struct Shell {
    pub(crate) home: TempDir,
    pub(crate) iam: String,
    pub(crate) credit: String,
    pub(crate) network: String,
    pub(crate) compute: String,
}

impl Shell {
    /// Begins a line, to be typed to.
    pub(crate) fn begin(&self, line: &str) -> Child {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_photonctl"));
        command
            .args(words)
            .env("XDG_CONFIG_HOME", self.home.path())
            .env_remove("PHOTONCTL_TOKEN")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (variable, address) in [
            ("PHOTONCTL_IAM", &self.iam),
            ("PHOTONCTL_CREDIT", &self.credit),
            ("PHOTONCTL_NETWORK", &self.network),
            ("PHOTONCTL_COMPUTE", &self.compute),
        ] {
            command.env_remove(variable);
            if !address.is_empty() {
                command.env(variable, address);
            }
        }
        command
    }

    /// Runs photonctl with these words.
    pub(crate) async fn words(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        tokio::time::timeout(PATIENCE, command.output())
            .await
            .unwrap()
            .unwrap()
    }

    /// Runs photonctl with a line of words.
    pub(crate) async fn run(&self, line: &str) -> Output {
        self.words(&line.split(' ').collect::<Vec<_>>()).await
    }

    /// What a line that succeeds prints.
    pub(crate) async fn says(&self, line: &str) -> String {
        text(&self.run(line).await)
    }

    pub(crate) async fn shows(&self, line: &str) -> Value {
        document(&self.run(&format!("{line} -o json")).await)
    }

    /// The id of what a line makes.
    pub(crate) async fn makes(&self, line: &str) -> String {
        let id = self.says(&format!("{line} -o name")).await;
        id.trim().to_owned()
    }

    /// The exit code and the message of a line that fails.
    pub(crate) async fn fails(&self, line: &str) -> (i32, String) {
        let output = self.run(line).await;
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{line}");
        (output.status.code().unwrap(), message)
    }
}
