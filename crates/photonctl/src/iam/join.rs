//! `photonctl host join`, on the machine that becomes a host.
//!
//! Keys are made here and stay here; IAM sees signing requests. They are written before the token is used: a directory that
//! cannot be written to costs no token.

use std::path::{Path, PathBuf};

use photon_pki::{KeyRequest, files};
use serde_json::{Map, Value, json};

use super::{cli::HostJoin, secret};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Session, client::Call},
};

/// The authority's certificate, as `pki init` names it.
const AUTHORITY: &str = "ca.crt";

pub(crate) async fn join(
    session: &Session,
    format: Format,
    options: &HostJoin,
) -> Result<(), Failure> {
    let dir = &options.dir;
    for agent in &options.agents {
        refuse_existing(dir, agent)?;
    }
    let token = secret::ask("Host token")?;
    files::make_directory(dir).map_err(Failure::other)?;
    let mut csrs = Map::new();
    for agent in &options.agents {
        let asked = KeyRequest::create(agent).map_err(Failure::other)?;
        files::write(&key_path(dir, agent), &asked.key_pem, files::PRIVATE)
            .map_err(Failure::other)?;
        csrs.insert(agent.clone(), asked.request_pem.into());
    }
    let path = ["api", "v1", "host-tokens", "redeem"];
    let call = Call::post(&path, json!({ "token": token.0, "csrs": csrs }));
    let answer = session.iam_without_token()?.call(call).await?;

    let mut made = Vec::new();
    for issued in answer["certificates"].as_array().into_iter().flatten() {
        let agent = text(&issued["name"])?;
        // A name that we did not ask for could be any path.
        if !options.agents.iter().any(|asked| asked == agent) {
            return Err(not_understood());
        }
        let file = certificate_path(dir, agent);
        files::write(&file, text(&issued["certificate"])?, files::PUBLIC)
            .map_err(Failure::other)?;
        made.push(file);
    }
    let authority = dir.join(AUTHORITY);
    if !authority.exists() {
        files::write(&authority, text(&answer["ca"])?, files::PUBLIC).map_err(Failure::other)?;
        made.push(authority);
    }
    match format {
        Format::Human => {
            output::line(&format!("this machine is host {}", text(&answer["host"])?))?;
            made.iter()
                .try_for_each(|file| output::line(&format!("made {}", file.display())))
        }
        Format::Data(notation) => {
            let files: Vec<String> = made.iter().map(|file| file.display().to_string()).collect();
            output::data(notation, &json!({ "host": answer["host"], "made": files }))
        }
    }
}

fn refuse_existing(dir: &Path, agent: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if agent.is_empty() || !agent.chars().all(plain) {
        return Err(Failure::usage(format!("{agent:?} is no agent's name")));
    }
    let file = certificate_path(dir, agent);
    if file.exists() {
        let text = format!("{} exists: this machine is a host already", file.display());
        return Err(Failure::refused(text));
    }
    Ok(())
}

fn key_path(dir: &Path, agent: &str) -> PathBuf {
    dir.join(format!("{agent}.key"))
}

fn certificate_path(dir: &Path, agent: &str) -> PathBuf {
    dir.join(format!("{agent}.crt"))
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or_else(not_understood)
}

fn not_understood() -> Failure {
    Failure::other(anyhow::anyhow!("IAM's answer is not understood"))
}
