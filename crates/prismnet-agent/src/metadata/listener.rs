//! The socket in a VPC's namespace, and how much of it a port may have.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt::Ipv4Ttl};
use parking_lot::Mutex;
use prismnet_model::PortId;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::{ADDRESS, PORT, Source, answer::answer};
use crate::kernel::{Error, netlink::Netlink, read::addresses_of};

/// The most connections of a port at once.
const MOST_OF_A_PORT: usize = 8;
/// The most of a VPC.
const MOST: usize = 512;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last, however it is used.
const CONNECTION: Duration = Duration::from_secs(30);
/// The most bytes of a request's head.
const LARGEST_HEAD: usize = 16 << 10;
/// How long it waits when the machine has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Which port has an address.
type Ports = HashMap<Ipv4Addr, PortId>;

/// Of a VPC; closed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    ports: Arc<Mutex<Arc<Ports>>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// None yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            running: None,
        }
    }

    /// It answers these ports, and is closed if there are none. The calling thread stands in the VPC's namespace, on its
    /// runtime.
    ///
    /// # Errors
    /// No address, no socket.
    pub async fn update(&mut self, ports: Ports) -> Result<(), Error> {
        if ports.is_empty() {
            self.running = None;
            return Ok(());
        }
        put_address().await?;
        let ports = Arc::new(ports);
        if let Some(running) = &self.running
            && !running.task.is_finished()
        {
            *running.ports.lock() = ports;
            return Ok(());
        }
        let failed = |error| Error::system("metadata", error);
        let listener = open().map_err(failed)?;
        let ports = Arc::new(Mutex::new(ports));
        let task = tokio::spawn(serve(listener, Arc::clone(&ports), self.source.clone()));
        self.running = Some(Running { ports, task });
        Ok(())
    }
}

/// The address is on `lo`. Looked at first: to put it again would be a change, and wake whoever looks for changes.
async fn put_address() -> Result<(), Error> {
    let netlink = Netlink::open()?;
    let lo = netlink.index("lo").await?;
    if addresses_of(&netlink, lo).await?.contains(&(ADDRESS, 32)) {
        return Ok(());
    }
    netlink.put_address(lo, ADDRESS, 32).await
}

fn open() -> io::Result<TcpListener> {
    let listener = StdListener::bind((ADDRESS, PORT))?;
    // No router behind the port passes it on. Connections have it from here.
    setsockopt(&listener, Ipv4Ttl, &1)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(listener: TcpListener, ports: Arc<Mutex<Arc<Ports>>>, source: Source) {
    let open = Arc::new(Mutex::new(HashMap::new()));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "nothing is accepted at the metadata address");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let IpAddr::V4(from) = from.ip() else {
            continue;
        };
        let Some(place) = Place::take(&open, from) else {
            continue;
        };
        let port = ports.lock().get(&from).copied();
        let source = source.clone();
        tokio::spawn(async move {
            let _place = place;
            // Whoever is cut off may ask again.
            let _ = timeout(CONNECTION, talk(stream, port, source)).await;
        });
    }
}

async fn talk(stream: TcpStream, port: Option<PortId>, source: Source) {
    let service = service_fn(|request| answer(&source, port, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        // Who has said everything may close its side, as nc does, and is answered.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection at the metadata address ended");
    }
}

/// One of the connections that an address may have.
struct Place {
    open: Arc<Mutex<HashMap<Ipv4Addr, usize>>>,
    from: Ipv4Addr,
}

impl Place {
    fn take(open: &Arc<Mutex<HashMap<Ipv4Addr, usize>>>, from: Ipv4Addr) -> Option<Self> {
        let mut counts = open.lock();
        let all: usize = counts.values().sum();
        let of_this = counts.get(&from).copied().unwrap_or_default();
        if of_this >= MOST_OF_A_PORT || all >= MOST {
            return None;
        }
        counts.insert(from, of_this + 1);
        Some(Self {
            open: Arc::clone(open),
            from,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_port_does_not_take_everybodys_places() {
        let open = Arc::new(Mutex::new(HashMap::new()));
        let address = |last: u8| Ipv4Addr::new(10, 0, 0, last);
        let mut taken: Vec<Place> = (0..MOST_OF_A_PORT)
            .map(|_| Place::take(&open, address(1)).unwrap())
            .collect();
        assert!(Place::take(&open, address(1)).is_none());
        assert!(Place::take(&open, address(2)).is_some());
        taken.pop();
        assert!(Place::take(&open, address(1)).is_some());
        drop(taken);
        assert!(open.lock().is_empty());
    }
}
