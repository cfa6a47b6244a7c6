//! The grammar of what keeps data: volumes, snapshots, pools.

use clap::{Args, Subcommand, ValueEnum};

use super::{Label, Wait, gib, label};
use crate::rest::cli::{If, Once, Page, Whose};

/// How a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum VolumeState {
    Creating,
    Available,
    InUse,
    Detaching,
    Error,
    Deleting,
    Unknown,
}

impl VolumeState {
    /// Its word, which is PlasmaVMC's.
    pub(crate) fn word(self) -> Option<String> {
        let value = self.to_possible_value()?;
        Some(value.get_name().to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Make a volume: an empty disk.
    Create {
        /// What it is called.
        name: String,
        /// Its size: in GiB, or with a unit, as 20G or 1T.
        #[arg(long, value_name = "GIB", value_parser = gib)]
        size: u64,
        /// Where it is to lie; without it, in the pool that every host has.
        #[arg(long)]
        pool: Option<String>,
        /// Make it where that VM is, and attach it.
        #[arg(long)]
        vm: Option<String>,
        /// Something to sort it by, as tier=db; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<Label>,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a volume.
    #[command(visible_alias = "show")]
    Get {
        /// Its id, or its name.
        volume: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the volumes that we may see.
    List {
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        /// In this state only.
        #[arg(long, value_enum, ignore_case = true)]
        state: Option<VolumeState>,
        /// Only those that this VM has.
        #[arg(long)]
        vm: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change what a volume is called and sorted by.
    Update {
        /// Its id, or its name.
        volume: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// The whole new list of its labels, as tier=db; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<Label>,
        /// It has no labels any more.
        #[arg(long, conflicts_with = "labels")]
        no_labels: bool,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Attach a volume to a VM, whether that runs or not.
    Attach {
        /// Its id, or its name.
        volume: String,
        /// The VM's.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Take a volume from the VM that has it. Its guest should have unmounted it.
    Detach {
        /// Its id, or its name.
        volume: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a volume grow that no running VM has.
    Resize {
        /// Its id, or its name.
        volume: String,
        /// Its new size: in GiB, or with a unit, as 20G or 1T.
        #[arg(value_name = "GIB", value_parser = gib)]
        size: u64,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Delete a volume with all that is in it. One that a VM has is refused.
    Delete {
        /// Its id, or its name.
        volume: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

// What a snapshot is of.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SnapshotOf {
    /// Of that VM: its root disk and its volumes, and its memory if it runs.
    #[arg(long)]
    pub(crate) vm: Option<String>,
    /// Of that volume.
    #[arg(long)]
    pub(crate) volume: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Take a snapshot of a VM or a volume.
    Create {
        /// What it is called.
        name: String,
        #[command(flatten)]
        of: SnapshotOf,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a snapshot.
    #[command(visible_alias = "show")]
    Get {
        /// Its id, or its name.
        snapshot: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the snapshots that we may see.
    List {
        /// Of this VM only.
        #[arg(long)]
        vm: Option<String>,
        /// Of this volume only.
        #[arg(long, conflicts_with = "vm")]
        volume: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Make a VM or a volume as it was. What it has now is lost; with the memory that is in a snapshot, the VM goes on from it.
    Revert {
        /// Its id, or its name.
        snapshot: String,
        /// Only the disks, of a VM that is stopped, whether the snapshot has the memory or not.
        #[arg(long)]
        disks_only: bool,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Delete a snapshot. What it is of stays as it is.
    Delete {
        /// Its id, or its name.
        snapshot: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pool {
    /// List the pools that disks may lie in.
    List,
    /// Show a pool.
    #[command(visible_alias = "show")]
    Get {
        /// Its name.
        pool: String,
    },
}
