//! What a decision costs in process, and what the records cost in memory: `cargo bench -p photon-authz --bench decide`.
//!
//! Prints markdown. One thread. Latencies are of single calls, each between two readings of the clock, whose own cost is
//! in them and is printed first; rates are of calls in a row without a clock.

#![expect(clippy::print_stdout, reason = "prints its result")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use photon_authz::{
    Binding, BindingId, Change, Condition, DenyId, DenyRule, Group, Object, Org, Permission,
    Policies, PrincipalRef, PrincipalState, Project, Question, Scope, Visible,
};
use photon_core::Name;
use uuid::Uuid;

const PROJECTS: usize = 1_000;
const ORGS: usize = 100;
/// Principals and scopes that are asked about again and again; they fit into what is remembered.
const HOT: usize = 100;
const SAMPLES: usize = 300_000;
const ROUNDS: usize = 5;

/// `--quick` shows that it works and measures little.
fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn user(n: usize) -> PrincipalRef {
    PrincipalRef::user(name(&format!("user-{n}")))
}

fn project(n: usize) -> Scope {
    Scope::Project(name(&format!("project-{}", n % PROJECTS)))
}

fn binding(n: usize, principal: PrincipalRef, role: &str, scope: Scope) -> Binding {
    Binding {
        id: BindingId::from_uuid(Uuid::from_u128(n as u128)),
        principal,
        role: name(role),
        scope,
        condition: None,
        expires_at: None,
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "user:admin".to_owned(),
    }
}

/// Orgs, projects, and so many bindings of as many users: three out of four editor of a project, one viewer of an org.
fn model(bindings: usize) -> Vec<Object> {
    let mut objects = Vec::new();
    for n in 0..ORGS {
        objects.push(Object::Org(Org {
            id: name(&format!("org-{n}")),
            name: format!("Org {n}"),
            implicit: false,
            disabled: false,
            created_at: Timestamp::UNIX_EPOCH,
        }));
    }
    for n in 0..PROJECTS {
        objects.push(Object::Project(Project {
            id: name(&format!("project-{n}")),
            org: name(&format!("org-{}", n % ORGS)),
            name: format!("Project {n}"),
            implicit: false,
            disabled: false,
            epoch: 0,
            created_at: Timestamp::UNIX_EPOCH,
        }));
    }
    for n in 0..bindings {
        let (role, scope) = if n % 4 == 3 {
            ("viewer", Scope::Org(name(&format!("org-{}", n % ORGS))))
        } else {
            ("editor", project(n))
        };
        objects.push(Object::Binding(binding(n, user(n), role, scope)));
    }
    objects
}

fn snapshot(objects: Vec<Object>) -> Policies {
    let mut policies = Policies::new();
    for object in objects {
        policies.apply(Change::Put(object));
    }
    policies
}

/// What somebody asks.
struct Asked {
    principal: PrincipalRef,
    permission: Permission,
    scope: Scope,
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question {
            principal: &self.principal,
            permission: &self.permission,
            scope: &self.scope,
            now: Timestamp::UNIX_EPOCH,
            source: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
            limit: None,
        }
    }
}

fn hot(permission: &str) -> Vec<Asked> {
    let permission: Permission = permission.parse().unwrap();
    let asked = |n| Asked {
        principal: user(n),
        permission: permission.clone(),
        scope: project(n),
    };
    (0..HOT).map(asked).collect()
}

struct Cost {
    p50: Duration,
    p99: Duration,
    per_second: f64,
}

/// Calls it with 0, 1, 2, … and measures; the best of some rounds for the rate, all samples for the latencies.
fn measure(samples: usize, mut call: impl FnMut(usize)) -> Cost {
    let (samples, rounds) = match is_quick() {
        true => ((samples / 30).max(100), 1),
        false => (samples, ROUNDS),
    };
    for n in 0..samples.min(10_000) {
        call(n);
    }
    let mut latencies: Vec<Duration> = Vec::with_capacity(samples);
    for n in 0..samples {
        let begin = Instant::now();
        call(n);
        latencies.push(begin.elapsed());
    }
    latencies.sort_unstable();
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let begin = Instant::now();
        for n in 0..samples {
            call(n);
        }
        best = best.min(begin.elapsed());
    }
    Cost {
        p50: latencies[samples / 2],
        p99: latencies[samples * 99 / 100],
        per_second: samples as f64 / best.as_secs_f64(),
    }
}

