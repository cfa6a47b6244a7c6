//! Images: until they are uploaded (step 3), what hosts say they hold.

pub(crate) mod grpc;
pub(crate) mod rest;

use std::collections::{BTreeMap, BTreeSet};

use photon_core::{Error, Name};
use plasmavmc_model::{Boot, Digest, HeldImage, ImageRef};

/// How an image's digest begins in a field.
const DIGEST: &str = "sha256:";

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

/// The image that is meant, and what a VM of it boots.
///
/// # Errors
/// 400 naming `image_id`: no host holds such an image, or hosts mean different ones by the name.
pub(crate) fn resolve(held: &BTreeSet<HeldImage>, text: &str) -> Result<(ImageRef, Boot), Error> {
    let nothing = || {
        let message = format!(
            "image_id {:?} is no image that a host holds; on a host, `plasmavmc-agent image add DIRECTORY` adds one, and \
             GET /api/v1/images lists those that are there",
            text.chars().take(100).collect::<String>()
        );
        Error::validation("image_id", "exists", message)
    };
    let wanted = Wanted::parse(text).ok_or_else(nothing)?;
    let meant: BTreeMap<Digest, &HeldImage> = held
        .iter()
        .map(|image| (image.digest(), image))
        .filter(|(digest, image)| match &wanted {
            Wanted::Named(name) => image.name == *name,
            Wanted::Exactly(exactly) => digest == exactly,
        })
        .collect();
    let mut meant = meant.into_iter();
    match (meant.next(), meant.next()) {
        (Some((digest, image)), None) => Ok((
            ImageRef {
                name: image.name.clone(),
                digest,
            },
            Boot::Kernel {
                kernel: image.kernel,
                initramfs: image.initramfs,
                cmdline: image.cmdline.clone(),
            },
        )),
        (None, _) => Err(nothing()),
        (Some((one, _)), Some((other, _))) => {
            let message = format!(
                "image_id {text} means different images on different hosts: name one by {} or {}",
                shown(one),
                shown(other)
            );
            Err(Error::validation("image_id", "ambiguous", message))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn held(name: &str, kernel: &[u8]) -> HeldImage {
        HeldImage {
            name: Name::new(name).unwrap(),
            arch: "x86_64".to_owned(),
            kernel: Digest::of(kernel),
            initramfs: Digest::of(b"i"),
            cmdline: "console=ttyS0".to_owned(),
            bytes: 1,
        }
    }

    #[test]
    fn an_image_is_found_by_name_or_digest() {
        let all = BTreeSet::from([held("mini", b"1"), held("other", b"2")]);
        let (image, boot) = resolve(&all, "mini").unwrap();
        assert_eq!(image.digest, held("mini", b"1").digest());
        assert!(matches!(boot, Boot::Kernel { kernel, .. } if kernel == Digest::of(b"1")));
        let (same, _) = resolve(&all, &shown(image.digest)).unwrap();
        assert_eq!(same, image);
    }

    #[test]
    fn what_names_none_or_two_is_refused() {
        let all = BTreeSet::from([held("mini", b"1"), held("mini", b"2")]);
        let refused = |text: &str| {
            let error = resolve(&all, text).unwrap_err();
            error.details().unwrap()["constraint"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        for text in [
            "",
            "ubuntu-22.04",
            "../../etc/passwd",
            "sha256:",
            "sha256:00",
            &"x".repeat(10_000),
        ] {
            assert_eq!(refused(text), "exists", "{text}");
        }
        assert_eq!(refused("mini"), "ambiguous");
        // The same content under two names is one image of each name.
        let twice = BTreeSet::from([held("a", b"1"), held("b", b"1")]);
        assert_eq!(resolve(&twice, "a").unwrap().0.name.as_str(), "a");
    }
}
