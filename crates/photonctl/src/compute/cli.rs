//! The grammar of the commands that speak to PlasmaVMC.

mod disks;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

pub(crate) use self::disks::{Pool, Snapshot, SnapshotOf, Volume, VolumeState};
use crate::rest::cli::{If, Once, Page, Whose};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// VMs: virtual machines of a project.
    #[command(subcommand)]
    Vm(Box<Vm>),
    /// Images: what VMs boot.
    #[command(subcommand)]
    Image(Box<Image>),
    /// Volumes: disks of their own, that VMs come and go by.
    #[command(subcommand)]
    Volume(Box<Volume>),
    /// Snapshots: how a VM's disks, or a volume, were at a moment; of a VM that ran, with its memory.
    #[command(subcommand)]
    Snapshot(Box<Snapshot>),
    /// Pools: where disks lie.
    #[command(subcommand)]
    Pool(Pool),
    /// Operations: work that takes longer than a request, as the making of a VM.
    #[command(subcommand)]
    Operation(Operation),
}

/// How long somebody waits who does not say it.
const WITHIN: u64 = 300;

// To wait for the end.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Wait {
    /// Wait until it is done, and fail if it is not.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Seconds to wait at most.
    #[arg(long, requires = "wait", value_name = "SECONDS", default_value_t = WITHIN, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: u64,
}

impl Wait {
    /// How long, if it is wanted.
    pub(crate) fn patience(self) -> Option<Duration> {
        self.wait.then(|| Duration::from_secs(self.within))
    }
}

// How long to wait where that is what is done.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Within {
    /// Seconds to wait at most.
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: u64,
}

impl Within {
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(self.within)
    }
}

/// What runs a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hypervisor {
    /// The host's own CPUs.
    Kvm,
    /// Emulation: slow, and everywhere.
    Qemu,
}

impl Hypervisor {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// How a VM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum State {
    Creating,
    Stopped,
    Starting,
    Running,
    Stopping,
    Paused,
    Suspended,
    Error,
    Deleting,
    Unknown,
}

impl State {
    /// Its word, which is PlasmaVMC's.
    pub(crate) fn word(self) -> Option<String> {
        let value = self.to_possible_value()?;
        Some(value.get_name().to_owned())
    }
}

/// What is waited for: how a VM stays once it is so, not what it only passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Goal {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
    /// It stands still.
    Paused,
    /// It does not run, and its memory is on disk.
    Suspended,
    /// It is not as it is wanted, and cannot be.
    Error,
    /// Its host is silent.
    Unknown,
    /// It is there no more.
    #[value(name = "gone")]
    Gone,
}

// How large a VM is to be.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Size {
    /// CPUs.
    #[arg(long, visible_alias = "vcpus", value_name = "NUMBER")]
    pub(crate) cpus: Option<u64>,
    /// Memory: in MiB, or with a unit, as 512M or 4G.
    #[arg(long, visible_alias = "memory-mib", value_name = "MIB", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// The size of its root disk: in GiB, or with a unit, as 20G.
    #[arg(long, visible_alias = "disk-gb", value_name = "GIB", value_parser = gib)]
    pub(crate) disk: Option<u64>,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is boxed")]
