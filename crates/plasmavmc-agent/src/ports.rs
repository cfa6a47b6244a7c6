//! A VM's ports on this host, which prismnet-agent plugs: its local socket, asked again and again the same.
//!
//! ```text
//!   before each start   Plug         its tap is made, where qemu opens it
//!   once it runs        PortStarted  the tap is taken into the VPC's network; said again now and then
//!   with both           RegisterMetadata: who answers what its guest asks at 169.254.169.254
//!   once it has ended   Unplug       the tap is gone
//! ```
//!
//! What was plugged is kept on disk, so that it is unplugged whatever happens in between. While prismnet-agent is away, nothing but
//! the start of a VM with ports waits for it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use photon_proto::photon::host::v1::{
    PlugRequest, PlugResponse, PortStartedRequest, RegisterMetadataRequest, UnplugRequest,
    ports_client::PortsClient,
};
use plasmavmc_model::{DesiredPort, PortId, VmId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    files::VmFiles,
    machine::Interface,
    plan::{Links, Trouble},
};

/// What a call may take: prismnet-agent waits that long for what it needs.
const CALL: Duration = Duration::from_secs(10);
/// What is waited for it beyond that: it is to say why.
const BEYOND: Duration = Duration::from_secs(2);
/// After which time it is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// The same after a refusal that only another record would change.
const LATER: Duration = Duration::from_secs(30);

/// Where prismnet-agent is.
#[derive(Clone, Debug)]
pub struct Socket(PathBuf);

/// What was plugged for a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugged {
    /// Whether there may be something to unplug.
    pub plugged: bool,
    /// What prismnet-agent has answered, by port.
    pub ports: Vec<PluggedPort>,
}

/// A port, as prismnet-agent has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluggedPort {
    /// The port.
    pub port: PortId,
    /// Its tap; empty before it has answered.
    pub device: String,
    /// Bytes of the largest packet.
    pub mtu: u32,
}

/// What a worker knows of its VM's ports beside what is on disk.
#[derive(Debug)]
pub struct Ports {
    socket: Socket,
    /// Where we answer what its guest asks.
    metadata: PathBuf,
    /// For how long it is believed that they are attached.
    believe: Duration,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// They were plugged, and it was not started since.
    is_ready: bool,
    /// When they were found attached.
    attached: Option<Instant>,
    trouble: Option<Noted>,
}

#[derive(Clone, Debug)]
struct Noted {
    why: String,
    until: Instant,
    is_unplugging: bool,
}

impl Socket {
    /// At a path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    async fn connect(&self) -> Result<PortsClient<Channel>, Status> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.0.display()));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let channel = tokio::time::timeout(BEYOND, endpoint.connect()).await;
        match channel {
            Ok(Ok(channel)) => Ok(PortsClient::new(channel)),
            Ok(Err(_)) | Err(_) => Err(Status::unavailable(format!(
                "prismnet-agent does not serve {}",
                self.0.display()
            ))),
        }
    }

    async fn plug(&self, vm: VmId, port: PortId) -> Result<PlugResponse, Status> {
        let request = PlugRequest {
            port_id: port.to_string(),
            holder: vm.to_string(),
            ..PlugRequest::default()
        };
        let mut agent = self.connect().await?;
        let answer = within(agent.plug(timed(request))).await?;
        Ok(answer.into_inner())
    }

    async fn started(&self, port: PortId) -> Result<(), Status> {
        let request = PortStartedRequest {
            port_id: port.to_string(),
        };
        let mut agent = self.connect().await?;
        within(agent.port_started(timed(request))).await.map(drop)
    }

    /// Says who answers the port's questions at 169.254.169.254. What is refused is said again with the next attaching.
    async fn register(&self, port: PortId, metadata: &Path) {
        let request = RegisterMetadataRequest {
            port_id: port.to_string(),
            socket: metadata.display().to_string(),
        };
        let registered = async {
            let mut agent = self.connect().await?;
            within(agent.register_metadata(timed(request))).await
        };
        if let Err(status) = registered.await {
            let problem = status.message();
            tracing::warn!(%port, problem, "a port gets no answers at the metadata address");
        }
    }

    async fn unplug(&self, vm: VmId, port: PortId) -> Result<(), Status> {
        let request = UnplugRequest {
            port_id: port.to_string(),
            holder: vm.to_string(),
        };
        let mut agent = self.connect().await?;
        within(agent.unplug(timed(request))).await.map(drop)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let done = tokio::time::timeout(CALL + BEYOND, call).await;
    done.unwrap_or_else(|_| Err(Status::unavailable("prismnet-agent does not answer")))
}

impl Plugged {
    /// The interfaces of a machine that has these ports; those that were never plugged are missing.
    #[must_use]
    pub fn interfaces(&self, ports: &[DesiredPort]) -> Vec<Interface> {
        let interface = |port: &DesiredPort| {
            let is_it = |one: &&PluggedPort| one.port == port.port && !one.device.is_empty();
            let found = self.ports.iter().find(is_it)?;
            Some(Interface {
                device: found.device.clone(),
                mac: port.mac_address.clone(),
                mtu: found.mtu,
            })
        };
        ports.iter().filter_map(interface).collect()
    }
}

