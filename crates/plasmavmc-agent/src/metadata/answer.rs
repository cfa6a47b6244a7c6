//! What is answered to a port, by its path: Amazon's tree under `latest/`, which cloud-init and most tools know, and the files of a seed as
//! NoCloud has them.

use std::fmt::Write as _;

use bytes::Bytes;
use plasmavmc_model::{DesiredVm, PortId};

use crate::seed::Seed;

/// Under which the tree stands: the first version, which everybody asks for, and the newest.
const VERSIONS: [&str; 2] = ["latest", "2009-04-04"];

/// What a port is told at a path; nothing where there is nothing.
#[must_use]
pub fn answer(vm: &DesiredVm, port: PortId, path: &str) -> Option<Bytes> {
    let seed = Seed::of(vm)?;
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    match segments[..] {
        [] => text(&VERSIONS.join("\n")),
        ["meta-data"] => Some(seed.meta_data.into()),
        ["user-data"] => Some(seed.user_data.into()),
        ["network-config"] => Some(seed.network_config.into()),
        // NoCloud asks for it, and there is none.
        ["vendor-data"] => Some(Bytes::new()),
        [version, ref rest @ ..] if VERSIONS.contains(&version) => match rest {
            [] => text("meta-data\nuser-data"),
            ["user-data"] => Some(seed.user_data.into()).filter(|data: &Bytes| !data.is_empty()),
            ["meta-data", rest @ ..] => meta_data(vm, port, rest).map(Bytes::from),
            _ => None,
        },
        _ => None,
    }
}

fn meta_data(vm: &DesiredVm, port: PortId, path: &[&str]) -> Option<String> {
    let guest = vm.guest.as_ref()?;
    let hostname = guest.guest.hostname.as_str();
    let data = guest.content.as_ref();
    let keys = data.map_or(&[][..], |data| &data.ssh_keys);
    let mac = || {
        let own = vm.ports.iter().find(|one| one.port == port);
        own.map(|one| one.mac_address.clone())
    };
    match path {
        [] => {
            let mut all = "hostname\ninstance-id\nlocal-hostname\nmac".to_owned();
            if !keys.is_empty() {
                all.push_str("\npublic-keys/");
            }
            Some(all)
        }
        ["instance-id"] => Some(vm.id.to_string()),
        ["hostname" | "local-hostname"] => Some(hostname.to_owned()),
        ["mac"] => mac(),
        ["public-keys"] if !keys.is_empty() => {
            let mut all = String::new();
            for number in 0..keys.len() {
                // Writing to a text does not fail.
                let _ = writeln!(all, "{number}=key-{number}");
            }
            all.pop();
            Some(all)
        }
        ["public-keys", number, rest @ ..] => {
            let key = keys.get(number.parse::<usize>().ok()?)?;
            match rest {
                [] => Some("openssh-key".to_owned()),
                ["openssh-key"] => Some(key.as_str().to_owned()),
                _ => None,
            }
        }
        _ => None,
    }
}
