//! Ways out on real namespaces: egress NAT and floating IPs, seen from a node outside.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use photon_testkit::poll::eventually_true;
use prismnet_agent::{
    kernel::Namespaces,
    local::{
        ask::{Decided, decide},
        verdicts::Verdict,
    },
};
use prismnet_model::{
    Direction, ExternalNetwork, FloatingIp, GoneFloatingIp, Port, PortKind, Protocol, Remote,
    Services, Vpc, device,
};

use crate::{
    AGENT,
    lab::{Host, Lab, SOON, command, ping},
    samples,
    tenant::Tenant,
};

/// Where the world is: behind the node outside.
const WORLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// The block of the segment outside, with the node outside as its gateway.
const BLOCK: &str = "198.51.100.0/24";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Each host's interface in it.
const UPLINK: &str = "up0";

/// Hosts, and behind them a node that is the world: they have it as their default route, and a second segment with it, on
/// which they have no address.
struct Outside {
    lab: Lab,
    node: usize,
}

impl Outside {
    async fn or_skip(test: &str, hosts: usize) -> Option<Self> {
        let lab = Lab::or_skip_beside(&format!("prismnet-agent::{test}"), hosts, 1).await?;
        let node = hosts;
        let this = Self { lab, node };
        let outside = this.lab.net.namespace(node).to_owned();
        let at = format!("{WORLD}/32");
        for words in [
            &["ip", "addr", "add", &at, "dev", "lo"][..],
            &["ip", "link", "add", "segment", "type", "bridge"],
            &[
                "ip",
                "addr",
                "add",
                &format!("{GATEWAY}/24"),
                "dev",
                "segment",
            ],
            &["ip", "link", "set", "segment", "up"],
        ] {
            this.lab.net.run(node, words).unwrap();
        }
        for host in 0..hosts {
            let via = this.lab.net.address(node).to_string();
            let peer = format!("host{host}");
            for words in [
                &["ip", "route", "add", "default", "via", &via][..],
                &[
                    "ip", "link", "add", UPLINK, "type", "veth", "peer", "name", &peer, "netns",
                    &outside,
                ],
                &["ip", "link", "set", UPLINK, "up"],
            ] {
                this.lab.net.run(host, words).unwrap();
            }
            let attach = ["ip", "link", "set", &peer, "master", "segment", "up"];
            this.lab.net.run(node, &attach).unwrap();
        }
        Some(this)
    }

