//! The program `nft`, in the namespace of the calling thread. It reads JSON that a serializer wrote; no text is put together.

use std::process::Stdio;

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::{CALL, Error};
use crate::ruleset::{RuleChange, Ruleset, TABLE, read, transaction};

/// Our rules.
///
/// # Errors
/// nft is missing, refuses, or says something unknown.
pub async fn list() -> Result<Ruleset, Error> {
    let said = run(&["-j", "list", "ruleset"], None).await?;
    let listing: Value = serde_json::from_slice(&said)
        .map_err(|error| Error::Nft(format!("its list is no JSON: {error}")))?;
    read(&listing).map_err(|error| Error::Nft(format!("its list: {error}")))
}

/// Our rules of the ip family, without a look at what else there is: a host's own rules may be many.
///
/// # Errors
/// As [`list`].
pub async fn list_ip() -> Result<Ruleset, Error> {
    let rubbish = |error| Error::Nft(format!("its list is no JSON: {error}"));
    let tables = run(&["-j", "list", "tables", "ip"], None).await?;
    let tables: Value = serde_json::from_slice(&tables).map_err(rubbish)?;
    let tables = tables["nftables"].as_array().into_iter().flatten();
    let mut names = tables.filter_map(|entry| entry["table"]["name"].as_str());
    if !names.any(|name| name == TABLE) {
        return Ok(Ruleset::default());
    }
    let said = run(&["-j", "list", "table", "ip", TABLE], None).await?;
    let listing: Value = serde_json::from_slice(&said).map_err(rubbish)?;
    read(&listing).map_err(|error| Error::Nft(format!("its list: {error}")))
}

/// All changes, or none of them.
///
/// # Errors
/// nft is missing or refuses.
pub async fn change(changes: &[RuleChange]) -> Result<(), Error> {
    apply(&transaction(changes)).await
}

/// A whole transaction.
///
/// # Errors
/// nft is missing or refuses.
pub async fn apply(transaction: &Value) -> Result<(), Error> {
    let input = transaction.to_string();
    run(&["-j", "-f", "-"], Some(input.as_bytes()))
        .await
        .map(drop)
}

async fn run(words: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::system("nft", error);
    // A child is in the namespace of the thread that starts it.
    let mut child = Command::new("nft")
        .args(words)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let pipe = child.stdin.take();
    let talk = async {
        let write = async {
            if let (Some(mut pipe), Some(input)) = (pipe, input) {
                // One that ends early says why on its standard error.
                let _ = pipe.write_all(input).await;
            }
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        output
    };
    let output = timeout(CALL, talk)
        .await
        .map_err(|_| Error::Late("nft".to_owned()))?;
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(500).collect();
    Err(Error::Nft(said))
}
