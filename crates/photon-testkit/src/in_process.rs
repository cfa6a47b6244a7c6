//! ChainFire inside the test process, on pre-bound loopback listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chainfire::config::Config;
use chainfire::run::{Running, Sockets, start};
use tokio::net::TcpListener;

use crate::pki::install_crypto;
use crate::poll::eventually_true;
use crate::scratch::Scratch;

const RELEASE: Duration = Duration::from_secs(20);

/// A one-node ChainFire in dev mode.
#[derive(Debug)]
pub struct InProcessChainfire {
    running: Option<Running>,
    rest: SocketAddr,
    grpc: SocketAddr,
    dir: Scratch,
}

/// Starts an empty one-node ChainFire in this process; it serves when this returns. Stop it with
/// [`InProcessChainfire::stop`] where its end matters to the test.
///
/// # Errors
/// What `chainfire::run::start` says.
pub async fn in_process_chainfire() -> anyhow::Result<InProcessChainfire> {
    install_crypto();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut node = InProcessChainfire {
        running: None,
        rest: any,
        grpc: any,
        dir: Scratch::new("chainfire")?,
    };
    node.start().await?;
    Ok(node)
}

impl InProcessChainfire {
    /// The client URL for etcd v3 and native gRPC; the same over restarts.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The REST URL; the same over restarts.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// The running node.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn running(&self) -> anyhow::Result<&Running> {
        self.running.as_ref().context("chainfire is stopped")
    }

    /// Stops it in order; its data stays.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Starts it (stopping it first if it runs) on the same data and addresses.
    ///
    /// # Errors
    /// What `chainfire::run::start` says.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.stop().await;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sockets = Sockets {
            rest: Some(TcpListener::bind(self.rest).await?),
            grpc: Some(TcpListener::bind(self.grpc).await?),
            peer: Some(TcpListener::bind(any).await?),
        };
        self.wait_until_released().await?;
        let config = Config::new(self.dir.path().join("data"));
        let running = start(config, sockets).await?;
        self.rest = running.rest_address();
        self.grpc = running.grpc_address();
        self.running = Some(running);
        Ok(())
    }

    /// Connections that end after the node was stopped may hold its storage for a moment longer, and RocksDB opens a
    /// directory only once per process. An open file of ours below the directory tells.
    async fn wait_until_released(&self) -> anyhow::Result<()> {
        let state = self.dir.path().join("data").join("state");
        eventually_true("the storage is released", RELEASE, || async {
            !has_open_file_below(&state)
        })
        .await
    }

    /// Stops it, throws its data away and starts an empty one on the same addresses.
    ///
    /// # Errors
    /// What `chainfire::run::start` says.
    pub async fn replace_by_empty(&mut self) -> anyhow::Result<()> {
        self.stop().await;
        self.wait_until_released().await?;
        std::fs::remove_dir_all(self.dir.path().join("data"))?;
        self.start().await
    }
}

fn has_open_file_below(dir: &Path) -> bool {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return false;
    };
    open.flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.starts_with(dir))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn data_and_addresses_survive_a_restart_and_not_a_replacement() {
        let mut node = Box::pin(in_process_chainfire()).await.unwrap();
        let endpoint = node.endpoint();
        let mut client = etcd_client::Client::connect([&endpoint], None)
            .await
            .unwrap();
        client.put("a", "1", None).await.unwrap();
        Box::pin(node.start()).await.unwrap();
        assert_eq!(node.endpoint(), endpoint);
        let mut client = etcd_client::Client::connect([&endpoint], None)
            .await
            .unwrap();
        let before = client.get("a", None).await.unwrap();
        assert_eq!(before.kvs()[0].value(), b"1");

        Box::pin(node.replace_by_empty()).await.unwrap();
        let mut client = etcd_client::Client::connect([&endpoint], None)
            .await
            .unwrap();
        let after = client.get("a", None).await.unwrap();
        assert!(after.kvs().is_empty());
        let id = |response: &etcd_client::GetResponse| response.header().unwrap().cluster_id();
        assert_ne!(id(&before), id(&after));
        node.stop().await;
    }
}
