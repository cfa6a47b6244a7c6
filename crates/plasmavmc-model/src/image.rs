//! Images as hosts hold them: what an operator has put there, and content by its SHA-256.

use photon_store::Record;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Digest, key};

/// An image on a host: a kernel with its initramfs, each a file called by its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldImage {
    /// What people call it: `[a-z0-9][a-z0-9._-]{0,62}`.
    pub name: photon_core::Name,
    /// `x86_64`.
    pub arch: String,
    /// The kernel's file.
    pub kernel: Digest,
    /// The initramfs's file.
    pub initramfs: Digest,
    /// The kernel's command line.
    #[serde(default)]
    pub cmdline: String,
    /// All files together.
    pub bytes: u64,
}

/// A file that a host holds, called by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldBlob {
    /// What it is.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// Content that a host is to have, because a VM that was put there needs it; at `<host>/desired/blob/<sha256>`. Removed when the host
/// says that it holds it; that it is absent is no order to delete anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredBlob {
    /// What.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Where it can be copied from, in the order in which they are tried.
    pub from: Vec<Holder>,
}

/// A host that holds a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// Which.
    pub host: photon_core::Name,
    /// Its door: [`crate::ObservedAgent::door`].
    pub door: String,
}

impl Record for DesiredBlob {
    const ROOT: &'static str = key::HOSTS;
}

/// The format of the disk that a blob is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    /// qemu's.
    #[default]
    Qcow2,
    /// The bytes of the disk.
    Raw,
}

impl DiskFormat {
    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "qcow2" => Some(Self::Qcow2),
            "raw" => Some(Self::Raw),
            _ => None,
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The image of a VM: it stays the one that was meant when the VM was made, whatever its name means later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// What it was called.
    pub name: photon_core::Name,
    /// What it is: [`HeldImage::digest`].
    pub digest: Digest,
}

impl HeldImage {
    /// Its files.
    #[must_use]
    pub fn files(&self) -> [Digest; 2] {
        [self.kernel, self.initramfs]
    }

    /// What tells this image from others: over everything that a guest boots from, not over its name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        // None of the parts can hold a line break but the last one.
        let parts = [
            "photon-image-1",
            &self.arch,
            &self.kernel.to_string(),
            &self.initramfs.to_string(),
        ];
        for part in parts {
            hash.update(part);
            hash.update("\n");
        }
        hash.update(&self.cmdline);
        Digest::from_bytes(hash.finalize().into())
    }
}
