//! The use cases of images but for their content: register, look, change, delete.

use std::collections::BTreeMap;

use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::{Permission, Scope};
use photon_core::{Code, Error};
use photon_service::{
    audit::Act,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
};
use photon_store::Stored;
use plasmavmc_model::{HeldImage, Image, ImageId, catalog};

use super::{ImageChange, ImageFilter, LONGEST_URL, NewImage};
use crate::app::App;

/// What VMs here run on.
const ARCH: &str = "x86_64";

pub(crate) fn what(id: ImageId) -> String {
    format!("image {id}")
}

fn home(image: &Stored<Image>) -> Home {
    Home {
        org: image.value.org.clone(),
        project: image.value.project.clone(),
    }
}

pub(crate) fn act(image: &Image) -> Act {
    Act::new("image", image.id, &image.project)
}

/// Now, in whole seconds, as it is shown.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What everybody may boot is the operators' to say.
pub(super) fn allow_public(ctx: &Context) -> Result<(), Error> {
    let publish = Permission::new("plasmavmc.images.publish").map_err(Error::internal)?;
    ctx.allow_permission(&publish, &Scope::System)
}

/// What a transaction could not do, in the words of the request.
fn taken(error: photon_store::Error, image: &Image) -> Lost {
    match &error {
        photon_store::Error::AlreadyExists { key } => taken_key(key, image).into(),
        _ => error.into(),
    }
}

/// Of a key that is another image's: names and aliases end theirs.
fn taken_key(key: &str, image: &Image) -> Error {
    let last = key.rsplit('/').next().unwrap_or_default();
    let (field, message) = if key.contains("/image-default/") {
        let message = "another image is the default: set its default to false first".to_owned();
        ("default", message)
    } else if last == image.name.as_str() {
        ("name", format!("another image is called {last} already"))
    } else {
        let message = format!("another image is called {last}, which is to be an alias, already");
        ("aliases", message)
    };
    let details = serde_json::json!({ "field": field, "constraint": "unique" });
    Error::new(Code::ALREADY_EXISTS, message).with_details(details)
}

/// Registers an image, whose content comes later.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewImage,
) -> Result<Versioned<Image>, Error> {
    scope::allow_new(ctx, &new.home)?;
    if new.public {
        allow_public(ctx)?;
    }
    if let Some(url) = &new.url {
        check_url(app, &new, url)?;
    }
    let now = now();
    let image = Image {
        id: ImageId::generate(),
        name: new.name,
        org: new.home.org,
        project: new.home.project,
        public: new.public,
        aliases: new.aliases,
        is_default: new.is_default,
        arch: ARCH.to_owned(),
        form: new.form,
        sha256: new.sha256,
        url: new.url,
        problem: String::new(),
        contents: BTreeMap::new(),
        uploads: BTreeMap::new(),
        created_at: now,
        updated_at: now,
    };
    let image = without_own_name(image);
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &image.key(), &image)?;
    let act = act(&image).detail("name", image.name.as_str());
    match app.commit_new(ctx, transaction, &act).await {
        Ok(revision) => Ok(Versioned::new(image, revision)),
        Err(error) => match taken(error, &image) {
            Lost::Refused(error) => Err(error),
            Lost::Race => Err(Error::conflict("somebody else changed it meanwhile")),
        },
    }
}

/// Its own name is no alias.
fn without_own_name(mut image: Image) -> Image {
    let name = image.name.clone();
    image.aliases.remove(&name);
    image
}

fn check_url(app: &App, new: &NewImage, url: &str) -> Result<(), Error> {
    if new.form.parts().len() > 1 {
        let message = "url is for images of disks; a kernel and its initramfs are uploaded";
        return Err(Error::validation("url", "value", message));
    }
    if url.len() > LONGEST_URL {
        let message = format!("url must be at most {LONGEST_URL} characters");
        return Err(Error::validation("url", "length", message));
    }
    app.config.images.allowed().check(url).map(drop)
}

/// An image, if the caller may do what it asks for in its project, and means that owner's.
pub(crate) async fn find(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
) -> Result<Stored<Image>, Error> {
    let all = app.records::<Image>();
    let found = all.get_by_index(&catalog::index(id)).await?;
    let image = scope::allow_found(ctx, found, home, &what(id))?;
    if !owner.is(&image.value.org, &image.value.project) {
        return Err(Error::not_found(what(id)));
    }
    Ok(image)
}

