//! Network namespaces joined by a bridge, with faults between them.
//!
//! ```text
//!   node 0 (…​.1)   node 1 (…​.2)   node 2 (…​.3)      one namespace each; nftables inside drops packets
//!        \            |            /
//!         +------- bridge --------+                  in a namespace of its own
//!                     |
//!              host end (….254)                     in the test's own namespace, so tests reach every node
//! ```
//!
//! Faults work on packets between nodes; what the test itself sends is never dropped, so a client can
//! talk to a node that is cut off from its peers. Everything is removed on drop, also during a panic.
//! Namespaces left by test processes that died earlier are swept when the next lab is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::process::{Process, Spec};
use crate::skip;

const PREFIX: &str = "photon";
const HOST_END: u8 = 254;

/// N namespaces on a bridge. See the module.
#[derive(Debug)]
pub struct NetLab {
    tag: String,
    subnet: [u8; 3],
    nodes: Vec<String>,
    /// (from, to): packets from the one are dropped where they arrive at the other.
    blocked: BTreeSet<(usize, usize)>,
    /// Percent of the packets from other nodes that a node loses.
    loss: BTreeMap<usize, u8>,
}

impl NetLab {
    /// A lab of `size` nodes, or `None` after reporting the test as skipped when this process is not root.
    ///
    /// # Errors
    /// When root cannot make namespaces: that is a broken machine and not a reason to skip.
    pub fn or_skip(test: &str, size: usize) -> anyhow::Result<Option<Self>> {
        if !skip::is_root() {
            skip::report(test, "network namespaces need root");
            return Ok(None);
        }
        Self::new(size).map(Some)
    }

    /// A lab of `size` nodes.
    ///
    /// # Errors
    /// When `ip` or `nft` is missing or refuses; what had been made is removed.
    pub fn new(size: usize) -> anyhow::Result<Self> {
        // Names and subnets must differ between the labs of one test process.
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        if !(1..usize::from(HOST_END)).contains(&size) {
            bail!("a lab has 1 to 253 nodes");
        }
        sweep()?;
        let tag = format!(
            "{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let lab = Self {
            subnet: free_subnet()?,
            nodes: (0..size)
                .map(|node| format!("{PREFIX}-{tag}-{node}"))
                .collect(),
            tag,
            blocked: BTreeSet::new(),
            loss: BTreeMap::new(),
        };
        // From here on a failure drops `lab`, which removes what exists.
        lab.build()?;
        Ok(lab)
    }

