//! Settings of the calling thread's namespace, below `/proc/sys/net`.

use std::{collections::BTreeMap, fs, path::Path};

use super::Error;

const ROOT: &str = "/proc/sys/net";

/// What those settings are; what is not there is left out.
#[must_use]
pub fn read(names: impl IntoIterator<Item = &'static str>) -> BTreeMap<&'static str, String> {
    names
        .into_iter()
        .filter_map(|name| Some((name, get(name)?)))
        .collect()
}

/// What one is, if it is there.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new(ROOT).join(name)).ok()?;
    Some(value.trim().to_owned())
}

/// Makes one at least so much, where it is a number and this is its namespace's to set.
pub fn raise(name: &str, least: u32) {
    let is_less = get(name).is_some_and(|now| now.parse::<u32>().is_ok_and(|now| now < least));
    if is_less && let Err(error) = set(name, &least.to_string()) {
        tracing::warn!(%error, "a limit of the kernel stays as low as it is");
    }
}

/// Sets one.
///
/// # Errors
/// If there is no such setting, or the kernel does not take the value.
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    fs::write(Path::new(ROOT).join(name), value)
        .map_err(|error| Error::system(format!("{ROOT}/{name}"), error))
}
