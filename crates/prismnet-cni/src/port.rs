//! Which port a container gets: whoever runs it says, in one of the places that runtimes pass on.
//!
//! | where | for whom |
//! |---|---|
//! | `PHOTON_PORT=port-…` in `CNI_ARGS` | runtimes that call the plugin themselves |
//! | `args.cni.photon_port` | those that write a configuration for each container |
//! | `runtimeConfig.photon_port` | those that pass capabilities |
//! | the annotation `photoncloud/port` in `runtimeConfig."io.kubernetes.cri.pod-annotations"` | containerd, whose caller sets annotations of the pod sandbox |
//!
//! Where several are given they must be one. A tenant must not be able to set any of them: the port is believed.

use serde_json::Value;

use crate::{
    call::Environment,
    failure::{Code, Failure},
};

/// The variable in `CNI_ARGS`.
pub const VARIABLE: &str = "PHOTON_PORT";
/// The field in the configuration.
pub const FIELD: &str = "photon_port";
/// The annotation of a pod sandbox.
pub const ANNOTATION: &str = "photoncloud/port";

/// The port's id; `None` if nobody says.
///
/// # Errors
/// What is not in the form of arguments, not an id, or not the same everywhere.
pub fn of(environment: &impl Environment, config: &Value) -> Result<Option<String>, Failure> {
    let runtime = &config["runtimeConfig"];
    let fields = [
        &config["args"]["cni"][FIELD],
        &runtime[FIELD],
        &runtime["io.kubernetes.cri.pod-annotations"][ANNOTATION],
    ];
    let mut said: Vec<String> = in_arguments(environment)?.into_iter().collect();
    for field in fields {
        match field {
            Value::Null => {}
            Value::String(port) => said.push(port.clone()),
            other => {
                let problem = format!("{FIELD}: {other} is no id of a port");
                return Err(Failure::new(Code::Config, problem));
            }
        }
    }
    said.dedup();
    let [port] = &said[..] else {
        if said.is_empty() {
            return Ok(None);
        }
        let problem = format!("{FIELD}: two different ports are named");
        return Err(Failure::new(Code::Config, problem).because(said.join(", ")));
    };
    if !is_id(port) {
        let problem = format!("{FIELD}: {port:?} is no id of a port");
        return Err(Failure::new(Code::Config, problem));
    }
    Ok(Some(port.clone()))
}

/// Pairs with semicolons between them; what others put there is passed over.
fn in_arguments(environment: &impl Environment) -> Result<Option<String>, Failure> {
    let arguments = environment.get("CNI_ARGS").unwrap_or_default();
    let mut found = None;
    for pair in arguments.split(';').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            let problem = format!("CNI_ARGS: {pair:?} is no pair");
            return Err(Failure::new(Code::Environment, problem));
        };
        if name == VARIABLE {
            found = Some(value.to_owned());
        }
    }
    Ok(found)
}

/// `port-` and a UUID, as they are written; whether there is one, the agent knows.
fn is_id(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("port-") else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}
