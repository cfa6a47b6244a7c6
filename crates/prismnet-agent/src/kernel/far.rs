//! The far end of a pod's veth: in a namespace that somebody else made, under a name that somebody else chose.
//!
//! The two ends find each other by their numbers (`IFLA_LINK`), which the kernel tells in either namespace: nothing of it has to
//! be remembered to know whether a veth still leads where it should.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::Ipv4Addr,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use nix::{
    fcntl::OFlag,
    sched::{CloneFlags, setns},
};
use prismnet_model::{Block, PortId, VpcId, device};
use rtnetlink::{
    LinkUnspec,
    packet_route::link::{
        InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    Error, Namespaces,
    namespace::{on_thread, run_in, runtime},
    netlink::Netlink,
    read, settings,
};
use crate::network::Ether;

/// The most bytes of a device's name.
const LONGEST_NAME: usize = device::MOST_BYTES;

/// Which namespace it is, whatever path leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    device: u64,
    inode: u64,
}

/// A network namespace that somebody else made, open.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    file: File,
    inode: Inode,
}

/// Why a path is no place for a pod.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// Nothing there.
    #[error("{0}: there is no such namespace")]
    Gone(String),
    /// Something else.
    #[error("{0}: {1}")]
    Unfit(String, &'static str),
    /// It cannot be looked at.
    #[error(transparent)]
    Machine(#[from] Error),
}

/// How the far end is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// The port's.
    pub mac: Ether,
    /// The port's address with the subnet's prefix length.
    pub address: (Ipv4Addr, u8),
    /// Destinations with their next hops, the default among them.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Bytes.
    pub mtu: u32,
}

/// What counts of an end.
#[derive(Clone, Debug, Default)]
struct End {
    index: u32,
    other: Option<u32>,
    is_veth: bool,
    mac: Option<Ether>,
    mtu: u32,
    up: bool,
    attached: bool,
}

