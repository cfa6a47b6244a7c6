//! What things are called on a host: from ids and numbers alone, the same after every restart, never from what a tenant
//! wrote.
//!
//! A device's name has at most 15 bytes. `short(id)` is 60 bits of the id's SHA-256 in 12 characters, which leaves three for
//! what it is. The whole id stands in the device's alias, by which a name that is not ours is told.

use photon_core::{Id, Kind};
use sha2::{Digest as _, Sha256};

use crate::{PortId, Vni, VpcId};

/// The most bytes of a device's name: IFNAMSIZ without its end.
pub const MOST_BYTES: usize = 15;

/// Digits and letters that are not mistaken for one another (Crockford's base32, lower case).
const ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j',
    'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'y', 'z',
];

/// Twelve characters that stand for an id.
#[must_use]
pub fn short<K: Kind>(id: Id<K>) -> String {
    let digest = Sha256::digest(id.to_string().as_bytes());
    let bits = digest
        .iter()
        .take(8)
        .fold(0, |bits: u64, byte| (bits << 8) | u64::from(*byte));
    (0..12)
        .map(|at| {
            // Five bits at a time from the top; a number below 32 is an index of the alphabet.
            let index = usize::try_from((bits >> (59 - 5 * at)) & 31).unwrap_or_default();
            ALPHABET[index]
        })
        .collect()
}

/// The namespace of a VPC.
#[must_use]
pub fn namespace(vpc: VpcId) -> String {
    format!("photon-{vpc}")
}

/// The namespace of a service's port: where its process finds the port as `eth0`.
#[must_use]
pub fn port_namespace(port: PortId) -> String {
    format!("photon-{port}")
}

/// The bridge of a subnet.
#[must_use]
pub fn bridge(vni: Vni) -> String {
    format!("pnb{}", vni.number())
}

/// The VXLAN device of a subnet.
#[must_use]
pub fn vxlan(vni: Vni) -> String {
    format!("pnx{}", vni.number())
}

/// The tap of a guest's port.
#[must_use]
pub fn tap(port: PortId) -> String {
    format!("pnt{}", short(port))
}

/// The veth of a pod's or service's port, on the side of the VPC.
#[must_use]
pub fn veth(port: PortId) -> String {
    format!("pnv{}", short(port))
}

/// The host's side of a VPC's way out.
#[must_use]
pub fn uplink(vpc: VpcId) -> String {
    format!("pnu{}", short(vpc))
}

/// The VPC's side of its way out.
pub const UPLINK_INSIDE: &str = "pnuplink";

/// Whether agents give devices such names: one of theirs, whatever it stands for.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let numbered = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let named = |rest: &str| rest.len() == 12 && rest.chars().all(|one| ALPHABET.contains(&one));
    let is =
        |prefix: &str, form: &dyn Fn(&str) -> bool| name.strip_prefix(prefix).is_some_and(form);
    name == UPLINK_INSIDE
        || ["pnb", "pnx"].iter().any(|prefix| is(prefix, &numbered))
        || ["pnt", "pnv", "pnu"]
            .iter()
            .any(|prefix| is(prefix, &named))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_fit_and_stay_the_same() {
        let port: PortId = "port-019ac8e5-3c00-7001-8c00-000000000005".parse().unwrap();
        let vpc: VpcId = "vpc-019ac8e5-3c00-7001-8c00-000000000005".parse().unwrap();
        let vni = Vni::try_from(Vni::HIGHEST).unwrap();
        for name in [tap(port), veth(port), uplink(vpc), bridge(vni), vxlan(vni)] {
            assert!(name.len() <= MOST_BYTES, "{name}");
            assert!(is_ours(&name), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{name}"
            );
        }
        // A running host has devices of these names: another one would be an orphan.
        assert_eq!(bridge(vni), "pnb16777215");
        assert_eq!(tap(port), format!("pnt{}", short(port)));
        assert_eq!(
            short(port),
            expected_short("port-019ac8e5-3c00-7001-8c00-000000000005")
        );
        assert_ne!(short(port), short(vpc));
    }

    /// The same by way of text: the first 60 bits of the digest.
    fn expected_short(text: &str) -> String {
        let digest = Sha256::digest(text.as_bytes());
        let bits: String = digest.iter().map(|byte| format!("{byte:08b}")).collect();
        let alphabet: Vec<char> = "0123456789abcdefghjkmnpqrstvwxyz".chars().collect();
        bits.as_bytes()[..60]
            .chunks(5)
            .map(|five| {
                let five = std::str::from_utf8(five).unwrap();
                alphabet[usize::from_str_radix(five, 2).unwrap()]
            })
            .collect()
    }

    #[test]
    fn ids_are_told_apart() {
        let names: HashSet<String> = (0..10_000).map(|_| short(PortId::generate())).collect();
        assert_eq!(names.len(), 10_000);
    }
}
