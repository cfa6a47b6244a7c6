//! A node in enforce mode with TLS on every listener, in this process, and the certificates of whoever calls it.

use std::{net::SocketAddr, path::Path};

use chainfire::{
    config::{Cluster, Config, PeerTlsFiles},
    offline::{Restore, restore},
    run::{self, Running, Sockets},
};
use photon_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, LeaseGrantRequest, PutRequest,
        auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
    },
};
use photon_raft::Member;
use photon_server::{Mode, TlsConfig};
use photon_testkit::{TestPki, pki::Files, scratch::Scratch};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

/// The password of every user.
pub(super) const PASSWORD: &str = "correct horse";

/// A lease whose key alice may not write.
pub(super) const FOREIGN_LEASE: i64 = 999;

pub(super) struct Guarded {
    running: Running,
    pub(super) pki: TestPki,
    config: Config,
    dir: Scratch,
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

impl Guarded {
    /// Authentication is off.
    pub(super) async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    async fn open_with(set: impl FnOnce(&mut Config)) -> Self {
        let pki = TestPki::new().unwrap();
        let dir = Scratch::new("guarded").unwrap();
        let mut config = Config::new(dir.path().join("data"));
        config.auth.mode = Mode::Enforce;
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        config.peer.address.set_port(0);
        config.raft.heartbeat_ms = 50;
        config.raft.election_timeout_ms = 600;
        let server = pki.server("chainfire", &[]).unwrap();
        let tls = TlsConfig {
            certificate: server.certificate,
            key: server.key,
            client_ca: Some(server.authority),
            require_client_certificate: false,
        };
        config.rest.tls = Some(tls.clone());
        config.grpc.tls = Some(tls);
        let peer = pki.peer("node-1", &[]).unwrap();
        config.peer.tls = Some(PeerTlsFiles {
            certificate: peer.certificate,
            key: peer.key,
            ca: peer.authority,
            peer_name: None,
        });
        set(&mut config);
        let running = run::start(config.clone(), Sockets::default())
            .await
            .unwrap();
        Self {
            running,
            pki,
            config,
            dir,
        }
    }

    /// Authentication is on. `root`; `alice`, who reads `/a/`, reads and writes `/b/`, and writes `/w`.
    pub(super) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Another node of the same authority, which waits to be added.
    pub(super) async fn joining(&self, node_id: u64, set: impl FnOnce(&mut Config)) -> Running {
        let mut config = self.config.clone();
        config.node_id = node_id;
        config.cluster = Cluster::Join;
        config.data_dir = self.dir.path().join(format!("node-{node_id}"));
        set(&mut config);
        run::start(config, Sockets::default()).await.unwrap()
    }

    /// The same with other settings.
    pub(super) async fn start_with(set: impl FnOnce(&mut Config)) -> Self {
        let node = Self::open_with(set).await;
        node.fill().await;
        node.make_users().await;
        node.auth("root")
            .auth_enable(AuthEnableRequest {})
            .await
            .unwrap();
        node
    }

    async fn fill(&self) {
        let mut kv = KvClient::new(self.channel(Some("root")));
        let mut lease = LeaseClient::new(self.channel(Some("root")));
        let grant = LeaseGrantRequest {
            id: FOREIGN_LEASE,
            ttl: 3600,
        };
        lease.lease_grant(grant).await.unwrap();
        for (key, lease) in [
            ("/a/1", 0),
            ("/b/1", 0),
            ("/c/1", 0),
            ("/w", 0),
            ("/c/l", FOREIGN_LEASE),
        ] {
            let put = PutRequest {
                key: key.into(),
                value: "before".into(),
                lease,
                ..PutRequest::default()
            };
            kv.put(put).await.unwrap();
        }
    }

    async fn make_users(&self) {
        let mut auth = self.auth("root");
        let role = |name: &str| AuthRoleAddRequest {
            name: name.to_owned(),
        };
        auth.role_add(role("root")).await.unwrap();
        auth.role_add(role("staff")).await.unwrap();
        self.permit(Type::Read, "/a/", "/a0").await.unwrap();
        self.permit(Type::Readwrite, "/b/", "/b0").await.unwrap();
        self.permit(Type::Write, "/w", "").await.unwrap();
        for (user, role) in [("root", "root"), ("alice", "staff")] {
            let add = AuthUserAddRequest {
                name: user.to_owned(),
                password: PASSWORD.to_owned(),
                ..AuthUserAddRequest::default()
            };
            auth.user_add(add).await.unwrap();
            let grant = AuthUserGrantRoleRequest {
                user: user.to_owned(),
                role: role.to_owned(),
            };
            auth.user_grant_role(grant).await.unwrap();
        }
    }

