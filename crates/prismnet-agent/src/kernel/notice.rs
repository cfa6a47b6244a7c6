//! Wakes when somebody changes devices, addresses, routes, rules or forwarding of a namespace.
//!
//! What exactly was changed is not read: whoever is woken looks. Not for neighbours: a tenant could make those at will, by asking
//! for addresses that nobody has. Of neighbour proxies the kernel does not tell.

use std::sync::Arc;

use rtnetlink::{
    MulticastGroup,
    sys::{
        AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket,
        protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
    },
};
use tokio::{sync::Notify, task::JoinHandle};

use super::Error;

/// The group of netfilter that tells of nftables (`NFNLGRP_NFTABLES`).
const NFTABLES: u32 = 7;

/// Listens as long as it lives.
#[derive(Debug)]
pub struct Notices(Vec<JoinHandle<()>>);

impl Drop for Notices {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Notices {
    /// Of the calling thread's namespace, on its runtime.
    ///
    /// # Errors
    /// No socket.
    pub fn open(wake: &Arc<Notify>) -> Result<Self, Error> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv4Netconf,
        ];
        let devices = listen(NETLINK_ROUTE, &groups.map(|group| group as u32), wake)?;
        let rules = listen(NETLINK_NETFILTER, &[NFTABLES], wake)?;
        Ok(Self(vec![devices, rules]))
    }
}

/// Wakes whenever anything is said in one of the groups.
fn listen(protocol: isize, groups: &[u32], wake: &Arc<Notify>) -> Result<JoinHandle<()>, Error> {
    let failed = |error| Error::system("notifications", error);
    let mut socket = TokioSocket::new(protocol).map_err(failed)?;
    let inner = socket.socket_mut();
    inner.bind(&SocketAddr::new(0, 0)).map_err(failed)?;
    for group in groups {
        inner.add_membership(*group).map_err(failed)?;
    }
    let wake = Arc::clone(wake);
    Ok(tokio::spawn(async move {
        loop {
            match socket.recv_from_full().await {
                Ok(_) => wake.notify_one(),
                // More was told than fits: all the more reason to look.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    wake.notify_one();
                }
                Err(error) => {
                    tracing::warn!(%error, "no notifications any more; everything is looked at now and then");
                    return;
                }
            }
        }
    }))
}
