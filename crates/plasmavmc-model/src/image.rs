//! Images as hosts hold them.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Digest;

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

/// The image of a VM: it stays the one that was meant when the VM was made, whatever its name means later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// What it was called.
    pub name: photon_core::Name,
    /// What it is: [`HeldImage::digest`].
    pub digest: Digest,
}

impl HeldImage {
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
