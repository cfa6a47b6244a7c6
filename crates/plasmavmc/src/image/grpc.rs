//! `photon.plasmavmc.v1.Images`.

use photon_proto::photon::plasmavmc::v1::{self as pb, images_server::Images};
use tonic::{Request, Response, Status};

use super::shown;
use crate::grpc::Doors;

#[tonic::async_trait]
impl Images for Doors {
    async fn list(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        self.serve(request, |app, ctx, _| async move {
            ctx.allow_somewhere()?;
            let images = app.hosts.images().into_iter().map(|image| pb::Image {
                digest: shown(image.digest()),
                id: image.name.into(),
                arch: image.arch,
                size_bytes: image.bytes,
            });
            Ok(pb::ListImagesResponse {
                images: images.collect(),
            })
        })
        .await
    }
}
