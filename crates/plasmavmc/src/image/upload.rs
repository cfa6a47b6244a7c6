//! The content of images, as it is uploaded: in as many requests as it takes.
//!
//! ```text
//!   PUT 0-99/300 ──> begun on a host, noted in the image ──> appended
//!   (breaks off)       GET: 60 of 300
//!   PUT 60-299/300 ──> appended ──> whole: SHA-256, format, qemu-img ──> the image's content
//! ```
//!
//! Any process can go on with it: what is noted is where it is; how much of it is there, the host says.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use photon_auth::Context;
use photon_core::{Code, Error, Name};
use photon_service::{
    contention::{Lost, contended},
    scope::Owner,
    versioned::Versioned,
};
use photon_store::Stored;
use plasmavmc_door::blobs::{Blob, Should};
use plasmavmc_model::{Content, Digest, Form, Image, ImageId, Part, Upload};
use serde_json::json;

use super::service::{act, allow_public, find, now};
use crate::app::App;

/// How long a host may take to tell what it holds.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// A piece of an upload.
pub(crate) struct Piece {
    /// Of what.
    pub(crate) part: Part,
    /// Where it begins.
    pub(crate) from: u64,
    /// Where it ends: the first byte behind it.
    pub(crate) to: u64,
    /// How much the whole is to have.
    pub(crate) total: u64,
    /// What the whole should be.
    pub(crate) sha256: Option<Digest>,
    pub(crate) data: BoxStream<'static, Bytes>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) part: Part,
    /// So many bytes are there.
    pub(crate) offset: u64,
    /// Of so many; `None` before an upload has begun.
    pub(crate) total: Option<u64>,
    /// Whether it is whole, and good.
    pub(crate) is_done: bool,
}

/// The part that is meant: the only one, if none is named.
///
/// # Errors
/// 400 naming `part`.
pub(crate) fn part(form: &Form, named: Option<&str>) -> Result<Part, Error> {
    let parts = form.parts();
    let found = match (named, parts) {
        (None, [only]) => Some(*only),
        (None, _) => return Err(Error::required("part")),
        (Some(word), _) => Part::parse(word).filter(|part| parts.contains(part)),
    };
    found.ok_or_else(|| {
        let words: Vec<&str> = parts.iter().map(|part| part.as_str()).collect();
        let message = format!("part must be {}", words.join(" or "));
        Error::validation("part", "value", message)
    })
}

/// How far the upload of a part is.
pub(crate) async fn progress(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    named: Option<&str>,
) -> Result<Progress, Error> {
    let image = find(app, ctx, id, owner).await?.value;
    let part = part(&image.form, named)?;
    if let Some(content) = image.contents.get(&part) {
        return Ok(Progress {
            part,
            offset: content.bytes,
            total: Some(content.bytes),
            is_done: true,
        });
    }
    let Some(upload) = image.uploads.get(&part) else {
        return Ok(Progress {
            part,
            offset: 0,
            total: None,
            is_done: false,
        });
    };
    let name = image.upload_name(part);
    let begun = app.blobs.begin(&name, upload.bytes, Some(&upload.host));
    let (_, offset) = begun.await?;
    Ok(Progress {
        part,
        offset,
        total: Some(upload.bytes),
        is_done: false,
    })
}

