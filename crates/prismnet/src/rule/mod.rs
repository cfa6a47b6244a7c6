//! Rules of security groups: what is allowed. A rule never changes; it is deleted and another one is made.

pub(crate) mod rest;
pub(crate) mod service;

use photon_core::Error;
use prismnet_model::{Block, BlockError, Description, Direction, Protocol, Remote, Services};

use crate::refusal;

/// A rule to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewRule {
    pub(crate) direction: Direction,
    pub(crate) services: Services,
    pub(crate) remote: Remote,
    pub(crate) description: Description,
}

/// A rule as doors read it, before it is understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleFields {
    pub(crate) direction: String,
    pub(crate) protocol: Option<String>,
    pub(crate) port_min: Option<u32>,
    pub(crate) port_max: Option<u32>,
    pub(crate) remote_cidr: Option<String>,
    pub(crate) remote_group_id: Option<String>,
    pub(crate) description: Description,
}

impl RuleFields {
    /// What they mean.
    ///
    /// # Errors
    /// 400 naming the field; 404 for a group that cannot be one.
    pub(crate) fn parsed(self) -> Result<NewRule, Error> {
        if self.direction.is_empty() {
            return Err(Error::required("direction"));
        }
        let direction = self.direction.parse();
        let direction = direction.map_err(|error| refusal::word("direction", error))?;
        let protocol = match self.protocol.as_deref() {
            None => Protocol::Any,
            Some(text) => text
                .parse()
                .map_err(|error| refusal::word("protocol", error))?,
        };
        let min = number("port_min", self.port_min)?;
        let max = number("port_max", self.port_max)?;
        let services = Services::new(protocol, min, max).map_err(|error| {
            let message = format!("{} {}", error.field, error.message);
            Error::validation(error.field, error.constraint, message)
        })?;
        Ok(NewRule {
            direction,
            services,
            remote: remote(self.remote_cidr.as_deref(), self.remote_group_id.as_deref())?,
            description: self.description,
        })
    }
}

fn number(field: &str, given: Option<u32>) -> Result<Option<u16>, Error> {
    given.map(u16::try_from).transpose().map_err(|_| {
        let message = format!("{field} must be from 0 to 65535");
        Error::validation(field, "range", message)
    })
}

fn remote(cidr: Option<&str>, group: Option<&str>) -> Result<Remote, Error> {
    match (cidr, group) {
        (Some(_), Some(_)) => {
            let message = "remote_group_id does not go with remote_cidr";
            Err(Error::validation("remote_group_id", "exclusive", message))
        }
        (Some(text), None) => {
            let block = text.parse::<Block>();
            let block = block.map_err(|error: BlockError| refusal::block("remote_cidr", error))?;
            Ok(Remote::Cidr(block))
        }
        (None, Some(text)) => {
            let group = refusal::named("remote_group_id", "security group", text)?;
            Ok(Remote::Group(group))
        }
        (None, None) => Ok(Remote::Cidr(Block::ANY)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn refused(fields: RuleFields) -> (u16, String) {
        let error = fields.parsed().unwrap_err();
        let field = error.details().unwrap()["field"]
            .as_str()
            .unwrap()
            .to_owned();
        (error.code().http, field)
    }

    #[test]
    fn what_cannot_be_is_named() {
        let ingress = || RuleFields {
            direction: "ingress".to_owned(),
            ..RuleFields::default()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(ingress().parsed().unwrap().remote, Remote::Cidr(Block::ANY));
        for (fields, expected) in [
            (RuleFields::default(), (400, "direction")),
            (
                RuleFields {
                    direction: "in".to_owned(),
                    ..RuleFields::default()
                },
                (400, "direction"),
            ),
            (
                RuleFields {
                    protocol: text("gre; drop"),
                    ..ingress()
                },
                (400, "protocol"),
            ),
            (
                RuleFields {
                    protocol: text("tcp"),
                    port_min: Some(65_536),
                    ..ingress()
                },
                (400, "port_min"),
            ),
            (
                RuleFields {
                    port_min: Some(80),
                    ..ingress()
                },
                (400, "port_min"),
            ),
            (
                RuleFields {
                    remote_cidr: text("10.0.0.1/8"),
                    ..ingress()
                },
                (400, "remote_cidr"),
            ),
            (
                RuleFields {
                    remote_cidr: text("::/0"),
                    ..ingress()
                },
                (400, "remote_cidr"),
            ),
            (
                RuleFields {
                    remote_group_id: text("web"),
                    ..ingress()
                },
                (404, "remote_group_id"),
            ),
            (
                RuleFields {
                    remote_cidr: text("10.0.0.0/8"),
                    remote_group_id: text("web"),
                    ..ingress()
                },
                (400, "remote_group_id"),
            ),
        ] {
            assert_eq!(refused(fields), (expected.0, expected.1.to_owned()));
        }
    }
}