    /// Number of nodes.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: usize) -> &str {
        &self.nodes[node]
    }

    /// The address of a node, reachable from the other nodes and from the test.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        let host = u8::try_from(node + 1).unwrap_or(HOST_END - 1);
        self.at(host)
    }

    /// The test's own address in the lab.
    pub fn host_address(&self) -> Ipv4Addr {
        self.at(HOST_END)
    }

    /// Runs a program in a node to its end.
    ///
    /// # Errors
    /// When it cannot be started or fails; the message has its standard error.
    pub fn run(&self, node: usize, words: &[&str]) -> anyhow::Result<Output> {
        let mut all = vec!["netns", "exec", self.namespace(node)];
        all.extend(words);
        ip(&all)
    }

    /// Starts a long-running process in a node.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start(&self, node: usize, mut spec: Spec) -> anyhow::Result<Process> {
        spec.namespace = Some(self.namespace(node).to_owned());
        Process::start(spec)
    }

    /// Cuts the network into these sides: nodes of different sides do not hear each other. Nodes named in no
    /// side keep all their connections. Earlier cuts stay.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn partition(&mut self, sides: &[&[usize]]) -> anyhow::Result<()> {
        for (index, side) in sides.iter().enumerate() {
            for other in &sides[index + 1..] {
                for &a in *side {
                    for &b in *other {
                        self.blocked.extend([(a, b), (b, a)]);
                    }
                }
            }
        }
        self.apply()
    }

    /// Cuts one node off from all others, in both directions.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn isolate(&mut self, node: usize) -> anyhow::Result<()> {
        let others: Vec<_> = (0..self.size()).filter(|other| *other != node).collect();
        self.partition(&[&[node], &others])
    }

    /// Drops what `from` sends to `to`; the other direction still arrives.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn block_one_way(&mut self, from: usize, to: usize) -> anyhow::Result<()> {
        self.blocked.insert((from, to));
        self.apply()
    }

    /// Makes a node lose this share (0 to 100 percent) of the packets other nodes send it.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn lose_packets(&mut self, node: usize, percent: u8) -> anyhow::Result<()> {
        if percent > 100 {
            bail!("{percent} percent");
        }
        self.loss.insert(node, percent);
        self.apply()
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.blocked.clear();
        self.loss.clear();
        self.apply()
    }

    fn at(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }

    fn switch(&self) -> String {
        format!("{PREFIX}-{}-sw", self.tag)
    }

    /// Interface names have 15 characters at most, so only the test's own end carries the process id.
    fn host_interface(&self) -> String {
        format!("ph{}", self.tag)
    }

    fn build(&self) -> anyhow::Result<()> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        ip(&[
            "-n", &switch, "link", "add", "name", "br0", "type", "bridge",
        ])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (index, node) in self.nodes.iter().enumerate() {
            let port = format!("port{index}");
            ip(&["netns", "add", node])?;
            ip(&[
                "link", "add", "eth0", "netns", node, "type", "veth", "peer", "name", &port,
                "netns", &switch,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", node, "link", "set", "lo", "up"])?;
            ip(&[
                "-n",
                node,
                "addr",
                "add",
                &format!("{}/24", self.address(index)),
                "dev",
                "eth0",
            ])?;
            ip(&["-n", node, "link", "set", "eth0", "up"])?;
        }
        let host = self.host_interface();
        ip(&[
            "link", "add", &host, "type", "veth", "peer", "name", "host", "netns", &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", "host", "master", "br0", "up"])?;
        ip(&[
            "addr",
            "add",
            &format!("{}/24", self.host_address()),
            "dev",
            &host,
        ])?;
        ip(&["link", "set", &host, "up"])?;
        self.apply()
    }

    /// Writes every node's rules anew, each node in one atomic nft transaction.
    fn apply(&self) -> anyhow::Result<()> {
        (0..self.size()).try_for_each(|node| self.apply_to(node))
    }

    fn apply_to(&self, node: usize) -> anyhow::Result<()> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", self.namespace(node), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip")?;
        let mut input = child.stdin.take().context("no pipe to nft")?;
        input.write_all(self.rules(node).as_bytes())?;
        drop(input);
        succeeded("nft", child.wait_with_output()?).map(drop)
    }

    fn rules(&self, node: usize) -> String {
        // Declaring the table first makes the delete succeed whether or not it existed.
        let mut rules = String::from(
            "table inet photon {}\ndelete table inet photon\ntable inet photon {\n\
             chain input { type filter hook input priority 0; policy accept;\n",
        );
        for (from, _) in self.blocked.iter().filter(|(_, to)| *to == node) {
            let _ = writeln!(rules, "ip saddr {} drop", self.address(*from));
        }
        let share = match self.loss.get(&node) {
            None | Some(0) => None,
            Some(100) => Some(String::new()), // nft refuses a comparison that always holds
            Some(percent) => Some(format!("numgen random mod 100 < {percent}")),
        };
        if let Some(share) = share {
            let (host, own) = (self.host_address(), self.address(node));
            let _ = writeln!(rules, "ip saddr != {{ {host}, {own} }} {share} drop");
        }
        rules.push_str("}\n}\n");
        rules
    }
}

