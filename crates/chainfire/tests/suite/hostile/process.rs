//! A node as a process of its own, so that its memory can be told from the test's and its death be real.

use std::{net::SocketAddr, time::Duration};

use etcd_client::Client;
use photon_testkit::{
    ChainfireProcess, ChainfireSpec, chainfire_process::NodeTls, scratch::Scratch,
};

/// What a request may take here, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Node {
    pub(super) process: ChainfireProcess,
    _dir: Scratch,
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut ChainfireSpec)) -> Self {
        let dir = Scratch::new("hostile").unwrap();
        let binary = env!("CARGO_BIN_EXE_chainfire");
        let mut spec = ChainfireSpec::single(binary, dir.path()).unwrap();
        change(&mut spec);
        let process = ChainfireProcess::start(spec).await.unwrap();
        Self { process, _dir: dir }
    }

    /// With TLS on every listener, in enforce mode.
    pub(super) async fn start_encrypted(tls: NodeTls) -> Self {
        Self::start_with(|spec| spec.tls = Some(tls)).await
    }

    pub(super) fn rest(&self) -> SocketAddr {
        self.process.spec().rest
    }

    pub(super) fn grpc(&self) -> SocketAddr {
        self.process.spec().grpc
    }

    /// REST, gRPC and peers.
    pub(super) fn ports(&self) -> [SocketAddr; 3] {
        let spec = self.process.spec();
        [spec.rest, spec.grpc, spec.peer]
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect([self.process.endpoint()], None)
            .await
            .unwrap()
    }

    /// Writes and reads within the patience.
    pub(super) async fn serves(&self) {
        let work = async {
            let mut client = self.client().await;
            client.put("serves", "yes", None).await.unwrap();
            let found = client.get("serves", None).await.unwrap();
            assert_eq!(found.kvs()[0].value(), b"yes");
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .expect("the node serves");
    }

    /// Resident memory, in MiB.
    pub(super) fn resident_mib(&mut self) -> u64 {
        let pid = self.process.process().unwrap().pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib / 1024
    }
}

/// Whether the longer form was asked for.
pub(super) fn long() -> bool {
    std::env::var_os("PHOTON_LONG").is_some()
}

/// As many descriptors as this process may have.
pub(super) fn raise_descriptor_limit() -> u64 {
    use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
    let (_, hard) = getrlimit(RLIMIT_NOFILE).unwrap();
    setrlimit(RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}
