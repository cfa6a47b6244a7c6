//! The control plane, asked over REST for what the measures are made with.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::keep_alive::{KeepAlive, call, request};
use crate::load::finish;

/// The org of all that is made.
pub(crate) const ORG: &str = "bench";
/// Ports that are made at the same time.
const TOGETHER: usize = 16;
/// How often ports are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A connection to the control plane.
pub(crate) struct Control {
    connection: KeepAlive,
    address: String,
}

/// A port that was made.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) id: String,
    pub(crate) address: Ipv4Addr,
    /// When the answer had come.
    pub(crate) at: Instant,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            connection: KeepAlive::connect(address).await?,
            address: address.to_owned(),
        })
    }

    /// Asks, and returns the `data` of the answer.
    ///
    /// # Errors
    /// An answer that is not 2xx.
    pub(crate) async fn ask(&mut self, line: &str, body: &Value) -> anyhow::Result<Value> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        call(&mut self.connection, &self.address, line, &body).await
    }

    /// Asks, and returns the status and all of the answer.
    ///
    /// # Errors
    /// No answer, or none in JSON.
    pub(crate) async fn answer(
        &mut self,
        line: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let bytes = request(&self.address, line, "", &body);
        let status = self.connection.exchange(&bytes).await?;
        Ok((status, serde_json::from_slice(self.connection.body())?))
    }

    async fn make(&mut self, line: &str, body: &Value) -> anyhow::Result<String> {
        let made = self.ask(line, body).await?;
        text(&made, "id")
    }

    /// The id of a subnet of 65,533 addresses, alone in a VPC of the project.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) async fn subnet(&mut self, project: &str) -> anyhow::Result<String> {
        let block = "10.10.0.0/16";
        let vpc =
            json!({"name": project, "org_id": ORG, "project_id": project, "cidr_block": block});
        let vpc = self.make("POST /api/v1/vpcs", &vpc).await?;
        let subnet = json!({"name": project, "vpc_id": vpc, "cidr_block": block});
        self.make("POST /api/v1/subnets", &subnet).await
    }

    /// A security group without rules.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) async fn group(&mut self, project: &str, name: &str) -> anyhow::Result<String> {
        let body = json!({"name": name, "org_id": ORG, "project_id": project});
        self.make("POST /api/v1/security-groups", &body).await
    }

    /// A rule of a group.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) async fn rule(&mut self, group: &str, rule: &Value) -> anyhow::Result<String> {
        let line = format!("POST /api/v1/security-groups/{group}/rules");
        self.make(&line, rule).await
    }

    /// A rule is no more.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) async fn delete_rule(&mut self, group: &str, rule: &str) -> anyhow::Result<()> {
        let line = format!("DELETE /api/v1/security-groups/{group}/rules/{rule}");
        self.ask(&line, &Value::Null).await.map(drop)
    }

    /// A port.
    ///
    /// # Errors
    /// What is refused.
    pub(crate) async fn port(&mut self, body: &Value) -> anyhow::Result<Port> {
        let made = self.ask("POST /api/v1/ports", body).await?;
        let at = Instant::now();
        Ok(Port {
            id: text(&made, "id")?,
            address: text(&made, "ip_address")?.parse()?,
            at,
        })
    }

    /// Many ports of the same kind.
    ///
    /// # Errors
    /// What is refused; that it takes longer than `patience`.
    pub(crate) async fn ports(
        &self,
        body: &Value,
        count: usize,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let mut tasks = Vec::new();
        for index in 0..TOGETHER {
            let mut own = Self::connect(&self.address).await?;
            let body = body.clone();
            let share = count / TOGETHER + usize::from(index < count % TOGETHER);
            tasks.push(move || async move {
                for _ in 0..share {
                    own.port(&body).await?;
                }
                Ok(())
            });
        }
        finish(tasks, patience).await
    }

    /// The ports of a host in a subnet, once so many of them are active.
    ///
    /// # Errors
    /// They are not within `patience`.
    pub(crate) async fn active(
        &mut self,
        subnet: &str,
        host: &str,
        count: usize,
        patience: Duration,
    ) -> anyhow::Result<Vec<Port>> {
        let line = format!("GET /api/v1/ports?subnet_id={subnet}&host_id={host}");
        let end = Instant::now() + patience;
        loop {
            let answer = self.ask(&line, &Value::Null).await?;
            let all = answer["ports"].as_array().context("no list of ports")?;
            let is_active = |port: &&Value| port["status"] == "active";
            let active: Vec<&Value> = all.iter().filter(is_active).collect();
            if active.len() >= count {
                let at = Instant::now();
                let port = |port: &&Value| {
                    Ok(Port {
                        id: text(port, "id")?,
                        address: text(port, "ip_address")?.parse()?,
                        at,
                    })
                };
                return active.iter().map(port).collect();
            }
            ensure!(
                Instant::now() < end,
                "{} of {count} ports are active on {host} after {patience:?}; one that is not: {:?}",
                active.len(),
                all.iter().find(|port| !is_active(port))
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A text out of an answer.
///
/// # Errors
/// It is not there.
pub(crate) fn text(made: &Value, field: &str) -> anyhow::Result<String> {
    let text = made[field].as_str();
    Ok(text
        .with_context(|| format!("no {field} in {made}"))?
        .to_owned())
}