impl Place {
    /// Opens it. The calling thread stands in the host's namespace.
    ///
    /// # Errors
    /// What is not a network namespace, or is the host's or one of ours.
    pub fn open(path: &Path, namespaces: &Namespaces) -> Result<Self, NoPlace> {
        let shown = path.display().to_string();
        if !path.is_absolute() {
            return Err(NoPlace::Unfit(shown, "must be absolute"));
        }
        // Whatever the path leads to, opening it does not wait.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Err(NoPlace::Gone(shown)),
            Err(error) => return Err(Error::system(shown, error).into()),
        };
        let failed = |error| NoPlace::Machine(Error::system(path.display().to_string(), error));
        let inode = Inode::of(&file.metadata().map_err(failed)?);
        let own = fs::metadata("/proc/thread-self/ns/net").map_err(failed)?;
        if inode == Inode::of(&own) {
            return Err(NoPlace::Unfit(shown, "is the host's own namespace"));
        }
        if is_ours(namespaces, inode)? {
            return Err(NoPlace::Unfit(
                shown,
                "is a namespace of a VPC or of a port",
            ));
        }
        let place = Self {
            path: path.to_owned(),
            file,
            inode,
        };
        let entered = on_thread(|| place.enter());
        match entered {
            Ok(()) => Ok(place),
            Err(Error::System { source, .. })
                if source.raw_os_error() == Some(nix::libc::EINVAL) =>
            {
                Err(NoPlace::Unfit(shown, "is no network namespace"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which one it is.
    #[must_use]
    pub fn inode(&self) -> Inode {
        self.inode
    }

    fn enter(&self) -> Result<(), Error> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system(format!("setns {}", self.path.display()), errno))
    }

    /// On a thread of its own in there.
    fn run<T: Send, F: Future<Output = Result<T, Error>>>(
        &self,
        task: impl FnOnce() -> F + Send,
    ) -> Result<T, Error> {
        on_thread(|| {
            self.enter()?;
            runtime()?.block_on(task())
        })
    }
}

impl Inode {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Whether the path still leads to this one.
    #[must_use]
    pub fn is_at(self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| Self::of(&found) == self)
    }
}

fn is_gone(error: &io::Error) -> bool {
    // A process that ended has a path, but no namespace.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

fn is_ours(namespaces: &Namespaces, inode: Inode) -> Result<bool, Error> {
    let names = namespaces.list()?;
    let mut ours = names.iter().filter(|name| name.starts_with("photon-"));
    Ok(ours.any(|name| inode.is_at(&namespaces.path(name))))
}

/// Whether a device may be called that: what the kernel takes, and no directory of `/proc/sys`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(is_usual)
        && !["lo", ".", "..", "all", "default"].contains(&name)
}

/// The veth of a port is there with its far end in that place, and that end is so. Doing it again changes nothing.
///
/// # Errors
/// Another device that has the name; what the machine refuses.
pub fn put(
    namespaces: &Namespaces,
    vpc: VpcId,
    port: PortId,
    place: &Place,
    interface: &str,
    far: &FarEnd,
) -> Result<(), NoPlace> {
    let near = device::veth(port);
    if !leads_to(namespaces, vpc, port, place, interface)? {
        // Half of a veth, or one that leads elsewhere, is in the way.
        remove(namespaces, vpc, &near)?;
        if place
            .run(|| async { end(&Netlink::open()?, interface).await })?
            .is_some()
        {
            let path = place.path.display().to_string();
            return Err(NoPlace::Unfit(path, "has another device of that name"));
        }
        run_in(namespaces, &device::namespace(vpc), || async {
            add_veth(&Netlink::open()?, &near, interface, far, place).await
        })?;
    }
    Ok(place.run(|| configure(interface, far))?)
}

/// Whether both ends are there, each the other's.
///
/// # Errors
/// What cannot be read.
pub fn leads_to(
    namespaces: &Namespaces,
    vpc: VpcId,
    port: PortId,
    place: &Place,
    interface: &str,
) -> Result<bool, Error> {
    let near = inside(namespaces, vpc, &device::veth(port))?;
    let far = place.run(|| async { end(&Netlink::open()?, interface).await })?;
    Ok(match (near, far) {
        (Some(near), Some(far)) => {
            let is_pair = near.is_veth && far.is_veth;
            is_pair && near.other == Some(far.index) && far.other == Some(near.index)
        }
        _ => false,
    })
}

/// Whether a device of the VPC is there and attached to its bridge.
///
/// # Errors
/// What cannot be read.
pub fn is_attached(namespaces: &Namespaces, vpc: VpcId, name: &str) -> Result<bool, Error> {
    let found = inside(namespaces, vpc, name)?;
    Ok(found.is_some_and(|end| end.attached && end.up))
}

/// Whether a device of the VPC is there.
///
/// # Errors
/// What cannot be read.
pub fn is_there(namespaces: &Namespaces, vpc: VpcId, name: &str) -> Result<bool, Error> {
    Ok(inside(namespaces, vpc, name)?.is_some())
}

fn inside(namespaces: &Namespaces, vpc: VpcId, name: &str) -> Result<Option<End>, Error> {
    let space = device::namespace(vpc);
    if namespaces.identity(&space).is_none() {
        return Ok(None);
    }
    run_in(namespaces, &space, || async {
        end(&Netlink::open()?, name).await
    })
}

/// What at the far end is not as it should be, one sentence each.
///
/// # Errors
/// What cannot be read.
pub fn differences(place: &Place, interface: &str, far: &FarEnd) -> Result<Vec<String>, Error> {
    place.run(|| async {
        let netlink = Netlink::open()?;
        let Some(found) = end(&netlink, interface).await? else {
            return Ok(vec![format!("there is no {interface}")]);
        };
        let mut differences = Vec::new();
        let mut expect = |is_so: bool, what: String| {
            if !is_so {
                differences.push(what);
            }
        };
        expect(found.up, format!("{interface} is down"));
        expect(
            found.mac == Some(far.mac),
            format!("{interface} has not the MAC address {}", far.mac),
        );
        expect(
            found.mtu == far.mtu,
            format!("{interface} has not the MTU {}", far.mtu),
        );
        let (address, length) = far.address;
        let addresses = read::addresses_of(&netlink, found.index).await?;
        expect(
            addresses.contains(&far.address),
            format!("{interface} has not the address {address}/{length}"),
        );
        let routes = read::all_routes(&netlink).await?;
        for (destination, hop) in &far.routes {
            expect(
                block(destination).is_some_and(|block| routes.contains(&(block, *hop))),
                format!("there is no route to {destination} over {hop}"),
            );
        }
        Ok(differences)
    })
}

/// The device of a port is gone from the VPC's namespace, and with a veth its far end.
///
/// # Errors
/// What the machine refuses.
pub fn remove(namespaces: &Namespaces, vpc: VpcId, name: &str) -> Result<(), Error> {
    let space = device::namespace(vpc);
    if namespaces.identity(&space).is_none() {
        return Ok(());
    }
    run_in(namespaces, &space, || async {
        Netlink::open()?.remove(name).await
    })
}

async fn add_veth(
    netlink: &Netlink,
    near: &str,
    interface: &str,
    far: &FarEnd,
    place: &Place,
) -> Result<(), Error> {
    let other = LinkUnspec::new_with_name(interface)
        .address(far.mac.0.to_vec())
        .mtu(far.mtu)
        .setns_by_fd(place.file.as_raw_fd())
        .build();
    let veth = rtnetlink::LinkVeth::new(near, interface)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(other)))
        .mtu(far.mtu)
        .build();
    netlink
        .add(
            &format!("make {near} with {interface} in {}", place.path.display()),
            veth,
        )
        .await
}