fn row(what: &str, elsewhere: &str, cost: &Cost) {
    println!(
        "| {what} | {elsewhere} | {:.2} | {:.2} | {:.0} |",
        cost.p50.as_nanos() as f64 / 1000.0,
        cost.p99.as_nanos() as f64 / 1000.0,
        cost.per_second
    );
}

fn decisions(what: &str, elsewhere: usize, policies: &Policies, asked: &[Asked], allowed: bool) {
    let cost = measure(SAMPLES, |n| {
        let decision = policies.decide(&asked[n % asked.len()].question());
        assert_eq!(black_box(decision).is_allowed(), allowed);
    });
    row(what, &elsewhere.to_string(), &cost);
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

/// 100,000 users and 100,000 bindings, from the JSON they are stored as. First, while nothing else was allocated.
fn memory_and_loading() {
    let users = 100_000;
    let text: Vec<String> = (0..users)
        .flat_map(|n| {
            let state = PrincipalState {
                principal: user(n),
                home: Some(Scope::Org(name(&format!("org-{}", n % ORGS)))),
                disabled: false,
                epoch: 1_760_000_000,
            };
            let role = if n % 4 == 3 { "viewer" } else { "editor" };
            let bound = binding(n, user(n), role, project(n));
            [
                serde_json::to_string(&state).unwrap(),
                serde_json::to_string(&bound).unwrap(),
            ]
        })
        .collect();
    let before = resident_mib();
    let begin = Instant::now();
    let mut policies = snapshot(model(0));
    for pair in text.chunks(2) {
        let state: PrincipalState = serde_json::from_str(&pair[0]).unwrap();
        policies.apply(Change::Put(Object::PrincipalState(state)));
        let bound: Binding = serde_json::from_str(&pair[1]).unwrap();
        policies.apply(Change::Put(Object::Binding(bound)));
    }
    let took = begin.elapsed();
    let grown = resident_mib() - before;
    // Everybody asks once: what is remembered is bounded.
    let permission: Permission = "plasmavmc.vms.get".parse().unwrap();
    for n in 0..users {
        let asked = Asked {
            principal: user(n),
            permission: permission.clone(),
            scope: project(n),
        };
        assert!(policies.decide(&asked.question()).is_allowed());
    }
    let after = resident_mib() - before;
    println!("| 100,000 users, 100,000 bindings | |");
    println!("|---|---|");
    println!("| parsed and applied in | {:.2} s |", took.as_secs_f64());
    println!("| memory | {grown:.0} MiB |");
    println!("| memory after everybody asked once | {after:.0} MiB |\n");
}

/// Conditions of the kind people write.
fn office_hours() -> Condition {
    serde_json::from_value(serde_json::json!({
        "window": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "00:00", "until": "24:00"},
        "source_networks": ["10.0.0.0/8"]
    }))
    .unwrap()
}

fn plain(elsewhere: usize) {
    let policies = snapshot(model(elsewhere));
    let get = hot("plasmavmc.vms.get");
    let by_editors: Vec<Asked> = hot("plasmavmc.vms.create")
        .into_iter()
        .enumerate()
        .filter_map(|(n, asked)| (n % 4 != 3).then_some(asked))
        .collect();
    decisions(
        "allowed by a binding",
        elsewhere,
        &policies,
        &by_editors,
        true,
    );
    decisions(
        "allowed at the project or its org",
        elsewhere,
        &policies,
        &get,
        true,
    );
    decisions(
        "refused",
        elsewhere,
        &policies,
        &hot("iam.users.delete"),
        false,
    );
}

fn by_groups(elsewhere: usize) {
    let mut policies = snapshot(model(elsewhere));
    let mut below =
        Vec::from_iter((0..HOT).map(|n| PrincipalRef::user(name(&format!("member-{n}")))));
    for depth in 1..=4 {
        let group = Group {
            id: name(&format!("group-{depth}")),
            org: None,
            title: String::new(),
            members: std::mem::take(&mut below),
        };
        below.push(PrincipalRef::group(group.id.clone()));
        policies.apply(Change::Put(Object::Group(group)));
    }
    let staff = PrincipalRef::group(name("group-4"));
    let bound = binding(1_000_000, staff, "editor", Scope::System);
    policies.apply(Change::Put(Object::Binding(bound)));
    let mut asked = hot("plasmavmc.vms.create");
    for (n, asked) in asked.iter_mut().enumerate() {
        asked.principal = PrincipalRef::user(name(&format!("member-{n}")));
    }
    decisions(
        "allowed by a group, four deep",
        elsewhere,
        &policies,
        &asked,
        true,
    );
}

