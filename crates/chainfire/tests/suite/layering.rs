//! Who may use whom, held against what cargo says: the table in `docs/architecture.md` is the rule.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // Without a platform cargo would fetch what only other systems need.
        .other_options([
            "--locked".to_owned(),
            format!(
                "--filter-platform={}-unknown-linux-gnu",
                std::env::consts::ARCH
            ),
        ])
        .exec()
        .unwrap()
}

/// Crates of the workspace that are not rows of the table, and why.
const BESIDE_THE_TABLE: &[&str] = &[
    // A tool to measure with; it uses the wire interface, the store's library for what services are compared with, and the kit.
    "photon-bench",
];

/// Crates that only tests may use.
const TEST_ONLY: &[&str] = &["photon-testkit"];

/// The table: each crate and the crates it may use, except those that say "test only" or "clients".
fn table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    text.lines()
        .skip_while(|line| !line.starts_with("| crate "))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, _purpose, uses] = cells[..] else {
                panic!("not a row of three: {line}");
            };
            (name.to_owned(), uses_of(name, uses))
        })
        .collect()
}

/// The short names of a cell as package names.
fn uses_of(crate_name: &str, cell: &str) -> BTreeSet<String> {
    match cell {
        "—" => return BTreeSet::new(),
        // The kit starts everything there is.
        "test only" => return BTreeSet::from(["*".to_owned()]),
        _ => {}
    }
    cell.split(',')
        .map(str::trim)
        .flat_map(|short| match short {
            "engine" => vec!["chainfire-engine".to_owned()],
            "clients" => vec!["chainfire-client".to_owned()],
            "ledger" => vec!["creditservice-ledger".to_owned()],
            // A service's own.
            "model" => match crate_name.split('-').next() {
                Some(service) => vec![format!("{service}-model")],
                None => Vec::new(),
            },
            "door" => vec!["plasmavmc-door".to_owned()],
            "core" | "proto" | "pki" | "raft" | "server" | "service" | "store" | "authz"
            | "auth" | "reconcile" | "agent" => {
                vec![format!("photon-{short}")]
            }
            _ => panic!("{crate_name}: the table names an unknown crate {short:?}"),
        })
        .collect()
}

fn shipped_dependencies<'a>(package: &'a Package, ours: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| ours.contains(name))
        .collect()
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let table = table(&text);
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();

    let mut wrong = Vec::new();
    for package in &packages {
        let name = package.name.as_str();
        if BESIDE_THE_TABLE.contains(&name) {
            continue;
        }
        let Some(may_use) = table.get(name) else {
            wrong.push(format!(
                "{name} is no row of the table in docs/architecture.md"
            ));
            continue;
        };
        for used in shipped_dependencies(package, &ours) {
            if TEST_ONLY.contains(&used) {
                wrong.push(format!("{name} ships {used}, which is for tests only"));
            } else if !may_use.contains("*") && !may_use.contains(used) {
                wrong.push(format!("{name} uses {used}; it may use {may_use:?}"));
            }
        }
    }
    for row in table.keys() {
        if !ours.contains(row.as_str()) {
            wrong.push(format!(
                "docs/architecture.md has a row for {row}, which does not exist"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_read() {
    let text = "\n| crate | purpose | may use |\n|---|---|---|\n| photon-core | x | — |\n| chainfire | y | raft, engine |\n\nend";
    let table = table(text);
    assert_eq!(table["photon-core"], BTreeSet::new());
    let expected = ["chainfire-engine", "photon-raft"].map(str::to_owned);
    assert_eq!(table["chainfire"], BTreeSet::from(expected));
}

/// With ring beside aws-lc-rs, rustls cannot choose a provider and panics at run time.
///
/// From `cargo tree`, because `cargo metadata` also lists optional dependencies that no enabled feature turns on.
#[test]
fn ring_is_not_in_the_dependency_tree() {
    let listed = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--prefix=none",
            "--edges=normal,build,dev",
            "--format={p}",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let has = |name: &str| {
        text.lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    assert!(
        has("aws-lc-rs"),
        "the tree was not understood: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    assert!(!has("ring"), "see: cargo tree --workspace --invert ring");
}

/// Every dependency has its line in `docs/dependencies.md`, and every line its dependency.
#[test]
fn every_dependency_is_explained() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let declared: BTreeSet<String> = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path = \""))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()))
        .collect();
    let text = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let explained: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(
        declared.len() > 20,
        "the manifest was not understood: {declared:?}"
    );
    let missing: Vec<_> = declared.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&declared).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "without a line: {missing:?}; without a dependency: {stale:?}"
    );
}