pub(crate) enum Vm {
    /// Make a VM.
    Create {
        /// What it is called.
        name: String,
        /// CPUs.
        #[arg(
            long,
            visible_alias = "vcpus",
            value_name = "NUMBER",
            default_value_t = 1
        )]
        cpus: u64,
        /// Memory: in MiB, or with a unit, as 512M or 4G.
        #[arg(long, value_name = "MIB", value_parser = memory)]
        memory: u64,
        /// The size of its root disk, in GiB; without it, it has none.
        #[arg(long, value_name = "GIB")]
        disk: Option<u64>,
        /// What it boots: an image's name, or sha256:…; without it, PlasmaVMC's default.
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
        /// What is to run it; without it, the best that its host has.
        #[arg(long, value_enum)]
        hypervisor: Option<Hypervisor>,
        /// Connect it to that subnet, by a port that is made for it; may be repeated, for interfaces in that order.
        #[arg(long = "subnet", value_name = "SUBNET-ID")]
        subnets: Vec<String>,
        /// Connect it by that port, behind those of --subnet; may be repeated.
        #[arg(long = "port", value_name = "PORT-ID")]
        ports: Vec<String>,
        /// Of the ports that are made, instead of the project's default group; may be repeated.
        #[arg(long = "group", value_name = "GROUP-ID", requires = "subnets")]
        groups: Vec<String>,
        /// Start it once it is made.
        #[arg(long)]
        start: bool,
        /// Pay the first period from this reservation of the project's.
        #[arg(long, value_name = "RESERVATION")]
        reservation: Option<String>,
        /// Something to sort it by, as tier=web; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<Label>,
        /// Refuse to delete it.
        #[arg(long)]
        deletion_protection: bool,
        /// What its guest is called; without it, made from its name.
        #[arg(long)]
        hostname: Option<String>,
        /// Who may log in: a public key, or the path of a file with some; may be repeated.
        #[arg(long = "ssh-key", value_name = "KEY|FILE")]
        ssh_keys: Vec<String>,
        /// A file with what its guest runs at its first boot, for cloud-init; -: stdin.
        #[arg(long, value_name = "FILE")]
        user_data: Option<String>,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a VM.
    #[command(visible_alias = "show")]
    Get {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the VMs that we may see.
    List {
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        /// In this state only.
        #[arg(long, value_enum, ignore_case = true)]
        state: Option<State>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Start a VM. One that is to run already stays as it is.
    Start {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Stop a VM: its guest is asked to shut down, and powered off if it does not.
    Stop {
        /// Its id, or its name.
        vm: String,
        /// Power it off at once.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Stop a VM that is to run, and start it again.
    Reboot {
        /// Its id, or its name.
        vm: String,
        /// Power it off at once.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a VM stand still: its memory stays where it is, and it costs as if it ran.
    Pause {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a VM go on that stands still, or that was suspended.
    Resume {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write the memory of a VM to disk, and let it run no more until it is resumed.
    Suspend {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Change the size of a VM that is stopped. Its disk grows only.
    Resize {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Attach a volume to a VM, whether that runs or not.
    Attach {
        /// Its id, or its name.
        vm: String,
        /// The volume's.
        volume: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Take a volume from a VM. Its guest should have unmounted it.
    Detach {
        /// Its id, or its name.
        vm: String,
        /// The volume's.
        volume: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
    },
    /// Change what a VM is called and sorted by, and whether it may be deleted.
    Update {
        /// Its id, or its name.
        vm: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// The whole new list of its labels, as tier=web; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<Label>,
        /// It has no labels any more.
        #[arg(long, conflicts_with = "labels")]
        no_labels: bool,
        /// Refuse to delete it.
        #[arg(long)]
        deletion_protection: bool,
        /// Let it be deleted.
        #[arg(long, conflicts_with = "deletion_protection")]
        no_deletion_protection: bool,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete a VM with its disks, whether it runs or not.
    Delete {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Show what its guest has written to its serial console, over all its boots.
    Log {
        /// Its id, or its name.
        vm: String,
        /// Go on with what it writes.
        #[arg(long, short)]
        follow: bool,
        /// As it was written, with what a terminal obeys.
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show what its guest is told at its first boot: for those who may change it.
    Guest {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Be a terminal to its guest, on its serial console. Ctrl-] ends it.
    Console {
        /// Its id, or its name.
        vm: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Wait until a VM is as it should be. Exit code 4: it took too long; 6: it will not be so.
    Wait {
        /// Its id, or its name.
        vm: String,
        /// How it should be; without it, as somebody asked for last: running, stopped or gone.
        #[arg(long = "for", value_enum, ignore_case = true, value_name = "STATE")]
        goal: Option<Goal>,
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Register an image, and upload its content if a file is given.
    Create {
        /// What it is to be called: [a-z0-9][a-z0-9._-]{0,62}.
        name: String,
        /// What it is.
        #[arg(long, value_enum, default_value_t)]
        format: ImageFormat,
        /// The disk's file.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "kernel"])]
        file: Option<PathBuf>,
        /// Where the service is to fetch the disk from: a URL that its operators allow.
        #[arg(long)]
        url: Option<String>,
        /// The SHA-256 of the disk: another content is refused.
        #[arg(long)]
        sha256: Option<String>,
        /// The kernel's file, of format kernel.
        #[arg(long, value_name = "FILE", requires = "initramfs")]
        kernel: Option<PathBuf>,
        /// The initramfs's file.
        #[arg(long, value_name = "FILE", requires = "kernel")]
        initramfs: Option<PathBuf>,
        /// The kernel's command line.
        #[arg(long)]
        cmdline: Option<String>,
        /// What else it is called; may be repeated.
        #[arg(long = "alias", value_name = "NAME")]
        aliases: Vec<String>,
        /// Everybody may boot it.
        #[arg(long)]
        public: bool,
        /// VMs that name no image get it.
        #[arg(long)]
        default: bool,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Upload the content of an image that is registered, or go on with an upload that broke off.
    Upload {
        /// Its name or id.
        image: String,
        /// The file.
        file: PathBuf,
        /// Of an image of format kernel: which of the two.
        #[arg(long)]
        part: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the images that VMs may boot.
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Show an image.
    #[command(visible_alias = "show")]
    Get {
        /// Its name or id.
        image: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Change what an image is called, who may boot it, and whether it is the default.
    Update {
        /// Its name or id.
        image: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// All that it is called besides; may be repeated.
        #[arg(long = "alias", value_name = "NAME")]
        aliases: Vec<String>,
        /// Whether everybody may boot it.
        #[arg(long)]
        public: Option<bool>,
        /// Whether VMs that name no image get it.
        #[arg(long)]
        default: Option<bool>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete an image. VMs that were made of it keep what they were made of.
    Delete {
        /// Its name or id.
        image: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

/// What an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormat {
    /// A disk, in qemu's format.
    #[default]
    Qcow2,
    /// A disk, byte by byte.
    Raw,
    /// A kernel with its initramfs.
    Kernel,
}

impl ImageFormat {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Kernel => "kernel",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Show an operation. With --follow, exit code 4: it took too long; 6: it failed, or was cancelled.
    #[command(visible_alias = "show")]
    Get {
        /// Its id: the operation_id of a VM.
        id: String,
        /// Show what happens until it ends.
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Parses `4096`, `512M` and `4G` into MiB.
fn memory(text: &str) -> Result<u64, String> {
    let mib = with_unit(text, [&["", "M", "MiB"], &["G", "GiB"]]);
    mib.ok_or_else(|| "a number of MiB, or one with M or G behind it, as 4G".to_owned())
}

/// Parses `20`, `20G` and `1T` into GiB.
fn gib(text: &str) -> Result<u64, String> {
    let gib = with_unit(text, [&["", "G", "GiB"], &["T", "TiB"]]);
    gib.ok_or_else(|| "a number of GiB, or one with G or T behind it, as 1T".to_owned())
}

/// A number of the first of two units, of which the second is 1024; each by its words.
fn with_unit(text: &str, units: [&[&str]; 2]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let word = &text[digits.len()..];
    let of = |unit: usize| units[unit].contains(&word);
    let unit = of(0).then_some(1).or_else(|| of(1).then_some(1024))?;
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Something that VMs are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Parses `tier=web`.
fn label(text: &str) -> Result<Label, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("a key and its value, as tier=web".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use clap::{Parser as _, error::ErrorKind};

    use super::*;

    #[test]
    fn memory_is_told_in_mib_or_with_a_unit() {
        for (text, mib) in [
            ("4096", 4096),
            ("512M", 512),
            ("512MiB", 512),
            ("4G", 4096),
            ("4GiB", 4096),
        ] {
            assert_eq!(memory(text), Ok(mib), "{text}");
        }
        for bad in ["", "G", "-1", "4T", "4 G", "1.5G", "18446744073709551615G"] {
            memory(bad).unwrap_err();
        }
    }

    #[test]
    fn disks_are_told_in_gib_or_with_a_unit() {
        for (text, size) in [("20", 20), ("20G", 20), ("20GiB", 20), ("2T", 2048)] {
            assert_eq!(gib(text), Ok(size), "{text}");
        }
        for bad in ["", "T", "-1", "4M", "1.5T", "18446744073709551615T"] {
            gib(bad).unwrap_err();
        }
    }

    #[test]
    fn what_is_needed_is_asked_for() {
        let parse = |line: &str| crate::cli::Cli::try_parse_from(line.split(' '));
        for line in [
            "photonctl vm resize web --vcpus 2 --memory-mib 4G --disk-gb 20",
            "photonctl vm suspend web --wait --within 5",
            "photonctl volume create data --size 1T --vm web --label tier=db",
            "photonctl volume list --state inuse",
            "photonctl snapshot create then --vm web",
            "photonctl snapshot revert then --disks-only --wait",
            "photonctl pool show local",
        ] {
            parse(line).unwrap();
        }
        for (line, kind) in [
            (
                "photonctl vm resize web",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "photonctl volume create data",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "photonctl volume resize data 4M",
                ErrorKind::ValueValidation,
            ),
            (
                "photonctl snapshot create then",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "photonctl snapshot create then --vm a --volume b",
                ErrorKind::ArgumentConflict,
            ),
            (
                "photonctl snapshot list --vm a --volume b",
                ErrorKind::ArgumentConflict,
            ),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }

    #[test]
    fn a_label_has_a_key() {
        let value = |text: &str| label(text).map(|label| label.value);
        assert_eq!(value("tier=web").as_deref(), Ok("web"));
        assert_eq!(value("tier=").as_deref(), Ok(""));
        assert_eq!(value("a=b=c").as_deref(), Ok("b=c"));
        for bad in ["", "tier", "=web"] {
            label(bad).unwrap_err();
        }
    }

    #[test]
    fn how_long_to_wait_is_told_by_who_waits() {
        let parse = |line: &str| crate::cli::Cli::try_parse_from(line.split(' '));
        parse("photonctl vm start web --wait --within 5").unwrap();
        parse("photonctl vm wait web --for running --within 5").unwrap();
        parse("photonctl vm wait web --for GONE").unwrap();
        for (line, kind) in [
            (
                "photonctl vm start web --within 5",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "photonctl vm wait web --within 0",
                ErrorKind::ValueValidation,
            ),
            (
                "photonctl vm wait web --for Starting",
                ErrorKind::InvalidValue,
            ),
            (
                "photonctl vm create web",
                ErrorKind::MissingRequiredArgument,
            ),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }
}
