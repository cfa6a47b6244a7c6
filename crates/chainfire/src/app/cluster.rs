//! Members: add, promote, update, remove, list.
//!
//! ```text
//!   (asked: who are you?) --add--> learner --caught up--> voter --remove--> gone; its id is never used again
//! ```
//!
//! A node must answer before it is added, and votes only when it has caught up: an address that leads
//! nowhere can cost no quorum. So, unlike with etcd, the new node is started first (`chainfire --join`).

use std::time::Duration;

use anyhow::Context as _;
use chainfire_engine::EtcdError;
use photon_core::error::in_one_line;
use photon_proto::photon::chainfire::v1::{StatusRequest, chain_fire_client::ChainFireClient};
use photon_raft::{Error, Member, NodeId, identify};
use tokio::time::Instant;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::{App, Caller, from_raft};
use crate::config::GROUP;

/// How long a node that is to be added may take to say who it is.
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// A node that is to become a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMember {
    /// Where it is.
    pub address: Address,
    /// The id it must have; `None` takes the one it says.
    pub node_id: Option<NodeId>,
    /// Whether it stays a learner until it is promoted by request.
    pub stays_learner: bool,
}

/// `host:port` of one of a node's listeners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// Its peer listener.
    Peer(String),
    /// Its client listener, which is asked for the peer address.
    Client(String),
}

impl App {
    /// Adds a node as a learner and, unless it is to stay one, lets whoever leads promote it once it has caught up;
    /// the answer does not wait for that. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, `Peer URLs already exists`, `member ID already exist`, [`retired`]; a text with the address
    /// when the node there does not answer or is another one; no leader or timeout.
    pub async fn member_add(&self, caller: &Caller, new: NewMember) -> Result<Member, EtcdError> {
        self.require_root(caller)?;
        self.require_voter()?;
        let asked = self.who_is(&new.address).await?;
        if let Some(expected) = new.node_id
            && expected != asked.node_id
        {
            return Err(refused(format!(
                "the node there has node_id {}, not {expected}",
                asked.node_id
            )));
        }
        let member = self
            .group
            .add_learner(
                Member {
                    learner: true,
                    promote: !new.stays_learner,
                    ..asked
                },
                self.deadline(),
            )
            .await
            .map_err(|error| from_membership(&error))?;
        tracing::info!(node_id = member.node_id, peer = %member.peer_address, "member added as a learner");
        Ok(member)
    }

    /// Makes a learner that has caught up a voter. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, `member not found`, `can only promote a learner member`, `... which is in sync
    /// with leader`, no leader or timeout.
    pub async fn member_promote(&self, caller: &Caller, id: NodeId) -> Result<(), EtcdError> {
        self.require_root(caller)?;
        self.require_voter()?;
        self.group
            .promote(id, self.deadline())
            .await
            .map_err(|error| from_membership(&error))
    }

    /// Removes a member. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, `member not found`, `re-configuration failed due to not enough started members`,
    /// no leader or timeout.
    pub async fn member_remove(&self, caller: &Caller, id: NodeId) -> Result<(), EtcdError> {
        self.require_root(caller)?;
        self.require_voter()?;
        self.group
            .remove(id, self.deadline())
            .await
            .map_err(|error| from_membership(&error))
    }

    /// Changes where a member's peers find it. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, `member not found`, `Peer URLs already exists`, no leader or timeout.
    pub async fn member_update(
        &self,
        caller: &Caller,
        id: NodeId,
        peer_address: String,
    ) -> Result<(), EtcdError> {
        self.require_root(caller)?;
        self.linearize().await?;
        let known = self
            .members()
            .into_iter()
            .find(|member| member.node_id == id);
        let member = known.ok_or(EtcdError::MEMBER_NOT_FOUND)?;
        self.group
            .update(
                Member {
                    peer_address,
                    ..member
                },
                self.deadline(),
            )
            .await
            .map_err(|error| from_membership(&error))
    }

    /// The members, by id.
    ///
    /// # Errors
    /// With `linearizable`: no leader or timeout.
    pub async fn member_list(
        &self,
        caller: &Caller,
        linearizable: bool,
    ) -> Result<Vec<Member>, EtcdError> {
        self.require_user(caller)?;
        if linearizable {
            self.linearize().await?;
        }
        Ok(self.members())
    }

    /// The members, for whoever runs the cluster: at our own doors the list is root's like everything about members.
    /// etcd shows it to every user ([`App::member_list`]), as its clients look for endpoints in it.
    ///
    /// # Errors
    /// `permission denied`, no leader or timeout.
    pub async fn roster(&self, caller: &Caller) -> Result<Vec<Member>, EtcdError> {
        self.require_root(caller)?;
        self.member_list(caller, true).await
    }

    /// Whether the caller has the root role, or needs none because authentication is off.
    pub fn is_root(&self, caller: &Caller) -> bool {
        self.require_root(caller).is_ok()
    }

    /// The members as this node's log has them.
    pub fn members(&self) -> Vec<Member> {
        self.raft.borrow().members.clone()
    }

