//! Content on a host: uploads, and blobs by their SHA-256.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, Stream, StreamExt as _, stream::BoxStream};
use photon_core::{Error, Name};
use photon_proto::photon::plasmavmc::agent::v1::{
    AbandonUploadRequest, BeginUploadRequest, DeleteBlobRequest, FinishUploadRequest,
    ReadBlobRequest, WriteUploadRequest, blobs_client::BlobsClient,
};
use plasmavmc_model::Digest;
use tonic::transport::Channel;

use crate::{At, Doors, request};

/// For what is done at once.
const SOON: Duration = Duration::from_secs(10);
/// For reading content over, and looking into it.
const FINISH: Duration = Duration::from_secs(900);
/// The longest that a stream may take.
pub const STREAM: Duration = Duration::from_secs(6 * 3600);
/// Bytes of one message.
pub const PIECE: usize = 1 << 20;

/// What a whole upload should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Should {
    /// Its content; whatever it is, without.
    pub digest: Option<Digest>,
    /// `qcow2`, `raw`; any content, without.
    pub format: Option<String>,
    /// The most bytes that a disk may seem to have; 0: any.
    pub most_virtual_bytes: u64,
}

/// What a host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What it is called.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// The size of the disk that it is; 0 if it is none.
    pub virtual_bytes: u64,
}

impl Doors {
    fn blobs(&self, at: &At) -> Result<BlobsClient<Channel>, Error> {
        let client = BlobsClient::new(self.channel(at)?);
        Ok(client.max_decoding_message_size(2 * PIECE))
    }

    /// Begins an upload of so many bytes, or finds it, and answers how many of them are there.
    ///
    /// # Errors
    /// `NO_CAPACITY`: there is no room.
    pub async fn begin(&self, at: &At, upload: &Name, bytes: u64) -> Result<u64, Error> {
        let mut blobs = self.blobs(at)?;
        let message = BeginUploadRequest {
            upload: upload.to_string(),
            size_bytes: bytes,
        };
        let call = blobs.begin(request(message, SOON));
        Ok(self.answer(at, SOON, call).await?.offset)
    }

    /// Appends to an upload and answers how many bytes are there then. Ends early if `data` does.
    ///
    /// # Errors
    /// `CONFLICT`: it does not end at `offset`, or somebody else writes to it.
    pub async fn write(
        &self,
        at: &At,
        upload: &Name,
        offset: u64,
        mut data: BoxStream<'static, Bytes>,
    ) -> Result<u64, Error> {
        let first = WriteUploadRequest {
            upload: upload.to_string(),
            offset,
            data: Bytes::new(),
        };
        // A channel between: of a boxed stream in a call rustc does not see that it lives for ever.
        let (mut sender, messages) = futures::channel::mpsc::channel(1);
        let pump = async move {
            let mut next = Some(first);
            while let Some(message) = next {
                // Nobody receives any more: there is an answer already.
                if sender.send(message).await.is_err() {
                    return;
                }
                next = data.next().await.map(|data| WriteUploadRequest {
                    data,
                    ..WriteUploadRequest::default()
                });
            }
        };
        let mut blobs = self.blobs(at)?;
        let call = blobs.write(request(messages, STREAM));
        let call = async {
            tokio::pin!(call);
            tokio::select! {
                biased;
                answered = &mut call => answered,
                () = pump => call.await,
            }
        };
        Ok(self.answer(at, STREAM, call).await?.offset)
    }

    /// Has an upload taken in, if it is what it should be. May be repeated.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming `sha256` or `format`: it is not, and was thrown away.
    pub async fn finish(&self, at: &At, upload: &Name, should: &Should) -> Result<Blob, Error> {
        let mut blobs = self.blobs(at)?;
        let message = FinishUploadRequest {
            upload: upload.to_string(),
            sha256: should.digest.map(String::from).unwrap_or_default(),
            format: should.format.clone().unwrap_or_default(),
            most_virtual_bytes: should.most_virtual_bytes,
        };
        let call = blobs.finish(request(message, FINISH));
        let blob = self.answer(at, FINISH, call).await?;
        Ok(Blob {
            digest: blob.sha256.parse().map_err(Error::internal)?,
            bytes: blob.size_bytes,
            virtual_bytes: blob.virtual_bytes,
        })
    }

    /// Has an upload thrown away; one that is not there, too.
    ///
    /// # Errors
    /// A host that does not answer.
    pub async fn abandon(&self, at: &At, upload: &Name) -> Result<(), Error> {
        let mut blobs = self.blobs(at)?;
        let message = AbandonUploadRequest {
            upload: upload.to_string(),
        };
        let call = blobs.abandon(request(message, SOON));
        self.answer(at, SOON, call).await.map(drop)
    }

    /// Content from an offset to its end, in pieces. A host reads it over first, if it has not since it began.
    ///
    /// # Errors
    /// `NOT_FOUND`: the host does not hold it.
    pub async fn read(
        &self,
        at: &At,
        digest: Digest,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + use<'_>, Error> {
        let mut blobs = self.blobs(at)?;
        let message = ReadBlobRequest {
            sha256: digest.to_string(),
            offset,
            length: 0,
        };
        let call = blobs.read(request(message, STREAM));
        let pieces = self.answer(at, FINISH, call).await?;
        let at = at.clone();
        Ok(pieces.map(move |piece| match piece {
            Ok(piece) => Ok(piece.data),
            Err(status) => Err(self.refused(&at, &status)),
        }))
    }

    /// Has a blob deleted that the host does not need; one that is not there, too.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`: it does need it, or the blob is too new.
    pub async fn delete(&self, at: &At, digest: Digest) -> Result<(), Error> {
        let mut blobs = self.blobs(at)?;
        let message = DeleteBlobRequest {
            sha256: digest.to_string(),
        };
        let call = blobs.delete(request(message, SOON));
        self.answer(at, SOON, call).await.map(drop)
    }
}