    /// Gives the role `staff` a permission.
    pub(super) async fn permit(&self, perm: Type, key: &str, end: &str) -> Result<(), Status> {
        let grant = AuthRoleGrantPermissionRequest {
            name: "staff".to_owned(),
            perm: Some(Permission {
                perm_type: perm.into(),
                key: key.to_owned().into(),
                range_end: end.to_owned().into(),
            }),
        };
        let mut auth = self.auth("root");
        auth.role_grant_permission(grant).await.map(drop)
    }

    /// etcd's Auth service as somebody with a certificate.
    pub(super) fn auth(&self, who: &str) -> AuthClient<Channel> {
        AuthClient::new(self.channel(Some(who)))
    }

    /// A lease with a key below `/b/`.
    pub(super) async fn lease(&self, id: i64) {
        let grant = LeaseGrantRequest { id, ttl: 3600 };
        let mut lease = LeaseClient::new(self.channel(Some("root")));
        lease.lease_grant(grant).await.unwrap();
        let put = PutRequest {
            key: format!("/b/lease{id}").into(),
            lease: id,
            ..PutRequest::default()
        };
        let mut kv = KvClient::new(self.channel(Some("root")));
        kv.put(put).await.unwrap();
    }

    /// A token, without a certificate.
    pub(super) async fn login(&self, user: &str, password: &str) -> Result<String, Status> {
        let request = AuthenticateRequest {
            name: user.to_owned(),
            password: password.to_owned(),
        };
        let mut auth = AuthClient::new(self.channel(None));
        Ok(auth.authenticate(request).await?.into_inner().token)
    }

    /// Stops in order and starts again over the same data, on other ports.
    pub(super) async fn restart(self) -> Self {
        let Self {
            running,
            pki,
            config,
            dir,
        } = self;
        running.stop().await;
        let running = run::start(config.clone(), Sockets::default())
            .await
            .unwrap();
        Self {
            running,
            pki,
            config,
            dir,
        }
    }

    /// Stops it for good, and starts another from a copy of it, taken over REST by root.
    pub(super) async fn restored(self) -> Self {
        let url = format!("{}/api/v1/snapshot", self.rest_url());
        let copy = self.http(Some("root")).get(url).send().await.unwrap();
        let file = self.dir.path().join("copy");
        std::fs::write(&file, copy.bytes().await.unwrap()).unwrap();
        let Self {
            running,
            pki,
            mut config,
            dir,
        } = self;
        running.stop().await;
        config.data_dir = dir.path().join("restored");
        let plan = Restore {
            file,
            data_dir: config.data_dir.clone(),
            member: Member {
                node_id: 1,
                peer_address: "127.0.0.1:2380".to_owned(),
                ..Member::default()
            },
            bump: 1_000_000,
        };
        tokio::task::spawn_blocking(move || restore(&plan).unwrap())
            .await
            .unwrap();
        let running = run::start(config.clone(), Sockets::default())
            .await
            .unwrap();
        Self {
            running,
            pki,
            config,
            dir,
        }
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }

    pub(super) fn peer_address(&self) -> SocketAddr {
        self.running.peer_address()
    }

    pub(super) fn rest_url(&self) -> String {
        format!("https://{}", self.running.rest_address())
    }

    pub(super) fn client_url(&self) -> String {
        format!("https://{}", self.running.grpc_address())
    }

    /// gRPC with the certificate of `who`.
    pub(super) fn channel(&self, who: Option<&str>) -> Channel {
        let files = who.map(|who| self.pki.client(who).unwrap());
        self.channel_with(files.as_ref())
    }

    pub(super) fn channel_with(&self, files: Option<&Files>) -> Channel {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.pki.authority_pem()));
        if let Some(files) = files {
            tls = tls.identity(Identity::from_pem(
                read(&files.certificate),
                read(&files.key),
            ));
        }
        let endpoint = Channel::from_shared(self.client_url()).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }

    /// HTTP with the certificate of `who`.
    pub(super) fn http(&self, who: Option<&str>) -> reqwest::Client {
        let files = who.map(|who| self.pki.client(who).unwrap());
        self.http_with(files.as_ref())
    }

    pub(super) fn http_with(&self, files: Option<&Files>) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.pki.authority_pem().as_bytes());
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([authority.unwrap()]);
        if let Some(files) = files {
            let pem = [read(&files.certificate), read(&files.key)].concat();
            client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
        }
        client.build().unwrap()
    }
}
