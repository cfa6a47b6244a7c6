//! What one sets up by hand: a bridge on each of two hosts with two ends and one, and a VXLAN between them. Addresses and MTU
//! and nothing else: no rules, and nftables is not asked about what the bridge passes on.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::inside;
use super::lab::{Lab, MTU};

/// Nodes that it takes.
pub(crate) const NODES: usize = 5;
/// The VXLAN's number; the agents' VXLANs are in other namespaces.
const VNI: &str = "77";

/// Nodes of the lab by what they are here.
pub(crate) struct Plain {
    /// The end from which is measured, on the first host.
    pub(crate) from: usize,
    /// The other one on the first host, and its address.
    pub(crate) near: (usize, Ipv4Addr),
    /// The one on the second host, and its address.
    pub(crate) far: (usize, Ipv4Addr),
}

/// Sets it up on the lab's nodes from `first` on.
///
/// # Errors
/// What `ip` says.
pub(crate) async fn set_up(lab: &Lab, first: usize) -> anyhow::Result<Plain> {
    let hosts = [first, first + 1];
    let plain = Plain {
        from: first + 2,
        near: (first + 3, Ipv4Addr::new(10, 20, 0, 2)),
        far: (first + 4, Ipv4Addr::new(10, 20, 0, 3)),
    };
    for (host, other) in [(hosts[0], hosts[1]), (hosts[1], hosts[0])] {
        no_rules_for_bridges(lab, host).await?;
        let (host, mtu) = (lab.namespace(host), MTU.to_string());
        let [local, remote] = [hosts[0], hosts[1]].map(|node| lab.address(node).to_string());
        let (local, remote) = if other == hosts[1] {
            (local, remote)
        } else {
            (remote, local)
        };
        ip(
            host,
            &["link", "add", "name", "br0", "mtu", &mtu, "type", "bridge"],
        )?;
        ip(host, &["link", "set", "br0", "up"])?;
        let tunnel = [
            "link", "add", "name", "vx0", "mtu", &mtu, "type", "vxlan", "id", VNI, "local", &local,
            "remote", &remote, "dstport", "4789", "dev", "eth0",
        ];
        ip(host, &tunnel)?;
        ip(host, &["link", "set", "vx0", "master", "br0", "up"])?;
    }
    let ends = [
        (hosts[0], plain.from, Ipv4Addr::new(10, 20, 0, 1)),
        (hosts[0], plain.near.0, plain.near.1),
        (hosts[1], plain.far.0, plain.far.1),
    ];
    for (host, end, address) in ends {
        attach(lab, host, end, address)?;
    }
    Ok(plain)
}

/// An end by a pair of veths.
fn attach(lab: &Lab, host: usize, end: usize, address: Ipv4Addr) -> anyhow::Result<()> {
    let (host, end, mtu) = (lab.namespace(host), lab.namespace(end), MTU.to_string());
    let device = format!("to{}", address.octets()[3]);
    let pair = [
        "link", "add", "name", &device, "mtu", &mtu, "type", "veth", "peer", "name", "bare0",
        "mtu", &mtu, "netns", end,
    ];
    ip(host, &pair)?;
    ip(host, &["link", "set", &device, "master", "br0", "up"])?;
    ip(
        end,
        &["addr", "add", &format!("{address}/24"), "dev", "bare0"],
    )?;
    ip(end, &["link", "set", "bare0", "up"])
}

/// Else every bridged packet would go past the hooks of the IP family, as it has to for security groups.
async fn no_rules_for_bridges(lab: &Lab, host: usize) -> anyhow::Result<()> {
    let switch_off = || {
        match std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0") {
            // This kernel does not do it at all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.context("bridge-nf-call-iptables"),
        }
    };
    inside::run(&lab.node(host), switch_off).await
}

/// `ip` in a namespace.
///
/// # Errors
/// What it says.
pub(crate) fn ip(namespace: &str, words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(["-n", namespace])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {said}", words.join(" "));
    Ok(())
}
