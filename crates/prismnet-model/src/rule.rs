//! What a group allows. Rules only allow; there is no order among them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Block, GroupId, RuleId, key};

/// The most rules of a group.
pub const MOST_RULES: u32 = 5_000;

/// Which way connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the group's ports.
    Ingress,
    /// From them.
    Egress,
}

impl Direction {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl FromStr for Direction {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Ingress, Self::Egress];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or("must be ingress or egress")
    }
}

/// Which protocol: a word, or a number of IANA's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Protocol {
    /// Every one.
    #[default]
    Any,
    /// One by its number.
    Number(u8),
}

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self::Number(1);
    /// TCP.
    pub const TCP: Self = Self::Number(6);
    /// UDP.
    pub const UDP: Self = Self::Number(17);

    const WORDS: [(Self, &'static str); 4] = [
        (Self::Any, "any"),
        (Self::ICMP, "icmp"),
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
    ];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(one, _)| one == self);
        match (word, self) {
            (Some((_, word)), _) => f.write_str(word),
            (None, Self::Number(number)) => number.fmt(f),
            (None, Self::Any) => f.write_str("any"),
        }
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((one, _)) = Self::WORDS.iter().find(|(_, word)| *word == text) {
            return Ok(*one);
        }
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .parse::<u8>()
            .ok()
            .filter(|number| plain && *number != 0);
        number
            .map(Self::Number)
            .ok_or("must be any, tcp, udp, icmp or a number from 1 to 255")
    }
}

impl TryFrom<String> for Protocol {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

/// A protocol with what is asked for by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Services {
    /// All of it.
    All(Protocol),
    /// Destination ports, of TCP or UDP.
    Ports {
        /// TCP or UDP.
        protocol: Protocol,
        /// The lowest.
        min: u16,
        /// The highest.
        max: u16,
    },
    /// A type of ICMP, perhaps with a code.
    Icmp {
        /// The type.
        kind: u8,
        /// The code; any if absent.
        code: Option<u8>,
    },
}

/// What is wrong with the ports of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicesError {
    /// The field at fault.
    pub field: &'static str,
    /// The word in `details.constraint`.
    pub constraint: &'static str,
    /// What follows the field's name in a sentence.
    pub message: &'static str,
}

impl Services {
    /// From the fields of a rule.
    ///
    /// # Errors
    /// Numbers that the protocol does not have.
    pub fn new(
        protocol: Protocol,
        min: Option<u16>,
        max: Option<u16>,
    ) -> Result<Self, ServicesError> {
        let wrong = |field, constraint, message| {
            Err(ServicesError {
                field,
                constraint,
                message,
            })
        };
        let Some(min) = min else {
            return match max {
                None => Ok(Self::All(protocol)),
                Some(_) => wrong("port_min", "required", "is required with port_max"),
            };
        };
        match protocol {
            Protocol::TCP | Protocol::UDP => match max.unwrap_or(min) {
                _ if min == 0 => wrong("port_min", "range", "must be from 1 to 65535"),
                max if max < min => wrong("port_max", "range", "must not be below port_min"),
                max => Ok(Self::Ports { protocol, min, max }),
            },
            Protocol::ICMP => {
                let Ok(kind) = u8::try_from(min) else {
                    return wrong("port_min", "range", "must be a type of ICMP, 0 to 255");
                };
                match max.map(u8::try_from).transpose() {
                    Ok(code) => Ok(Self::Icmp { kind, code }),
                    Err(_) => wrong("port_max", "range", "must be a code of ICMP, 0 to 255"),
                }
            }
            Protocol::Any | Protocol::Number(_) => {
                wrong("port_min", "protocol", "goes with tcp, udp and icmp only")
            }
        }
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::All(protocol) | Self::Ports { protocol, .. } => protocol,
            Self::Icmp { .. } => Protocol::ICMP,
        }
    }

    /// The lowest port, or the type of ICMP.
    #[must_use]
    pub fn min(self) -> Option<u16> {
        match self {
            Self::All(_) => None,
            Self::Ports { min, .. } => Some(min),
            Self::Icmp { kind, .. } => Some(kind.into()),
        }
    }

    /// The highest port, or the code of ICMP.
    #[must_use]
    pub fn max(self) -> Option<u16> {
        match self {
            Self::All(_) => None,
            Self::Ports { max, .. } => Some(max),
            Self::Icmp { code, .. } => code.map(Into::into),
        }
    }
}

