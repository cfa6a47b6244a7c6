//! MAC addresses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A MAC address that a port may have: unicast, not zero, not one of the gateways'. In text lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// What the MAC addresses of gateways begin with; the rest is the VNI.
pub const GATEWAYS: [u8; 3] = [0x02, 0x50, 0x4e];

/// What those that we make begin with: locally administered.
const OURS: u8 = 0x06;

/// Why a text is no MAC address of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six bytes in hex with colons.
    #[error("must be a MAC address like 06:00:5e:00:53:01")]
    Form,
    /// To several.
    #[error("must not be a multicast address")]
    Multicast,
    /// Nobody's, or that of a gateway.
    #[error("must not be zero and must not begin with 02:50:4e")]
    Reserved,
}

impl MacError {
    /// The word in `details.constraint`.
    #[must_use]
    pub fn constraint(self) -> &'static str {
        match self {
            Self::Form => "mac",
            Self::Multicast => "unicast",
            Self::Reserved => "reserved",
        }
    }
}

impl Mac {
    /// One of ours, from 40 bits, of which more are ignored.
    #[must_use]
    pub fn ours(bits: u64) -> Self {
        let [_, _, _, b, c, d, e, f] = bits.to_be_bytes();
        Self([OURS, b, c, d, e, f])
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Its 12 hex digits, as in keys.
    #[must_use]
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<[u8; 6]> for Mac {
    type Error = MacError;

    fn try_from(bytes: [u8; 6]) -> Result<Self, MacError> {
        if bytes[0] & 1 == 1 {
            return Err(MacError::Multicast);
        }
        if bytes == [0; 6] || bytes.starts_with(&GATEWAYS) {
            return Err(MacError::Reserved);
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Takes capitals too.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or(MacError::Form)?;
        }
        match parts.next() {
            None => bytes.try_into(),
            Some(_) => Err(MacError::Form),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_port_may_have_is_taken() {
        for (text, constraint) in [
            ("", "mac"),
            ("06:00:00:00:00", "mac"),
            ("06:00:00:00:00:00:00", "mac"),
            ("06-00-00-00-00-00", "mac"),
            ("6:0:0:0:0:1", "mac"),
            ("+6:00:00:00:00:01", "mac"),
            ("01:00:5e:00:00:01", "unicast"),
            ("ff:ff:ff:ff:ff:ff", "unicast"),
            ("00:00:00:00:00:00", "reserved"),
            ("02:50:4e:00:10:00", "reserved"),
        ] {
            let error = text.parse::<Mac>().unwrap_err();
            assert_eq!(error.constraint(), constraint, "{text}");
        }
        let mac: Mac = "52:54:00:AB:cd:0F".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        assert_eq!(mac.hex(), "525400abcd0f");
    }

    proptest! {
        #[test]
        fn those_we_make_are_taken(bits in any::<u64>()) {
            let mac = Mac::ours(bits);
            prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        }
    }
}
