//! The tap of a guest: made in the host's namespace for whoever opens it, and kept when nobody has it open.
//!
//! By `ip` of iproute2, with names made of ids: a tap cannot be made by netlink, and its ioctl has no safe form.

use std::process::Stdio;

use prismnet_model::{PortId, device};
use rtnetlink::{
    LinkUnspec,
    packet_route::link::{LinkAttribute, LinkMessage},
};
use tokio::{process::Command, time::timeout};

use super::{CALL, Error, Namespaces, namespace::run_in, netlink::Netlink};

/// Where a tap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// Nowhere.
    Missing,
    /// In the host's namespace.
    Outside {
        /// Whether somebody has it open.
        opened: bool,
    },
    /// In the VPC's.
    Inside {
        /// Whether somebody has it open.
        opened: bool,
    },
}

/// Where the port's tap is. The calling thread stands in the host's namespace.
///
/// # Errors
/// What cannot be read.
pub async fn find(namespaces: &Namespaces, space: &str, port: PortId) -> Result<Tap, Error> {
    let name = device::tap(port);
    if let Some(link) = Netlink::open()?.link(&name).await? {
        return Ok(Tap::Outside {
            opened: has_carrier(&link),
        });
    }
    if namespaces.identity(space).is_none() {
        return Ok(Tap::Missing);
    }
    let inside = run_in(namespaces, space, || async {
        Netlink::open()?.link(&name).await
    })?;
    Ok(inside.map_or(Tap::Missing, |link| Tap::Inside {
        opened: has_carrier(&link),
    }))
}

/// Makes the tap, in the host's namespace, where the calling thread stands.
///
/// It gets its name when everything else is done: as long as it is being made it has a carrier, and would be taken for one that
/// a guest has opened.
///
/// # Errors
/// What the machine refuses.
pub async fn make(port: PortId, mtu: u32) -> Result<(), Error> {
    let (name, first) = (device::tap(port), format!("pnm{}", device::short(port)));
    let netlink = Netlink::open()?;
    netlink.remove(&first).await?;
    // Without an owner some kernels give it to anybody.
    ip(&["tuntap", "add", "dev", &first, "mode", "tap", "user", "0"]).await?;
    let index = netlink.index(&first).await?;
    let so = LinkUnspec::new_with_index(index)
        .alias(&*port.to_string())
        .mtu(mtu)
        .build();
    netlink.set(&format!("set {first}"), so).await?;
    let named = LinkUnspec::new_with_index(index).name(name.clone()).build();
    netlink.set(&format!("call it {name}"), named).await
}

/// The tap is gone from the host's namespace, where the calling thread stands, if it is this port's.
///
/// # Errors
/// What the machine refuses.
pub async fn remove(port: PortId) -> Result<(), Error> {
    let name = device::tap(port);
    let netlink = Netlink::open()?;
    match netlink.link(&name).await? {
        Some(link) if is_of(&link, port) => netlink.remove(&name).await,
        _ => Ok(()),
    }
}

/// Whether its alias says so, or nothing.
fn is_of(link: &LinkMessage, port: PortId) -> bool {
    let mut aliases = link
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::IfAlias(alias) => Some(alias),
            _ => None,
        });
    aliases.all(|alias| *alias == port.to_string())
}

fn has_carrier(link: &LinkMessage) -> bool {
    link.attributes.contains(&LinkAttribute::Carrier(1))
}

async fn ip(words: &[&str]) -> Result<(), Error> {
    let failed = |error| Error::system("ip tuntap", error);
    let child = Command::new("ip")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = timeout(CALL, child).await;
    let output = output
        .map_err(|_| Error::Late("ip".to_owned()))?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(200).collect();
    Err(failed(std::io::Error::other(said)))
}