/// Takes a piece; with the last one the content becomes the image's, if it is what it should be.
///
/// # Errors
/// `CONFLICT`: it does not begin where the upload ends, or its body ended early; `details.offset` says how much is there.
/// `VALIDATION_ERROR`: the whole is not what it should be; nothing of it is left. `FAILED_PRECONDITION`: the content is there, or is
/// fetched. `FORBIDDEN`: the image is everybody's. `PAYLOAD_TOO_LARGE`, `NO_CAPACITY`.
pub(crate) async fn take(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    piece: Piece,
) -> Result<Versioned<Image>, Error> {
    let Piece {
        part,
        from,
        to,
        total,
        sha256,
        data,
    } = piece;
    let image = to_fill(app, ctx, id, owner).await?;
    if image.value.contents.contains_key(&part) {
        return Err(is_there(id, part));
    }
    if image.value.url.is_some() {
        let message = format!("image {id} is fetched from its url");
        return Err(Error::failed_precondition(message));
    }
    allow_size(app, total)?;
    let name = image.value.upload_name(part);
    let (host, there) = begin(app, &image.value, part, from, total).await?;
    if there != from {
        let message = format!("{there} of {total} bytes are there, and this begins at {from}");
        return Err(Error::conflict(message).with_details(json!({ "offset": there })));
    }
    let upload = Upload {
        host: host.clone(),
        bytes: total,
    };
    if image.value.uploads.get(&part) != Some(&upload) {
        change(app, ctx, id, owner, |image| {
            // Of content that is there no upload is noted.
            if image.contents.contains_key(&part) {
                return Err(is_there(id, part));
            }
            image.uploads.insert(part, upload.clone());
            image.problem.clear();
            Ok(())
        })
        .await?;
    }
    let there = match from == total {
        true => there,
        false => app.blobs.append(&name, &host, from, data).await?,
    };
    if there < to {
        // It broke off, and nobody hears the answer; or nothing more came for too long.
        let message = format!("the body ended at byte {there} of {to}: go on from there");
        return Err(Error::conflict(message).with_details(json!({ "offset": there })));
    }
    if there < total {
        return super::service::get(app, ctx, id, owner).await;
    }
    let should = should(app, &image.value, sha256)?;
    match app.blobs.finish(&name, &host, &should).await {
        Ok(blob) => {
            let image = finish(app, ctx, id, owner, part, blob).await?;
            // It is a blob now. If nobody answers there, what is left of the upload goes after a day.
            let _ = app.blobs.abandon(&name, &host).await;
            until_told(app, blob.digest).await;
            Ok(image)
        }
        Err(error) => {
            if error.code() == Code::VALIDATION_ERROR {
                let why = format!(
                    "the {part} that was uploaded was refused: {}",
                    error.message()
                );
                change(app, ctx, id, owner, |image| {
                    image.uploads.remove(&part);
                    // Somebody else's may have been taken meanwhile.
                    if !image.contents.contains_key(&part) {
                        image.problem.clone_from(&why);
                    }
                    Ok(())
                })
                .await?;
            }
            Err(error)
        }
    }
}

/// An image that the caller may give content to: what everybody boots is the operators'.
async fn to_fill(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
) -> Result<Stored<Image>, Error> {
    let image = find(app, ctx, id, owner).await?;
    if image.value.public {
        allow_public(ctx)?;
    }
    Ok(image)
}

/// Content that is there stays as it is.
fn is_there(id: ImageId, part: Part) -> Error {
    let message = format!("the {part} of image {id} is there: register another image");
    Error::failed_precondition(message)
}

/// Refuses what is larger than any image may be.
pub(crate) fn allow_size(app: &App, total: u64) -> Result<(), Error> {
    let most = app.config.images.largest_bytes();
    if total == 0 {
        return Err(Error::validation(
            "Content-Length",
            "range",
            "an image has bytes",
        ));
    }
    if total > most {
        let message = format!("the image has {total} bytes; at most {most} are taken");
        return Err(Error::new(Code::PAYLOAD_TOO_LARGE, message));
    }
    Ok(())
}

/// Where the upload is, and how much of it is there. One whose host does not answer is begun again elsewhere, if the piece is the first.
async fn begin(
    app: &App,
    image: &Image,
    part: Part,
    from: u64,
    total: u64,
) -> Result<(Name, u64), Error> {
    let name = image.upload_name(part);
    let before = image.uploads.get(&part);
    if from > 0 && before.is_none_or(|before| before.bytes != total) {
        let error = Error::conflict("no upload of that length is under way: begin at 0");
        return Err(error.with_details(json!({ "offset": 0 })));
    }
    let begun = app
        .blobs
        .begin(&name, total, before.map(|before| &before.host));
    match begun.await {
        Err(error) if error.code() == Code::UNAVAILABLE && from == 0 && before.is_some() => {
            app.blobs.begin(&name, total, None).await
        }
        // A first piece begins anew, whatever was there: it may be another file.
        Ok((host, there)) if from == 0 && there > 0 => {
            app.blobs.abandon(&name, &host).await?;
            app.blobs.begin(&name, total, Some(&host)).await
        }
        begun => begun,
    }
}

