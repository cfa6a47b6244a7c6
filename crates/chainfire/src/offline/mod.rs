//! Work on a node that does not run, and backups.
//!
//! ```text
//! save      a running node --Maintenance.Snapshot--> FILE
//! verify    FILE --unpack, every checksum--> a scratch directory --read all of it--> what is in it
//! restore   FILE --unpack, verify--> DIR/state --found(one member)--> a data directory of a new cluster
//! recover   a survivor's data directory --apply all, found(one member)--> the same, a new cluster
//! check     a data directory --read all of it--> what is in it
//! ```
//!
//! `found` (`founding`) is what makes a new cluster of a state: one member, another incarnation, a revision no old
//! reader has seen. A data directory in which that is under way is marked, and does not start.

mod archive;
mod check;
mod founding;
mod recover;
mod restore;
mod save;
mod verify;

pub use self::{
    check::check,
    founding::{BUMP, Founded},
    recover::{Plan, plan},
    restore::{Restore, restore},
    save::{Login, Save, save},
    verify::verify,
};

/// One line of a report.
pub(crate) fn line(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name:<12} {value}\n")
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut shown = bytes;
    let mut rest = 0;
    while shown >= 10_240 && unit + 1 < UNITS.len() {
        rest = shown % 1024;
        shown /= 1024;
        unit += 1;
    }
    if unit > 0 && shown < 100 {
        return format!("{shown}.{} {}", rest * 10 / 1024, UNITS[unit]);
    }
    format!("{shown} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(10_239), "10239 B");
        assert_eq!(size(10_752), "10.5 KiB");
        assert_eq!(size(3 << 30), "3072 MiB");
        assert_eq!(size(64 << 30), "64.0 GiB");
    }
}
