//! `photonctl image`.

use super::{cli::Image, upload};
use crate::{
    failure::Failure,
    rest::{Body, kind::Kind, things::Things},
};

pub(super) const IMAGE: Kind = Kind {
    what: "image",
    prefix: "img",
    path: "images",
    plural: "images",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "state",
        "format",
        "visibility",
        "arch",
        "size_bytes",
        "digest",
    ],
};

pub(super) async fn run(images: &Things<'_>, command: Image) -> Result<(), Failure> {
    match command {
        Image::Create { .. } => create(images, command).await,
        Image::Upload {
            image,
            file,
            part,
            whose,
        } => {
            let id = images.id_of(&IMAGE, &whose.named(&image)).await?;
            let image = upload::file(&images.service, &id, part.as_deref(), &file).await?;
            images.print(image)
        }
        Image::List { whose, page } => images.list(&IMAGE, &whose.filters(), page).await,
        Image::Get { image, whose } => images.get(&IMAGE, whose.named(&image)).await,
        Image::Update {
            image,
            name,
            aliases,
            public,
            default,
            whose,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .list("aliases", aliases)
                .maybe("visibility", public.map(visibility))
                .maybe("default", default);
            images
                .update(&IMAGE, whose.named(&image), body, &only)
                .await
        }
        Image::Delete { image, whose, only } => {
            images.delete(&IMAGE, whose.named(&image), &only).await
        }
    }
}

/// What to do about an image whose content is missing.
fn go_on(id: &str, part: Option<&str>) -> String {
    let part = part.map_or_else(String::new, |part| format!(" --part {part}"));
    format!(
        "the image is registered, without its content: photonctl image upload {id} FILE{part}, or photonctl image delete {id}"
    )
}

fn visibility(public: bool) -> &'static str {
    if public { "public" } else { "project" }
}

/// Registers it, and uploads what is given. If that breaks off, the image is there, and `image upload` goes on with it.
async fn create(images: &Things<'_>, command: Image) -> Result<(), Failure> {
    let Image::Create {
        name,
        format,
        file,
        url,
        sha256,
        kernel,
        initramfs,
        cmdline,
        aliases,
        public,
        default,
        whose,
        once,
    } = command
    else {
        return Err(Failure::usage("not a command to create an image"));
    };
    let body = Body::default()
        .set("name", name)
        .set("format", format.word())
        .maybe("url", url)
        .maybe("sha256", sha256)
        .maybe("cmdline", cmdline)
        .list("aliases", aliases)
        .set("visibility", visibility(public))
        .set("default", default);
    let body = images.at_home(body, whose).await?;
    let mut image = images.make(&IMAGE, body, once).await?;
    let id = image["id"].as_str().unwrap_or_default().to_owned();
    let parts = [
        (None, file),
        (Some("kernel"), kernel),
        (Some("initramfs"), initramfs),
    ];
    for (part, file) in parts {
        if let Some(file) = file {
            let uploaded = upload::file(&images.service, &id, part, &file).await;
            image = uploaded.map_err(|failure| failure.with_hint(&go_on(&id, part)))?;
        }
    }
    images.print(image)
}