/// What the whole of a part should be, by the image and by this request.
pub(crate) fn should(app: &App, image: &Image, asked: Option<Digest>) -> Result<Should, Error> {
    let digest = match (image.sha256, asked) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("sha256 is not that of the image, which is {one}");
            return Err(Error::validation("sha256", "value", message));
        }
        (one, other) => one.or(other),
    };
    Ok(Should {
        digest,
        format: match &image.form {
            Form::Disk { format } => Some(format.as_str().to_owned()),
            Form::Kernel { .. } => None,
        },
        most_virtual_bytes: app.config.images.largest_virtual_bytes(),
    })
}

async fn finish(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    part: Part,
    blob: Blob,
) -> Result<Versioned<Image>, Error> {
    let fill = |image: &mut Image| fill(image, part, content(blob));
    change(app, ctx, id, owner, fill).await
}

/// Content becomes an image's, unless it has another: somebody who uploaded at the same time was first.
fn fill(image: &mut Image, part: Part, content: Content) -> Result<(), Error> {
    let there = image.contents.get(&part);
    if there.is_some_and(|there| there.digest != content.digest) {
        return Err(is_there(image.id, part));
    }
    image.uploads.remove(&part);
    image.problem.clear();
    image.contents.insert(part, content);
    Ok(())
}

/// Waits a moment until its host has told that it holds it: whoever makes a VM of it next is not to hear that nobody does.
async fn until_told(app: &App, digest: Digest) {
    let told = async {
        while app.hosts.blob_bytes(digest).is_none() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(TOLD_WITHIN, told).await.is_err() {
        tracing::info!(%digest, "its host has not told yet that it holds an image's content");
    }
}

pub(crate) fn content(blob: Blob) -> Content {
    Content {
        digest: blob.digest,
        bytes: blob.bytes,
        virtual_bytes: blob.virtual_bytes,
    }
}

async fn change(
    app: &App,
    ctx: &Context,
    id: ImageId,
    owner: &Owner,
    change: impl Fn(&mut Image) -> Result<(), Error>,
) -> Result<Versioned<Image>, Error> {
    contended(ctx, || async {
        let mut image = to_fill(app, ctx, id, owner).await?;
        let before = image.value.clone();
        change(&mut image.value)?;
        image.value.updated_at = now();
        let act = act(&image.value).changed(&before, &image.value);
        let mut transaction = app.store.transaction();
        transaction.replace(&app.records(), &image)?;
        let revision = app
            .commit(ctx, &transaction, &act)
            .await
            .map_err(Lost::from)?;
        Ok(Versioned::new(image.value, revision))
    })
    .await
}

/// An image to try things on: a raw disk, whose content is to be uploaded.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) fn sample() -> Image {
    let name = |text: &str| Name::new(text).unwrap();
    Image {
        id: ImageId::generate(),
        name: name("debian-12"),
        org: name("acme"),
        project: name("shop"),
        public: false,
        aliases: std::collections::BTreeSet::new(),
        is_default: false,
        arch: "x86_64".to_owned(),
        form: Form::Disk {
            format: plasmavmc_model::DiskFormat::Raw,
        },
        sha256: None,
        url: None,
        problem: String::new(),
        contents: std::collections::BTreeMap::new(),
        uploads: std::collections::BTreeMap::new(),
        created_at: now(),
        updated_at: now(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn content_that_is_there_stays() {
        let mut image = sample();
        let of = |bytes: &[u8]| Content {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            virtual_bytes: 0,
        };
        fill(&mut image, Part::Disk, of(b"first")).unwrap();
        // Whoever gave the same may have it, however often.
        fill(&mut image, Part::Disk, of(b"first")).unwrap();
        let refused = fill(&mut image, Part::Disk, of(b"other")).unwrap_err();
        assert_eq!(refused.code(), Code::FAILED_PRECONDITION);
        assert_eq!(image.contents[&Part::Disk], of(b"first"));
    }
}
