//! The program, run as a container runtime runs it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// One call, with everything at its usual value.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) stdin: String,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) said: Value,
}

impl Call {
    pub(crate) fn new(verb: &str, socket: &Path) -> Self {
        let config = json!({
            "cniVersion": "1.1.0", "name": "photon", "type": "prismnet-cni", "socket": socket,
        });
        Self {
            environment: vec![
                ("CNI_COMMAND", verb.to_owned()),
                ("CNI_CONTAINERID", "sandbox-1".to_owned()),
                ("CNI_NETNS", "/nowhere/netns".to_owned()),
                ("CNI_IFNAME", "eth0".to_owned()),
                ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web".to_owned()),
                ("CNI_PATH", "/opt/cni/bin".to_owned()),
            ],
            stdin: config.to_string(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| *known != name);
        self
    }

    pub(crate) fn configured(mut self, name: &str, value: Value) -> Self {
        let mut config: Value = serde_json::from_str(&self.stdin).unwrap();
        config[name] = value;
        self.stdin = config.to_string();
        self
    }

    pub(crate) fn run(&self) -> Answer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_prismnet-cni"))
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // One that ends early does not read it all.
        let _ = pipe.write_all(self.stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said = if said.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&said).unwrap()
        };
        Answer {
            ok: output.status.success(),
            said,
        }
    }
}

impl Answer {
    /// Whether it failed so; with the version that was asked in.
    #[track_caller]
    pub(crate) fn is_failure(&self, code: u16) {
        assert!(!self.ok, "{self:?}");
        assert_eq!(self.said["code"], code, "{self:?}");
        assert!(!self.said["msg"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(self.said["cniVersion"].is_string(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn is_empty_success(&self) {
        assert!(self.ok && self.said.is_null(), "{self:?}");
    }
}