impl Drop for NetLab {
    fn drop(&mut self) {
        // Deleting the namespaces would delete the host's interface too, but some time later.
        let _ = ip(&["link", "delete", &self.host_interface()]);
        let switch = self.switch();
        for name in self.nodes.iter().chain([&switch]) {
            if let Err(error) = remove(name) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Ends what still runs in a namespace of ours and deletes it. Deleting the bridge's namespace deletes its end of
/// the host's veth pair and so the pair.
fn remove(name: &str) -> anyhow::Result<()> {
    if !std::path::Path::new("/run/netns").join(name).exists() {
        return Ok(());
    }
    let pids = ip(&["netns", "pids", name])?.stdout;
    for pid in String::from_utf8_lossy(&pids).split_whitespace() {
        // A process that ended by itself in the meantime is no error.
        let _ = signal::kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
    }
    ip(&["netns", "delete", name]).map(drop)
}

/// Removes the namespaces of test processes that no longer exist.
fn sweep() -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return Ok(()); // no namespace was ever made
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if let Some(pid) = owner
            && !std::path::Path::new(&format!("/proc/{pid}")).exists()
        {
            remove(name)?;
        }
    }
    Ok(())
}

/// A /24 of the benchmark range 198.18.0.0/15 (RFC 2544) that no interface here uses.
fn free_subnet() -> anyhow::Result<[u8; 3]> {
    let used = ip(&["-4", "-o", "addr", "show"])?.stdout;
    let used = String::from_utf8_lossy(&used);
    let start = std::process::id();
    for offset in 0..512 {
        let [_, _, low, third] = (start.wrapping_add(offset) % 512).to_be_bytes();
        let second = 18 + low;
        if !used.contains(&format!(" 198.{second}.{third}.")) {
            return Ok([198, second, third]);
        }
    }
    bail!("all of 198.18.0.0/15 is in use");
}

fn ip(words: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new("ip")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip")?;
    succeeded(&format!("ip {}", words.join(" ")), output)
}

fn succeeded(what: &str, output: Output) -> anyhow::Result<Output> {
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{what}: {}: {}", output.status, error.trim());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A closed port answers "refused" at once; silence means that a packet was dropped.
    fn hears(lab: &NetLab, from: usize, to: usize) -> bool {
        let connect = format!("echo > /dev/tcp/{}/9", lab.address(to));
        let error = lab
            .run(from, &["timeout", "1", "bash", "-c", &connect])
            .unwrap_err();
        error.to_string().contains("refused")
    }

    fn host_hears(lab: &NetLab, node: usize) -> bool {
        let address = (lab.address(node), 9).into();
        let timeout = std::time::Duration::from_secs(5);
        let error = std::net::TcpStream::connect_timeout(&address, timeout).unwrap_err();
        error.kind() == std::io::ErrorKind::ConnectionRefused
    }

    /// UDP datagrams that arrived in a node at a closed port.
    fn datagrams(lab: &NetLab, node: usize) -> u64 {
        let snmp = lab.run(node, &["cat", "/proc/net/snmp"]).unwrap().stdout;
        let snmp = String::from_utf8(snmp).unwrap();
        let udp: Vec<_> = snmp
            .lines()
            .filter(|line| line.starts_with("Udp:"))
            .collect();
        let column = udp[0]
            .split(' ')
            .position(|name| name == "NoPorts")
            .unwrap();
        udp[1].split(' ').nth(column).unwrap().parse().unwrap()
    }

    fn send_datagram(lab: &NetLab, from: usize, to: usize) {
        let send = format!("echo > /dev/udp/{}/9", lab.address(to));
        lab.run(from, &["bash", "-c", &send]).unwrap();
    }

    #[test]
    fn faults_cut_and_heal() {
        let Some(mut lab) = NetLab::or_skip("netlab::faults_cut_and_heal", 3).unwrap() else {
            return;
        };
        assert!(hears(&lab, 0, 1) && hears(&lab, 1, 2) && hears(&lab, 2, 0));

        lab.isolate(0).unwrap();
        assert!(!hears(&lab, 0, 1) && !hears(&lab, 2, 0));
        assert!(hears(&lab, 1, 2), "the others are not concerned");
        assert!(host_hears(&lab, 0), "the test still reaches it");
        lab.heal().unwrap();
        assert!(hears(&lab, 0, 1));

        // One way: requests of 0 never reach 1, though 1 could answer 0.
        lab.block_one_way(0, 1).unwrap();
        assert!(!hears(&lab, 0, 1) && hears(&lab, 0, 2));
        lab.heal().unwrap();

        lab.lose_packets(2, 100).unwrap();
        assert!(!hears(&lab, 0, 2) && host_hears(&lab, 2));
        lab.lose_packets(2, 50).unwrap();
        lab.heal().unwrap();
        assert!(hears(&lab, 0, 2));
    }

    #[tokio::test]
    async fn one_way_lets_the_other_direction_arrive() {
        let test = "netlab::one_way_lets_the_other_direction_arrive";
        let Some(mut lab) = NetLab::or_skip(test, 2).unwrap() else {
            return;
        };
        assert!(hears(&lab, 0, 1), "both know the other's hardware address");
        lab.block_one_way(0, 1).unwrap();
        send_datagram(&lab, 0, 1);
        send_datagram(&lab, 1, 0);
        let arrived = || async { datagrams(&lab, 0) == 1 };
        crate::poll::eventually_true("it arrives", std::time::Duration::from_secs(10), arrived)
            .await
            .unwrap();
        assert_eq!(datagrams(&lab, 1), 0);
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        if !skip::is_root() {
            skip::report(
                "netlab::a_panic_leaves_nothing_behind",
                "network namespaces need root",
            );
            return;
        }
        let lab = NetLab::new(2).unwrap();
        let names: Vec<String> = (0..2).map(|node| lab.namespace(node).to_owned()).collect();
        let interface = lab.host_interface();
        let dir = crate::scratch::Scratch::new("netlab").unwrap();
        let spec = Spec::new("sleep", "sleep", dir.path().join("log")).argument("1000");
        let sleeper = lab.start(0, spec).unwrap();
        let panicked = std::thread::spawn(move || {
            let _moved = (lab, sleeper);
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err());
        for name in names {
            assert!(!std::path::Path::new("/run/netns").join(name).exists());
        }
        assert!(ip(&["link", "show", &interface]).is_err());
    }
}
