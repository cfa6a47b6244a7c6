//! The running agent is asked: `prismnet-agent adopt|purge`.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use photon_proto::photon::host::v1::{AdoptRequest, PurgeRequest, orphans_client::OrphansClient};
use prismnet_model::PortId;
use tonic::{Request, transport::Endpoint};

use super::verdicts::Verdict;

/// How long the agent may take.
const CALL: Duration = Duration::from_secs(30);

/// Tells the agent what a person has decided, and waits until it is so.
///
/// # Errors
/// No agent, or what it refuses.
pub async fn decide(socket: &Path, port: PortId, verdict: Verdict) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    let channel = tokio::time::timeout(CALL, endpoint.connect()).await;
    let channel = channel
        .context("the agent does not answer in time")?
        .with_context(|| format!("no agent serves {}", socket.display()))?;
    let mut agent = OrphansClient::new(channel);
    let port_id = port.to_string();
    let answer = match verdict {
        Verdict::Adopted => agent
            .adopt(request(AdoptRequest { port_id }))
            .await
            .map(drop),
        Verdict::Purged => agent
            .purge(request(PurgeRequest { port_id }))
            .await
            .map(drop),
    };
    answer.map_err(|status| anyhow::anyhow!("{}", status.message()))
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
