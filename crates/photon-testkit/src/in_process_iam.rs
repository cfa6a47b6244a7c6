//! IAM inside the test process, over a ChainFire inside it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use iam::{
    config::Config,
    run::{Running, Sockets, start},
};
use photon_store::Store;
use tokio::net::TcpListener;

use crate::in_process::{InProcessChainfire, in_process_chainfire};
use crate::scratch::Scratch;

/// A running IAM and its store.
#[derive(Debug)]
pub struct InProcessIam {
    running: Option<Running>,
    chainfire: InProcessChainfire,
    config: Config,
    rest: SocketAddr,
    grpc: SocketAddr,
    admin: Option<String>,
    _dir: Scratch,
}

/// Starts IAM in dev mode on an empty store; it serves when this returns.
///
/// # Errors
/// What ChainFire and IAM say.
pub async fn in_process_iam() -> anyhow::Result<InProcessIam> {
    let mut iam = Box::pin(InProcessIam::prepare("dev")).await?;
    Box::pin(iam.start()).await?;
    Ok(iam)
}

/// Starts IAM in enforce mode, founded: [`InProcessIam::admin_key`] is the first credential there is.
///
/// # Errors
/// What ChainFire and IAM say.
pub async fn enforcing_iam() -> anyhow::Result<InProcessIam> {
    let mut iam = Box::pin(InProcessIam::prepare("enforce")).await?;
    let store = Store::connect(iam.config.store.options()?).await?;
    let first = Box::pin(::iam::init::found(&iam.config, &store)).await?;
    iam.admin = Some(first.api_key.expose().to_owned());
    Box::pin(iam.start()).await?;
    Ok(iam)
}

impl InProcessIam {
    async fn prepare(mode: &str) -> anyhow::Result<Self> {
        let chainfire = Box::pin(in_process_chainfire()).await?;
        let dir = Scratch::new("iam")?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let file = dir.path().join("iam.toml");
        let wrapping = dir.path().join("wrapping.key");
        let text = format!(
            "[auth]\nmode = \"{mode}\"\n\
             [store]\nendpoints = [\"{}\"]\n\
             [rest]\naddress = \"{any}\"\n\
             [grpc]\naddress = \"{any}\"\n\
             [signing]\nwrapping_key_file = \"{}\"\n",
            chainfire.endpoint(),
            wrapping.display(),
        );
        std::fs::write(&file, text)?;
        let config = iam::config::load(Some(&file))?;
        Ok(Self {
            running: None,
            chainfire,
            config,
            rest: any,
            grpc: any,
            admin: None,
            _dir: dir,
        })
    }

    /// Starts it (stopping it first if it runs) on the same store and addresses.
    ///
    /// # Errors
    /// What IAM says.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.stop_iam().await;
        let sockets = Sockets {
            rest: Some(TcpListener::bind(self.rest).await?),
            grpc: Some(TcpListener::bind(self.grpc).await?),
        };
        let running = Box::pin(start(self.config.clone(), sockets)).await?;
        self.rest = running.rest_address();
        self.grpc = running.grpc_address();
        self.running = Some(running);
        Ok(())
    }

    /// Where REST is.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// Where gRPC is.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The API key of the first admin, where IAM enforces.
    ///
    /// # Errors
    /// In dev mode.
    pub fn admin_key(&self) -> anyhow::Result<&str> {
        self.admin.as_deref().context("dev mode has no first admin")
    }

    /// The store under it.
    pub fn chainfire(&mut self) -> &mut InProcessChainfire {
        &mut self.chainfire
    }

    async fn stop_iam(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Stops both in order.
    pub async fn stop(mut self) {
        self.stop_iam().await;
        self.chainfire.stop().await;
    }
}
