//! Where content is kept, by its SHA-256. [`crate::image::disks`] keeps it on hosts' disks; a driver for an object store is to come.

use bytes::Bytes;
use futures::stream::BoxStream;
use photon_core::{Error, Name};
use plasmavmc_door::blobs::{Blob, Should};
use plasmavmc_model::{Digest, Holder};

/// Keeps content. An upload is content that is not whole yet, by a name; it stays where it was begun.
#[tonic::async_trait]
pub(crate) trait Blobs: std::fmt::Debug + Send + Sync {
    /// Begins an upload of so many bytes, where it was begun before if that is given. Answers where it is, and how much of it is there.
    ///
    /// # Errors
    /// `NO_CAPACITY`: nobody has room. `UNAVAILABLE`: where it was begun, nobody answers.
    async fn begin(
        &self,
        upload: &Name,
        bytes: u64,
        before: Option<&Name>,
    ) -> Result<(Name, u64), Error>;

    /// Appends to an upload, and answers how much of it is there then.
    ///
    /// # Errors
    /// `CONFLICT`: it does not end at `offset`.
    async fn append(
        &self,
        upload: &Name,
        at: &Name,
        offset: u64,
        data: BoxStream<'static, Bytes>,
    ) -> Result<u64, Error>;

    /// Takes a whole upload in, if it is what it should be.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming `sha256` or `format`: it is not, and nothing of it is left.
    async fn finish(&self, upload: &Name, at: &Name, should: &Should) -> Result<Blob, Error>;

    /// Throws an upload away.
    ///
    /// # Errors
    /// Nobody answers there; it is thrown away when nobody has gone on with it for a day.
    async fn abandon(&self, upload: &Name, at: &Name) -> Result<(), Error>;

    /// Who holds a blob and can be asked for it now.
    fn holders(&self, digest: Digest) -> Vec<Holder>;

    /// Deletes a blob wherever nobody needs it.
    ///
    /// # Errors
    /// The first of those who did not; the others were asked all the same.
    async fn delete(&self, digest: Digest) -> Result<(), Error>;
}
