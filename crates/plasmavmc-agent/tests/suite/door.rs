//! Who may do what at a door with certificates.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use photon_core::{Code, Error, Name};
use photon_pki::{LeafRequest, SubjectName};
use photon_server::TlsConfig;
use photon_store::TlsFiles;
use photon_testkit::TestPki;
use plasmavmc_agent::{
    Config, blobs::Blobs, console::Consoles, door, files::Files, images::Images,
};
use plasmavmc_door::{At, Doors, blobs::Should, door_name};
use plasmavmc_model::Digest;
use tokio_util::sync::CancellationToken;

struct Lab {
    pki: TestPki,
    directory: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Lab {
    fn new() -> Self {
        Self {
            pki: TestPki::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            stop: CancellationToken::new(),
        }
    }

    /// The files of a certificate for servers and clients.
    fn files(&self, common_name: &str, name: &str) -> TlsFiles {
        let name = SubjectName::Dns(name.to_owned());
        let request = LeafRequest::peer(common_name, [name]);
        let leaf = self.pki.issuer().issue(&request).unwrap();
        let stem = format!("leaf-{common_name}");
        leaf.save(self.directory.path(), &stem).unwrap();
        let file = |extension: &str| -> PathBuf {
            self.directory.path().join(format!("{stem}.{extension}"))
        };
        TlsFiles {
            authority: self.pki.authority().to_owned(),
            certificate: file("crt"),
            key: file("key"),
            server_name: None,
        }
    }

    fn doors(&self, common_name: &str) -> Doors {
        Doors::new(Some(self.files(common_name, "anybody")))
    }

    /// Opens the door of host-1 with a certificate for that name.
    async fn open(&self, name: &str) -> At {
        let host = Name::new("host-1").unwrap();
        let files = self.files("plasmavmc-agent@host-1", name);
        let mut config = Config::new(host.clone());
        config.state_directory = self.directory.path().join("state");
        config.door.listen.set_port(0);
        config.door.tls = Some(TlsConfig {
            certificate: files.certificate,
            key: files.key,
            client_ca: Some(files.authority),
            require_client_certificate: false,
        });
        let images = Arc::new(Images::new(&config.state_directory));
        let blobs = Arc::new(Blobs::new(&config.state_directory, images));
        let open = door::open(&config, blobs, consoles(&config), self.stop.clone()).await;
        let url = open.unwrap().unwrap().url;
        At { host, url }
    }
}

fn consoles(config: &Config) -> Consoles {
    Consoles::new(Files::new(&config.state_directory))
}

async fn put(doors: &Doors, at: &At, data: &'static [u8]) -> Result<Digest, Error> {
    let name = Name::new("up").unwrap();
    doors.begin(at, &name, data.len() as u64).await?;
    let data = Box::pin(futures::stream::iter([Bytes::from_static(data)]));
    doors.write(at, &name, 0, data).await?;
    let blob = doors.finish(at, &name, &Should::default()).await?;
    Ok(blob.digest)
}

fn code<T>(done: Result<T, Error>) -> Option<Code> {
    done.err().map(|error| error.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_writes_and_other_agents_read() {
    let lab = Lab::new();
    let at = lab.open(&door_name(&Name::new("host-1").unwrap())).await;
    assert!(at.url.starts_with("https://"));
    let control = lab.doors("plasmavmc");
    let digest = put(&control, &at, b"content").await.unwrap();
    assert_eq!(digest, Digest::of(b"content"));
    let agent = lab.doors("plasmavmc-agent@host-2");
    assert!(agent.read(&at, digest, 0).await.is_ok());
    assert_eq!(code(put(&agent, &at, b"x").await), Some(Code::FORBIDDEN));
    assert_eq!(code(agent.delete(&at, digest).await), Some(Code::FORBIDDEN));
    let other = lab.doors("prismnet-agent@host-2");
    assert_eq!(
        code(other.read(&at, digest, 0).await),
        Some(Code::FORBIDDEN)
    );
    // Without a certificate nobody is known, and http is not spoken here.
    let plain = At {
        url: at.url.replace("https", "http"),
        ..at.clone()
    };
    let bare = Doors::new(None);
    assert_eq!(
        code(bare.read(&plain, digest, 0).await),
        Some(Code::UNAVAILABLE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_it_is_another_is_not_believed() {
    let lab = Lab::new();
    let at = lab.open("host-2.plasmavmc-agent").await;
    let done = put(&lab.doors("plasmavmc"), &at, b"content").await;
    assert_eq!(code(done), Some(Code::UNAVAILABLE));
}

#[tokio::test]
async fn without_certificates_a_house_that_has_some_keeps_its_door_shut() {
    let lab = Lab::new();
    let mut config = Config::new(Name::new("host-1").unwrap());
    config.state_directory = lab.directory.path().to_owned();
    config.store.tls = Some(photon_agent::config::StoreTls {
        ca: "ca".into(),
        certificate: "crt".into(),
        key: "key".into(),
        server_name: None,
    });
    let images = Arc::new(Images::new(&config.state_directory));
    let blobs = Arc::new(Blobs::new(&config.state_directory, images));
    let open = door::open(&config, blobs, consoles(&config), lab.stop.clone()).await;
    let why = open.unwrap().unwrap_err();
    assert!(why.contains("door.tls"), "{why}");
}
