//! Content by its SHA-256, on this host's disk: how it comes in, is read by others, and goes.
//!
//! ```text
//!   images/uploads/<name>.part     what is there of an upload
//!   images/uploads/<name>.json     how long it is to be; once it was taken in, as what
//!   images/files/<sha256>          a blob: whole, never written to again ([`crate::images`])
//! ```
//!
//! An upload becomes a blob by a rename, after it was read over: a blob is there as a whole or not at all. One upload has one writer at a
//! time. An upload that nobody goes on with is thrown away after a day.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use photon_agent::memory::replace;
use photon_core::{Code, Error, Name};
use plasmavmc_door::blobs::{Blob, PIECE};
use plasmavmc_model::{Digest, DiskFormat};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::Notify,
};
use tokio_util::io::ReaderStream;

use crate::{
    files::Files,
    images::{Images, digest_of},
    inspect,
};

/// After so long without a byte, an upload is thrown away.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Younger blobs are not deleted: whoever had them made may not have written it down yet.
const TOO_NEW: Duration = Duration::from_secs(3600);
/// The most uploads that are under way. Copies do not count: there are as many as are wanted, and VMs wait for them.
const MOST_UPLOADS: usize = 256;
/// How the names of uploads begin that are copies from another host.
pub(crate) const COPY: &str = "copy-";
/// Space that is left free.
const SPARE: u64 = 256 << 20;

/// The blobs of this host.
#[derive(Debug)]
pub struct Blobs {
    images: Arc<Images>,
    files: Files,
    uploads: PathBuf,
    busy: Arc<Mutex<BTreeSet<Name>>>,
    /// Bytes that are left free.
    spare: u64,
    /// That a blob came or went.
    pub changed: Notify,
}

/// Beside the bytes of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Form {
    v: u32,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    became: Option<Became>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Became {
    digest: Digest,
    virtual_bytes: u64,
}

/// Whose upload it is as long as this lives.
struct Hold {
    busy: Arc<Mutex<BTreeSet<Name>>>,
    name: Name,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.name);
    }
}

impl Blobs {
    /// Below the agent's directory.
    #[must_use]
    pub fn new(state: &Path, images: Arc<Images>) -> Self {
        Self {
            files: Files::new(state),
            uploads: state.join("images").join("uploads"),
            images,
            busy: Arc::default(),
            spare: SPARE,
            changed: Notify::new(),
        }
    }

    fn hold(&self, name: &Name) -> Result<Hold, Error> {
        if !self.busy.lock().insert(name.clone()) {
            let message = format!("somebody else is writing to upload {name}");
            return Err(Error::conflict(message).with_details(json!({ "constraint": "busy" })));
        }
        Ok(Hold {
            busy: Arc::clone(&self.busy),
            name: name.clone(),
        })
    }

    fn part(&self, name: &Name) -> PathBuf {
        self.uploads.join(format!("{name}.part"))
    }

    fn form(&self, name: &Name) -> PathBuf {
        self.uploads.join(format!("{name}.json"))
    }

    fn known(&self, name: &Name) -> Result<Option<Form>, Error> {
        let bytes = match fs::read(self.form(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::internal(error)),
        };
        // One that was cut off, with the host, begins anew.
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Whether that content is here; it is not read.
    #[must_use]
    pub fn holds(&self, digest: Digest) -> bool {
        self.images.path(digest).exists()
    }

    /// Begins an upload of so many bytes, or finds it, and answers how many are there. One of another length begins anew.
    ///
    /// # Errors
    /// `NO_CAPACITY`: there is no room. `CONFLICT`: somebody writes to it.
    pub async fn begin(&self, name: &Name, bytes: u64) -> Result<u64, Error> {
        let _hold = self.hold(name)?;
        let known = self.known(name)?.filter(|form| form.bytes == bytes);
        if let Some(form) = known.filter(|form| self.is_there(name, form)) {
            return self.offset(name, &form);
        }
        fs::create_dir_all(&self.uploads).map_err(Error::internal)?;
        let is_copy = name.as_str().starts_with(COPY);
        if !is_copy && self.under_way().map_err(Error::internal)? >= 2 * MOST_UPLOADS {
            return Err(Error::new(
                Code::NO_CAPACITY,
                "too many uploads are under way",
            ));
        }
        self.throw_away(name)?;
        self.room_for(bytes)?;
        fs::File::create(self.part(name)).map_err(failed)?;
        let form = Form {
            v: 1,
            bytes,
            became: None,
        };
        keep(&self.form(name), &form).map_err(failed)?;
        Ok(0)
    }

    /// Whether one that is known has what it says. A crash between the rename and the note of it leaves a note of nothing.
    fn is_there(&self, name: &Name, form: &Form) -> bool {
        match form.became {
            Some(became) => self.holds(became.digest),
            None => self.part(name).exists(),
        }
    }

    /// How many files there are of uploads, two of each at most.
    fn under_way(&self) -> io::Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(&self.uploads)? {
            let name = entry?.file_name();
            count += usize::from(!name.as_encoded_bytes().starts_with(COPY.as_bytes()));
        }
        Ok(count)
    }

