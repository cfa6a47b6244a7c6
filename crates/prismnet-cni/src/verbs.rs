//! What each verb does.

use photon_proto::photon::host::v1::{
    CheckRequest, PlugRequest, PlugResponse, StatusRequest, UnplugRequest,
};
use serde_json::{Value, json};

use crate::{
    LATEST, VERSIONS,
    agent::{self, connect, request},
    call::{Container, Environment, Network, Verb, version_of},
    failure::{Code, Failure},
    port, result,
};

/// Does what is asked. What it answers goes to standard output; nothing if it is null.
///
/// # Errors
/// What is to be told instead.
pub async fn perform(environment: &impl Environment, stdin: &[u8]) -> Result<Value, Failure> {
    let verb = Verb::of(environment)?;
    if verb == Verb::Version {
        let version = version_of(stdin).unwrap_or_else(|| LATEST.to_owned());
        return Ok(json!({"cniVersion": version, "supportedVersions": VERSIONS}));
    }
    if verb == Verb::Del {
        return del(environment, stdin).await;
    }
    let network = Network::read(stdin, environment)?;
    match verb {
        Verb::Add => add(&network, &Container::read(environment, false)?).await,
        Verb::Check => check(&network, &Container::read(environment, false)?).await,
        Verb::Status => status(&network).await,
        // Answered above.
        Verb::Del | Verb::Version => Ok(Value::Null),
    }
}

async fn add(network: &Network, container: &Container) -> Result<Value, Failure> {
    let plugged = plug(network, container).await?;
    Ok(result::of(network, container, &plugged))
}

async fn plug(network: &Network, container: &Container) -> Result<PlugResponse, Failure> {
    let asked = PlugRequest {
        port_id: named(network)?.to_owned(),
        network_namespace: container.namespace.clone(),
        interface: container.interface.clone(),
        holder: container.holder.clone(),
    };
    let plugged = connect(&network.socket).await?.plug(request(asked)).await?;
    Ok(plugged.into_inner())
}

fn named(network: &Network) -> Result<&str, Failure> {
    network.port.as_deref().ok_or_else(|| {
        let problem = format!("no port is named: {} in CNI_ARGS", port::VARIABLE);
        Failure::new(Code::Config, problem)
    })
}

/// Without the agent it is done only if nothing can be left. What could not have been added, there is nothing of.
async fn del(environment: &impl Environment, stdin: &[u8]) -> Result<Value, Failure> {
    let container = Container::read(environment, true)?;
    let network = Network::read(stdin, environment)?;
    let Some(port) = network.port else {
        return Ok(Value::Null);
    };
    let asked = UnplugRequest {
        port_id: port,
        holder: container.holder.clone(),
    };
    match connect(&network.socket).await {
        Ok(mut agent) => drop(agent.unplug(request(asked)).await?),
        Err(_) if container.is_gone() => {}
        Err(away) => return Err(away.into()),
    }
    Ok(Value::Null)
}

async fn check(network: &Network, container: &Container) -> Result<Value, Failure> {
    let port_id = named(network)?.to_owned();
    let Some(previous) = &network.previous else {
        return Err(Failure::new(Code::Config, "prevResult: is required"));
    };
    let mut agent = connect(&network.socket).await?;
    let asked = CheckRequest {
        port_id,
        network_namespace: container.namespace.clone(),
        interface: container.interface.clone(),
    };
    let answer = agent.check(request(asked)).await?.into_inner();
    let mut problems = answer.problems;
    if !answer.ip_address.is_empty() {
        let address = format!("{}/{}", answer.ip_address, answer.prefix_length);
        if !result::has_address(previous, &address) {
            problems.push(format!(
                "prevResult does not have the port's address {address}"
            ));
        }
    }
    if problems.is_empty() {
        return Ok(Value::Null);
    }
    let problem = "it is not as it was made";
    Err(Failure::new(Code::Differs, problem).because(problems.join("; ")))
}

async fn status(network: &Network) -> Result<Value, Failure> {
    if network.version != LATEST {
        let problem = format!("STATUS is not of version {}", network.version);
        return Err(Failure::new(Code::Version, problem));
    }
    let agent = connect(&network.socket).await;
    let mut agent = agent.map_err(|agent::Away(why)| {
        Failure::new(Code::Unavailable, "prismnet-agent does not answer").because(why)
    })?;
    let status = agent.status(request(StatusRequest {})).await;
    let status = status.map_err(|status| {
        Failure::new(Code::Unavailable, "prismnet-agent does not say how it is")
            .because(status.message())
    })?;
    let status = status.into_inner();
    if status.ready {
        return Ok(Value::Null);
    }
    // Without a way to hold connections against rules, ports that are there have none either.
    let code = if status.mode == "none" {
        Code::Limited
    } else {
        Code::Unavailable
    };
    Err(Failure::new(code, "prismnet-agent cannot connect containers").because(status.reason))
}