    async fn who_is(&self, address: &Address) -> Result<Member, EtcdError> {
        let deadline = Instant::now() + ASK_WITHIN;
        match address {
            Address::Peer(address) => {
                let tls = self
                    .config
                    .peer
                    .tls()
                    .map_err(|error| super::internal(&error))?;
                let identity = identify(GROUP, address, tls.as_ref(), deadline)
                    .await
                    .map_err(|error| from_membership(&error))?;
                // Where it was reached counts, not what it believes: it may sit behind another name.
                Ok(Member {
                    peer_address: address.clone(),
                    ..identity.member
                })
            }
            Address::Client(address) => {
                let asked = tokio::time::timeout_at(deadline, self.ask_client_port(address));
                let outcome = asked.await.unwrap_or_else(|_| {
                    Err(anyhow::anyhow!("does not answer within {ASK_WITHIN:?}"))
                });
                outcome
                    .map_err(|error| refused(format!("{address} {}", in_one_line(error.as_ref()))))
            }
        }
    }

    /// Who serves clients there. An error's text goes on where the address ends.
    async fn ask_client_port(&self, address: &str) -> anyhow::Result<Member> {
        let endpoint = match &self.config.peer.tls {
            None => Endpoint::from_shared(format!("http://{address}")).context(NO_ADDRESS)?,
            // Members show each other the certificate they show their peers.
            Some(tls) => {
                let identity =
                    Identity::from_pem(std::fs::read(&tls.certificate)?, std::fs::read(&tls.key)?);
                let authority = Certificate::from_pem(std::fs::read(&tls.ca)?);
                Endpoint::from_shared(format!("https://{address}"))
                    .context(NO_ADDRESS)?
                    .tls_config(
                        ClientTlsConfig::new()
                            .identity(identity)
                            .ca_certificate(authority),
                    )?
            }
        };
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| anyhow::anyhow!("cannot be reached: {}", innermost(&error)))?;
        let status = ChainFireClient::new(channel)
            .status(StatusRequest {})
            .await
            .map_err(|status| anyhow::anyhow!(not_a_member(&status)))?
            .into_inner();
        let ours = format!("{:x}", self.cluster_id());
        if status.joined && ![ours.as_str(), "0"].contains(&status.cluster_id.as_str()) {
            let theirs = &status.cluster_id;
            anyhow::bail!("is a member of another cluster: {theirs}, and this one is {ours}");
        }
        Ok(Member {
            node_id: status.node_id,
            name: status.name,
            peer_address: status.peer_address,
            client_addresses: vec![address.to_owned()],
            learner: true,
            promote: false,
        })
    }
}

const NO_ADDRESS: &str = "is no host:port";

/// The text at the bottom of a chain: what the system said.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What somebody there who answers, but not as a node does, is likely to be.
fn not_a_member(status: &tonic::Status) -> String {
    use tonic::Code;
    let said = match std::error::Error::source(status) {
        Some(cause) => innermost(cause),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::Unimplemented if is_unnamed(&said) => {
            "answers, but not as a ChainFire does: it knows no such call; is it the \
             peer port? The address is that of the client port"
                .to_owned()
        }
        Code::Unimplemented | Code::Unknown | Code::Internal => {
            format!("answers, but not as a ChainFire does: {said}")
        }
        Code::Unauthenticated => {
            "takes no certificate from this node: client_ca of its [grpc.tls] has to accept the \
             one of [peer.tls] here"
                .to_owned()
        }
        _ => format!("does not say which node it is: {said}"),
    }
}

/// Whether a gRPC server says only that it has no such service: tonic's in no words, grpc-go's in these.
fn is_unnamed(said: &str) -> bool {
    said.is_empty() || said.starts_with("unknown service ")
}

fn refused(text: String) -> EtcdError {
    EtcdError::from_parts(
        tonic::Code::FailedPrecondition as i32,
        format!("chainfire: {text}"),
    )
}

/// The id belonged to a member that was removed.
pub fn retired(id: NodeId) -> EtcdError {
    refused(Error::Retired(id).to_string())
}

/// Refusals of membership changes in etcd's words where it has some.
fn from_membership(error: &Error) -> EtcdError {
    match error {
        Error::NotLearner(_) => EtcdError::MEMBER_NOT_LEARNER,
        Error::LearnerBehind { .. } => EtcdError::LEARNER_NOT_READY,
        Error::MemberNotFound(_) => EtcdError::MEMBER_NOT_FOUND,
        Error::DuplicatePeer(_) => EtcdError::PEER_URL_EXIST,
        Error::DuplicateMember(_) => EtcdError::MEMBER_EXIST,
        Error::Retired(id) => retired(*id),
        Error::LastVoter => EtcdError::MEMBER_NOT_ENOUGH_STARTED,
        Error::ChangeInProgress | Error::Unhealthy => EtcdError::UNHEALTHY,
        Error::IdentityMismatch { .. } | Error::Unreachable { .. } | Error::Invalid(_) => {
            refused(error.to_string())
        }
        other => from_raft(other),
    }
}