    fn offset(&self, name: &Name, form: &Form) -> Result<u64, Error> {
        if form.became.is_some() {
            return Ok(form.bytes);
        }
        let part = fs::metadata(self.part(name)).map_err(Error::internal)?;
        Ok(part.len())
    }

    fn room_for(&self, bytes: u64) -> Result<(), Error> {
        let found = statvfs(&self.uploads).map_err(Error::internal)?;
        let free = found
            .blocks_available()
            .saturating_mul(found.fragment_size());
        if free < bytes.saturating_add(self.spare) {
            let message = format!("there is no room for {bytes} bytes: {free} are free");
            return Err(Error::new(Code::NO_CAPACITY, message));
        }
        Ok(())
    }

    /// Appends what comes, and answers how much is there, and how much there is to be. When what comes breaks off, what had come stays.
    ///
    /// # Errors
    /// `CONFLICT`: it does not end at `offset`, which `details.offset` says. `NO_CAPACITY`: the disk is full, and nothing is left of it.
    pub async fn write<E: std::fmt::Display>(
        &self,
        name: &Name,
        offset: u64,
        mut data: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(u64, u64), Error> {
        let _hold = self.hold(name)?;
        let form = self.known(name)?;
        let form = form.ok_or_else(|| Error::not_found(format!("upload {name}")))?;
        let ends = self.offset(name, &form)?;
        if ends != offset {
            let message = format!("the upload has {ends} bytes, and this begins at {offset}");
            return Err(Error::conflict(message).with_details(json!({ "offset": ends })));
        }
        if form.became.is_some() {
            return Ok((ends, form.bytes));
        }
        let opened = fs::OpenOptions::new().write(true).open(self.part(name));
        let file = Arc::new(opened.map_err(Error::internal)?);
        let mut there = ends;
        let mut buffer = BytesMut::new();
        let mut is_over = false;
        while !is_over {
            match data.next().await {
                Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                Some(Err(error)) => {
                    tracing::debug!(upload = %name, %error, "an upload broke off");
                    is_over = true;
                }
                None => is_over = true,
            }
            if there + buffer.len() as u64 > form.bytes {
                let message = format!("the upload is to have {} bytes, and more came", form.bytes);
                return Err(Error::validation("data", "length", message));
            }
            if buffer.is_empty() || !is_over && buffer.len() < PIECE {
                continue;
            }
            let (file, bytes) = (Arc::clone(&file), buffer.split().freeze());
            let after = there + bytes.len() as u64;
            // There was, when it began; others write, too.
            let room = self.room_for(bytes.len() as u64);
            room.map_err(|error| self.full(name, error))?;
            // Where it belongs, not at the end: one that goes on though nobody waits for it any more writes what comes again anyway.
            let written = tokio::task::spawn_blocking(move || file.write_all_at(&bytes, there));
            let written = written.await.map_err(Error::internal)?;
            written.map_err(|error| self.full(name, failed(error)))?;
            there = after;
        }
        Ok((there, form.bytes))
    }

    /// Of an upload that cannot be written nothing stays: it is what fills the disk.
    fn full(&self, name: &Name, error: Error) -> Error {
        if let Err(error) = self.throw_away(name) {
            tracing::warn!(upload = %name, %error, "what is there of an upload stays");
        }
        error
    }

    /// Takes a whole upload in, if it is what it should be; else nothing of it stays.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` naming `sha256` or `format`; `FAILED_PRECONDITION`: it is not whole.
    pub async fn finish(
        &self,
        name: &Name,
        should: Option<Digest>,
        format: Option<DiskFormat>,
        most_virtual_bytes: u64,
    ) -> Result<Blob, Error> {
        let hold = Arc::new(self.hold(name)?);
        let form = self.known(name)?;
        let form = form.ok_or_else(|| Error::not_found(format!("upload {name}")))?;
        let ends = self.offset(name, &form)?;
        if ends != form.bytes {
            let message = format!("{ends} of {} bytes are there", form.bytes);
            let error = Error::failed_precondition(message);
            return Err(error.with_details(json!({ "offset": ends })));
        }
        let became = match form.became {
            Some(became) => became,
            None => {
                let taken = self.take_in(&hold, form, should, format, most_virtual_bytes);
                match taken.await {
                    Ok(became) => became,
                    Err(error) => {
                        if error.code() == Code::VALIDATION_ERROR {
                            self.throw_away(name)?;
                        }
                        return Err(error);
                    }
                }
            }
        };
        same(should, became.digest)?;
        Ok(Blob {
            digest: became.digest,
            bytes: ends,
            virtual_bytes: became.virtual_bytes,
        })
    }

    async fn take_in(
        &self,
        hold: &Arc<Hold>,
        form: Form,
        should: Option<Digest>,
        format: Option<DiskFormat>,
        most_virtual_bytes: u64,
    ) -> Result<Became, Error> {
        let part = self.part(&hold.name);
        let path = part.clone();
        let digest = tokio::task::spawn_blocking(move || {
            let digest = digest_of(&path)?;
            fs::File::open(&path)?.sync_all()?;
            io::Result::Ok(digest)
        });
        let digest = digest.await.map_err(Error::internal)?.map_err(failed)?;
        same(should, digest)?;
        let virtual_bytes = match format {
            Some(format) => inspect::disk(&part, format, most_virtual_bytes).await?,
            None => 0,
        };
        let became = Became {
            digest,
            virtual_bytes,
        };
        let form = Form {
            became: Some(became),
            ..form
        };
        let (images, noted) = (Arc::clone(&self.images), self.form(&hold.name));
        let hold = Arc::clone(hold);
        let taken = tokio::task::spawn_blocking(move || {
            // It goes on though nobody waits for it any more: until then nobody else writes to this upload.
            let _hold = hold;
            images.take_in(&part, digest)?;
            keep(&noted, &form)
        });
        taken.await.map_err(Error::internal)?.map_err(failed)?;
        self.changed.notify_one();
        Ok(became)
    }

    /// Throws an upload away, if it is there.
    ///
    /// # Errors
    /// `CONFLICT`: somebody writes to it.
    pub async fn abandon(&self, name: &Name) -> Result<(), Error> {
        let _hold = self.hold(name)?;
        self.throw_away(name)
    }

    fn throw_away(&self, name: &Name) -> Result<(), Error> {
        for path in [self.form(name), self.part(name)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::internal(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A blob's content from an offset, to its end or so many bytes.
    ///
    /// # Errors
    /// `NOT_FOUND`: it is not here, or is not what it is called.
    pub async fn read(
        &self,
        digest: Digest,
        offset: u64,
        length: Option<u64>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Error> {
        let images = Arc::clone(&self.images);
        let path = tokio::task::spawn_blocking(move || images.file(digest)).await;
        let path = path
            .map_err(Error::internal)?
            .map_err(|why| Error::not_found(format!("blob {digest}")).with_source(why))?;
        let opened = tokio::fs::File::open(path).await;
        let mut file = opened.map_err(Error::internal)?;
        let sought = file.seek(io::SeekFrom::Start(offset)).await;
        sought.map_err(Error::internal)?;
        let wanted = file.take(length.unwrap_or(u64::MAX));
        Ok(ReaderStream::with_capacity(wanted, PIECE))
    }

    /// Deletes a blob that nothing here needs; one that is not here, too.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`: an image that an operator added, or a VM, needs it; or it came just now.
    pub async fn delete(&self, digest: Digest) -> Result<(), Error> {
        // What comes again meanwhile comes before, and is too new, or after.
        let _alone = self.images.alone();
        let path = self.images.path(digest);
        let Ok(meta) = fs::metadata(&path) else {
            return Ok(());
        };
        let age = meta.modified().ok().and_then(|then| then.elapsed().ok());
        if age.is_none_or(|age| age < TOO_NEW) {
            return Err(Error::failed_precondition(format!(
                "blob {digest} came within the last hour"
            )));
        }
        if let Some(by) = self.needed_by(digest)? {
            return Err(Error::failed_precondition(format!(
                "blob {digest} is needed by {by}"
            )));
        }
        fs::remove_file(path).map_err(Error::internal)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Who on this host needs a blob.
    fn needed_by(&self, digest: Digest) -> Result<Option<String>, Error> {
        let added = self.images.added().map_err(Error::internal)?;
        if let Some(image) = added.iter().find(|image| image.files().contains(&digest)) {
            return Ok(Some(format!("image {}", image.name)));
        }
        for vm in self.files.list().map_err(Error::internal)? {
            let desired = self.files.of(vm).desired();
            // Of what cannot be read nobody knows.
            let desired = desired.map_err(Error::internal)?;
            if desired.is_some_and(|desired| desired.blobs().contains(&digest)) {
                return Ok(Some(vm.to_string()));
            }
        }
        Ok(None)
    }

    /// Throws away uploads that nobody goes on with.
    pub fn expire(&self) {
        let now = SystemTime::now();
        let entries = fs::read_dir(&self.uploads).into_iter().flatten().flatten();
        for entry in entries {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            let age = modified.ok().and_then(|then| now.duration_since(then).ok());
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(name) = stem.and_then(|stem| Name::new(stem).ok()) else {
                continue;
            };
            // The part is what grows; the other file is as old as the upload.
            let is_part = path
                .extension()
                .is_some_and(|extension| extension == "part");
            let is_over = age.is_some_and(|age| age >= KEPT_FOR);
            if !is_over || !is_part && self.part(&name).exists() {
                continue;
            }
            let Ok(_hold) = self.hold(&name) else {
                continue;
            };
            match self.throw_away(&name) {
                Ok(()) => {
                    tracing::info!(upload = %name, "an upload that nobody went on with is gone")
                }
                Err(error) => tracing::warn!(upload = %name, %error, "an old upload stays"),
            }
        }
    }
}

fn keep(path: &Path, form: &Form) -> io::Result<()> {
    replace(path, &serde_json::to_vec(form)?)
}

fn same(should: Option<Digest>, is: Digest) -> Result<(), Error> {
    match should {
        Some(should) if should != is => {
            let message = format!("sha256 should be {should}, and is {is}: it was thrown away");
            Err(Error::validation("sha256", "checksum", message))
        }
        _ => Ok(()),
    }
}

/// What a disk that is full means, and what any other failure does.
fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(Code::NO_CAPACITY, "the host's disk is full").with_source(error)
        }
        _ => Error::internal(error),
    }
}

/// Makes a blob's file one that nobody writes to.
///
/// # Errors
/// A file that is not there.
pub fn seal(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::convert::Infallible;

    use super::*;

    struct Lab {
        blobs: Blobs,
        state: tempfile::TempDir,
    }

    impl Lab {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            let images = Arc::new(Images::new(state.path()));
            Self {
                blobs: Blobs::new(state.path(), images),
                state,
            }
        }

        async fn write(&self, name: &Name, offset: u64, data: &'static [u8]) -> Result<u64, Error> {
            let pieces = data
                .chunks(3)
                .map(|piece| Ok::<_, Infallible>(piece.into()));
            let data = futures::stream::iter(Vec::from_iter(pieces));
            let written = self.blobs.write(name, offset, data).await;
            written.map(|(offset, _)| offset)
        }

        fn uploads(&self) -> usize {
            fs::read_dir(self.state.path().join("images/uploads"))
                .unwrap()
                .count()
        }
    }

    fn name() -> Name {
        Name::new("img-1").unwrap()
    }

    fn constraint(error: &Error) -> &str {
        error.details().unwrap()["constraint"].as_str().unwrap()
    }

    #[tokio::test]
    async fn an_upload_goes_on_where_it_broke_off() {
        let (lab, name) = (Lab::new(), name());
        assert_eq!(lab.blobs.begin(&name, 11).await.unwrap(), 0);
        assert_eq!(lab.write(&name, 0, b"hello ").await.unwrap(), 6);
        // Nobody knows how the last call ended: it is asked, and nothing is written twice.
        let refused = lab.write(&name, 0, b"hello ").await.unwrap_err();
        assert_eq!(refused.details().unwrap()["offset"], 6);
        let early = lab.blobs.finish(&name, None, None, 0).await.unwrap_err();
        assert_eq!(early.code(), Code::FAILED_PRECONDITION);
        assert_eq!(lab.blobs.begin(&name, 11).await.unwrap(), 6);
        assert_eq!(lab.write(&name, 6, b"world").await.unwrap(), 11);
        let old = SystemTime::now() - Duration::from_secs(7200);
        let age = |path: &Path| fs::File::open(path).unwrap().set_modified(old).unwrap();
        age(&lab.blobs.part(&name));
        let digest = Digest::of(b"hello world");
        for _ in 0..2 {
            let blob = lab
                .blobs
                .finish(&name, Some(digest), None, 0)
                .await
                .unwrap();
            assert_eq!((blob.digest, blob.bytes), (digest, 11));
        }
        let read = lab.blobs.read(digest, 6, Some(3)).await.unwrap();
        let read: Vec<Bytes> = read.map(|piece| piece.unwrap()).collect().await;
        assert_eq!(read.concat(), b"wor");
        // It came just now, though it was written long ago; later it is deleted, and twice, too.
        lab.blobs.delete(digest).await.unwrap_err();
        let file = lab.blobs.images.path(digest);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        age(&file);
        lab.blobs.delete(digest).await.unwrap();
        lab.blobs.delete(digest).await.unwrap();
        assert!(lab.blobs.read(digest, 0, None).await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_what_it_should_be_is_thrown_away() {
        let (lab, name) = (Lab::new(), name());
        lab.blobs.begin(&name, 3).await.unwrap();
        assert_eq!(lab.write(&name, 0, b"abc").await.unwrap(), 3);
        let other = Some(Digest::of(b"abd"));
        let refused = lab.blobs.finish(&name, other, None, 0).await.unwrap_err();
        assert_eq!(constraint(&refused), "checksum");
        assert_eq!(lab.uploads(), 0);
        // More than was announced, and more than there is room for.
        lab.blobs.begin(&name, 2).await.unwrap();
        let refused = lab.write(&name, 0, b"abc").await.unwrap_err();
        assert_eq!(constraint(&refused), "length");
        let refused = lab.blobs.begin(&name, u64::MAX).await.unwrap_err();
        assert_eq!(refused.code(), Code::NO_CAPACITY);
        lab.blobs.abandon(&name).await.unwrap();
        lab.blobs.abandon(&name).await.unwrap();
        assert_eq!(lab.uploads(), 0);
        lab.write(&name, 0, b"abc").await.unwrap_err();
    }

    #[tokio::test]
    async fn an_upload_whose_bytes_are_gone_begins_anew() {
        let (lab, name) = (Lab::new(), name());
        lab.blobs.begin(&name, 3).await.unwrap();
        lab.write(&name, 0, b"abc").await.unwrap();
        fs::remove_file(lab.blobs.part(&name)).unwrap();
        assert_eq!(lab.blobs.begin(&name, 3).await.unwrap(), 0);
        lab.write(&name, 0, b"abc").await.unwrap();
        let blob = lab.blobs.finish(&name, None, None, 0).await.unwrap();
        assert_eq!(lab.blobs.begin(&name, 3).await.unwrap(), 3);
        fs::remove_file(lab.blobs.images.path(blob.digest)).unwrap();
        assert_eq!(lab.blobs.begin(&name, 3).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_finds_no_room_when_it_comes_leaves_nothing() {
        let (mut lab, name) = (Lab::new(), name());
        lab.blobs.begin(&name, 3).await.unwrap();
        // Others have written meanwhile.
        lab.blobs.spare = u64::MAX;
        let refused = lab.write(&name, 0, b"abc").await.unwrap_err();
        assert_eq!(refused.code(), Code::NO_CAPACITY);
        assert_eq!(lab.uploads(), 0);
    }

    #[tokio::test]
    async fn neither_copies_nor_uploads_keep_copies_out() {
        let lab = Lab::new();
        fs::create_dir_all(&lab.blobs.uploads).unwrap();
        let fill = |kind: &str| {
            for number in 0..2 * MOST_UPLOADS {
                let file = lab.blobs.uploads.join(format!("{kind}{number}.part"));
                fs::write(file, "").unwrap();
            }
        };
        let begin = |name: &'static str| {
            let name = Name::new(name).unwrap();
            let blobs = &lab.blobs;
            async move { blobs.begin(&name, 1).await }
        };
        fill(COPY);
        begin("img-1.disk").await.unwrap();
        fill("img-");
        let refused = begin("img-2.disk").await.unwrap_err();
        assert_eq!(refused.code(), Code::NO_CAPACITY);
        begin("copy-more").await.unwrap();
    }

    #[tokio::test]
    async fn one_writes_at_a_time_and_what_is_left_alone_goes() {
        let (lab, name) = (Lab::new(), name());
        lab.blobs.begin(&name, 3).await.unwrap();
        let hold = lab.blobs.hold(&name).unwrap();
        let refused = lab.write(&name, 0, b"abc").await.unwrap_err();
        assert_eq!(constraint(&refused), "busy");
        let old = SystemTime::now() - Duration::from_secs(48 * 3600);
        let age = |path: PathBuf| fs::File::open(path).unwrap().set_modified(old).unwrap();
        age(lab.blobs.part(&name));
        lab.blobs.expire();
        drop(hold);
        assert_eq!(lab.uploads(), 2);
        lab.blobs.expire();
        assert_eq!(lab.uploads(), 0);
        lab.blobs.begin(&name, 3).await.unwrap();
        age(lab.blobs.form(&name));
        lab.blobs.expire();
        assert_eq!(lab.uploads(), 2);
    }
}
