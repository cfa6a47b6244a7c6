//! ChainFire's typed client.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use chainfire_client::{ChainFireClient, GetRequest};
//! let mut client = ChainFireClient::connect("http://localhost:50051").await?;
//! let response = client.get(tonic::Request::new(GetRequest {
//!     key: "mykey".to_string(),
//! })).await?;
//! println!("Value: {}", response.into_inner().value);
//! # Ok(()) }
//! ```
//!
//! The same lines, run against a node in the test's process:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut node = Box::pin(photon_testkit::in_process_chainfire()).await?;
//! # let endpoint = node.endpoint();
//! use chainfire_client::{ChainFireClient, GetRequest, PutRequest};
//! let mut client = ChainFireClient::connect(endpoint).await?;
//! client.put(PutRequest { key: "mykey".to_string(), value: "myvalue".to_string(), ..Default::default() }).await?;
//! let response = client.get(tonic::Request::new(GetRequest {
//!     key: "mykey".to_string(),
//! })).await?;
//! assert_eq!(format!("Value: {}", response.into_inner().value), "Value: myvalue");
//! # node.stop().await;
//! # Ok(()) }
//! ```
//!
//! What it does by itself:
//!
//! - **Several members.** [`ChainFireClient::connect_with`] takes all endpoints; when one fails, the next takes over.
//! - **The leader.** A member that does not lead says who does; calls then go there, which saves a hop.
//! - **Again, only where that is safe.** Reads are asked of every member until the deadline. A write is sent once:
//!   it moves on to another member only while nothing of it has been sent. An error that leaves open whether a write
//!   was made is `Unavailable`, `DeadlineExceeded`, `Unknown` or `Cancelled`.
//! - **Deadlines.** Every call ends within [`Options::deadline`] or the request's own timeout.
//! - **Watches** resume on another member without loss and without duplicates ([`Watch`]).
//! - **Leases** are kept alive, and reported when lost ([`LeaseKeeper`]).
//!
//! What it does not do: bind keys and values to types (photon-store), or reach keys that are not UTF-8 (etcd's API on
//! the same port).

mod call;
mod client;
mod endpoints;
mod error;
mod lease;
mod options;
mod watch;

pub use photon_proto::photon::chainfire::v1::{
    CompactRequest, CompactResponse, Compare, DeleteRequest, DeleteResponse, Encoding, Event,
    GetRequest, GetResponse, GetWithRequest, LeaseGetRequest, LeaseGetResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseListRequest,
    LeaseListResponse, LeaseRevokeRequest, LeaseRevokeResponse, Member, MemberAddRequest,
    MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, PutRequest, PutResponse,
    ScanRequest, ScanResponse, StatusRequest, StatusResponse, TransferLeadershipRequest,
    TransferLeadershipResponse, TxnOp, TxnOpResult, TxnRequest, TxnResponse, WatchRequest,
    WatchResponse, compare, event, txn_op, txn_op_result,
};

pub use self::{
    client::ChainFireClient,
    error::{ConnectError, ERROR_CODE, error_code},
    lease::LeaseKeeper,
    options::{Identity, Options, TlsOptions},
    watch::Watch,
};
