//! The network that VMs have by hand: a bridge with an address and taps, all set up before anything is measured.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::dhcp::{self, Addresses, Responder};
use super::ping;
use crate::network::lab::{Lab, MTU};
use crate::network::plain::ip;

const DEVICE: &str = "br0";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
/// What MACs begin with.
const MACS: [u8; 5] = [0x52, 0x54, 0x00, 0x14, 0x01];

/// It, in a node of the lab that has nothing else.
#[derive(Debug)]
pub(super) struct Bridge {
    /// Where it is.
    pub(super) namespace: PathBuf,
    _responder: Responder,
}

impl Bridge {
    /// Sets it up with so many taps.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) async fn set_up(lab: &Lab, node: usize, taps: usize) -> anyhow::Result<Self> {
        let (name, mtu) = (lab.namespace(node), MTU.to_string());
        let make = ["link", "add", "name", DEVICE, "mtu", &mtu, "type", "bridge"];
        ip(name, &make)?;
        ip(
            name,
            &["addr", "add", &format!("{SERVER}/16"), "dev", DEVICE],
        )?;
        ip(name, &["link", "set", DEVICE, "up"])?;
        for index in 0..taps {
            let tap = tap(index);
            ip(name, &["tuntap", "add", "dev", &tap, "mode", "tap"])?;
            ip(
                name,
                &["link", "set", &tap, "mtu", &mtu, "master", DEVICE, "up"],
            )?;
        }
        let namespace = lab.node(node);
        ping::prepare(&namespace, DEVICE).await?;
        Ok(Self {
            _responder: responder(&namespace).await?,
            namespace,
        })
    }
}

async fn responder(namespace: &Path) -> anyhow::Result<Responder> {
    let addresses = Addresses {
        server: SERVER,
        of: |mac| (mac[..5] == MACS).then(|| Ipv4Addr::new(10, 20, 1, mac[5])),
    };
    dhcp::start(namespace, DEVICE, addresses).await
}

/// The name of a tap.
pub(super) fn tap(index: usize) -> String {
    format!("tap{index}")
}

/// The MAC of a guest, and the address that it is given.
///
/// # Errors
/// There are not so many.
pub(super) fn own(index: usize) -> anyhow::Result<(String, Ipv4Addr)> {
    let last = u8::try_from(index + 2)?;
    let mac: Vec<String> = MACS
        .iter()
        .chain([&last])
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((mac.join(":"), Ipv4Addr::new(10, 20, 1, last)))
}
