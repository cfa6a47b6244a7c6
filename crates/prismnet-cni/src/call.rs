//! What the runtime asks: by environment variables and a configuration on standard input.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    VERSIONS,
    failure::{Code, Failure},
    port,
};

/// The agent's socket, if the configuration names none.
pub const SOCKET: &str = "/run/photon/prismnet-agent.sock";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Connect a container.
    Add,
    /// Disconnect it.
    Del,
    /// Say whether it is connected as it was.
    Check,
    /// Say whether containers can be connected.
    Status,
    /// Say which versions are spoken.
    Version,
}

impl Verb {
    /// Of `CNI_COMMAND`.
    ///
    /// # Errors
    /// What is not spoken.
    pub fn of(environment: &impl Environment) -> Result<Self, Failure> {
        match &*required(environment, "CNI_COMMAND")? {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "STATUS" => Ok(Self::Status),
            "VERSION" => Ok(Self::Version),
            other => Err(Failure::new(
                Code::Environment,
                format!("CNI_COMMAND: {other:?} is not spoken"),
            )),
        }
    }
}

/// Environment variables.
pub trait Environment {
    /// One of them; `None` if it is not set or empty.
    fn get(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name).filter(|value| !value.is_empty())
    }
}

/// The configuration of the network. What other plugins or the runtime put into it beside this is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    cni_version: String,
    #[serde(default)]
    name: String,
    socket: Option<PathBuf>,
    #[serde(default)]
    ipam: Map<String, Value>,
    prev_result: Option<Map<String, Value>>,
}

/// A network that is asked for.
#[derive(Clone, Debug)]
pub struct Network {
    /// The version of the answer.
    pub version: String,
    /// The agent's socket.
    pub socket: PathBuf,
    /// What the plugin before this one has answered.
    pub previous: Option<Map<String, Value>>,
    /// Which port; none if nobody says.
    pub port: Option<String>,
}

/// A container that is to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its namespace; may be empty when it is gone.
    pub namespace: String,
    /// What its device is called.
    pub interface: String,
    /// Who plugs: the container, and which of its devices.
    pub holder: String,
}

/// The version in a configuration, if one can be read at all.
#[must_use]
pub fn version_of(stdin: &[u8]) -> Option<String> {
    let config: Value = serde_json::from_slice(stdin).ok()?;
    let version = config.get("cniVersion")?.as_str()?;
    (!version.is_empty()).then(|| version.to_owned())
}

impl Network {
    /// Of standard input.
    ///
    /// # Errors
    /// What cannot be.
    pub fn read(stdin: &[u8], environment: &impl Environment) -> Result<Self, Failure> {
        let config: Value = serde_json::from_slice(stdin).map_err(|error| {
            Failure::new(Code::Decode, "the configuration is no JSON").because(error.to_string())
        })?;
        let invalid = |what: &str| Failure::new(Code::Config, what);
        let port = port::of(environment, &config)?;
        let config: Config = serde_json::from_value(config).map_err(|error| {
            invalid("the configuration is not one of a network").because(error.to_string())
        })?;
        if !VERSIONS.contains(&&*config.cni_version) {
            let problem = format!("version {:?} is not spoken", config.cni_version);
            return Err(Failure::new(Code::Version, problem)
                .because(format!("these are: {}", VERSIONS.join(", "))));
        }
        if config.name.is_empty() {
            return Err(invalid("name: is required"));
        }
        if !config.ipam.is_empty() {
            let problem = "ipam: the port has its address already";
            return Err(Failure::new(Code::Unsupported, problem));
        }
        let socket = config.socket.unwrap_or_else(|| PathBuf::from(SOCKET));
        if !socket.is_absolute() {
            return Err(invalid("socket: must be absolute"));
        }
        Ok(Self {
            version: config.cni_version,
            socket,
            previous: config.prev_result,
            port,
        })
    }
}

impl Container {
    /// Of the environment. A namespace has to be there unless `may_be_gone`.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(environment: &impl Environment, may_be_gone: bool) -> Result<Self, Failure> {
        let id = required(environment, "CNI_CONTAINERID")?;
        let interface = required(environment, "CNI_IFNAME")?;
        let namespace = environment.get("CNI_NETNS");
        if !may_be_gone && namespace.is_none() {
            return Err(missing("CNI_NETNS"));
        }
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !id.bytes().all(is_usual) || id.len() > 200 {
            let problem =
                "CNI_CONTAINERID: has other than letters, digits, dots, underscores and dashes";
            return Err(Failure::new(Code::Environment, problem));
        }
        let is_name = interface.len() <= 15 && interface.bytes().all(is_usual);
        if !is_name || [".", ".."].contains(&&*interface) {
            let problem = format!("CNI_IFNAME: {interface:?} is no name of a device");
            return Err(Failure::new(Code::Environment, problem));
        }
        Ok(Self {
            namespace: namespace.unwrap_or_default(),
            holder: format!("{id}/{interface}"),
            interface,
        })
    }

    /// Whether nothing can be left in the namespace, because there is none: no path, or one that no namespace is mounted on
    /// any more. A veth goes with the namespace that either end of it is in.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        if self.namespace.is_empty() {
            return true;
        }
        let path = Path::new(&self.namespace);
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev());
        match device(path) {
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            Ok(found) => path
                .parent()
                .and_then(|parent| device(parent).ok())
                .is_some_and(|parent| parent == found),
        }
    }
}

fn required(environment: &impl Environment, name: &str) -> Result<String, Failure> {
    environment.get(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::new(Code::Environment, format!("{name}: is required"))
}
