//! Images that somebody registered, and what they are made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Digest, DiskFormat, HeldImage, ImageId, key};

/// A part of an image: what is uploaded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The disk, of images of disks.
    Disk,
    /// The kernel, of images that are booted directly.
    Kernel,
    /// Its initramfs.
    Initramfs,
}

impl Part {
    /// By its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Disk, Self::Kernel, Self::Initramfs];
        all.into_iter().find(|part| part.as_str() == word)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an image is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Form {
    /// A disk.
    Disk {
        /// In which format.
        format: DiskFormat,
    },
    /// A kernel with its initramfs.
    Kernel {
        /// The kernel's command line.
        #[serde(default)]
        cmdline: String,
    },
}

impl Form {
    /// The parts that it has.
    #[must_use]
    pub fn parts(&self) -> &'static [Part] {
        match self {
            Self::Disk { .. } => &[Part::Disk],
            Self::Kernel { .. } => &[Part::Kernel, Part::Initramfs],
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Disk { format } => format.as_str(),
            Self::Kernel { .. } => "kernel",
        }
    }
}

/// The content of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What it is.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// The size of the disk that it is; else 0.
    #[serde(default)]
    pub virtual_bytes: u64,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Where its bytes go.
    pub host: Name,
    /// How many there are to be.
    pub bytes: u64,
}

/// An image, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// What people call it; one of that name in a project.
    pub name: Name,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// Whether everybody may boot it.
    #[serde(default)]
    pub public: bool,
    /// What else it is called.
    #[serde(default)]
    pub aliases: BTreeSet<Name>,
    /// Whether VMs that name no image get it: all of the project's, or everybody's if it is public.
    #[serde(default)]
    pub is_default: bool,
    /// `x86_64`.
    pub arch: String,
    /// What it is said to be.
    pub form: Form,
    /// What its disk's content was said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Where its content is fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it could not be fetched, or why what was uploaded last was refused; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// The content of each part that is there.
    #[serde(default)]
    pub contents: BTreeMap<Part, Content>,
    /// Uploads under way.
    #[serde(default)]
    pub uploads: BTreeMap<Part, Upload>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

impl Record for Image {
    const ROOT: &'static str = "/photon/plasmavmc/image/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        let names = || self.aliases.iter().chain([&self.name]);
        let mut keys = vec![index(self.id)];
        keys.extend(names().map(|name| own(&self.org, &self.project, name)));
        if self.public {
            keys.extend(names().map(public));
        }
        keys.extend(self.is_default.then(|| match self.public {
            true => public_default(),
            false => own_default(&self.org, &self.project),
        }));
        keys
    }
}

impl Image {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }

    /// Whether all of its content is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut parts = self.form.parts().iter();
        parts.all(|part| self.contents.contains_key(part))
    }

    /// What names exactly this content, over everything that a guest boots from; `None` before it is there.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match &self.form {
            Form::Disk { .. } => Some(self.contents.get(&Part::Disk)?.digest),
            Form::Kernel { cmdline } => {
                let held = HeldImage {
                    name: self.name.clone(),
                    arch: self.arch.clone(),
                    kernel: self.contents.get(&Part::Kernel)?.digest,
                    initramfs: self.contents.get(&Part::Initramfs)?.digest,
                    cmdline: cmdline.clone(),
                    bytes: 0,
                };
                Some(held.digest())
            }
        }
    }

    /// What a part is called while it is uploaded.
    #[must_use]
    pub fn upload_name(&self, part: Part) -> Name {
        named(&format!("{}.{part}", self.id))
    }
}

#[expect(
    clippy::expect_used,
    reason = "an id, a dot and a word make a name of less than 63 letters"
)]
fn named(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: ImageId) -> String {
    key::by_id("image", id)
}

/// The key that leads from a name or alias to a project's own image.
#[must_use]
pub fn own(org: &Name, project: &Name, name: &Name) -> String {
    format!("{}image-name/own/{org}/{project}/{name}", key::ROOT)
}

/// The key that leads from a name or alias to a public image.
#[must_use]
pub fn public(name: &Name) -> String {
    format!("{}image-name/public/{name}", key::ROOT)
}

/// The key that leads to a project's own default.
#[must_use]
pub fn own_default(org: &Name, project: &Name) -> String {
    format!("{}image-default/own/{org}/{project}", key::ROOT)
}

/// The key that leads to everybody's default.
#[must_use]
pub fn public_default() -> String {
    format!("{}image-default/public", key::ROOT)
}
