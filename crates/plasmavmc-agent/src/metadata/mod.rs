//! What guests ask at 169.254.169.254: HTTP/1.1 on a unix socket, which prismnet-agent passes their questions to.
//!
//! ```text
//!   guest ─TCP─> prismnet-agent: which port? a token? ──x-photon-port──> this socket ──> the VM that has the port
//! ```
//!
//! Which VM a port belongs to is what the store says is wanted here, and nothing else. Tokens (as in IMDSv2: asked for by PUT, required
//! for every GET) are prismnet-agent's.

mod answer;

use std::{
    collections::HashMap,
    convert::Infallible,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::RwLock;
use plasmavmc_model::{DesiredVm, PortId};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

pub use answer::answer;

/// Which port asks.
const PORT: HeaderName = HeaderName::from_static("x-photon-port");
/// The most who are answered at once.
const AT_ONCE: usize = 64;
/// How long one connection may last.
const CONNECTION: Duration = Duration::from_secs(10);
/// After the socket could not be listened at.
const AGAIN: Duration = Duration::from_secs(1);

/// Who has which port. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Metadata(Arc<RwLock<HashMap<PortId, Arc<DesiredVm>>>>);

/// Where the socket is.
#[must_use]
pub fn socket(state: &Path) -> PathBuf {
    state.join("metadata.sock")
}

impl Metadata {
    /// These VMs are wanted here, and no others.
    pub fn set<'a>(&self, vms: impl Iterator<Item = &'a DesiredVm>) {
        let mut all = HashMap::new();
        for vm in vms.filter(|vm| vm.guest.is_some() && !vm.ports.is_empty()) {
            let shared = Arc::new(vm.clone());
            let ports = vm.ports.iter();
            all.extend(ports.map(|port| (port.port, Arc::clone(&shared))));
        }
        *self.0.write() = all;
    }

    /// Serves, until it is stopped.
    pub async fn serve(self, socket: PathBuf, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let serving = self.listen(&socket);
            match stop.run_until_cancelled(serving).await {
                Some(error) => {
                    tracing::warn!(%error, socket = %socket.display(), "guests get no metadata");
                    stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                }
                None => return,
            }
        }
    }

    async fn listen(&self, socket: &Path) -> io::Error {
        let bound = match bind(socket) {
            Ok(bound) => bound,
            Err(error) => return error,
        };
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let (Ok(room), stream) = (
                Arc::clone(&room).acquire_owned().await,
                bound.accept().await,
            ) else {
                continue;
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => return error,
            };
            let metadata = self.clone();
            tokio::spawn(async move {
                let _room = room;
                // Whoever is cut off asks again.
                let _ = tokio::time::timeout(CONNECTION, metadata.talk(stream)).await;
            });
        }
    }

    async fn talk(&self, stream: UnixStream) -> Result<(), hyper::Error> {
        let service =
            service_fn(|request| std::future::ready(Ok::<_, Infallible>(self.reply(&request))));
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CONNECTION)
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    fn reply<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = of(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        let port = request.headers().get(PORT);
        let port = port.and_then(|port| port.to_str().ok()?.parse::<PortId>().ok());
        let Some(port) = port else {
            return of(StatusCode::BAD_REQUEST, "x-photon-port is missing\n".into());
        };
        let vm = self.0.read().get(&port).cloned();
        match vm.and_then(|vm| answer(&vm, port, request.uri().path())) {
            Some(text) => of(StatusCode::OK, text),
            None => of(StatusCode::NOT_FOUND, "there is nothing here\n".into()),
        }
    }
}

/// Listens where nobody but root may ask.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let bound = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(bound)
}

fn of(status: StatusCode, text: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::VmId;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ann";
    const MAC: &str = "06:00:00:00:00:01";

    fn vm(port: PortId, guest: Value) -> DesiredVm {
        serde_json::from_value(json!({
            "id": VmId::generate(), "name": "x", "org": "acme", "project": "shop", "generation": 1, "power": "running", "boot": 1,
            "grace_seconds": 60, "vcpus": 1, "memory_mib": 128,
            "hardware": {
                "machine": "m", "cpu": "c", "firmware": "bios", "disk_bus": "virtio", "nic_model": "virtio",
            },
            "boots_from": { "kind": "disk" },
            "ports": [{ "port": port, "mac_address": MAC }], "guest": guest,
        }))
        .unwrap()
    }

    async fn ask(socket: &Path, what: &str, port: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let question = format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{port}\r\n");
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn a_port_is_told_of_its_own_vm() {
        let directory = tempfile::tempdir().unwrap();
        let socket = socket(directory.path());
        let metadata = Metadata::default();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(metadata.clone().serve(socket.clone(), stop.clone()));
        let (one, two, bare) = (PortId::generate(), PortId::generate(), PortId::generate());
        let data = json!({ "ssh_keys": [KEY, KEY], "user_data": "I2Nsb3VkCg==" });
        let digest = plasmavmc_model::Digest::of(b"");
        let first = vm(
            one,
            json!({ "hostname": "one.example", "data": digest, "content": data }),
        );
        let second = vm(two, json!({ "hostname": "two" }));
        metadata.set([&first, &second, &vm(bare, Value::Null)].into_iter());
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let of = |port: PortId| format!("x-photon-port: {port}\r\n");
        for (path, expected) in [
            ("/latest/meta-data/instance-id", first.id.to_string()),
            ("/2009-04-04/meta-data/hostname", "one.example".to_owned()),
            ("/latest/meta-data/local-hostname", "one.example".to_owned()),
            ("/latest/meta-data/mac", MAC.to_owned()),
            (
                "/latest/meta-data/public-keys/",
                "0=key-0\n1=key-1".to_owned(),
            ),
            ("/latest/meta-data/public-keys/1/", "openssh-key".to_owned()),
            (
                "/latest/meta-data/public-keys/1/openssh-key",
                KEY.to_owned(),
            ),
            ("/latest/user-data", "#cloud\n".to_owned()),
            ("/user-data", "#cloud\n".to_owned()),
            ("/vendor-data", String::new()),
        ] {
            let told = ask(&socket, &format!("GET {path}"), &of(one)).await;
            assert_eq!(told, (200, expected), "{path}");
        }
        let (_, meta) = ask(&socket, "GET /meta-data", &of(one)).await;
        let meta: Value = serde_json::from_str(&meta).unwrap();
        assert_eq!(meta["local-hostname"], "one.example");
        // The other's is the other's.
        let (_, id) = ask(&socket, "GET /latest/meta-data/instance-id", &of(two)).await;
        assert_eq!(id, second.id.to_string());
        for (what, port, status) in [
            ("GET /latest/user-data", of(two), 404),
            ("GET /latest/meta-data/public-keys/", of(two), 404),
            (
                "GET /latest/meta-data/public-keys/9/openssh-key",
                of(one),
                404,
            ),
            ("GET /latest/meta-data/../../etc/passwd", of(one), 404),
            ("GET /etc/passwd", of(one), 404),
            ("GET /latest/meta-data/instance-id", of(bare), 404),
            (
                "GET /latest/meta-data/instance-id",
                of(PortId::generate()),
                404,
            ),
            ("GET /latest/meta-data/instance-id", String::new(), 400),
            ("GET /", "x-photon-port: x\r\n".to_owned(), 400),
            ("PUT /latest/api/token", of(one), 405),
        ] {
            assert_eq!(ask(&socket, what, &port).await.0, status, "{what} {port}");
        }
        metadata.set(std::iter::empty());
        assert_eq!(ask(&socket, "GET /meta-data", &of(one)).await.0, 404);
        stop.cancel();
        serving.await.unwrap();
    }
}