/// The other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// Addresses.
    Cidr(Block),
    /// The ports of a group, in the same VPC.
    Group(GroupId),
}

/// A rule, as it is stored: at `<group>/<id>`. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// The group whose ports it is about.
    pub group: GroupId,
    /// Which way.
    pub direction: Direction,
    /// What.
    pub services: Services,
    /// With whom.
    pub remote: Remote,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The stored form.
#[derive(Clone, Serialize, Deserialize)]
struct Form {
    id: RuleId,
    group: GroupId,
    direction: Direction,
    protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port_min: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port_max: Option<u16>,
    remote: Remote,
    #[serde(default)]
    description: String,
    created_at: Timestamp,
}

impl TryFrom<Form> for Rule {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let services = Services::new(form.protocol, form.port_min, form.port_max)
            .map_err(|error| format!("{} {}", error.field, error.message))?;
        Ok(Self {
            id: form.id,
            group: form.group,
            direction: form.direction,
            services,
            remote: form.remote,
            description: form.description,
            created_at: form.created_at,
        })
    }
}

impl From<Rule> for Form {
    fn from(rule: Rule) -> Self {
        Self {
            id: rule.id,
            group: rule.group,
            direction: rule.direction,
            protocol: rule.services.protocol(),
            port_min: rule.services.min(),
            port_max: rule.services.max(),
            remote: rule.remote,
            description: rule.description,
            created_at: rule.created_at,
        }
    }
}

impl Record for Rule {
    const ROOT: &'static str = "/photon/prismnet/public/rule/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        let mut keys = vec![key::same_rule(self.group, &self.content())];
        // That a group names itself keeps nobody from deleting it.
        if let Remote::Group(other) = self.remote
            && other != self.group
        {
            keys.push(key::uses(other, self.id));
        }
        keys
    }
}

impl Rule {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        key_of(self.group, self.id)
    }

    /// What it allows, in one text: two rules of a group with the same are one too many.
    #[must_use]
    pub fn content(&self) -> String {
        let number = |number: Option<u16>| number.map_or_else(String::new, |n| n.to_string());
        let remote = match self.remote {
            Remote::Cidr(block) => block.to_string(),
            Remote::Group(group) => group.to_string(),
        };
        format!(
            "{} {} {} {} {remote}",
            self.direction.as_str(),
            self.services.protocol(),
            number(self.services.min()),
            number(self.services.max()),
        )
    }
}

/// The key of a rule below the collection.
#[must_use]
pub fn key_of(group: GroupId, rule: RuleId) -> String {
    format!("{group}/{rule}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn ports_are_those_of_the_protocol() {
        let of = |protocol: &str, min, max| Services::new(protocol.parse().unwrap(), min, max);
        for (protocol, min, max) in [
            ("any", None, None),
            ("tcp", None, None),
            ("tcp", Some(80), Some(90)),
            ("17", Some(53), Some(53)),
            ("icmp", Some(8), Some(0)),
            ("icmp", Some(3), None),
            ("47", None, None),
        ] {
            let services = of(protocol, min, max).unwrap();
            assert_eq!((services.min(), services.max()), (min, max), "{protocol}");
        }
        assert_eq!(of("tcp", Some(80), None).unwrap().max(), Some(80));
        for (protocol, min, max, field) in [
            ("tcp", None, Some(80), "port_min"),
            ("tcp", Some(0), Some(80), "port_min"),
            ("udp", Some(80), Some(79), "port_max"),
            ("any", Some(1), None, "port_min"),
            ("47", Some(1), Some(2), "port_min"),
            ("icmp", Some(256), None, "port_min"),
            ("icmp", Some(8), Some(256), "port_max"),
        ] {
            let error = of(protocol, min, max).unwrap_err();
            assert_eq!(error.field, field, "{protocol} {min:?} {max:?}");
        }
    }

    #[test]
    fn a_protocol_has_one_text() {
        for (given, shown) in [
            ("any", "any"),
            ("6", "tcp"),
            ("tcp", "tcp"),
            ("1", "icmp"),
            ("47", "47"),
        ] {
            assert_eq!(given.parse::<Protocol>().unwrap().to_string(), shown);
        }
        for bad in ["", "0", "256", "-1", "+6", "TCP", "tcp; drop"] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad}");
        }
    }
}
