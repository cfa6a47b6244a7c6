//! Files in pools that nobody wants. They are left as they are: that a record is absent is no order.

use std::{collections::BTreeSet, fs, io, path::Path};

use plasmavmc_model::{VmId, pool};

use super::files::VolumeFiles;
use crate::{feed::Records, pools::Pools};

/// The most that are named of a pool.
const MOST_NAMED: usize = 5;

/// A sentence for each pool that has such files. What others want of a shared pool, this host does not know. Blocks.
pub(super) fn look(pools: &Pools, records: &Records) -> Vec<String> {
    let mut problems = Vec::new();
    for name in pools.own() {
        // What keeps a pool from being used is told by itself.
        let Ok(volumes) = pools.volumes(&name) else {
            continue;
        };
        let mut strays = BTreeSet::new();
        let found = each(&volumes, |file, path| {
            let owner = VolumeFiles::owner(path);
            // What is written before it is renamed is nobody's for a moment.
            let is_known = owner.is_none_or(|volume| records.know_volume(volume));
            if !is_known && !file.ends_with(".new") {
                strays.extend(owner.map(|volume| volume.to_string()));
            } else if owner.is_none() {
                strays.insert(file.to_owned());
            }
        });
        // Disks of VMs in `local` are with the rest of them, and told as orphans.
        let found = found.and_then(|()| match name.as_str() {
            pool::LOCAL => Ok(()),
            _ => each(&volumes.with_file_name("vms"), |file, _| {
                let vm = file.parse::<VmId>();
                if !vm.is_ok_and(|vm| records.know(vm)) {
                    strays.insert(file.to_owned());
                }
            }),
        });
        if let Err(error) = found {
            problems.push(format!("pool {name}: {error}"));
        }
        if !strays.is_empty() {
            let (count, more) = (strays.len(), strays.len() > MOST_NAMED);
            let named: Vec<String> = strays.into_iter().take(MOST_NAMED).collect();
            let more = if more { ", …" } else { "" };
            problems.push(format!(
                "pool {name} has {count} things that nobody wants, and that stay as they are: {}{more}",
                named.join(", ")
            ));
        }
    }
    problems
}

fn each(directory: &Path, mut visit: impl FnMut(&str, &Path)) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        visit(&entry.file_name().to_string_lossy(), &entry.path());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{VolumeGoneOrder, VolumeId};

    use super::*;

    #[test]
    fn what_nobody_wants_is_told_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let pools = Pools::local(directory.path());
        let mut records = Records::default();
        assert!(look(&pools, &records).is_empty());
        let volumes = pools.volumes(&pool::local()).unwrap();
        fs::create_dir(&volumes).unwrap();
        let (wanted, other) = (VolumeId::generate(), VolumeId::generate());
        let order = VolumeGoneOrder {
            id: wanted,
            pool: pool::local(),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        records.volumes_gone.insert(wanted, order);
        for (volume, kind) in [(wanted, "qcow2"), (wanted, "json"), (other, "new")] {
            fs::write(volumes.join(format!("{volume}.{kind}")), "").unwrap();
        }
        assert!(look(&pools, &records).is_empty());
        for kind in ["qcow2", "json"] {
            fs::write(volumes.join(format!("{other}.{kind}")), "").unwrap();
        }
        fs::write(volumes.join("notes.txt"), "").unwrap();
        let told = look(&pools, &records);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("2 things") && told[0].contains(&other.to_string()),
            "{told:?}"
        );
        assert!(told[0].contains("notes.txt"));
        assert!(volumes.join(format!("{other}.qcow2")).exists());
    }
}
