//! Images on this host: what an operator has put here (`plasmavmc-agent image add DIR`), and the files of all images that came by the control
//! plane.
//!
//! ```text
//!   images/<name>.json        what it is called, and which files it is made of
//!   images/files/<sha256>     a file, called by its content: a blob, see [`crate::blobs`]
//!   images/files/<sha256>.bad one that was found damaged: held no more. It stays until a good one came
//! ```

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{Context as Hash, SHA256};
use parking_lot::{Mutex, MutexGuard};
use photon_agent::memory::replace;
use photon_core::Name;
use plasmavmc_model::{Digest, HeldBlob, HeldImage};
use serde::{Deserialize, Serialize};

use crate::{blobs::seal, files::passable};

/// The largest file of an image that is booted directly.
const LARGEST: u64 = 1 << 30;
/// What the name of a damaged file ends in.
const DAMAGED: &str = "bad";

/// The description beside the files of an image, as `deploy/guest/photon-mini/build` writes it. Fields it does not know are left alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// 1.
    pub v: u32,
    /// What the image is to be called.
    pub name: Name,
    /// `x86_64`.
    pub arch: String,
    /// The kernel.
    pub kernel: ManifestFile,
    /// The initramfs.
    pub initramfs: ManifestFile,
    /// The kernel's command line.
    #[serde(default)]
    pub cmdline: String,
}

/// A file of an image, beside the manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct ManifestFile {
    /// Its name.
    pub file: String,
    /// Its content.
    pub sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    image: HeldImage,
}

/// The images.
#[derive(Debug)]
pub struct Images {
    root: PathBuf,
    /// Files that were read and found to be what they are called, as they were then.
    good: Mutex<HashMap<Digest, Stamp>>,
    /// Of whoever gives a file its place, or takes it.
    turn: Mutex<()>,
    /// Whether a damaged file is set aside.
    changes: bool,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// What is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Images with all their files.
    pub images: Vec<HeldImage>,
    /// What is not as it should be.
    pub problems: Vec<String>,
}

