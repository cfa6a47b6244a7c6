#![allow(clippy::unwrap_used, reason = "tests")]

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

/// Version 1 had `cpus`, version 2 `cpu {count}`, version 3 has disks with a name each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    cpu: Cpu,
    disks: Vec<Disk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cpu {
    count: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Disk {
    name: String,
    gb: u32,
}

impl Record for Machine {
    const ROOT: &'static str = "/test/machine/";
    const STEPS: &'static [Step] = &[
        Step {
            up: |fields| {
                let count = fields.remove("cpus").ok_or("cpus is missing")?;
                fields.insert("cpu".into(), json!({ "count": count }));
                Ok(())
            },
            down: |fields| {
                let cpu = fields.remove("cpu").ok_or("cpu is missing")?;
                fields.insert("cpus".into(), cpu["count"].clone());
                Ok(())
            },
        },
        Step {
            up: |fields| {
                let gb = fields.remove("disk_gb").ok_or("disk_gb is missing")?;
                fields.insert("disks".into(), json!([{ "name": "root", "gb": gb }]));
                Ok(())
            },
            down: |fields| {
                let disks = fields.remove("disks").ok_or("disks is missing")?;
                fields.insert("disk_gb".into(), disks[0]["gb"].clone());
                Ok(())
            },
        },
    ];
}

/// One stored value of each version that ever was. They stay when a version is added.
const FIXTURES: [&str; 3] = [
    include_str!("../../tests/store/fixtures/machine-v1.json"),
    include_str!("../../tests/store/fixtures/machine-v2.json"),
    include_str!("../../tests/store/fixtures/machine-v3.json"),
];

fn read(text: &str) -> Result<(Machine, Origin)> {
    decode("/k", &Bytes::copy_from_slice(text.as_bytes()))
}

fn rewrite(text: &str, gate: u32, change: impl FnOnce(&mut Machine)) -> Value {
    let (mut machine, origin) = read(text).unwrap();
    change(&mut machine);
    serde_json::from_slice(&encode("/k", &machine, Some(&origin), gate).unwrap()).unwrap()
}

#[test]
fn every_older_version_is_read_as_the_same_record() {
    let expected = Machine {
        cpu: Cpu { count: 4 },
        disks: vec![Disk {
            name: "root".into(),
            gb: 20,
        }],
        note: None,
    };
    for (fixture, version) in FIXTURES.iter().zip(1..) {
        let (machine, origin) = read(fixture).unwrap();
        assert_eq!((machine, origin.version), (expected.clone(), version));
    }
}

#[test]
fn the_gate_decides_what_is_written_but_never_goes_back() {
    for (fixture, version) in FIXTURES.iter().zip(1_u32..) {
        for gate in 1_u32..=3 {
            let written = rewrite(fixture, gate, |machine| machine.cpu.count = 8);
            assert_eq!(written["v"], gate.max(version));
            let (machine, _) = read(&written.to_string()).unwrap();
            assert_eq!((machine.cpu.count, machine.disks[0].gb), (8, 20));
        }
    }
    let fresh = read(FIXTURES[2]).unwrap().0;
    let written: Value = serde_json::from_slice(&encode("/k", &fresh, None, 1).unwrap()).unwrap();
    assert_eq!(written, json!({ "v": 1, "cpus": 4, "disk_gb": 20 }));
}

#[test]
fn unknown_fields_stay_wherever_they_are() {
    let stored = r#"{"v":3,"cpu":{"count":1,"model":"x"},"color":"red","note":"n",
        "disks":[{"name":"a","gb":1,"wwn":"A"},{"name":"b","gb":2,"wwn":"B"},{"name":"c","gb":3,"wwn":"C"}]}"#;
    let written = rewrite(stored, 3, |machine| {
        machine.cpu.count = 2;
        machine.note = None;
        machine.disks.remove(0); // the others move
    });
    assert_eq!(
        written,
        json!({ "v": 3, "cpu": { "count": 2, "model": "x" }, "color": "red",
            "disks": [{ "name": "b", "gb": 2, "wwn": "B" }, { "name": "c", "gb": 3, "wwn": "C" }] })
    );
    let written = rewrite(stored, 3, |machine| machine.disks[1].gb = 9);
    assert_eq!(
        written["disks"][1],
        json!({ "name": "b", "gb": 9, "wwn": "B" })
    );
    assert_eq!(written["disks"][2]["wwn"], "C");
}

#[test]
fn an_unchanged_record_is_written_as_the_same_bytes() {
    let (machine, origin) = read(FIXTURES[2]).unwrap();
    let once = encode("/k", &machine, Some(&origin), 3).unwrap();
    let (machine, origin) = decode::<Machine>("/k", &once).unwrap();
    assert_eq!(encode("/k", &machine, Some(&origin), 3).unwrap(), once);
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"v":0}"#,
        r#"{"v":"1"}"#,
        r#"{"v":1}"#,
        r#"{"v":3,"cpu":1}"#,
    ] {
        assert!(matches!(read(bad), Err(Error::Corrupt { .. })), "{bad}");
    }
    let newer = read(r#"{"v":4}"#);
    assert!(matches!(
        newer,
        Err(Error::TooNew {
            found: 4,
            known: 3,
            ..
        })
    ));
}
