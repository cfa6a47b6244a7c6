//! Measures the engine alone: `cargo run --release -p chainfire-engine --example measure [keys]`.
//!
//! Prints the time of a put in batches of 64, of a point read, of a prefix range, of paging with counts, and what
//! a million keys of 256 bytes hold in memory.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a tool to be read by a person"
)]

use std::time::Instant;

use bytes::Bytes;
use chainfire_engine::{Engine, Options};
use photon_proto::{
    etcdserverpb::{PutRequest, RangeRequest},
    photon::chainfire::command::v1::{Command, command::Op},
};
use prost::Message;

fn key(n: u64) -> Bytes {
    format!("/registry/things/default/{n:08}").into()
}

fn put(n: u64, value: &Bytes) -> Bytes {
    let request = PutRequest {
        key: key(n),
        value: value.clone(),
        ..PutRequest::default()
    };
    let command = Command {
        caller: None,
        op: Some(Op::Put(request)),
    };
    command.encode_to_vec().into()
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or(0.0) / 1024.0
}

fn write(engine: &Engine, what: &str, keys: impl Iterator<Item = u64>, value: &Bytes) {
    let commands: Vec<_> = keys.map(|n| put(n, value)).collect();
    let started = Instant::now();
    for batch in commands.chunks(64) {
        engine.apply(batch, b"mark").unwrap();
    }
    let each = started.elapsed().as_secs_f64() * 1e6 / commands.len() as f64;
    println!(
        "{what}: {each:.2} us a put, {} puts in batches of 64",
        commands.len()
    );
}

fn prefix(limit: i64, revision: i64) -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(b"/registry/"),
        range_end: Bytes::from_static(b"/registry0"),
        limit,
        revision,
        ..RangeRequest::default()
    }
}

fn main() {
    let keys: u64 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let value = Bytes::from(vec![0x5A; 256]);
    write(&engine, "new keys", 0..10_000.min(keys), &value);
    write(
        &engine,
        "existing keys",
        (0..50_000).map(|n| n * 7919 % 10_000.min(keys)),
        &value,
    );

    let started = Instant::now();
    for n in 0..200_000u64 {
        let request = RangeRequest {
            key: key(n * 7919 % 10_000.min(keys)),
            ..RangeRequest::default()
        };
        assert_eq!(engine.range(&request).unwrap().count, 1);
    }
    println!(
        "point read: {:.2} us",
        started.elapsed().as_secs_f64() * 1e6 / 200_000.0
    );

    let (started, mut read) = (Instant::now(), 0);
    for _ in 0..50 {
        read += engine.range(&prefix(0, 0)).unwrap().kvs.len();
    }
    println!(
        "prefix range: {:.2} million keys/s",
        read as f64 / started.elapsed().as_secs_f64() / 1e6
    );

    for from in (10_000..keys).step_by(100_000) {
        write(&engine, "filling", from..(from + 100_000).min(keys), &value);
    }
    println!(
        "{keys} keys: {:.0} MiB resident, {:?}",
        resident_mib(),
        engine.size()
    );

    for (what, newer) in [
        ("at the newest revision", 0),
        ("1,000 revisions later", 1_000),
    ] {
        let revision = engine.revision();
        write(&engine, "meanwhile", 0..newer, &value);
        let (started, mut pages, mut request) = (Instant::now(), 0, prefix(1_000, revision));
        loop {
            let page = engine.range(&request).unwrap();
            assert_eq!(page.count as u64 + pages * 1_000, keys);
            pages += 1;
            if !page.more {
                break;
            }
            let mut next = page.kvs.last().unwrap().key.to_vec();
            next.push(0);
            request.key = next.into();
        }
        println!(
            "{pages} pages of 1,000 with count, {what}: {:.2} ms each",
            started.elapsed().as_secs_f64() * 1e3 / pages as f64
        );
    }
    let started = Instant::now();
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    println!(
        "flush and reopen: {:.2} s, then {:.0} MiB resident",
        started.elapsed().as_secs_f64(),
        resident_mib()
    );
    drop(engine);
}