/// In the place.
async fn configure(interface: &str, far: &FarEnd) -> Result<(), Error> {
    let netlink = Netlink::open()?;
    // A kernel without IPv6 has nothing to switch off.
    let ipv6 = format!("ipv6/conf/{interface}/disable_ipv6");
    if Path::new("/proc/sys/net").join(&ipv6).exists() {
        settings::set(&ipv6, "1")?;
    }
    netlink.up("lo").await?;
    let index = netlink.index(interface).await?;
    let so = LinkUnspec::new_with_index(index)
        .address(far.mac.0.to_vec())
        .mtu(far.mtu)
        .up()
        .build();
    netlink.set(&format!("set {interface}"), so).await?;
    let (address, length) = far.address;
    netlink.put_address(index, address, length).await?;
    for (destination, hop) in &far.routes {
        if let Some(block) = block(destination) {
            netlink.put_route(block, *hop).await?;
        }
    }
    Ok(())
}

fn block(net: &Ipv4Net) -> Option<Block> {
    net.to_string().parse().ok()
}

async fn end(netlink: &Netlink, name: &str) -> Result<Option<End>, Error> {
    Ok(netlink.link(name).await?.as_ref().map(end_of))
}

fn end_of(message: &LinkMessage) -> End {
    let mut found = End {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..End::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => found.other = Some(*index),
            LinkAttribute::Address(bytes) => {
                found.mac = bytes.as_slice().try_into().ok().map(Ether);
            }
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Controller(_) => found.attached = true,
            LinkAttribute::LinkInfo(infos) => {
                found.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_what_the_kernel_takes_and_no_paths() {
        for good in ["eth0", "net-1", "a.b", "fifteen-bytes-0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "lo",
            ".",
            "..",
            "all",
            "a/b",
            "a b",
            "sixteen-bytes-00",
            "ä",
            "a:1",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_namespace_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let namespaces = Namespaces::new(directory.path());
        let open = |path: &str| {
            Place::open(Path::new(path), &namespaces)
                .unwrap_err()
                .to_string()
        };
        let own = open("/proc/self/ns/net");
        assert!(own.contains("the host's own"), "{own}");
        let gone = open("/proc/self/ns/none");
        assert!(gone.contains("no such namespace"), "{gone}");
        let relative = open("ns/net");
        assert!(relative.contains("absolute"), "{relative}");
        if nix::unistd::geteuid().is_root() {
            for other in ["/proc/self/ns/mnt", "/dev/null"] {
                let said = open(other);
                assert!(said.contains("no network namespace"), "{other}: {said}");
            }
        }
    }
}