impl Images {
    /// Below the agent's directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            root: state.join("images"),
            good: Mutex::default(),
            turn: Mutex::default(),
            changes: true,
        }
    }

    /// The same, for somebody who only looks: a damaged file stays where it is.
    #[must_use]
    pub fn looking(state: &Path) -> Self {
        Self {
            changes: false,
            ..Self::new(state)
        }
    }

    /// As long as this lives, no file comes or goes but by its holder, who may not ask for it again, nor for [`Self::file`].
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// The file with that content; it is read unless it was before and has not changed since. One that is damaged is set aside: it is held no
    /// more, and can be copied again. Blocks.
    ///
    /// # Errors
    /// It is not here, or is not what it is called.
    pub fn file(&self, digest: Digest) -> Result<PathBuf, String> {
        let path = self.path(digest);
        let stamp = match stamp(&path) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("no image here has the file {digest}"));
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        if self.good.lock().get(&digest) == Some(&stamp) {
            return Ok(path);
        }
        let found = digest_of(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if found != digest {
            match self.set_aside(&path, stamp) {
                Ok(()) => tracing::warn!(%digest, "a file is damaged"),
                Err(error) => tracing::warn!(%digest, %error, "a file is damaged, and stays"),
            }
            return Err(format!("{} is not what it is called", path.display()));
        }
        self.good.lock().insert(digest, stamp);
        Ok(path)
    }

    /// Who has it open keeps it.
    fn set_aside(&self, path: &Path, was: Stamp) -> io::Result<()> {
        if !self.changes {
            return Ok(());
        }
        let _alone = self.alone();
        // Another one may have come while that was read.
        if stamp(path)? == was {
            fs::rename(path, path.with_extension(DAMAGED))?;
        }
        Ok(())
    }

    /// Whether that file was read and has not changed since.
    fn is_good(&self, digest: Digest) -> bool {
        let now = stamp(&self.path(digest));
        now.is_ok_and(|now| self.good.lock().get(&digest) == Some(&now))
    }

    /// Where the file with that content is, or would be.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("files").join(digest.to_string())
    }

    /// Changes when an image was added or removed, or a file was.
    #[must_use]
    pub fn stamp(&self) -> [Option<(i64, i64)>; 2] {
        [self.root.clone(), self.root.join("files")].map(|path| {
            let directory = fs::metadata(path).ok()?;
            Some((directory.mtime(), directory.mtime_nsec()))
        })
    }

    /// Takes in a file of which somebody has just seen that it has that content. Blocks.
    ///
    /// # Errors
    /// A file that cannot be moved.
    pub fn take_in(&self, from: &Path, digest: Digest) -> io::Result<()> {
        let to = self.path(digest);
        let directory = self.root.join("files");
        passable(&directory)?;
        // One that is here may have to be read, which takes long: before it is our turn.
        let _ = self.file(digest);
        {
            let _alone = self.alone();
            // It counts as new when it comes, however long ago it was written, and when it comes again.
            let now = SystemTime::now();
            if self.is_good(digest) {
                // Guests may have it open.
                File::open(&to)?.set_modified(now)?;
                self.good.lock().insert(digest, stamp(&to)?);
                return fs::remove_file(from);
            }
            File::open(from)?.set_modified(now)?;
            place(from, &to)?;
            self.good.lock().insert(digest, stamp(&to)?);
        }
        File::open(&directory)?.sync_all()
    }

    /// All files that are here, and their lengths. They are not read.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn blobs(&self) -> io::Result<Vec<HeldBlob>> {
        let entries = match fs::read_dir(self.root.join("files")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(digest) = name.to_str().and_then(|name| name.parse().ok()) {
                let bytes = entry.metadata()?.len();
                all.push(HeldBlob { digest, bytes });
            }
        }
        all.sort();
        Ok(all)
    }

    /// What operators have added, whether its files are good or not.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn added(&self) -> io::Result<Vec<HeldImage>> {
        let mut all = Vec::new();
        for path in self.manifests()? {
            let form: Form = serde_json::from_slice(&fs::read(path)?)?;
            all.push(form.image);
        }
        Ok(all)
    }

    fn manifests(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let paths: io::Result<Vec<PathBuf>> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect();
        let mut paths = paths?;
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        Ok(paths)
    }

    /// All of them. Blocks: files are read that were not before.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> io::Result<Held> {
        let mut held = Held::default();
        for path in self.manifests()? {
            match self.read(&path) {
                Ok(image) => held.images.push(image),
                Err(problem) => held
                    .problems
                    .push(format!("image {}: {problem}", path.display())),
            }
        }
        held.images.sort();
        held.problems.sort();
        Ok(held)
    }

    fn read(&self, path: &Path) -> Result<HeldImage, String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let form: Form = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        self.file(form.image.kernel)?;
        self.file(form.image.initramfs)?;
        Ok(form.image)
    }

    /// Takes an image in, from a directory with its files and `manifest.json`. An older one of that name is called so no more; its files stay,
    /// for VMs that boot from it. Blocks.
    ///
    /// # Errors
    /// What the manifest says that is not so.
    pub fn add(&self, directory: &Path) -> anyhow::Result<HeldImage> {
        let path = directory.join("manifest.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no manifest of an image", path.display()))?;
        if manifest.v != 1 {
            bail!("the manifest's version is {}, not 1", manifest.v);
        }
        if manifest.arch != std::env::consts::ARCH {
            bail!(
                "the image is for {}, this host is {}",
                manifest.arch,
                std::env::consts::ARCH
            );
        }
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
        if manifest.cmdline.len() > 2000 || !manifest.cmdline.bytes().all(is_plain) {
            bail!("cmdline has other than printable characters, or is longer than 2000");
        }
        passable(&self.root.join("files"))?;
        let mut bytes = 0;
        for file in [&manifest.kernel, &manifest.initramfs] {
            bytes += self
                .take(directory, file)
                .with_context(|| format!("{}: {}", directory.display(), file.file))?;
        }
        let image = HeldImage {
            name: manifest.name,
            arch: manifest.arch,
            kernel: manifest.kernel.sha256,
            initramfs: manifest.initramfs.sha256,
            cmdline: manifest.cmdline,
            bytes,
        };
        let form = Form {
            v: 1,
            image: image.clone(),
        };
        let named = self.root.join(format!("{}.json", image.name));
        replace(&named, &serde_json::to_vec_pretty(&form)?)?;
        Ok(image)
    }

    /// Copies a file in, if its content is what the manifest says.
    fn take(&self, directory: &Path, file: &ManifestFile) -> anyhow::Result<u64> {
        if file.file.contains('/') || file.file.starts_with('.') {
            bail!("must be the name of a file beside the manifest");
        }
        let from = directory.join(&file.file);
        // A link or a device could be anything, or endless.
        let meta = fs::symlink_metadata(&from)?;
        if !meta.is_file() || meta.len() > LARGEST {
            bail!("must be a file of at most {} MiB", LARGEST >> 20);
        }
        let to = self.path(file.sha256);
        if self.file(file.sha256).is_ok() {
            return Ok(meta.len());
        }
        let beside = to.with_extension("new");
        let mut written = File::create(&beside)?;
        let (size, digest) = copy(&mut File::open(&from)?.take(LARGEST), &mut written)?;
        if digest != file.sha256 {
            fs::remove_file(&beside)?;
            bail!("is not what the manifest says: its SHA-256 is {digest}");
        }
        written.sync_all()?;
        {
            let _alone = self.alone();
            place(&beside, &to)?;
        }
        File::open(to.parent().unwrap_or(&self.root))?.sync_all()?;
        Ok(size)
    }
}

