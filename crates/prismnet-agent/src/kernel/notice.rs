//! Wakes when somebody changes devices, addresses, routes or rules of a namespace.
//!
//! Not for neighbours: a tenant could make those at will, by asking for addresses that nobody has.

use std::sync::Arc;

use futures::StreamExt as _;
use rtnetlink::{
    MulticastGroup,
    sys::{
        AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket,
        protocols::NETLINK_NETFILTER,
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
        let failed = |error| Error::system("notifications", error);
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
        ];
        let (connection, _handle, mut messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
        let devices = Arc::clone(wake);
        let listen = async move {
            while messages.next().await.is_some() {
                devices.notify_one();
            }
        };
        let mut socket = TokioSocket::new(NETLINK_NETFILTER).map_err(failed)?;
        socket
            .socket_mut()
            .bind(&SocketAddr::new(0, 0))
            .map_err(failed)?;
        socket
            .socket_mut()
            .add_membership(NFTABLES)
            .map_err(failed)?;
        let rules = Arc::clone(wake);
        let listen_to_rules = async move {
            loop {
                match socket.recv_from_full().await {
                    Ok(_) => rules.notify_one(),
                    // More was told than fits: all the more reason to look.
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                        rules.notify_one()
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no notifications of rules any more; they are looked at now and then");
                        return;
                    }
                }
            }
        };
        Ok(Self(vec![
            tokio::spawn(connection),
            tokio::spawn(listen),
            tokio::spawn(listen_to_rules),
        ]))
    }
}
