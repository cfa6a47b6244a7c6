//! `photon.plasmavmc.agent.v1.Blobs`.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use photon_core::{Error, Name};
use photon_proto::photon::plasmavmc::agent::v1::{self as pb, blobs_server};
use photon_server::grpc::status;
use plasmavmc_model::{Digest, DiskFormat};
use tonic::{Request, Response, Status, Streaming};

use super::caller::Keeper;
use crate::blobs::Blobs;

/// The service.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) keeper: Keeper,
    pub(super) blobs: Arc<Blobs>,
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(done: Result<T, Error>) -> Answer<T> {
    done.map(Response::new).map_err(|error| status(&error))
}

fn upload(text: &str) -> Result<Name, Status> {
    Name::parse_field("upload", text).map_err(|error| status(&error))
}

fn digest(text: &str) -> Result<Digest, Status> {
    let parsed = text.parse::<Digest>();
    parsed.map_err(|error| {
        let message = format!("sha256 {error}");
        status(&Error::validation("sha256", "pattern", message))
    })
}

fn format(text: &str) -> Result<Option<DiskFormat>, Status> {
    match text {
        "" => Ok(None),
        text => DiskFormat::parse(text).map(Some).ok_or_else(|| {
            let message = "format must be qcow2 or raw";
            status(&Error::validation("format", "value", message))
        }),
    }
}

#[tonic::async_trait]
impl blobs_server::Blobs for Doors {
    async fn begin(&self, request: Request<pb::BeginUploadRequest>) -> Answer<pb::Upload> {
        self.keeper.control_plane(&request)?;
        let asked = request.into_inner();
        let (name, size_bytes) = (upload(&asked.upload)?, asked.size_bytes);
        let begun = self.blobs.begin(&name, size_bytes).await;
        answer(begun.map(|offset| pb::Upload { offset, size_bytes }))
    }

    async fn write(
        &self,
        request: Request<Streaming<pb::WriteUploadRequest>>,
    ) -> Answer<pb::Upload> {
        self.keeper.control_plane(&request)?;
        let mut messages = request.into_inner();
        let Some(first) = messages.message().await? else {
            return answer(Err(Error::required("upload")));
        };
        let name = upload(&first.upload)?;
        let rest = messages.map(|message| message.map(|message| message.data));
        let first_data = futures::stream::iter([Ok(first.data)]);
        let written = self
            .blobs
            .write(&name, first.offset, first_data.chain(rest))
            .await;
        answer(written.map(|(offset, size_bytes)| pb::Upload { offset, size_bytes }))
    }

    async fn finish(&self, request: Request<pb::FinishUploadRequest>) -> Answer<pb::Blob> {
        self.keeper.control_plane(&request)?;
        let asked = request.into_inner();
        let name = upload(&asked.upload)?;
        let should = match asked.sha256.as_str() {
            "" => None,
            text => Some(digest(text)?),
        };
        let format = format(&asked.format)?;
        let most = asked.most_virtual_bytes;
        let finished = self.blobs.finish(&name, should, format, most).await;
        answer(finished.map(|blob| pb::Blob {
            sha256: blob.digest.to_string(),
            size_bytes: blob.bytes,
            virtual_bytes: blob.virtual_bytes,
        }))
    }

    async fn abandon(
        &self,
        request: Request<pb::AbandonUploadRequest>,
    ) -> Answer<pb::AbandonUploadResponse> {
        self.keeper.control_plane(&request)?;
        let name = upload(&request.into_inner().upload)?;
        let abandoned = self.blobs.abandon(&name).await;
        answer(abandoned.map(|()| pb::AbandonUploadResponse {}))
    }

    type ReadStream = Pin<Box<dyn Stream<Item = Result<pb::Piece, Status>> + Send>>;

    async fn read(&self, request: Request<pb::ReadBlobRequest>) -> Answer<Self::ReadStream> {
        self.keeper.agent(&request)?;
        let asked = request.into_inner();
        let (digest, length) = (digest(&asked.sha256)?, asked.length);
        let length = (length > 0).then_some(length);
        let pieces = self.blobs.read(digest, asked.offset, length).await;
        answer(pieces.map(|pieces| {
            let pieces = pieces.map(|piece| match piece {
                Ok(data) => Ok(pb::Piece { data }),
                Err(error) => Err(status(&Error::internal(error))),
            });
            pieces.boxed()
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteBlobRequest>,
    ) -> Answer<pb::DeleteBlobResponse> {
        self.keeper.control_plane(&request)?;
        let digest = digest(&request.into_inner().sha256)?;
        let deleted = self.blobs.delete(digest).await;
        answer(deleted.map(|()| pb::DeleteBlobResponse {}))
    }
}
