//! A socket on each bridge that has ports here.
//!
//! UDP, bound to the bridge's device: who asks is held against its device before it gets here (`identity` of the rules), and
//! the bridge's neighbours say where an address is that its owner does not have yet. A bridge that is made anew is another
//! device and gets another socket.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    net::{Ipv4Addr, UdpSocket as StdSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use dhcproto::Encodable as _;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket,
    sockopt::{BindToDevice, Broadcast, ReuseAddr},
};
use parking_lot::Mutex;
use prismnet_model::Mac;
use tokio::{net::UdpSocket, task::JoinHandle};

use super::{
    answer::{Network, answer},
    request,
};
use crate::{desired::Lease, kernel::Error};

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// The most that is read of a port in a second.
const MOST_A_SECOND: u32 = 64;
/// The most bytes of a request: an Ethernet frame has no more.
const LARGEST: usize = 1500;

/// Leases by who asks.
type Leases = HashMap<Mac, Lease>;

/// All of a VPC.
#[derive(Debug)]
pub struct Responders {
    network: Network,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    index: u32,
    leases: Arc<Mutex<Arc<Leases>>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Responders {
    /// None yet.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            network,
            running: BTreeMap::new(),
        }
    }

    /// There is one for each of the bridges, which are named with their device's number, and knows the leases on it. In the
    /// calling thread's namespace, on its runtime.
    ///
    /// # Errors
    /// A socket that cannot be had; the others are there.
    pub fn update(
        &mut self,
        bridges: &BTreeMap<String, u32>,
        leases: &[Lease],
    ) -> Result<(), Error> {
        let mut by_bridge: BTreeMap<&str, Leases> = BTreeMap::new();
        for lease in leases {
            let on_bridge = by_bridge.entry(&lease.bridge).or_default();
            on_bridge.insert(lease.mac, lease.clone());
        }
        self.running.retain(|name, running| {
            let is_there = bridges.get(name) == Some(&running.index);
            is_there && by_bridge.contains_key(&**name) && !running.task.is_finished()
        });
        let mut result = Ok(());
        for (name, leases) in by_bridge {
            let Some(index) = bridges.get(name) else {
                continue;
            };
            let leases = Arc::new(leases);
            if let Some(running) = self.running.get(name) {
                *running.leases.lock() = leases;
                continue;
            }
            match self.start(name, *index, leases) {
                Ok(running) => drop(self.running.insert(name.to_owned(), running)),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    fn start(&self, bridge: &str, index: u32, leases: Arc<Leases>) -> Result<Running, Error> {
        let socket = open(bridge)?;
        let leases = Arc::new(Mutex::new(leases));
        let task = tokio::spawn(serve(socket, Arc::clone(&leases), self.network.clone()));
        Ok(Running {
            index,
            leases,
            task,
        })
    }
}

fn open(bridge: &str) -> Result<UdpSocket, Error> {
    let failed = |errno: nix::Error| Error::system(format!("DHCP on {bridge}"), errno);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None).map_err(failed)?;
    setsockopt(&socket, ReuseAddr, &true).map_err(failed)?;
    setsockopt(&socket, Broadcast, &true).map_err(failed)?;
    // Before the port is taken: it is taken on this device only.
    setsockopt(&socket, BindToDevice, &OsString::from(bridge)).map_err(failed)?;
    let any = SockaddrIn::new(0, 0, 0, 0, SERVER);
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &any).map_err(failed)?;
    UdpSocket::from_std(StdSocket::from(socket))
        .map_err(|error| Error::system(format!("DHCP on {bridge}"), error))
}

async fn serve(socket: UdpSocket, leases: Arc<Mutex<Arc<Leases>>>, network: Network) {
    let mut buffer = vec![0; LARGEST];
    let mut pace = Pace::default();
    loop {
        let length = match socket.recv_from(&mut buffer).await {
            Ok((length, _)) => length,
            Err(error) => {
                // The bridge went. The next pass finds the task ended.
                tracing::debug!(%error, "a DHCP socket ended");
                return;
            }
        };
        let known = Arc::clone(&leases.lock());
        let Some((bytes, to)) = respond(&buffer[..length], &known, &network, &mut pace) else {
            continue;
        };
        if let Err(error) = socket.send_to(&bytes, (to, CLIENT)).await {
            tracing::debug!(%error, %to, "a DHCP answer was not sent");
        }
    }
}

fn respond(
    bytes: &[u8],
    leases: &Leases,
    network: &Network,
    pace: &mut Pace,
) -> Option<(Vec<u8>, Ipv4Addr)> {
    let request = request::read(bytes)?;
    let mac: [u8; 6] = request.chaddr().try_into().ok()?;
    let mac = Mac::try_from(mac).ok()?;
    let lease = leases.get(&mac).filter(|_| pace.allows(mac))?;
    let given = answer(&request, lease, network)?;
    Some((given.message.to_vec().ok()?, given.to))
}

/// How many requests of whom there were in this second. Of known ports only, so it is bounded.
#[derive(Debug, Default)]
struct Pace {
    began: Option<Instant>,
    counts: HashMap<Mac, u32>,
}

impl Pace {
    fn allows(&mut self, mac: Mac) -> bool {
        let now = Instant::now();
        if self
            .began
            .is_none_or(|began| now - began > Duration::from_secs(1))
        {
            self.began = Some(now);
            self.counts.clear();
        }
        let count = self.counts.entry(mac).or_default();
        *count += 1;
        *count <= MOST_A_SECOND
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use dhcproto::v4::{DhcpOption, Message, MessageType};

    use super::*;

    fn leases() -> Leases {
        let mac = Mac::ours(7);
        let lease = Lease {
            mac,
            bridge: "pnb5001".to_owned(),
            address: "10.0.1.7".parse().unwrap(),
            prefix_length: 24,
            gateway: "10.0.1.1".parse().unwrap(),
            mtu: 1450,
            routes: Vec::new(),
            hostname: "ip-10-0-1-7".to_owned(),
        };
        HashMap::from([(mac, lease)])
    }

    fn discover() -> Vec<u8> {
        let zero = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new(zero, zero, zero, zero, &Mac::ours(7).bytes());
        message
            .opts_mut()
            .insert(DhcpOption::MessageType(MessageType::Discover));
        message.to_vec().unwrap()
    }

    #[test]
    fn who_asks_too_often_is_not_heard() {
        let mut pace = Pace::default();
        let answered = (0..1000)
            .filter(|_| respond(&discover(), &leases(), &Network::default(), &mut pace).is_some());
        let answered = answered.count();
        // The second may end meanwhile, and another begin.
        assert!((64..640).contains(&answered), "{answered}");
    }
}
