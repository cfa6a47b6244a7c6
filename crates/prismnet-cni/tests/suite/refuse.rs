//! What cannot be, without an agent.

use serde_json::{Value, json};

use crate::plugin::Call;

const PORT: &str = "port-019ac8e5-3c00-7001-8c00-000000000005";
const OTHER: &str = "port-019ac8e5-3c00-7001-8c00-000000000006";

fn nobody() -> std::path::PathBuf {
    "/nowhere/agent.sock".into()
}

fn add() -> Call {
    Call::new("ADD", &nobody()).with("CNI_ARGS", &format!("PHOTON_PORT={PORT}"))
}

#[test]
fn what_cannot_be_is_told_with_its_code() {
    let long = "x".repeat(1 << 20);
    let annotations = |port: &str| json!({"io.kubernetes.cri.pod-annotations": {"photoncloud/port": port, "other": "x"}});
    let table: Vec<(&str, Call, u16)> = vec![
        ("no verb", add().without("CNI_COMMAND"), 4),
        (
            "a verb that is not spoken",
            add().with("CNI_COMMAND", "GC"),
            4,
        ),
        ("no container", add().without("CNI_CONTAINERID"), 4),
        (
            "a container that is a path",
            add().with("CNI_CONTAINERID", "a/b"),
            4,
        ),
        ("no namespace", add().without("CNI_NETNS"), 4),
        ("an empty namespace", add().with("CNI_NETNS", ""), 4),
        ("no interface", add().without("CNI_IFNAME"), 4),
        (
            "a name too long",
            add().with("CNI_IFNAME", "sixteen-bytes-00"),
            4,
        ),
        (
            "a name that is a path",
            add().with("CNI_IFNAME", "../eth0"),
            4,
        ),
        (
            "arguments that are no pairs",
            add().with("CNI_ARGS", "PHOTON_PORT"),
            4,
        ),
        (
            "no JSON",
            Call {
                stdin: "{".to_owned(),
                ..add()
            },
            6,
        ),
        (
            "nothing",
            Call {
                stdin: String::new(),
                ..add()
            },
            6,
        ),
        (
            "too much",
            Call {
                stdin: long,
                ..add()
            },
            6,
        ),
        (
            "no configuration",
            Call {
                stdin: "[]".to_owned(),
                ..add()
            },
            7,
        ),
        ("no version", add().configured("cniVersion", Value::Null), 7),
        (
            "a version from before",
            add().configured("cniVersion", json!("0.3.1")),
            1,
        ),
        (
            "a version to come",
            add().configured("cniVersion", json!("2.0.0")),
            1,
        ),
        ("no name", add().configured("name", json!("")), 7),
        (
            "a socket somewhere",
            add().configured("socket", json!("agent.sock")),
            7,
        ),
        (
            "an ipam plugin",
            add().configured("ipam", json!({"type": "host-local"})),
            2,
        ),
        (
            "a result that is none",
            add().configured("prevResult", json!(7)),
            7,
        ),
        ("no port", add().with("CNI_ARGS", "IgnoreUnknown=1"), 7),
        (
            "no id of a port",
            add().with("CNI_ARGS", "PHOTON_PORT=port-1"),
            7,
        ),
        (
            "an id of something else",
            add().with(
                "CNI_ARGS",
                &format!("PHOTON_PORT={}", PORT.replace("port", "vpc")),
            ),
            7,
        ),
        (
            "two ports",
            add().configured("args", json!({"cni": {"photon_port": OTHER}})),
            7,
        ),
        (
            "two ports, again",
            add().configured("runtimeConfig", json!({"photon_port": OTHER})),
            7,
        ),
        (
            "two ports, by annotation",
            add().configured("runtimeConfig", annotations(OTHER)),
            7,
        ),
        (
            "a port that is a number",
            add().configured("args", json!({"cni": {"photon_port": 7}})),
            7,
        ),
        ("a check of nothing", add().with("CNI_COMMAND", "CHECK"), 7),
        (
            "a status from before there was one",
            add()
                .with("CNI_COMMAND", "STATUS")
                .configured("cniVersion", json!("1.0.0")),
            1,
        ),
        // From here on nothing is wrong but that there is no agent.
        ("no agent", add(), 11),
        (
            "the port said thrice",
            add()
                .configured("args", json!({"cni": {"photon_port": PORT}}))
                .configured("runtimeConfig", annotations(PORT)),
            11,
        ),
        ("an empty ipam", add().configured("ipam", json!({})), 11),
        (
            "an older version",
            add().configured("cniVersion", json!("0.4.0")),
            11,
        ),
        (
            "a check without an agent",
            add()
                .with("CNI_COMMAND", "CHECK")
                .configured("prevResult", json!({})),
            11,
        ),
        (
            "a status without an agent",
            add().with("CNI_COMMAND", "STATUS"),
            50,
        ),
    ];
    for (what, call, code) in table {
        let answer = call.run();
        eprintln!("{what}: {answer:?}");
        answer.is_failure(code);
    }
}

#[test]
fn the_port_may_be_named_in_any_of_the_places() {
    let named = [
        ("args", json!({"cni": {"photon_port": PORT}})),
        ("runtimeConfig", json!({"photon_port": PORT})),
        (
            "runtimeConfig",
            json!({"io.kubernetes.cri.pod-annotations": {"photoncloud/port": PORT}}),
        ),
    ];
    for (place, value) in named {
        // It gets as far as the agent.
        let call = Call::new("ADD", &nobody()).without("CNI_ARGS");
        call.configured(place, value).run().is_failure(11);
    }
}

#[test]
fn versions_are_told() {
    for version in ["0.4.0", "1.0.0", "1.1.0", "0.1.0"] {
        let call = Call::new("VERSION", &nobody()).configured("cniVersion", json!(version));
        let answer = call.run();
        assert!(answer.ok, "{answer:?}");
        let said = json!({"cniVersion": version, "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]});
        assert_eq!(answer.said, said);
    }
    // A version needs nothing else.
    let alone = Call {
        environment: vec![("CNI_COMMAND", "VERSION".to_owned())],
        stdin: String::new(),
    };
    assert!(alone.run().ok);
}

#[test]
fn without_an_agent_only_what_cannot_be_left_is_deleted() {
    let delete = || add().with("CNI_COMMAND", "DEL");
    let directory = tempfile::tempdir().unwrap();
    let leftover = directory.path().join("netns");
    std::fs::write(&leftover, "").unwrap();
    let leftover = leftover.display().to_string();
    for gone in ["", "/nowhere/netns", "/proc/4294967295/ns/net", &leftover] {
        let answer = delete().with("CNI_NETNS", gone).run();
        eprintln!("{gone}: {answer:?}");
        answer.is_empty_success();
    }
    // There may be something in it.
    delete()
        .with("CNI_NETNS", "/proc/self/ns/net")
        .run()
        .is_failure(11);
    // Without a port there was never anything.
    let unnamed = delete()
        .with("CNI_NETNS", "/proc/self/ns/net")
        .without("CNI_ARGS");
    unnamed.run().is_empty_success();
}