fn by_cedar(elsewhere: usize) {
    let mut objects = model(elsewhere);
    for object in &mut objects {
        if let Object::Binding(binding) = object {
            binding.condition = Some(office_hours());
        }
    }
    let conditional = snapshot(objects);
    let get = hot("plasmavmc.vms.get");
    decisions(
        "allowed under a condition (Cedar)",
        elsewhere,
        &conditional,
        &get,
        true,
    );

    let mut denied = snapshot(model(elsewhere));
    denied.apply(Change::Put(Object::DenyRule(DenyRule {
        id: DenyId::from_uuid(Uuid::from_u128(1)),
        principal: None,
        permissions: vec!["plasmavmc.*.delete".parse().unwrap()],
        scope: Scope::System,
        condition: None,
        created_at: Timestamp::UNIX_EPOCH,
        created_by: String::new(),
    })));
    let editors: Vec<Asked> = hot("plasmavmc.vms.delete")
        .into_iter()
        .enumerate()
        .filter_map(|(n, asked)| (n % 4 != 3).then_some(asked))
        .collect();
    decisions(
        "refused by a deny rule (Cedar)",
        elsewhere,
        &denied,
        &editors,
        false,
    );
}

fn first_time(elsewhere: usize) {
    let policies = snapshot(model(elsewhere));
    let permission: Permission = "plasmavmc.vms.get".parse().unwrap();
    let asked: Vec<Asked> = (0..elsewhere)
        .map(|n| Asked {
            principal: user(n),
            permission: permission.clone(),
            // In turn another project, so that nothing is found again before it was thrown away.
            scope: project(n * 7),
        })
        .collect();
    let cost = measure(asked.len(), |n| {
        black_box(policies.decide(&asked[n].question()));
    });
    row("not remembered", &elsewhere.to_string(), &cost);
}

fn everything_by_cedar() {
    let policies = snapshot(model(10_000));
    let oracle = policies.oracle().unwrap();
    let asked = hot("plasmavmc.vms.get");
    let cost = measure(100, |n| {
        let decision = oracle.decide(&policies, &asked[n].question());
        assert!(black_box(decision).is_allowed());
    });
    row("for comparison: Cedar over all bindings", "10000", &cost);
}

/// A change of a snapshot that readers hold on to, as following IAM does.
fn changes() {
    let mut policies = snapshot(model(100_000));
    let mut held = policies.clone();
    let cost = measure(20_000, |n| {
        held = policies.clone();
        let bound = binding(n % 1000, user(n % 1000), "viewer", project(n));
        policies.apply(Change::Put(Object::Binding(bound)));
    });
    row("one change of a snapshot in use", "100000", &cost);
    black_box(held);
}

fn lists() {
    let mut policies = snapshot(model(100_000));
    for n in 0..100 {
        let bound = binding(1_000_000 + n, user(0), "viewer", project(n));
        policies.apply(Change::Put(Object::Binding(bound)));
    }
    let permission: Permission = "plasmavmc.vms.list".parse().unwrap();
    let cost = measure(2_000, |_| {
        let visible: Visible =
            policies.scopes_with(&user(0), &permission, Timestamp::UNIX_EPOCH, None);
        assert_eq!(black_box(visible).projects.len(), 100);
    });
    row("where may I list? (100 bindings)", "100000", &cost);
}

fn main() {
    memory_and_loading();
    println!("| check | bindings | p50 µs | p99 µs | per second and core |");
    println!("|---|---|---|---|---|");
    let clock = measure(SAMPLES, |n| {
        black_box(n);
    });
    row("nothing but the clock", "", &clock);
    for elsewhere in [100, 10_000, 100_000] {
        plain(elsewhere);
        by_groups(elsewhere);
        by_cedar(elsewhere);
    }
    first_time(100_000);
    everything_by_cedar();
    changes();
    lists();
}