impl Ports {
    /// Of one VM; what is attached is believed to be for that long.
    #[must_use]
    pub fn new(socket: Socket, metadata: PathBuf, believe: Duration) -> Self {
        Self {
            socket,
            metadata,
            believe,
            now: Mutex::default(),
        }
    }

    /// How they are, for a plan.
    #[must_use]
    pub fn links(&self, wanted: &[DesiredPort], kept: &Plugged) -> Links {
        let now = self.now.lock();
        let at = Instant::now();
        let is_attached = |since: Instant| at.saturating_duration_since(since) < self.believe;
        Links {
            wanted: !wanted.is_empty(),
            plugged: kept.plugged,
            ready: now.is_ready,
            attached: now.attached.is_some_and(is_attached),
            trouble: now.trouble.as_ref().and_then(|noted| {
                let left = noted.until.checked_duration_since(at)?;
                (!left.is_zero()).then(|| Trouble {
                    why: noted.why.clone(),
                    left,
                    is_unplugging: noted.is_unplugging,
                })
            }),
        }
    }

    /// Has their taps made. What prismnet-agent refuses is noted as trouble.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub async fn plug(
        &self,
        vm: VmId,
        wanted: &[DesiredPort],
        files: &VmFiles,
    ) -> Result<(), String> {
        let mut kept = read(files).await?;
        kept.plugged = true;
        for port in wanted {
            if !kept.ports.iter().any(|one| one.port == port.port) {
                kept.ports.push(PluggedPort {
                    port: port.port,
                    device: String::new(),
                    mtu: 0,
                });
            }
        }
        // First that there is something to unplug, then it is plugged.
        keep(files, &kept).await?;
        for port in wanted {
            let answer = match self.socket.plug(vm, port.port).await {
                Ok(answer) if answer.mac_address.eq_ignore_ascii_case(&port.mac_address) => answer,
                Ok(answer) => {
                    let why = format!("its MAC is {}, not the record's", answer.mac_address);
                    self.trouble(port.port, &Status::failed_precondition(why), false);
                    return Ok(());
                }
                Err(status) => {
                    self.trouble(port.port, &status, false);
                    return Ok(());
                }
            };
            // Before the guest can ask.
            self.socket.register(port.port, &self.metadata).await;
            for one in kept.ports.iter_mut().filter(|one| one.port == port.port) {
                one.device.clone_from(&answer.device);
                one.mtu = answer.mtu;
            }
        }
        keep(files, &kept).await?;
        let mut now = self.now.lock();
        now.is_ready = true;
        now.trouble = None;
        Ok(())
    }

    /// A start was tried: the next one needs them plugged again.
    pub fn used(&self) {
        let mut now = self.now.lock();
        now.is_ready = false;
        now.attached = None;
    }

    /// Has them attached, once the guest's process has them open. What prismnet-agent refuses is noted as trouble.
    pub async fn attach(&self, wanted: &[DesiredPort]) {
        for port in wanted {
            if let Err(status) = self.socket.started(port.port).await {
                self.trouble(port.port, &status, false);
                return;
            }
            self.socket.register(port.port, &self.metadata).await;
        }
        let mut now = self.now.lock();
        now.attached = Some(Instant::now());
        now.trouble = None;
    }

    /// Has their taps removed. What prismnet-agent refuses is noted as trouble.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub async fn unplug(&self, vm: VmId, files: &VmFiles) -> Result<(), String> {
        let mut kept = read(files).await?;
        self.used();
        for one in &kept.ports {
            if let Err(status) = self.socket.unplug(vm, one.port).await {
                self.trouble(one.port, &status, true);
                return Ok(());
            }
        }
        kept.plugged = false;
        keep(files, &kept).await?;
        self.now.lock().trouble = None;
        Ok(())
    }

    fn trouble(&self, port: PortId, status: &Status, is_unplugging: bool) {
        let why = format!("{port}: {}", status.message());
        tracing::warn!(%port, problem = status.message(), "a port is not as it is wanted; trying again");
        let pause = match status.code() {
            Code::NotFound | Code::InvalidArgument => LATER,
            _ => AGAIN,
        };
        self.now.lock().trouble = Some(Noted {
            why,
            until: Instant::now() + pause,
            is_unplugging,
        });
    }
}

async fn read(files: &VmFiles) -> Result<Plugged, String> {
    let files = files.clone();
    crate::worker::blocking(move || files.plugged()).await
}

async fn keep(files: &VmFiles, kept: &Plugged) -> Result<(), String> {
    let (files, kept) = (files.clone(), kept.clone());
    crate::worker::blocking(move || {
        if files.plugged()? == kept {
            return Ok(());
        }
        files.keep_plugged(&kept)
    })
    .await
}
