//! A state as bytes and back.

use creditservice_ledger::snapshot::{Decoder, SnapshotError, encode};
use creditservice_ledger::*;

use super::{
    build::*,
    harness::{Ledger, bytes, restored, text},
};

/// Something of everything.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.done(register("vcpu", Some(9)));
    ledger.done(register("vm", None));
    ledger.done(set_limit("p", "vcpu", Some(Some(20))));
    ledger.done(price("vm", NOON - 600, 333_333_333));
    let settings = Settings {
        low_balance: Thresholds::new(vec![5, 50]).unwrap(),
        overdraft: Charge::new(7).unwrap(),
        ..metered()
    };
    ledger.done(create("p", 1_000, settings));
    let charged = super::harness::transaction(&ledger.done(charge("p", 100)));
    ledger.done(refund("p", charged, 100, 40));
    let held = ledger.reserved(reserve_units("p", &[("vcpu", 3)], "vm-1"));
    ledger.done(commit(held, None));
    ledger.reserved(reserve("p", 33, 3_600));
    ledger.reserved(reserve_units("q", &[("vcpu", 2), ("vm", 1)], "vm-2"));
    ledger.done(record(
        "p",
        vec![usage("vm-1", "vm", NOON - 100, NOON - 60, 1)],
    ));
    ledger.done(record("p", vec![usage("vm-1", "vm", NOON - 30, NOON, 1)]));
    ledger.done(Request {
        key: Some(key(1, 1)),
        ..top_up("p", 5).into()
    });
    ledger
}

#[test]
fn what_is_read_is_what_was_written() {
    let mut ledger = ledger();
    let whole = bytes(&ledger.state);
    for chunk_bytes in [1, 100, 1_000, 1 << 20] {
        let restored = restored(&ledger.state, chunk_bytes, Bounds::default());
        assert_eq!(bytes(&restored), whole, "{chunk_bytes}");
    }
    // And goes on alike.
    let mut restored = restored(&ledger.state, 300, Bounds::default());
    ledger.wait(4_000);
    let mut commands = vec![
        Request {
            key: Some(key(1, 1)),
            ..top_up("p", 5).into()
        },
        charge("p", 900).into(),
        free("p", "vm-1", None).into(),
        record("p", vec![usage("vm-1", "vm", NOON - 60, NOON - 30, 1)]).into(),
    ];
    for command in commands.drain(..) {
        let expected = ledger.run(command.clone());
        assert_eq!(restored.apply(&command, ledger.now()), expected);
    }
    assert_eq!(text(&restored), text(&ledger.state));
}

#[test]
fn chunks_are_whole_lines_within_their_size() {
    let ledger = ledger();
    let chunks: Vec<Vec<u8>> = encode(&ledger.state, 400).collect();
    assert!(chunks.len() > 4, "{}", chunks.len());
    for chunk in &chunks {
        let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(chunk.last(), Some(&b'\n'));
        assert!(chunk.len() <= 400 || lines == 1, "{}", chunk.len());
    }
    assert_eq!(chunks.concat(), bytes(&ledger.state));
}

fn decoded(bytes: &[u8]) -> Result<State, SnapshotError> {
    let mut decoder = Decoder::new(Bounds::default());
    decoder.push(bytes)?;
    decoder.finish()
}

#[test]
fn an_empty_ledger_is_a_snapshot_too() {
    let empty = State::new(Shard::new(3).unwrap());
    let read = decoded(&bytes(&empty)).unwrap();
    assert_eq!((read.shard().number(), read.seq()), (3, 0));
}

#[test]
fn what_was_damaged_is_noticed() {
    let ledger = ledger();
    let text = text(&ledger.state);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Every line left out; a line twice; cut anywhere; a digit changed.
    for n in 0..lines.len() {
        let without: String = lines[..n].iter().chain(&lines[n + 1..]).copied().collect();
        assert!(decoded(without.as_bytes()).is_err(), "without {}", lines[n]);
        let twice: String = lines[..=n].iter().chain(&lines[n..]).copied().collect();
        assert!(decoded(twice.as_bytes()).is_err(), "twice {}", lines[n]);
    }
    for end in (0..text.len() - 1).step_by(37) {
        assert!(decoded(&text.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    let changed = text.replacen("\"amount\":33", "\"amount\":34", 1);
    assert_ne!(changed, text);
    assert!(matches!(
        decoded(changed.as_bytes()),
        Err(SnapshotError::Checksum)
    ));
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let newer = "{\"head\":{\"v\":2,\"ledger\":\"of another kind\"}}\n";
    let error = decoded(newer.as_bytes()).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Version { found: 2 }),
        "{error}"
    );
}

/// Version 1 as it was written first: it must be readable for ever.
#[test]
fn version_1_is_read() {
    let fixture = include_str!("fixtures/snapshot-v1.jsonl");
    let state = decoded(fixture.as_bytes()).unwrap();
    assert_eq!(text(&state), fixture);
    assert_eq!(state.wallet(&name("p")).unwrap().figures.reserved, 33);
}

/// The journal's entries as they were written first: each kind must be readable for ever.
#[test]
fn entries_of_version_1_are_read() {
    let mut state = State::new(Shard::new(7).unwrap());
    let mut kinds = std::collections::BTreeSet::new();
    for line in include_str!("fixtures/entries-v1.jsonl").lines() {
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
        state.replay(&entry).unwrap();
        let what = serde_json::to_value(&entry.what).unwrap();
        let kind = match &what {
            serde_json::Value::String(kind) => kind.clone(),
            object => object.as_object().unwrap().keys().next().unwrap().clone(),
        };
        kinds.insert(kind);
    }
    state.check().unwrap();
    let all = [
        "adjustment",
        "charge",
        "collected",
        "committed",
        "deposit",
        "expired",
        "extended",
        "limit_registered",
        "limit_set",
        "price_published",
        "refund",
        "released",
        "reserved",
        "settled",
        "units_freed",
        "units_recounted",
        "used",
        "wallet_created",
        "wallet_updated",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

/// Writes the fixtures; run by hand when a version is added, never to make an old one fit.
#[test]
#[ignore = "writes files of the repository"]
fn write_fixtures() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledger/fixtures");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("snapshot-v1.jsonl"), text(&ledger().state)).unwrap();
    let mut ledger = ledger();
    ledger.done(adjust("p", -5));
    let held = ledger.reserved(reserve("p", 10, 60));
    ledger.done(extend(held, 600));
    ledger.done(release(held));
    ledger.reserved(reserve("p", 10, 60));
    ledger.wait(60);
    ledger.expire(9);
    ledger.done(free("p", "vm-1", None));
    ledger.done(recount("p", "vm-1", &[("vm", 1)]));
    ledger.done(set_status("p", Status::Suspended));
    ledger.done(record(
        "p",
        vec![usage("vm-1", "vm", NOON - 60, NOON - 30, 900)],
    ));
    ledger.done(top_up("p", 9_000));
    ledger.done(set_status("p", Status::Active));
    let step = settle("p", None, vec![], Some(next(NOON, NOON + 60, "vm", 1)));
    let held = super::harness::reservation(&ledger.done(step).answer).id;
    let used = vec![usage("vm-1", "vm", NOON, NOON + 50, 1)];
    ledger.done(settle("p", Some(held), used, None));
    let lines: Vec<String> = ledger
        .journal
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap() + "\n")
        .collect();
    std::fs::write(directory.join("entries-v1.jsonl"), lines.concat()).unwrap();
}
