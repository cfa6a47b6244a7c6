//! Hosts as network namespaces with an underlay between them, an agent in each, and a store that they all follow.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::{Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
        setsockopt, socket, sockopt,
    },
    time::{TimeVal, TimeValLike as _},
};
use photon_store::{Options, Record, Store};
use prismnet_agent::{
    Config,
    kernel::Namespaces,
    run,
    survey::{Survey, survey},
};
use prismnet_model::{
    Gone, ObservedPort, Port, PortId, PortState, Route, Rule, SecurityGroup, Subnet, Vpc, device,
    observed,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::samples;
use crate::{
    InProcessChainfire, NetLab, eventually, in_process_chainfire,
    process::{Process, Spec},
    scratch::Scratch,
};

/// How long what must come may take.
pub const SOON: Duration = Duration::from_secs(30);
/// How long nothing must come before it counts as never.
const SILENCE: Duration = Duration::from_millis(300);

/// Hosts, and the store that they follow.
#[derive(Debug)]
pub struct Lab {
    /// A client of the store.
    pub store: Store,
    /// The store.
    pub chainfire: InProcessChainfire,
    /// The hosts: `here`, `host-1`, …
    pub hosts: Vec<Host>,
    /// What connects them.
    pub net: NetLab,
    directory: Scratch,
    proxy: tokio::task::JoinHandle<()>,
}

/// A host with an agent.
#[derive(Debug)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// How its agent is configured.
    pub config: Config,
    namespace: String,
    /// The namespaces that its agent makes.
    pub namespaces: Namespaces,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Lab {
    /// With that many hosts, or `None` after saying that it is skipped.
    pub async fn or_skip(test: &str, hosts: usize) -> Option<Self> {
        Self::or_skip_beside(test, hosts, 0).await
    }

    /// The same with nodes behind them that have no agent.
    pub async fn or_skip_beside(test: &str, hosts: usize, others: usize) -> Option<Self> {
        let net = NetLab::or_skip(test, hosts + others).unwrap()?;
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let store = Store::connect(Options::new([chainfire.endpoint()]))
            .await
            .unwrap();
        let (proxy, endpoint) = proxy(&net, &chainfire.endpoint()).await;
        let directory = Scratch::new("prismnet-agent").unwrap();
        let hosts = (0..hosts)
            .map(|node| {
                let name = if node == 0 {
                    "here".to_owned()
                } else {
                    format!("host-{node}")
                };
                let mut config = Config::new(samples::name(&name));
                config.state_directory = directory.path().join(&name).join("state");
                config.namespace_directory = directory.path().join(&name).join("netns");
                config.socket = directory.path().join(&name).join("agent.sock");
                config.store.endpoints = vec![endpoint.clone()];
                config.tunnel.address = Some(net.address(node));
                // Whatever happens sooner happens because somebody told.
                config.resync_seconds = 3600;
                config.dhcp.dns = vec![Ipv4Addr::new(192, 0, 2, 53)];
                Host {
                    name,
                    namespaces: Namespaces::new(&config.namespace_directory),
                    config,
                    namespace: net.namespace(node).to_owned(),
                    running: None,
                }
            })
            .collect();
        let mut lab = Self {
            store,
            chainfire,
            hosts,
            net,
            directory,
            proxy,
        };
        lab.hosts.iter_mut().for_each(Host::start);
        Some(lab)
    }

    /// Writes a record, whatever was there.
    pub async fn put<T: Record>(&self, key: &str, value: T) {
        let all = self.store.collection::<T>();
        match all.get(key).await.unwrap() {
            Some(mut stored) => {
                stored.value = value;
                all.replace(stored).await.unwrap();
            }
            None => drop(all.create(key, value).await.unwrap()),
        }
    }

    /// As the control plane makes a VPC with subnets.
    pub async fn put_vpc(&self, vpc: &Vpc, subnets: &[&Subnet]) {
        self.put(&vpc.key(), vpc.clone()).await;
        for subnet in subnets {
            self.put(&subnet.key(), (*subnet).clone()).await;
        }
    }

    /// As the control plane makes a group with rules.
    pub async fn put_group(&self, group: &SecurityGroup, rules: impl IntoIterator<Item = Rule>) {
        let mut group = group.clone();
        // A group's name is claimed; every one here has the same.
        group.name = group.id.to_string();
        self.put(&group.key(), group).await;
        for rule in rules {
            self.put_rule(&rule).await;
        }
    }

    /// Where each host is, as the control plane says it.
    pub async fn put_hosts(&self) {
        for (node, host) in self.hosts.iter().enumerate() {
            let vtep = self.net.address(node).to_string();
            let record = samples::host(&host.name, &vtep);
            self.put(&record.key(), record.clone()).await;
        }
    }

    /// As the control plane makes a rule.
    pub async fn put_rule(&self, rule: &Rule) {
        self.put(&rule.key(), rule.clone()).await;
    }

    /// As the control plane makes a route.
    pub async fn put_route(&self, route: &Route) {
        self.put(&route.key(), route.clone()).await;
    }

    /// Takes a record away.
    pub async fn remove<T: Record>(&self, key: &str) {
        let all = self.store.collection::<T>();
        all.delete(key, photon_store::Expected::Any).await.unwrap();
    }

    /// As the control plane deletes a port.
    pub async fn delete_port(&self, port: &Port) {
        let gone = Gone::of(port, jiff::Timestamp::now()).unwrap();
        self.put(&gone.key(), gone).await;
        self.remove::<Port>(&port.key()).await;
    }

    /// As the control plane makes or changes a port.
    pub async fn put_port(&self, port: &Port) {
        self.put(&port.key(), port.clone()).await;
    }

    /// Waits until a host says that the port is as its record says now.
    pub async fn until_active(&self, port: &Port) {
        self.until(port, PortState::Active).await;
    }

    /// Waits until a host says that the port is in a state, as its record is now.
    pub async fn until(&self, port: &Port, state: PortState) {
        let revision = self
            .store
            .collection::<Port>()
            .get(&port.key())
            .await
            .unwrap()
            .unwrap()
            .revision;
        let key = observed::port_key(port.host.as_ref().unwrap(), port.id);
        let what = format!("{} is {state:?}", port.id);
        let told = eventually(&what, SOON, || async {
            let told = self
                .store
                .collection::<ObservedPort>()
                .get(&key)
                .await
                .unwrap()?;
            (told.value.revision == revision && told.value.state == state).then_some(())
        });
        if let Err(error) = told.await {
            let told = self
                .store
                .collection::<ObservedPort>()
                .get(&key)
                .await
                .unwrap();
            let survey = survey(&self.hosts[0].config).await;
            panic!(
                "{error}; told: {:?}; {survey:#?}",
                told.map(|told| told.value)
            );
        }
    }

    /// As the agent on a host sees it.
    pub async fn survey(&self, host: usize) -> Survey {
        self.hosts[host].survey().await
    }
}

impl Lab {
    /// The store on a host's own loopback, for programs that take it nowhere else without TLS: what passes it on, and its address.
    pub fn loopback_store(&self, host: usize) -> (tokio::task::JoinHandle<()>, String) {
        let namespace = self.net.namespace(host).to_owned();
        let bind = || {
            Namespaces::new("/run/netns").enter(&namespace).unwrap();
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap()
        };
        let listener = std::thread::scope(|scope| scope.spawn(bind).join().unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let proxy = tokio::spawn(pass_on(listener, self.chainfire.endpoint()));
        (proxy, endpoint)
    }

    /// The program itself, by its path, on a host, with the store on that host's own loopback, as its configuration wants it.
    pub async fn program(&mut self, agent: &str, host: usize) -> Program {
        self.hosts[host].stop();
        let (proxy, endpoint) = self.loopback_store(host);
        let directory = self.directory.path();
        let (file, log) = (directory.join("agent.toml"), directory.join("agent.log"));
        let config = &self.hosts[host].config;
        let text = format!(
            "host = \"{}\"\nstate_directory = {:?}\nnamespace_directory = {:?}\nsocket = {:?}\n\
             resync_seconds = 1\n\
             [store]\nendpoints = [\"{endpoint}\"]\n[tunnel]\naddress = \"{}\"\n",
            config.host,
            config.state_directory,
            config.namespace_directory,
            config.socket,
            self.net.address(host),
        );
        fs::write(&file, text).unwrap();
        Program {
            words: vec![
                "nsenter".to_owned(),
                format!("--net=/run/netns/{}", self.net.namespace(host)),
                agent.to_owned(),
                "--config".to_owned(),
                file.display().to_string(),
            ],
            log,
            proxy,
        }
    }
}

/// How the program is run on a host.
#[derive(Debug)]
pub struct Program {
    words: Vec<String>,
    log: PathBuf,
    proxy: tokio::task::JoinHandle<()>,
}

impl Program {
    /// Starts it.
    pub fn start(&self) -> Process {
        // Not `ip netns exec`, which would give it mounts of its own.
        let spec = Spec::new("prismnet-agent", &self.words[0], &self.log);
        let spec = self.words[1..].iter().fold(spec, Spec::argument);
        Process::start(spec).unwrap()
    }

    /// To its end; what it said.
    pub fn say(&self, words: &[&str]) -> String {
        let all: Vec<&str> = self
            .words
            .iter()
            .map(String::as_str)
            .chain(words.iter().copied())
            .collect();
        command(&all)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.proxy.abort();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.proxy.abort();
        self.hosts.clear();
    }
}

/// The store listens on the test's loopback, which no host shares: its bytes are passed on.
async fn proxy(net: &NetLab, endpoint: &str) -> (tokio::task::JoinHandle<()>, String) {
    let listener = TcpListener::bind((net.host_address(), 0)).await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    (tokio::spawn(pass_on(listener, endpoint.to_owned())), at)
}

async fn pass_on(listener: TcpListener, endpoint: String) {
    let to: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}

impl Host {
    /// The agent, on a thread that stands in the host's namespace: so do all that it starts.
    pub fn start(&mut self) {
        assert!(self.running.is_none());
        let config = self.config.clone();
        let stop = CancellationToken::new();
        let told = stop.clone();
        let namespace = self.namespace.clone();
        let thread = std::thread::spawn(move || {
            Namespaces::new("/run/netns").enter(&namespace).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run::run(config, told)).unwrap();
        });
        self.running = Some((thread, stop));
    }

    /// Stops the agent; what it made stays.
    pub fn stop(&mut self) {
        if let Some((thread, stop)) = self.running.take() {
            stop.cancel();
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the agent panicked"
            );
        }
    }

    /// As the agent on this host sees it.
    pub async fn survey(&self) -> Survey {
        let (config, namespace) = (self.config.clone(), self.namespace.clone());
        let look = move || {
            Namespaces::new("/run/netns").enter(&namespace).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(survey(&config)).unwrap()
        };
        tokio::task::spawn_blocking(|| std::thread::spawn(look).join().unwrap())
            .await
            .unwrap()
    }

    /// Stops it, changes its configuration, and starts it again.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop();
        change(&mut self.config);
        self.start();
    }

    /// Something in the namespace of a port, on a thread of its own.
    pub fn in_port<T: Send>(&self, port: PortId, what: impl FnOnce() -> T + Send) -> T {
        self.inside(&device::port_namespace(port), what)
    }

    /// Something in a namespace of the agent, on a thread of its own.
    pub fn inside<T: Send>(&self, name: &str, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = || {
                self.namespaces.enter(name).unwrap();
                what()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    /// A program in a namespace of this host, to its end; what it said.
    pub fn run(&self, name: &str, words: &[&str]) -> String {
        self.inside(name, || command(words))
    }

    /// Whether the port gets an answer to an ICMP echo.
    pub fn pings(&self, from: PortId, to: Ipv4Addr) -> bool {
        self.in_port(from, || ping(to))
    }

    /// Whether that comes to be.
    pub async fn until_pings(&self, from: PortId, to: Ipv4Addr) {
        let what = format!("{from} reaches {to}");
        let done = eventually(&what, SOON, || async { self.pings(from, to).then_some(()) }).await;
        if let Err(error) = done {
            panic!("{error}: {}", self.everything());
        }
    }

    /// Whether it comes to be that not one of a few tries is answered.
    pub async fn until_silent(&self, from: PortId, to: Ipv4Addr) {
        let silent = || async { (0..3).all(|_| !self.pings(from, to)).then_some(()) };
        let what = format!("{from} does not reach {to}");
        if let Err(error) = eventually(&what, SOON, silent).await {
            panic!("{error}: {}", self.everything());
        }
    }

    /// For whoever reads a failed test.
    pub fn everything(&self) -> String {
        let mut said = String::new();
        for name in self.namespaces.list().unwrap() {
            said += &format!("== {name}\n");
            for words in [
                &["ip", "-d", "addr"][..],
                &["bridge", "fdb"],
                &["ip", "neigh"],
                &["ip", "route"],
                &["nft", "list", "ruleset"],
            ] {
                said += &self.run(&name, words);
            }
        }
        said
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
        for name in self.namespaces.list().unwrap_or_default() {
            if let Err(error) = self.namespaces.remove(&name) {
                eprintln!("{error}");
            }
        }
        // Bound to itself, as `ip netns` has it.
        let directory: PathBuf = self.config.namespace_directory.clone();
        let _ = nix::mount::umount2(&directory, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(directory);
    }
}

/// A program, to its end; what it said.
pub fn command(words: &[&str]) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One ICMP echo, from the calling thread's namespace (RFC 792).
pub fn ping(to: Ipv4Addr) -> bool {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )
    .unwrap();
    let patience = TimeVal::milliseconds(i64::try_from(SILENCE.as_millis()).unwrap());
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience).unwrap();
    let id: u16 = rand::random();
    let mut echo = [8, 0, 0, 0, 0, 0, 0, 1];
    echo[4..6].copy_from_slice(&id.to_be_bytes());
    let sum: u32 = echo
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    echo[2..4].copy_from_slice(&folded.to_be_bytes());
    let address = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    if sendto(socket.as_raw_fd(), &echo, &address, MsgFlags::empty()).is_err() {
        return false;
    }
    let mut buffer = [0; 1500];
    let end = std::time::Instant::now() + SILENCE;
    while std::time::Instant::now() < end {
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            return false;
        };
        // Behind the IP header: echo reply with our id.
        let icmp = &buffer[20..length];
        if buffer[12..16] == to.octets() && icmp[0] == 0 && icmp[4..6] == id.to_be_bytes() {
            return true;
        }
    }
    false
}

/// A UDP socket in the calling thread's namespace that does not wait long.
pub fn udp(at: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((at, port)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}
