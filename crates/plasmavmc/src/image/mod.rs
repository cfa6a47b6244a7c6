//! Images: what VMs boot from.
//!
//! ```text
//!   register ──> a record ──> upload, or a URL ──> content on a host's disk, by SHA-256 ──copied──> hosts that need it
//! ```
//!
//! | module | what |
//! |---|---|
//! | `service` `upload` | the use cases |
//! | `resolve` | which image a VM means |
//! | `blobs` `disks` | where content is kept |
//! | `fetch` `allowed` | content from URLs, and which of them may be asked |
//! | `copies` | what hosts are to copy |
//! | `tidy` | content that nobody needs goes; what is missing is copied again |
//! | `rest` `data` `grpc` | the doors |

pub(crate) mod allowed;
pub(crate) mod blobs;
pub(crate) mod copies;
pub(crate) mod data;
pub(crate) mod disks;
pub(crate) mod fetch;
pub(crate) mod grpc;
pub(crate) mod resolve;
pub(crate) mod rest;
pub(crate) mod service;
pub(crate) mod tidy;
pub(crate) mod upload;

use std::collections::BTreeSet;

use photon_core::{Error, Name};
use photon_service::scope::{Home, Owner};
use plasmavmc_model::{Digest, DiskFormat, Form};

/// How an image's digest begins in a field.
const DIGEST: &str = "sha256:";
/// The most aliases of an image.
const MOST_ALIASES: usize = 16;
/// The longest command line of a kernel: what x86's takes.
const LONGEST_CMDLINE: usize = 2047;
/// The longest URL.
const LONGEST_URL: usize = 2000;

/// An image, as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whichever has that name.
    Named(Name),
    /// That one.
    Exactly(Digest),
}

impl Wanted {
    /// A name, or `sha256:` and a digest.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(DIGEST) {
            Some(digest) => digest.parse().ok().map(Self::Exactly),
            None => Name::new(text).ok().map(Self::Named),
        }
    }
}

/// A digest, as it is shown.
pub(crate) fn shown(digest: Digest) -> String {
    format!("{DIGEST}{digest}")
}

/// An image to be registered.
#[derive(Clone, Debug)]
pub(crate) struct NewImage {
    pub(crate) name: Name,
    pub(crate) home: Home,
    pub(crate) form: Form,
    pub(crate) public: bool,
    pub(crate) aliases: BTreeSet<Name>,
    pub(crate) is_default: bool,
    pub(crate) sha256: Option<Digest>,
    pub(crate) url: Option<String>,
}

/// What changes of an image; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageChange {
    pub(crate) name: Option<Name>,
    pub(crate) public: Option<bool>,
    pub(crate) aliases: Option<BTreeSet<Name>>,
    pub(crate) is_default: Option<bool>,
}

/// Which images.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageFilter {
    pub(crate) owner: Owner,
    pub(crate) name: Option<String>,
}

/// What an image is said to be, by its format's word.
///
/// # Errors
/// 400 naming `format` or `cmdline`.
pub(crate) fn form(format: &str, cmdline: Option<String>) -> Result<Form, Error> {
    match (DiskFormat::parse(format), format, cmdline) {
        (Some(_), _, Some(_)) => {
            let message = "cmdline is for images of format kernel";
            Err(Error::validation("cmdline", "value", message))
        }
        (Some(format), _, None) => Ok(Form::Disk { format }),
        (None, "kernel", cmdline) => {
            let cmdline = cmdline.unwrap_or_default();
            let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
            if cmdline.len() > LONGEST_CMDLINE || !cmdline.bytes().all(is_plain) {
                let message =
                    format!("cmdline must be at most {LONGEST_CMDLINE} printable ASCII characters");
                return Err(Error::validation("cmdline", "pattern", message));
            }
            Ok(Form::Kernel { cmdline })
        }
        _ => Err(Error::validation(
            "format",
            "value",
            "format must be qcow2, raw or kernel",
        )),
    }
}

/// Names that an image is called by, beside its own.
///
/// # Errors
/// 400 naming `aliases`.
pub(crate) fn aliases(texts: Vec<String>) -> Result<BTreeSet<Name>, Error> {
    if texts.len() > MOST_ALIASES {
        let message = format!("aliases must be at most {MOST_ALIASES}");
        return Err(Error::validation("aliases", "length", message));
    }
    let names = texts.iter().map(|text| Name::parse_field("aliases", text));
    names.collect()
}

/// Whether everybody may boot it.
///
/// # Errors
/// 400 naming `visibility`.
pub(crate) fn is_public(visibility: Option<&str>) -> Result<Option<bool>, Error> {
    match visibility {
        None => Ok(None),
        Some("project") => Ok(Some(false)),
        Some("public") => Ok(Some(true)),
        Some(_) => Err(Error::validation(
            "visibility",
            "value",
            "visibility must be project or public",
        )),
    }
}

/// A SHA-256, as somebody gives it: 64 hexadecimal digits, with or without `sha256:`.
///
/// # Errors
/// 400 naming `sha256`.
pub(crate) fn digest(text: Option<&str>) -> Result<Option<Digest>, Error> {
    let parsed = text.map(|text| text.strip_prefix(DIGEST).unwrap_or(text).parse());
    parsed
        .transpose()
        .map_err(|error| Error::validation("sha256", "pattern", format!("sha256 {error}")))
}