/// Reads an image: one's own, or a public one.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
) -> Result<Versioned<Image>, Error> {
    let all = app.records::<Image>();
    let found = all.get_by_index(&catalog::index(id)).await?;
    match found {
        Some(image) if image.value.public => {
            ctx.allow_somewhere()?;
            if !owner.is(&image.value.org, &image.value.project) {
                return Err(Error::not_found(what(id)));
            }
            Ok(image.into())
        }
        _ => Ok(find(app, ctx, id, owner).await?.into()),
    }
}

/// Lists the images that the caller may boot or see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &ImageFilter,
    ask: &Ask,
) -> Result<Listing<Image>, Error> {
    let visible = ctx.visible()?;
    let keep = |image: &Image| {
        let is_theirs = filter.owner.is(&image.org, &image.project)
            && scope::is_visible(ctx, &visible, &image.project);
        let is_named = filter.name.as_ref().is_none_or(|wanted| {
            let mut names = image.aliases.iter().chain([&image.name]);
            names.any(|name| name.as_str() == wanted)
        });
        is_named && (image.public || is_theirs)
    };
    // Public ones are anybody's.
    listing::list(&app.records(), "", ask, keep).await
}

/// What operators have put on hosts, which is nobody's.
pub(crate) fn on_hosts(app: &App, filter: &ImageFilter) -> impl Iterator<Item = HeldImage> {
    let held = app.hosts.images().into_iter();
    held.filter(move |image| {
        let name = filter.name.as_ref();
        name.is_none_or(|name| image.name.as_str() == name)
    })
}

/// Changes what it is called, who may boot it, and whether it is the default.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    change: &ImageChange,
    expected: Option<i64>,
) -> Result<Versioned<Image>, Error> {
    contended(ctx, || async {
        let mut image = find(app, ctx, id, owner).await?;
        expect(&image, expected)?;
        let before = image.value.clone();
        if image.value.public || change.public == Some(true) {
            allow_public(ctx)?;
        }
        if let Some(name) = &change.name {
            image.value.name = name.clone();
        }
        if let Some(public) = change.public {
            image.value.public = public;
        }
        if let Some(aliases) = &change.aliases {
            image.value.aliases = aliases.clone();
        }
        if let Some(is_default) = change.is_default {
            image.value.is_default = is_default;
        }
        image.value = without_own_name(image.value);
        if image.value == before {
            return Ok(image.into());
        }
        image.value.updated_at = now();
        let act = act(&image.value).changed(&before, &image.value);
        let mut transaction = app.store.transaction();
        transaction.replace(&app.records(), &image)?;
        let committed = app.commit(ctx, &transaction, &act).await;
        let revision = committed.map_err(|error| taken(error, &image.value))?;
        Ok(Versioned::new(image.value, revision))
    })
    .await
}

/// Forgets an image, whoever has booted it: VMs keep their content, which goes when none of them is left. Answers the revision.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let (revision, image) = contended(ctx, || async {
        let image = find(app, ctx, id, owner).await?;
        expect(&image, expected)?;
        if image.value.public {
            allow_public(ctx)?;
        }
        let mut transaction = app.store.transaction();
        transaction.delete(&app.records(), &image)?;
        let act = act(&image.value);
        let revision = app.commit(ctx, &transaction, &act).await?;
        Ok((revision, image.value))
    })
    .await?;
    for (part, upload) in &image.uploads {
        // If nobody answers, it is thrown away there after a day.
        let name = image.upload_name(*part);
        let abandoned = app.blobs.abandon(&name, &upload.host).await;
        if let Err(error) = abandoned {
            tracing::info!(image = %id, %error, "what was uploaded stays for a day");
        }
    }
    Ok(revision)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::image::upload::sample;

    #[test]
    fn what_is_taken_is_said_in_a_sentence() {
        let mut image = sample();
        image.aliases = ["debian".parse().unwrap()].into();
        for (key, field, message) in [
            (
                "/photon/plasmavmc/image-name/own/acme/shop/debian-12",
                "name",
                "another image is called debian-12 already",
            ),
            (
                "/photon/plasmavmc/image-name/public/debian",
                "aliases",
                "another image is called debian, which is to be an alias, already",
            ),
            (
                "/photon/plasmavmc/image-default/own/acme/shop",
                "default",
                "another image is the default: set its default to false first",
            ),
        ] {
            let error = taken_key(key, &image);
            assert_eq!(error.code(), Code::ALREADY_EXISTS);
            assert_eq!(
                (error.message(), &error.details().unwrap()["field"]),
                (message, &serde_json::json!(field))
            );
        }
    }
}
