//! `photonctl status`: what each endpoint sees of its cluster.

use chainfire_client::{StatusRequest, StatusResponse};
use serde_json::{Value, json};

use crate::{
    cli::Connection,
    failure::Failure,
    output::{self, Format},
};

/// Asks every endpoint by itself. Fails when one of them does not answer, after printing those that do.
pub(crate) async fn run(connection: &Connection, format: Format) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for endpoint in &connection.endpoints {
        answers.push((endpoint.as_str(), ask(connection, endpoint).await));
    }
    match format {
        Format::Human => output::table(
            &[
                "ENDPOINT", "NODE", "NAME", "ROLE", "LEADER", "TERM", "REVISION", "VERSION",
                "CLUSTER",
            ],
            &answers.iter().map(row).collect::<Vec<_>>(),
        )?,
        Format::Data(notation) => {
            let items: Vec<Value> = answers.iter().map(shown).collect();
            output::data(notation, &json!({ "items": items }))?;
        }
    }
    let silent: Vec<&str> = answers
        .iter()
        .filter(|(_, answer)| answer.is_err())
        .map(|(endpoint, _)| *endpoint)
        .collect();
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::unreachable(format!(
        "no answer from {}",
        silent.join(", ")
    )))
}

type Answer<'a> = (&'a str, Result<StatusResponse, Failure>);

async fn ask(connection: &Connection, endpoint: &str) -> Result<StatusResponse, Failure> {
    let mut client = connection.connect_to(endpoint).await?;
    Ok(client.status(StatusRequest {}).await?.into_inner())
}

fn row((endpoint, answer): &Answer<'_>) -> Vec<String> {
    let endpoint = (*endpoint).to_owned();
    match answer {
        Ok(status) => vec![
            endpoint,
            status.node_id.to_string(),
            status.name.clone(),
            if status.joined {
                status.role.clone()
            } else {
                "not a member".to_owned()
            },
            if status.leader_id == 0 {
                "none".to_owned()
            } else {
                status.leader_id.to_string()
            },
            status.term.to_string(),
            status.revision.to_string(),
            status.version.clone(),
            status.cluster_id.clone(),
        ],
        Err(failure) => vec![endpoint, "-".to_owned(), failure.to_string()],
    }
}

fn shown((endpoint, answer): &Answer<'_>) -> Value {
    match answer {
        Ok(status) => json!({
            "endpoint": endpoint,
            "node_id": status.node_id,
            "name": status.name,
            "cluster_id": status.cluster_id,
            "role": status.role,
            "term": status.term,
            "leader_id": (status.leader_id != 0).then_some(status.leader_id),
            "peer_address": status.peer_address,
            "client_address": status.client_address,
            "revision": status.revision,
            "version": status.version,
            "joined": status.joined,
        }),
        Err(failure) => json!({ "endpoint": endpoint, "error": failure.to_string() }),
    }
}
