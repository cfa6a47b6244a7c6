//! A node of one, on free ports, in this process.

use chainfire::{
    config::Config,
    run::{self, Running, Sockets},
};
use etcd_client::Client;
use tempfile::TempDir;
use tonic::transport::Channel;

pub(super) struct Node {
    running: Running,
    dir: TempDir,
}

/// The defaults, over a directory, on free ports, with elections fast enough for a test.
pub(super) fn config(dir: &TempDir) -> Config {
    let mut config = Config::new(dir.path().join("data"));
    config.rest.address.set_port(0);
    config.grpc.address.set_port(0);
    config.peer.address.set_port(0);
    config.raft.heartbeat_ms = 50;
    config.raft.election_timeout_ms = 300;
    config
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        change(&mut config);
        Self::start_in(dir, config).await
    }

    async fn start_in(dir: TempDir, config: Config) -> Self {
        let running = run::start(config, Sockets::default()).await.unwrap();
        Self { running, dir }
    }

    /// Stops in order and starts again over the same data.
    pub(super) async fn restart(self) -> Self {
        let config = self.running.app().config().clone();
        let Self { running, dir } = self;
        running.stop().await;
        Self::start_in(dir, config).await
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    pub(super) fn endpoint(&self) -> String {
        self.running.grpc_address().to_string()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoint())
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.unwrap()
    }

    /// For the generated stubs.
    pub(super) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.url("")).unwrap();
        endpoint.connect().await.unwrap()
    }
}
