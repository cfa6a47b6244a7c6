//! The image that a VM's `image_id` means: a project's own first, then a public one, then what hosts hold.

use std::collections::{BTreeMap, BTreeSet};

use photon_core::{Error, Name};
use photon_service::scope::Home;
use photon_store::{Collection, Stored};
use plasmavmc_model::{
    Base, Boot, Digest, Form, HeldImage, Image, ImageId, ImageRef, Part, catalog,
};

use super::{Wanted, shown};
use crate::app::App;

/// What a VM is made of.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// What it is called.
    pub(crate) image: ImageRef,
    /// What a VM of it boots.
    pub(crate) boots_from: Boot,
    /// What its root disk begins with.
    pub(crate) base: Option<Base>,
    /// The size of that, in bytes; 0 without.
    pub(crate) virtual_bytes: u64,
    /// The record, which must still be there when the VM is written.
    pub(crate) record: Option<Stored<Image>>,
}

/// The image that is meant; without a text the default.
///
/// # Errors
/// 400 naming `image_id`: there is none of that name (`exists`), its content is not there yet (`ready`), or hosts mean different ones by the
/// name (`ambiguous`).
pub(crate) async fn resolve(app: &App, home: &Home, text: Option<&str>) -> Result<Chosen, Error> {
    let found = match text {
        Some(text) => named(app, home, text).await?,
        None => default(app, home).await?,
    };
    if let Some(found) = found {
        return registered(found);
    }
    let text = text.unwrap_or(&app.config.vm.default_image);
    let (image, boots_from) = held(&app.hosts.images(), text)?;
    Ok(Chosen {
        image,
        boots_from,
        base: None,
        virtual_bytes: 0,
        record: None,
    })
}

async fn named(app: &App, home: &Home, text: &str) -> Result<Option<Stored<Image>>, Error> {
    let all = app.records::<Image>();
    if let Ok(id) = text.parse::<ImageId>() {
        let found = all.get_by_index(&catalog::index(id)).await?;
        // Another project's own is none.
        return Ok(found.filter(|found| found.value.public || is_of(&found.value, home)));
    }
    let Ok(name) = Name::new(text) else {
        return Ok(None);
    };
    let own = catalog::own(&home.org, &home.project, &name);
    first(&all, [own, catalog::public(&name)]).await
}

async fn default(app: &App, home: &Home) -> Result<Option<Stored<Image>>, Error> {
    let own = catalog::own_default(&home.org, &home.project);
    first(&app.records(), [own, catalog::public_default()]).await
}

async fn first(
    all: &Collection<Image>,
    indexes: [String; 2],
) -> Result<Option<Stored<Image>>, Error> {
    for index in indexes {
        if let Some(found) = all.get_by_index(&index).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn is_of(image: &Image, home: &Home) -> bool {
    image.org == home.org && image.project == home.project
}

fn registered(found: Stored<Image>) -> Result<Chosen, Error> {
    let image = &found.value;
    let Some(digest) = image.digest() else {
        let message = format!(
            "image_id {}: the image's content is not there yet",
            image.name
        );
        return Err(Error::validation("image_id", "ready", message));
    };
    let part = |part| image.contents.get(&part).copied();
    let (boots_from, base, virtual_bytes) = match &image.form {
        Form::Disk { format } => {
            let base = Base {
                digest,
                format: *format,
            };
            let size = part(Part::Disk).map_or(0, |disk| disk.virtual_bytes);
            (Boot::Disk, Some(base), size)
        }
        Form::Kernel { cmdline } => {
            let (Some(kernel), Some(initramfs)) = (part(Part::Kernel), part(Part::Initramfs))
            else {
                return Err(Error::internal("an image that is ready lacks a part"));
            };
            let boot = Boot::Kernel {
                kernel: kernel.digest,
                initramfs: initramfs.digest,
                cmdline: cmdline.clone(),
            };
            (boot, None, 0)
        }
    };
    Ok(Chosen {
        image: ImageRef {
            name: image.name.clone(),
            digest,
        },
        boots_from,
        base,
        virtual_bytes,
        record: Some(found),
    })
}

/// The image that is meant of those that operators put on hosts.
fn held(held: &BTreeSet<HeldImage>, text: &str) -> Result<(ImageRef, Boot), Error> {
    let nothing = || {
        let message = format!(
            "image_id {:?} is no image here; `photonctl image create` registers one and uploads it, on a host `plasmavmc-agent \
             image add DIRECTORY` adds one, and GET /api/v1/images lists those that are there",
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

    fn sample(name: &str, kernel: &[u8]) -> HeldImage {
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
        let all = BTreeSet::from([sample("mini", b"1"), sample("other", b"2")]);
        let (image, boot) = held(&all, "mini").unwrap();
        assert_eq!(image.digest, sample("mini", b"1").digest());
        assert!(matches!(boot, Boot::Kernel { kernel, .. } if kernel == Digest::of(b"1")));
        let (same, _) = held(&all, &shown(image.digest)).unwrap();
        assert_eq!(same, image);
    }

    #[test]
    fn what_names_none_or_two_is_refused() {
        let all = BTreeSet::from([sample("mini", b"1"), sample("mini", b"2")]);
        let refused = |text: &str| {
            let error = held(&all, text).unwrap_err();
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
        let twice = BTreeSet::from([sample("a", b"1"), sample("b", b"1")]);
        assert_eq!(held(&twice, "a").unwrap().0.name.as_str(), "a");
    }
}
