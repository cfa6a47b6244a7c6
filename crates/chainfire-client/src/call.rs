//! One call: which member, how long, and when again.
//!
//! A read that a member could not serve is asked of the next one until the deadline. A write is sent once: it
//! goes to another member only while it is certain that nothing of it has been sent.

use std::{future::Future, time::Duration};

use photon_proto::photon::chainfire::v1::chain_fire_client::ChainFireClient as Stub;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use crate::endpoints::Endpoints;

/// Metadata key under which a member that does not lead names the leader's client address.
const LEADER: &str = "photon-leader";
/// Pages of a scan hold at most 64 MiB of keys and values; this leaves room for their framing.
const MESSAGE_MAX: usize = 128 << 20;
/// No attempt of a read is given less, however many members there are: an election takes about as long.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What may be done when it is unknown whether a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes nothing: may be asked again.
    Read,
    /// May have been applied: never sent twice.
    Write,
}

/// Waits between rounds over all members; doubles each time.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Self {
        Self(PAUSE_FIRST)
    }
    pub(crate) async fn wait(&mut self, deadline: Instant) {
        tokio::time::sleep_until(deadline.min(Instant::now() + self.0)).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// Calls `rpc` on one member after another as `kind` allows, until an answer or the deadline.
pub(crate) async fn call<M, R, F, Fut>(
    endpoints: &Endpoints,
    kind: Kind,
    request: Request<M>,
    rpc: F,
) -> Result<Response<R>, Status>
where
    M: Clone,
    F: Fn(Stub<Channel>, Request<M>) -> Fut,
    Fut: Future<Output = Result<Response<R>, Status>>,
{
    let (metadata, _, message) = request.into_parts();
    let allowed = asked_timeout(&metadata).unwrap_or(endpoints.options().deadline);
    let deadline = Instant::now() + allowed;
    let mut pause = Pause::new();
    let mut last = None;
    loop {
        let order = endpoints.in_order();
        for (at, slot) in order.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last.unwrap_or_else(|| late(kind)));
            }
            let channel = match timeout(left, slot.channel()).await {
                Ok(Ok(channel)) => channel,
                Ok(Err(error)) => {
                    last = Some(unreachable_member(slot.address(), &error));
                    endpoints.failed(slot).await;
                    continue;
                }
                Err(_) => return Err(last.unwrap_or_else(|| late(Kind::Read))),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = match kind {
                Kind::Write => left,
                // A member that does not answer must not use up the time of those that would.
                Kind::Read => share(left, order.len() - at),
            };
            let mut request =
                Request::from_parts(metadata.clone(), Default::default(), message.clone());
            request.set_timeout(attempt);
            let outcome = timeout(attempt, rpc(stub(channel), request)).await;
            match outcome {
                Ok(Ok(response)) => {
                    endpoints.worked(slot);
                    follow(endpoints, response.metadata());
                    return Ok(response);
                }
                Ok(Err(status)) if may_go_on(kind, &status) => {
                    last = Some(explained(slot.address(), status));
                }
                Ok(Err(status)) => {
                    if status.code() == Code::Unavailable || is_ours(&status) {
                        endpoints.failed(slot).await;
                    }
                    follow(endpoints, status.metadata());
                    return Err(explained(slot.address(), status));
                }
                Err(_) if kind == Kind::Read => last = Some(late(kind)),
                Err(_) => {
                    endpoints.failed(slot).await;
                    return Err(late(kind));
                }
            }
            endpoints.failed(slot).await;
        }
        pause.wait(deadline).await;
    }
}

/// The generated client over one connection, with our message limit.
pub(crate) fn stub(channel: Channel) -> Stub<Channel> {
    Stub::new(channel).max_decoding_message_size(MESSAGE_MAX)
}

/// Remembers where the leader is, if the answer says so.
pub(crate) fn follow(endpoints: &Endpoints, metadata: &MetadataMap) {
    if let Some(address) = metadata.get(LEADER).and_then(|value| value.to_str().ok()) {
        endpoints.leader_is_at(address);
    }
}

/// Whether a refusal says where the leader is.
pub(crate) fn names_leader(status: &Status) -> bool {
    status.metadata().contains_key(LEADER)
}

fn share(left: Duration, members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX).max(1);
    (left / members).max(ATTEMPT_MIN).min(left)
}

fn may_go_on(kind: Kind, status: &Status) -> bool {
    match kind {
        Kind::Read => {
            matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) || is_ours(status)
        }
        Kind::Write => never_sent(status),
    }
}

