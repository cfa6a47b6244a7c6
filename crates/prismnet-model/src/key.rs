//! Index keys: what leads to a record, and what a record claims.
//!
//! Each is unique by what the store compares: two records cannot have the same one.

use std::net::Ipv4Addr;

use photon_core::{Id, Kind, Name};
use sha2::{Digest as _, Sha256};

use crate::{GroupId, Mac, SubnetId, Vni, VpcId};

/// Everything of this service.
pub const ROOT: &str = "/photon/prismnet/";

/// What agents follow.
pub const PUBLIC: &str = "/photon/prismnet/public/";

/// Leads from an id to its record. `resource` is the word of its keys.
#[must_use]
pub fn by_id<K: Kind>(resource: &str, id: Id<K>) -> String {
    format!("{ROOT}id/{resource}/{id}")
}

/// Where the claims of a subnet's addresses lie; ends with a slash.
#[must_use]
pub fn addresses(subnet: SubnetId) -> String {
    format!("{ROOT}address/{subnet}/")
}

/// The claim of an address.
#[must_use]
pub fn address(subnet: SubnetId, address: Ipv4Addr) -> String {
    format!("{}{:08x}", addresses(subnet), address.to_bits())
}

/// The address that is claimed by a key below [`addresses`].
#[must_use]
pub fn claimed_address(key: &str) -> Option<Ipv4Addr> {
    let (_, digits) = key.rsplit_once('/')?;
    let plain = digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bits = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some(Ipv4Addr::from_bits(bits))
}

/// The claim of a MAC address in a VPC.
#[must_use]
pub fn mac(vpc: VpcId, mac: Mac) -> String {
    format!("{ROOT}mac/{vpc}/{}", mac.hex())
}

/// The claim of a VNI.
#[must_use]
pub fn vni(vni: Vni) -> String {
    format!("{ROOT}vni/{:06x}", vni.number())
}

/// The claim of a group's name in its project. The name is for people; what it may hold would not all fit into a key.
#[must_use]
pub fn group_name(org: &Name, project: &Name, name: &str) -> String {
    format!("{ROOT}name/security-group/{org}/{project}/{}", digest(name))
}

/// Where those stand that use a thing; ends with a slash.
#[must_use]
pub fn users<K: Kind>(used: Id<K>) -> String {
    format!("{ROOT}use/{used}/")
}

/// That one thing uses another.
#[must_use]
pub fn uses<K: Kind, L: Kind>(used: Id<K>, user: Id<L>) -> String {
    format!("{}{user}", users(used))
}

/// The claim of a rule's content in its group: no rule twice.
#[must_use]
pub fn same_rule(group: GroupId, content: &str) -> String {
    format!("{ROOT}same/{group}/{}", digest(content))
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_is_read_from_its_claim() {
        let subnet = SubnetId::generate();
        let claimed: Ipv4Addr = "10.0.3.17".parse().unwrap();
        let key = address(subnet, claimed);
        assert_eq!(key, format!("/photon/prismnet/address/{subnet}/0a000311"));
        assert_eq!(claimed_address(&key), Some(claimed));
        for bad in ["", "a/0a0003", "a/0a00031g", "a/+a000311"] {
            assert_eq!(claimed_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_any_kind_fit_into_a_key() {
        let name = |text: &str| Name::new(text).unwrap();
        let key = group_name(&name("acme"), &name("shop"), "a/b\u{7f}//");
        assert_eq!(key.split('/').count(), 8, "{key}");
        assert_ne!(key, group_name(&name("acme"), &name("shop"), "a/b"));
    }
}