    /// Something at a node, on a thread of its own.
    fn at<T: Send>(&self, node: usize, what: impl FnOnce() -> T + Send) -> T {
        let namespace = self.lab.net.namespace(node);
        std::thread::scope(|scope| {
            let work = || {
                Namespaces::new("/run/netns").enter(namespace).unwrap();
                what()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    fn outside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.at(self.node, what)
    }

    fn host(&self) -> &Host {
        &self.lab.hosts[0]
    }

    fn listen(&self, at: Ipv4Addr, port: u16) -> TcpListener {
        self.outside(|| listener(at, port))
    }

    /// From where a connection of the port to the world is seen there.
    fn seen_from(&self, host: usize, port: &Port, listener: &TcpListener) -> Option<Ipv4Addr> {
        let to = listener.local_addr().unwrap();
        dismiss(listener);
        let near = self.lab.hosts[host].in_port(port.id, || connect(to.ip(), to.port()))?;
        let (_far, from) = accept(listener);
        drop(near);
        match from.ip() {
            std::net::IpAddr::V4(from) => Some(from),
            std::net::IpAddr::V6(_) => None,
        }
    }

    async fn until_seen_from(&self, port: &Port, listener: &TcpListener, from: Ipv4Addr) {
        let what = format!("{} is seen as {from}", port.ip_address);
        let is_seen = || async { self.seen_from(0, port, listener) == Some(from) };
        self.until(&what, is_seen).await;
    }

    async fn until_answered(&self, address: Ipv4Addr) {
        let what = format!("{address} is answered");
        self.until(&what, || async { self.outside(|| ping(address)) })
            .await;
    }

    async fn until_unanswered(&self, address: Ipv4Addr) {
        let what = format!("{address} is not answered");
        let silent = || async { self.outside(|| (0..3).all(|_| !ping(address))) };
        self.until(&what, silent).await;
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        if let Err(error) = eventually_true(what, SOON, is_so).await {
            self.fail(&error.to_string()).await;
        }
    }

    /// With all that there is, for whoever reads it.
    async fn fail(&self, what: &str) -> ! {
        let mut said = self.host().everything();
        for node in 0..=self.node {
            said += &format!("== node {node}\n");
            for words in [
                &["ip", "-d", "addr"][..],
                &["ip", "rule"],
                &["ip", "route", "show", "table", "all"],
                &["ip", "neigh"],
                &["ip", "neigh", "show", "proxy"],
                &["nft", "list", "ruleset"],
            ] {
                said += &self.at(node, || command(words));
            }
        }
        panic!("{what}: {said}\n{}", self.lab.survey(0).await);
    }

    async fn until_whole(&self) {
        let whole = || async { self.lab.survey(0).await.plan_lines().is_empty() };
        self.until("nothing is left to do", whole).await;
    }

    async fn put_network(&self, network: &ExternalNetwork) {
        self.lab.put(&network.key(), network.clone()).await;
    }

    async fn put_floating(&self, floating: &FloatingIp) {
        self.lab.put(&floating.key(), floating.clone()).await;
    }

    /// As the control plane deletes it.
    async fn release(&self, floating: &FloatingIp) {
        let gone = GoneFloatingIp::of(floating, jiff::Timestamp::now());
        self.lab.put(&gone.key(), gone).await;
        self.lab.remove::<FloatingIp>(&floating.key()).await;
    }

    /// A VPC whose ports let in pings and TCP from outside.
    async fn tenant(&self, vni: u32, internet: bool) -> Tenant {
        let mut tenant = Tenant::new(vni);
        tenant.vpc.internet_access = internet;
        self.lab.put_vpc(&tenant.vpc, &[&tenant.subnet]).await;
        let rules = samples::default_rules(tenant.group.id);
        self.lab.put_group(&tenant.group, rules).await;
        tenant
    }

    async fn let_in(&self, tenant: &Tenant, protocol: Protocol) -> prismnet_model::Rule {
        let rule = samples::rule(
            tenant.group.id,
            Direction::Ingress,
            Services::All(protocol),
            Remote::Cidr(prismnet_model::Block::ANY),
        );
        self.lab.put_rule(&rule).await;
        rule
    }

    async fn set_internet(&self, vpc: &mut Vpc, internet: bool) {
        vpc.internet_access = internet;
        self.lab.put(&vpc.key(), vpc.clone()).await;
    }
}

fn listener(at: Ipv4Addr, port: u16) -> TcpListener {
    let listener = TcpListener::bind((at, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A VPC with internet access and two ports, one of which has a floating IP, and a listener in the world.
struct Open {
    tenant: Tenant,
    a: Port,
    b: Port,
    network: ExternalNetwork,
    floating: FloatingIp,
    world: TcpListener,
}

impl Open {
    async fn put(outside: &Outside) -> Self {
        let tenant = outside.tenant(5001, true).await;
        outside.let_in(&tenant, Protocol::Any).await;
        let a = tenant.port(&outside.lab, "10.0.1.2").await;
        let b = tenant.port(&outside.lab, "10.0.1.3").await;
        let network = samples::external_network(BLOCK, &[("here", UPLINK)]);
        outside.put_network(&network).await;
        let floating = samples::floating_ip(&network, "198.51.100.7", &a);
        outside.put_floating(&floating).await;
        for port in [&a, &b] {
            outside.lab.until_active(port).await;
        }
        outside.until_answered(floating.address).await;
        let world = outside.listen(WORLD, 7000);
        Self {
            tenant,
            a,
            b,
            network,
            floating,
            world,
        }
    }
}

/// Who came before is not who comes next.
fn dismiss(listener: &TcpListener) {
    while listener.accept().is_ok() {}
}

/// The next one; whoever connected is there, or about to be.
fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let end = Instant::now() + SOON;
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).unwrap();
                return (stream, from);
            }
            Err(error) => assert!(Instant::now() < end, "nobody comes: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn connect(to: impl Into<std::net::IpAddr>, port: u16) -> Option<TcpStream> {
    let to = (to.into(), port).into();
    TcpStream::connect_timeout(&to, Duration::from_millis(500)).ok()
}

/// A connection that is talked on.
struct Talk(TcpStream, TcpStream);

impl Talk {
    fn new(listener: &TcpListener, connect: impl FnOnce() -> Option<TcpStream>) -> Self {
        dismiss(listener);
        let near = connect().expect("no connection");
        let (far, _) = accept(listener);
        for end in [&near, &far] {
            end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        Self(near, far)
    }

    fn goes_on(&mut self) {
        self.0.write_all(b"ping").unwrap();
        self.1.read_exact(&mut [0; 4]).unwrap();
        self.1.write_all(b"pong").unwrap();
        self.0.read_exact(&mut [0; 4]).unwrap();
    }

    /// A rule is changed a moment before what lived by it is ended.
    fn until_ended(&mut self) {
        let end = Instant::now() + SOON;
        while !self.has_ended() {
            assert!(Instant::now() < end, "it goes on");
        }
    }

    fn has_ended(&mut self) -> bool {
        self.1
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        self.0.write_all(b"ping").is_err() || self.1.read_exact(&mut [0; 4]).is_err()
    }
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn internet_access_is_switched_on_and_off() {
    let Some(mut outside) = Outside::or_skip("internet_access_is_switched_on_and_off", 1).await
    else {
        return;
    };
    // Somewhere that the operator lets nobody go.
    let denied = address("203.0.113.66");
    let at = format!("{denied}/32");
    outside
        .lab
        .net
        .run(outside.node, &["ip", "addr", "add", &at, "dev", "lo"])
        .unwrap();
    let deny = format!("{denied}/32").parse().unwrap();
    outside.lab.hosts[0].configure(|config| config.egress.deny = vec![deny]);
    let vtep = samples::host("there", "203.0.113.77");
    let at = "203.0.113.77/32";
    outside
        .lab
        .net
        .run(outside.node, &["ip", "addr", "add", at, "dev", "lo"])
        .unwrap();
    outside.lab.put(&vtep.key(), vtep.clone()).await;
    let mut one = outside.tenant(5001, false).await;
    let two = outside.tenant(5002, true).await;
    let a = one.port(&outside.lab, "10.0.1.2").await;
    let same = two.port(&outside.lab, "10.0.1.2").await;
    for port in [&a, &same] {
        outside.lab.until_active(port).await;
    }
    let world = outside.listen(WORLD, 7000);
    let host = outside.lab.net.address(0);
    outside.until_seen_from(&same, &world, host).await;
    assert!(
        outside.seen_from(0, &a, &world).is_none(),
        "it is not let out"
    );

    outside.set_internet(&mut one.vpc, true).await;
    outside.until_seen_from(&a, &world, host).await;
    // Both have the same block, and still each gets its own answers.
    outside.until_seen_from(&same, &world, host).await;
    outside.until_whole().await;

    // The host itself, another host's tunnel address, another VPC and what is denied are out of reach.
    let survey = outside.lab.survey(0).await;
    let transfers: Vec<Ipv4Addr> = survey.ways_out.ways.iter().map(|way| way.address).collect();
    assert_eq!(transfers.len(), 2, "{survey}");
    let insides = transfers
        .iter()
        .map(|at| Ipv4Addr::from_bits(at.to_bits() + 1));
    let of_others = |at: &Ipv4Addr| {
        let namespace = device::namespace(one.vpc.id);
        let own = outside
            .host()
            .run(&namespace, &["ip", "-4", "addr", "show", "pnuplink"]);
        !own.contains(&format!("inet {at}/"))
    };
    let others: Vec<Ipv4Addr> = insides.filter(of_others).collect();
    assert_eq!(others.len(), 1);
    let open = outside.at(0, || listener(Ipv4Addr::UNSPECIFIED, 7100));
    for barred in transfers
        .iter()
        .chain(&others)
        .chain([&host, &denied, &vtep.vtep])
    {
        assert!(!outside.host().pings(a.id, *barred), "{barred}");
        let connected = outside.host().in_port(a.id, || connect(*barred, 7100));
        assert!(connected.is_none(), "{barred}");
    }
    drop(open);
    // The node outside is no VTEP and not denied: the way there is open, by each of its addresses.
    assert!(outside.host().pings(a.id, WORLD));

    // Another network of the host's is no way out, not even for what needs no answer.
    let on_host = |words: &[&str]| outside.lab.net.run(0, words).unwrap();
    for words in [
        "link add beside type veth peer name behind",
        "link set beside addrgenmode none",
        "link set behind addrgenmode none",
        "addr add 192.0.2.1/24 dev beside",
        "link set beside up",
        "link set behind up",
        "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev beside nud permanent",
    ] {
        on_host(
            &["ip"]
                .into_iter()
                .chain(words.split(' '))
                .collect::<Vec<_>>(),
        );
    }
    let sent = || on_host(&["ip", "-s", "-o", "link", "show", "beside"]).stdout;
    let before = sent();
    outside.host().in_port(a.id, || {
        let socket = std::net::UdpSocket::bind((a.ip_address, 0)).unwrap();
        socket.send_to(b"hello", ("192.0.2.9", 5140)).unwrap();
    });
    assert!(outside.host().pings(a.id, WORLD), "what came later is out");
    assert_eq!(sent(), before);

    // Nobody comes in, also not from beside the host, and the host is nobody's router.
    let via = host.to_string();
    let inside = format!("{}/32", others[0]);
    outside
        .lab
        .net
        .run(outside.node, &["ip", "route", "add", &inside, "via", &via])
        .unwrap();
    assert!(!outside.outside(|| ping(others[0])));
    let forwarding = |device: &str| {
        let name = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
        outside.at(0, || {
            std::fs::read_to_string(name).unwrap().trim().to_owned()
        })
    };
    assert_eq!(
        (forwarding("eth0"), forwarding("all")),
        ("1".to_owned(), "0".to_owned())
    );

    // Off again: also what lives by it ends.
    let mut talk = Talk::new(&world, || {
        outside.host().in_port(a.id, || connect(WORLD, 7000))
    });
    talk.goes_on();
    outside.set_internet(&mut one.vpc, false).await;
    outside
        .until("it is shut", || async {
            outside.seen_from(0, &a, &world).is_none()
        })
        .await;
    talk.until_ended();
    outside.until_seen_from(&same, &world, host).await;

    // With the last of them everything goes: with the last port, what guards its tunnel, too.
    outside.lab.delete_port(&same).await;
    outside.lab.delete_port(&a).await;
    let gone = || async {
        let rules = outside.at(0, || command(&["nft", "list", "tables", "ip"]));
        let links = outside.at(0, || command(&["ip", "link"]));
        !rules.contains("photon") && !links.contains("pnu") && forwarding("eth0") == "0"
    };
    outside.until("nothing is left", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_is_its_ports() {
    let Some(outside) = Outside::or_skip("a_floating_ip_is_its_ports", 1).await else {
        return;
    };
    let host = outside.host();
    let tenant = outside.tenant(5001, false).await;
    let a = tenant.port(&outside.lab, "10.0.1.2").await;
    let b = tenant.port(&outside.lab, "10.0.1.3").await;
    let network = samples::external_network(BLOCK, &[("here", UPLINK)]);
    outside.put_network(&network).await;
    let mut floating = samples::floating_ip(&network, "198.51.100.7", &a);
    outside.put_floating(&floating).await;
    for port in [&a, &b] {
        outside.lab.until_active(port).await;
    }
    // From the port, to the segment and beyond it, under its own address. The other port has no way out.
    let (near, far) = (outside.listen(GATEWAY, 7000), outside.listen(WORLD, 7000));
    outside.until_seen_from(&a, &near, floating.address).await;
    outside.until_seen_from(&a, &far, floating.address).await;
    assert!(outside.seen_from(0, &b, &far).is_none());

    // To it only what its groups let in.
    assert!(
        !outside.outside(|| ping(floating.address)),
        "no rule lets it in"
    );
    let rule = outside.let_in(&tenant, Protocol::ICMP).await;
    outside.until_answered(floating.address).await;
    let inside = host.in_port(a.id, || listener(a.ip_address, 8000));
    let from_outside = || outside.outside(|| connect(floating.address, 8000));
    assert!(from_outside().is_none());
    let tcp = outside.let_in(&tenant, Protocol::TCP).await;
    let is_open = || async { from_outside().is_some() };
    outside.until("TCP is let in", is_open).await;
    let mut talk = Talk::new(&inside, from_outside);
    talk.goes_on();
    outside.lab.remove::<prismnet_model::Rule>(&tcp.key()).await;
    outside
        .until("the port is shut", || async { from_outside().is_none() })
        .await;
    talk.until_ended();
    outside
        .lab
        .remove::<prismnet_model::Rule>(&rule.key())
        .await;
    outside.until_unanswered(floating.address).await;
    outside.let_in(&tenant, Protocol::Any).await;
    outside.until_answered(floating.address).await;
    outside.until_whole().await;

    // Another port of the VPC reaches it without leaving, the host itself by its own table.
    host.until_pings(b.id, floating.address).await;
    assert!(outside.at(0, || ping(floating.address)));
    // The uplink has no address, and what is for nobody here is not answered.
    let uplink = outside.at(0, || command(&["ip", "-4", "addr", "show", UPLINK]));
    assert_eq!(uplink, "");
    assert!(!outside.outside(|| ping(address("198.51.100.8"))));

    // It goes to the other port, with what lived by it.
    let mut talk = Talk::new(&inside, from_outside);
    talk.goes_on();
    let _other = host.in_port(b.id, || listener(b.ip_address, 8001));
    floating.port = Some(b.id);
    outside.put_floating(&floating).await;
    let answers = || async {
        outside
            .outside(|| connect(floating.address, 8001))
            .is_some()
    };
    outside.until("the other port answers", answers).await;
    talk.until_ended();
    outside.until_seen_from(&b, &far, floating.address).await;
    assert!(outside.seen_from(0, &a, &far).is_none());

    // Released: nothing is left of it.
    outside.release(&floating).await;
    outside.until_unanswered(floating.address).await;
    let gone = || async {
        let rules = outside.at(0, || command(&["ip", "rule"]));
        let proxies = outside.at(0, || command(&["ip", "neigh", "show", "proxy"]));
        let routes = outside.at(0, || command(&["ip", "route", "show", "table", "all"]));
        !rules.contains("lookup 20558") && proxies.is_empty() && !routes.contains("proto 80")
    };
    outside.until("nothing is left", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn internet_access_and_floating_ips_go_together() {
    let test = "internet_access_and_floating_ips_go_together";
    let Some(outside) = Outside::or_skip(test, 1).await else {
        return;
    };
    let one = outside.tenant(5001, true).await;
    let two = outside.tenant(5002, true).await;
    let a = one.port(&outside.lab, "10.0.1.2").await;
    let b = one.port(&outside.lab, "10.0.1.3").await;
    let c = two.port(&outside.lab, "10.0.1.2").await;
    let network = samples::external_network(BLOCK, &[("here", UPLINK)]);
    outside.put_network(&network).await;
    let floating = samples::floating_ip(&network, "198.51.100.7", &a);
    let theirs = samples::floating_ip(&network, "198.51.100.8", &c);
    for floating in [&floating, &theirs] {
        outside.put_floating(floating).await;
    }
    for tenant in [&one, &two] {
        outside.let_in(tenant, Protocol::Any).await;
    }
    for port in [&a, &b, &c] {
        outside.lab.until_active(port).await;
    }
    let world = outside.listen(WORLD, 7000);
    outside.until_seen_from(&a, &world, floating.address).await;
    outside
        .until_seen_from(&b, &world, outside.lab.net.address(0))
        .await;
    // From VPC to VPC by floating IPs, and by nothing else.
    let host = outside.host();
    host.until_pings(a.id, theirs.address).await;
    host.until_pings(b.id, theirs.address).await;
    host.until_pings(c.id, floating.address).await;
    let open = host.in_port(c.id, || listener(c.ip_address, 8000));
    let near = host
        .in_port(a.id, || connect(theirs.address, 8000))
        .unwrap();
    let (_, from) = accept(&open);
    assert_eq!(from.ip(), floating.address, "seen as who it is outside");
    drop(near);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_goes_along_to_another_host() {
    let test = "a_floating_ip_goes_along_to_another_host";
    let Some(outside) = Outside::or_skip(test, 2).await else {
        return;
    };
    let tenant = outside.tenant(5001, false).await;
    outside.let_in(&tenant, Protocol::Any).await;
    let mut a = tenant.port(&outside.lab, "10.0.1.2").await;
    let network = samples::external_network(BLOCK, &[("here", UPLINK), ("host-1", UPLINK)]);
    outside.put_network(&network).await;
    let floating = samples::floating_ip(&network, "198.51.100.7", &a);
    outside.put_floating(&floating).await;
    outside.lab.until_active(&a).await;
    outside.until_answered(floating.address).await;
    let mac = |host| {
        let link = outside.at(host, || command(&["ip", "-o", "link", "show", UPLINK]));
        let mut words = link.split_whitespace();
        words.find(|word| *word == "link/ether").unwrap();
        words.next().unwrap().to_owned()
    };
    let known = || {
        let words = ["ip", "neigh", "show", "198.51.100.7", "dev", "segment"];
        outside.outside(|| command(&words))
    };
    assert!(known().contains(&mac(0)), "{}", known());

    for (name, host) in [("host-1", 1), ("here", 0)] {
        a.host = Some(samples::name(name));
        outside.lab.put_port(&a).await;
        // Nobody asks: what is known is replaced by the announcement alone.
        let is_replaced = || async { known().contains(&mac(host)) };
        outside
            .until("the announcement is heard", is_replaced)
            .await;
        outside.lab.until_active(&a).await;
        outside.until_answered(floating.address).await;
        let proxies = outside.at(1 - host, || command(&["ip", "neigh", "show", "proxy"]));
        assert_eq!(proxies, "", "the other host answers on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_breaks_of_a_way_out_is_repaired() {
    let test = "what_somebody_breaks_of_a_way_out_is_repaired";
    let Some(outside) = Outside::or_skip(test, 1).await else {
        return;
    };
    let Open {
        tenant,
        a,
        b,
        network,
        floating,
        world,
    } = Open::put(&outside).await;
    let way = device::uplink(tenant.vpc.id);
    let table = network.cidr_block.network().to_bits().to_string();
    for broken in [
        &["ip", "link", "delete", &way][..],
        &["ip", "link", "set", &way, "down"],
        &["ip", "addr", "flush", "dev", &way],
        &["ip", "link", "set", UPLINK, "down"],
        &["nft", "flush", "table", "ip", "photon"],
        &["nft", "delete", "table", "ip", "photon"],
        &["nft", "flush", "set", "ip", "photon", "floating"],
        &["ip", "neigh", "del", "proxy", "198.51.100.7", "dev", UPLINK],
        &["ip", "rule", "del", "priority", "20000"],
        &["ip", "rule", "del", "priority", "20001"],
        &["ip", "route", "flush", "table", "20558"],
        &["ip", "route", "flush", "table", &table],
        &["sysctl", "-w", "net.ipv4.conf.eth0.forwarding=0"],
        &["sysctl", "-w", "net.ipv4.conf.up0.forwarding=0"],
    ] {
        outside.at(0, || command(broken));
        if broken == ["ip", "link", "set", UPLINK, "down"] {
            let status = outside.lab.survey(0).await;
            assert!(status.to_string().contains("up0"), "{status}");
            outside.at(0, || command(&["ip", "link", "set", UPLINK, "up"]));
        }
        outside.until_whole().await;
        outside.until_answered(floating.address).await;
        outside.until_seen_from(&a, &world, floating.address).await;
        outside
            .until_seen_from(&b, &world, outside.lab.net.address(0))
            .await;
    }
    // The same inside.
    let namespace = device::namespace(tenant.vpc.id);
    for broken in [
        &["ip", "link", "delete", "pnuplink"][..],
        &["ip", "route", "delete", "default"],
        &["nft", "delete", "table", "ip", "photon"],
        &["nft", "flush", "map", "ip", "photon", "inward"],
    ] {
        outside.host().run(&namespace, broken);
        outside.until_whole().await;
        outside.until_answered(floating.address).await;
        outside
            .until_seen_from(&b, &world, outside.lab.net.address(0))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_lives_over_a_restart() {
    let Some(mut outside) = Outside::or_skip("what_goes_out_lives_over_a_restart", 1).await else {
        return;
    };
    let program = outside.lab.program(AGENT, 0).await;
    let mut agent = program.start();
    let Open {
        tenant,
        a,
        b,
        floating,
        world,
        ..
    } = Open::put(&outside).await;
    outside
        .until_seen_from(&b, &world, outside.lab.net.address(0))
        .await;
    let inside = outside
        .host()
        .in_port(a.id, || listener(a.ip_address, 8000));
    let mut out = Talk::new(&world, || {
        outside.host().in_port(b.id, || connect(WORLD, 7000))
    });
    let mut back = Talk::new(&inside, || {
        outside.outside(|| connect(floating.address, 8000))
    });
    let links = |outside: &Outside| {
        outside.at(0, || command(&["ip", "-4", "-o", "addr"]))
            + &outside.host().run(
                &device::namespace(tenant.vpc.id),
                &["ip", "-4", "-o", "addr"],
            )
    };
    let before = links(&outside);
    for _ in 0..2 {
        agent.kill().unwrap();
        for talk in [&mut out, &mut back] {
            talk.goes_on();
        }
        agent = program.start();
        // It has looked, and found nothing to do: a new port tells that it is there.
        let more = tenant.port(&outside.lab, "10.0.1.4").await;
        outside.lab.until_active(&more).await;
        outside.lab.delete_port(&more).await;
        outside.until_whole().await;
        for talk in [&mut out, &mut back] {
            talk.goes_on();
        }
        assert_eq!(links(&outside), before);
    }
    let status = program.say(&["status"]);
    for said in ["way out of", "198.51.100.7 of", "is answered on up0"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    assert_eq!(program.say(&["--dry-run"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_address_on_an_uplink_is_never_cut() {
    let test = "the_hosts_own_address_on_an_uplink_is_never_cut";
    let Some(outside) = Outside::or_skip(test, 1).await else {
        return;
    };
    let own = address("198.51.100.200");
    for words in [
        &["ip", "addr", "add", "198.51.100.200/24", "dev", UPLINK][..],
        &[
            "ip", "link", "add", "up1", "type", "veth", "peer", "name", "far1",
        ],
        &["ip", "link", "set", "up1", "up"],
        &["ip", "link", "set", "far1", "up"],
    ] {
        outside.lab.net.run(0, words).unwrap();
    }
    let as_it_was = || {
        let words = ["ip", "-4", "-o", "addr", "show", UPLINK];
        let said = outside.at(0, || command(&words) + &command(&["ip", "route"]));
        // A way out is another device, with its own address.
        let others = said.lines().filter(|line| !line.contains("pnu"));
        others.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = as_it_was();
    let service = outside.at(0, || listener(own, 22));
    let mut talk = Talk::new(&service, || outside.outside(|| connect(own, 22)));
    talk.goes_on();

    let tenant = outside.tenant(5001, true).await;
    outside.let_in(&tenant, Protocol::Any).await;
    let a = tenant.port(&outside.lab, "10.0.1.2").await;
    let mut network = samples::external_network(BLOCK, &[("here", UPLINK)]);
    outside.put_network(&network).await;
    let floating = samples::floating_ip(&network, "198.51.100.7", &a);
    outside.put_floating(&floating).await;
    outside.lab.until_active(&a).await;
    outside.until_answered(floating.address).await;
    talk.goes_on();
    assert!(!outside.host().pings(a.id, own), "a port reaches the host");

    // To an interface that leads elsewhere, to one that is not there, and back.
    let problems = || async { outside.lab.survey(0).await.ways_out.problems };
    for (uplink, problem) in [
        ("up1", None),
        ("nowhere0", Some("nowhere0")),
        (UPLINK, None),
    ] {
        let here = samples::name("here");
        let interface = uplink.to_owned().try_into().unwrap();
        network.uplinks.insert(here, interface);
        outside.put_network(&network).await;
        match problem {
            Some(problem) => {
                let is_said =
                    || async { problems().await.iter().any(|said| said.contains(problem)) };
                outside.until("it is said", is_said).await;
                let agent = prismnet_model::observed::agent_key(&samples::name("here"));
                let is_told = || async {
                    let all = outside
                        .lab
                        .store
                        .collection::<prismnet_model::ObservedAgent>();
                    let told = all.get(&agent).await.unwrap();
                    told.is_some_and(|told| {
                        told.value
                            .problems
                            .iter()
                            .any(|said| said.contains(problem))
                    })
                };
                outside.until("it is told", is_told).await;
            }
            None => outside.until_whole().await,
        }
        if uplink == UPLINK {
            outside.until_answered(floating.address).await;
        } else {
            outside.until_unanswered(floating.address).await;
        }
        talk.goes_on();
        assert_eq!(as_it_was(), before);
        assert!(outside.outside(|| connect(own, 22)).is_some());
    }
    outside.release(&floating).await;
    outside.lab.remove::<ExternalNetwork>(&network.key()).await;
    outside.until_unanswered(floating.address).await;
    outside.lab.delete_port(&a).await;
    outside.until_whole().await;
    talk.goes_on();
    assert_eq!(as_it_was(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_knows_keeps_its_way_out() {
    let test = "a_port_that_nobody_knows_keeps_its_way_out";
    let Some(outside) = Outside::or_skip(test, 1).await else {
        return;
    };
    let tenant = outside.tenant(5001, true).await;
    outside.let_in(&tenant, Protocol::Any).await;
    let a = tenant.port(&outside.lab, "10.0.1.2").await;
    let network = samples::external_network(BLOCK, &[("here", UPLINK)]);
    outside.put_network(&network).await;
    let floating = samples::floating_ip(&network, "198.51.100.7", &a);
    outside.put_floating(&floating).await;
    outside.lab.until_active(&a).await;
    outside.until_answered(floating.address).await;
    // The record is lost; nobody said that the port is gone.
    outside.lab.remove::<Port>(&a.key()).await;
    let is_orphan = || async {
        let survey = outside.lab.survey(0).await;
        survey.vpcs.iter().any(|vpc| vpc.orphans.len() == 1)
    };
    outside.until("it is an orphan", is_orphan).await;
    outside.until_whole().await;
    let other = samples::port(
        &tenant.subnet,
        "10.0.1.3",
        PortKind::Service,
        &[tenant.group.id],
    );
    outside.lab.put_port(&other).await;
    outside.lab.until_active(&other).await;
    outside.until_whole().await;
    assert!(outside.outside(|| ping(floating.address)));
    // It is back.
    outside.lab.put_port(&a).await;
    outside.lab.until_active(&a).await;
    assert!(outside.outside(|| ping(floating.address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_that_nobody_knows_is_answered_until_somebody_says_so() {
    let test = "a_floating_ip_that_nobody_knows_is_answered_until_somebody_says_so";
    let Some(mut outside) = Outside::or_skip(test, 1).await else {
        return;
    };
    let tenant = outside.tenant(5001, false).await;
    outside.let_in(&tenant, Protocol::Any).await;
    let a = tenant.port(&outside.lab, "10.0.1.2").await;
    let b = tenant.port(&outside.lab, "10.0.1.3").await;
    let network = samples::external_network(BLOCK, &[("here", UPLINK)]);
    outside.put_network(&network).await;
    let lost = samples::floating_ip(&network, "198.51.100.7", &a);
    let deleted = samples::floating_ip(&network, "198.51.100.8", &b);
    for floating in [&lost, &deleted] {
        outside.put_floating(floating).await;
        outside.until_answered(floating.address).await;
    }
    let service = outside.lab.hosts[0].in_port(a.id, || listener(a.ip_address, 80));
    let far = lost.address;
    let mut talk = Talk::new(&service, || outside.outside(|| connect(far, 80)));
    talk.goes_on();

    // One record is lost, the other is deleted.
    outside.lab.remove::<FloatingIp>(&lost.key()).await;
    outside.release(&deleted).await;
    outside.until_unanswered(deleted.address).await;
    let orphans = async |outside: &Outside| {
        let found = outside.lab.survey(0).await.ways_out.orphans;
        found
            .iter()
            .map(|orphan| orphan.address)
            .collect::<Vec<_>>()
    };
    assert_eq!(orphans(&outside).await, [lost.address]);
    outside.until_whole().await;
    assert!(outside.outside(|| ping(lost.address)));
    talk.goes_on();
    let key = prismnet_model::observed::agent_key(&samples::name("here"));
    let agents = outside
        .lab
        .store
        .collection::<prismnet_model::ObservedAgent>();
    let is_told = || async {
        let told = agents.get(&key).await.unwrap();
        let told = told.map(|told| told.value.floating_orphans);
        told.is_some_and(|told| told.len() == 1 && told[0].address == lost.address)
    };
    outside.until("the store is told", is_told).await;

    // Also after a restart.
    outside.lab.hosts[0].stop();
    outside.lab.hosts[0].start();
    outside.until("the store is told again", is_told).await;
    outside.until_whole().await;
    talk.goes_on();
    assert!(outside.outside(|| ping(lost.address)));

    // What the store knows is nobody's to purge.
    let socket = outside.host().config.socket.clone();
    let purge = async |address| decide(&socket, Decided::Floating(address), Verdict::Purged).await;
    // Before it has heard from the store it refuses.
    let purged = || async { purge(lost.address).await.is_ok() };
    purge(deleted.address).await.unwrap_err();
    outside.until("it is purged", purged).await;
    outside.until_unanswered(lost.address).await;
    assert_eq!(orphans(&outside).await, Vec::<Ipv4Addr>::new());
    outside.until_whole().await;
}