/// True for a status that no member sent: the connection broke.
fn is_ours(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// True when the connection could not be made, so that nothing of the request has left this process.
fn never_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn unreachable_member(address: &str, error: &tonic::transport::Error) -> Status {
    Status::unavailable(format!(
        "{address} cannot be reached: {}",
        with_causes(error)
    ))
}

/// A broken connection says which and why; what a member sent stays as it is.
fn explained(address: &str, status: Status) -> Status {
    match std::error::Error::source(&status) {
        None => status,
        Some(cause) => {
            let text = format!("the connection to {address} broke: {}", with_causes(cause));
            Status::unavailable(text)
        }
    }
}

/// An error with everything that led to it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn late(kind: Kind) -> Status {
    Status::deadline_exceeded(match kind {
        Kind::Read => "no member answered within the deadline",
        Kind::Write => "no answer within the deadline: the change may or may not have been made",
    })
}

/// The timeout that the caller set with `tonic::Request::set_timeout`: up to eight digits and a unit, as in
/// "Requests" of gRPC over HTTP/2.
fn asked_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let value: &MetadataValue<_> = metadata.get("grpc-timeout")?;
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::{
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use photon_proto::photon::chainfire::v1::{GetRequest, GetResponse, PutRequest, PutResponse};
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;
    use crate::Options;

    #[test]
    fn timeouts_are_read_back_as_set() {
        for timeout in [
            Duration::from_millis(1),
            Duration::from_secs(7),
            Duration::from_secs(90_000),
        ] {
            let mut request = Request::new(());
            request.set_timeout(timeout);
            assert_eq!(asked_timeout(request.metadata()), Some(timeout));
        }
        assert_eq!(asked_timeout(&MetadataMap::new()), None);
    }

    /// A port that refuses connections: it was bound and let go.
    async fn refused() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    }

    /// Accepts connections, reads, and drops each as soon as a request has come in: nobody can tell
    /// whether it was carried out.
    async fn cuts_off(accepted: Arc<AtomicU32>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 24 + 9];
                let _ = stream.read_exact(&mut buffer).await;
            }
        });
        address
    }

    fn endpoints(addresses: &[SocketAddr], deadline: Duration) -> Endpoints {
        let addresses: Vec<String> = addresses.iter().map(|a| format!("http://{a}")).collect();
        Endpoints::new(
            &addresses,
            Options {
                deadline,
                ..Options::default()
            },
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_write_that_was_never_sent_goes_to_the_next_member_and_is_sent_once() {
        let accepted = Arc::new(AtomicU32::new(0));
        let all = [
            refused().await,
            cuts_off(accepted.clone()).await,
            cuts_off(accepted.clone()).await,
        ];
        let endpoints = endpoints(&all, Duration::from_secs(5));
        let request = Request::new(PutRequest {
            key: "k".into(),
            ..Default::default()
        });
        let outcome: Result<Response<PutResponse>, _> = call(
            &endpoints,
            Kind::Write,
            request,
            |mut stub, request| async move { stub.put(request).await },
        )
        .await;
        assert!(outcome.is_err());
        assert_eq!(
            accepted.load(Ordering::SeqCst),
            1,
            "the cut-off write was sent again"
        );
    }

    #[tokio::test]
    async fn a_read_asks_every_member() {
        let accepted = Arc::new(AtomicU32::new(0));
        let all = [
            cuts_off(accepted.clone()).await,
            cuts_off(accepted.clone()).await,
        ];
        let endpoints = endpoints(&all, Duration::from_secs(1));
        let request = Request::new(GetRequest { key: "k".into() });
        let outcome: Result<Response<GetResponse>, _> = call(
            &endpoints,
            Kind::Read,
            request,
            |mut stub, request| async move { stub.get(request).await },
        )
        .await;
        assert!(outcome.is_err());
        assert!(accepted.load(Ordering::SeqCst) >= 2);
    }

    #[tokio::test]
    async fn unreachable_members_cost_no_more_than_the_deadline() {
        let endpoints = endpoints(&[refused().await], Duration::from_millis(300));
        let request = Request::new(GetRequest { key: "k".into() });
        let outcome: Result<Response<GetResponse>, _> = call(
            &endpoints,
            Kind::Read,
            request,
            |mut stub, request| async move { stub.get(request).await },
        )
        .await;
        let status = outcome.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("cannot be reached"), "{status}");
    }
}
