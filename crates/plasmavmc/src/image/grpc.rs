//! `photon.plasmavmc.v1.Images`.

use photon_proto::photon::plasmavmc::v1::{self as pb, images_server::Images};
use photon_service::{
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{HeldImage, Image, Part};
use tonic::{Request, Response, Status};

use super::{ImageChange, ImageFilter, NewImage, rest, service, shown};
use crate::grpc::{
    Doors,
    fields::{ask, given, id, maybe_name, name, shown_time},
};

fn message(image: Versioned<Image>) -> pb::Image {
    let Versioned { value, revision } = image;
    let disk = value.contents.get(&Part::Disk);
    pb::Image {
        id: value.id.to_string(),
        digest: value.digest().map(shown).unwrap_or_default(),
        size_bytes: rest::size(&value),
        state: rest::state(&value).to_owned(),
        state_reason: rest::reason(&value),
        format: value.form.as_str().to_owned(),
        visibility: rest::visibility(&value).to_owned(),
        virtual_size_bytes: disk.map_or(0, |disk| disk.virtual_bytes),
        arch: value.arch,
        name: value.name.into(),
        org_id: value.org.into(),
        project_id: value.project.into(),
        aliases: value.aliases.into_iter().map(String::from).collect(),
        default: value.is_default,
        url: value.url.unwrap_or_default(),
        created_at: Some(shown_time(value.created_at)),
        updated_at: Some(shown_time(value.updated_at)),
        revision,
    }
}

fn held(image: HeldImage) -> pb::Image {
    pb::Image {
        digest: shown(image.digest()),
        id: image.name.to_string(),
        name: image.name.into(),
        arch: image.arch,
        size_bytes: image.bytes,
        state: "Ready".to_owned(),
        format: "kernel".to_owned(),
        visibility: "host".to_owned(),
        ..pb::Image::default()
    }
}

#[tonic::async_trait]
impl Images for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateImageRequest>,
    ) -> Result<Response<pb::Image>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewImage {
                name: name("name", &asked.name)?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                form: super::form(&asked.format, given(&asked.cmdline).map(str::to_owned))?,
                public: super::is_public(given(&asked.visibility))?.unwrap_or(false),
                aliases: super::aliases(asked.aliases)?,
                is_default: asked.default,
                sha256: super::digest(given(&asked.sha256))?,
                url: given(&asked.url).map(str::to_owned),
            };
            Ok(message(service::create(&app, &ctx, new).await?))
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetImageRequest>,
    ) -> Result<Response<pb::Image>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("image", &asked.id)?;
            let image = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(message(image))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            ctx.allow_somewhere()?;
            let part = ask(asked.limit, &asked.page_token)?;
            let filter = ImageFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                name: given(&asked.name).map(str::to_owned),
            };
            let listing = service::list(&app, &ctx, &filter, &part).await?;
            let mut images = Vec::new();
            if asked.page_token.is_empty() {
                images.extend(service::on_hosts(&app, &filter).map(held));
            }
            images.extend(listing.items.into_iter().map(message));
            Ok(pb::ListImagesResponse {
                images,
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateImageRequest>,
    ) -> Result<Response<pb::Image>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("image", &asked.id)?;
            let aliases = asked.aliases.map(|all| super::aliases(all.aliases));
            let change = ImageChange {
                name: asked.name.map(|text| name("name", &text)).transpose()?,
                public: super::is_public(asked.visibility.as_deref())?,
                aliases: aliases.transpose()?,
                is_default: asked.default,
            };
            let owner = Owner::default();
            let changed = service::update(&app, &ctx, id, &owner, &change, asked.revision);
            Ok(message(changed.await?))
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteImageRequest>,
    ) -> Result<Response<pb::DeleteImageResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("image", &asked.id)?;
            let owner = Owner::default();
            let revision = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(pb::DeleteImageResponse { revision })
        })
        .await
    }
}
