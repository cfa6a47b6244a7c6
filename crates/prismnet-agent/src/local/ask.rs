//! The running agent is asked: `prismnet-agent adopt|purge`.

use std::{fmt, net::Ipv4Addr, path::Path, str::FromStr, time::Duration};

use anyhow::Context as _;
use photon_proto::photon::host::v1::{AdoptRequest, PurgeRequest, orphans_client::OrphansClient};
use prismnet_model::PortId;
use tonic::{Request, transport::Endpoint};

use super::verdicts::Verdict;

/// How long the agent may take.
const CALL: Duration = Duration::from_secs(30);

/// What a person decides about: a port, or the address of a floating IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// `port-…`
    Port(PortId),
    /// `a.b.c.d`
    Floating(Ipv4Addr),
}

impl FromStr for Decided {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.parse().map(Self::Port);
        let either = port.or_else(|_| text.parse().map(Self::Floating));
        either.map_err(|_: std::net::AddrParseError| "must be port-… or an address")
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Floating(address) => address.fmt(f),
        }
    }
}

/// Tells the agent what a person has decided, and waits until it is so.
///
/// # Errors
/// No agent, or what it refuses.
pub async fn decide(socket: &Path, orphan: Decided, verdict: Verdict) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    let channel = tokio::time::timeout(CALL, endpoint.connect()).await;
    let channel = channel
        .context("the agent does not answer in time")?
        .with_context(|| format!("no agent serves {}", socket.display()))?;
    let mut agent = OrphansClient::new(channel);
    let port_id = orphan.to_string();
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