/// Gives a good file its place, whatever was there.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    seal(from)?;
    fs::rename(from, to)?;
    // Where there was none, nothing is to be done.
    let _ = fs::remove_file(to.with_extension(DAMAGED));
    Ok(())
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = fs::metadata(path)?;
    Ok(Stamp {
        inode: file.ino(),
        size: file.size(),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    Ok(copy(&mut File::open(path)?, &mut io::sink())?.1)
}

fn copy(from: &mut impl io::Read, to: &mut impl io::Write) -> io::Result<(u64, Digest)> {
    let mut hash = Hash::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    Ok((size, Digest::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn directory(change: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("k"), "kernel").unwrap();
        fs::write(directory.path().join("r"), "initramfs").unwrap();
        let mut manifest = serde_json::json!({
            "v": 1, "name": "mini", "arch": "x86_64", "version": "whatever",
            "kernel": {"file": "k", "sha256": Digest::of(b"kernel"), "size_bytes": 6},
            "initramfs": {"file": "r", "sha256": Digest::of(b"initramfs")},
            "cmdline": "console=ttyS0",
        });
        change(&mut manifest);
        let text = serde_json::to_vec(&manifest).unwrap();
        fs::write(directory.path().join("manifest.json"), text).unwrap();
        directory
    }

    #[test]
    fn an_image_is_held_by_its_content() {
        let state = tempfile::tempdir().unwrap();
        let images = Images::new(state.path());
        assert_eq!(images.list().unwrap(), Held::default());
        let before = images.stamp();
        let from = directory(|_| {});
        let image = images.add(from.path()).unwrap();
        assert_eq!(image, images.add(from.path()).unwrap());
        assert_ne!(images.stamp(), before);
        assert_eq!((image.bytes, image.name.as_str()), (15, "mini"));
        assert_eq!(images.list().unwrap().images, std::slice::from_ref(&image));
        let file = images.file(image.kernel).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"kernel");
        images.file(Digest::of(b"other")).unwrap_err();
        // What is no longer what it is called is not booted, though it was good before.
        fs::write(&file, "Kernel").unwrap();
        let error = images.file(image.kernel).unwrap_err();
        assert!(error.contains("is not what it is called"), "{error}");
        // Nor held: it can be copied again.
        let blobs = images.blobs().unwrap();
        assert!(
            blobs.iter().all(|blob| blob.digest != image.kernel),
            "{blobs:?}"
        );
        let aside = file.with_extension(DAMAGED);
        assert_eq!(fs::read(&aside).unwrap(), b"Kernel");
        let held = images.list().unwrap();
        assert!(
            held.images.is_empty() && held.problems.len() == 1,
            "{held:?}"
        );
        // And is mended by adding it again.
        images.add(from.path()).unwrap();
        images.file(image.kernel).unwrap();
        assert!(!aside.exists());
    }

    #[test]
    fn one_that_came_while_the_damaged_one_was_read_stays() {
        let state = tempfile::tempdir().unwrap();
        let images = Images::new(state.path());
        let digest = Digest::of(b"good");
        let from = state.path().join("from");
        let path = images.path(digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "damaged").unwrap();
        let was = stamp(&path).unwrap();
        fs::write(&from, "good").unwrap();
        images.take_in(&from, digest).unwrap();
        images.set_aside(&path, was).unwrap();
        assert_eq!(fs::read(images.file(digest).unwrap()).unwrap(), b"good");
    }

    #[test]
    fn what_is_not_as_the_manifest_says_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let images = Images::new(state.path());
        type Change = fn(&mut serde_json::Value);
        let changes: [(Change, &str); 9] = [
            (|manifest| manifest["v"] = 2.into(), "version"),
            (|manifest| manifest["name"] = "../etc".into(), "manifest"),
            (|manifest| manifest["arch"] = "sparc".into(), "sparc"),
            (|manifest| manifest["cmdline"] = "a\nb".into(), "cmdline"),
            (
                |manifest| manifest["kernel"]["file"] = "/etc/passwd".into(),
                "beside",
            ),
            (
                |manifest| manifest["kernel"]["file"] = "../k".into(),
                "beside",
            ),
            (
                |manifest| manifest["kernel"]["file"] = "none".into(),
                "none",
            ),
            (
                |manifest| manifest["kernel"]["sha256"] = Digest::of(b"x").to_string().into(),
                "SHA-256",
            ),
            (
                |manifest| manifest["kernel"]["sha256"] = "x".into(),
                "manifest",
            ),
        ];
        for (change, says) in changes {
            let from = directory(change);
            let error = format!("{:#}", images.add(from.path()).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
        let link = directory(|_| {});
        fs::remove_file(link.path().join("k")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", link.path().join("k")).unwrap();
        images.add(link.path()).unwrap_err();
        assert!(images.list().unwrap().images.is_empty());
    }
}
