//! Looking into a disk that somebody gave us: whether it is what it was said to be, and refers to nothing else.
//!
//! A qcow2 file may name other files (a backing file, an external data file), which qemu would open as itself. So its header is read here
//! first, and only what refers to nothing is shown to `qemu-img`, which runs with a deadline and limits of CPU and memory, is told the
//! format instead of guessing, and is not listened to for ever: of tables that are wrong it says so line by line.

use std::{fs::File, io::Read as _, path::Path, process::Stdio, time::Duration};

use photon_core::Error;
use plasmavmc_model::DiskFormat as Format;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

const LIMIT: Duration = Duration::from_secs(120);
/// Of what it may use: seconds of CPU, and bytes of address space.
const CPU: &str = "--cpu=60";
const MEMORY: &str = "--as=2147483648";
/// What there is to say of a disk that qemu-img does not take: of one that was cut off, too, its tables are what is wrong.
const DAMAGED: &str = "it is damaged or cut off: what its tables say is not in it";
/// Bytes that it may say of a disk, and bytes that it may complain.
const MOST_SAID: u64 = 64 << 10;

/// How files of other formats begin, and what those are called.
const OTHERS: [(&[u8], &str); 9] = [
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
    (b"QED\0", "QED"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
];

/// What qemu-img says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
}

fn refused(constraint: &str, why: impl std::fmt::Display) -> Error {
    let message = format!("format is not what the file is, or not one that is taken: {why}");
    Error::validation("format", constraint, message)
}

/// The size of the disk that a file is, if it is one of that format and of at most so many bytes (0: any).
///
/// # Errors
/// `VALIDATION_ERROR` naming `format`.
pub async fn disk(path: &Path, format: Format, most: u64) -> Result<u64, Error> {
    let mut head = Vec::with_capacity(HEADER);
    let file = File::open(path).map_err(Error::internal)?;
    let read = file.take(HEADER as u64).read_to_end(&mut head);
    read.map_err(Error::internal)?;
    header(&head, format)?;
    let size = info(path, format).await?;
    if size == 0 {
        return Err(refused("value", "it is a disk of 0 bytes"));
    }
    if most > 0 && size > most {
        let why = format!("it is a disk of {size} bytes; at most {most} are taken");
        return Err(refused("virtual_size", why));
    }
    if format == Format::Qcow2 {
        check(path).await?;
    }
    Ok(size)
}

/// Bytes of a qcow2 header with all that is looked at.
const HEADER: usize = 104;

/// Whether a file begins as one of that format does, and refers to no other file.
fn header(head: &[u8], format: Format) -> Result<(), Error> {
    let is = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    match (is, format) {
        (None, Format::Raw) => return Ok(()),
        (Some((_, "qcow2")), Format::Qcow2) => {}
        (Some((_, is)), _) => return Err(refused("value", format!("the file is {is}"))),
        (None, Format::Qcow2) => return Err(refused("value", "the file is no qcow2")),
    }
    let number = |at: usize, bytes: usize| {
        let field = head.get(at..at + bytes)?;
        Some(
            field
                .iter()
                .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let cut = || refused("value", "its header is cut off");
    let version = number(4, 4).ok_or_else(cut)?;
    if !(2..=3).contains(&version) {
        return Err(refused(
            "value",
            format!("it is qcow2 of version {version}"),
        ));
    }
    if number(8, 8).ok_or_else(cut)? != 0 || number(16, 4).ok_or_else(cut)? != 0 {
        return Err(refused("backing_file", "it has a backing file"));
    }
    if number(32, 4).ok_or_else(cut)? != 0 {
        return Err(refused("encrypted", "it is encrypted"));
    }
    // They cost room that no guest sees, and are more tables to be wrong.
    if number(60, 4).ok_or_else(cut)? != 0 {
        return Err(refused("snapshots", "it has internal snapshots"));
    }
    if version == 3 {
        let features = number(72, 8).ok_or_else(cut)?;
        let (corrupt, data_file) = (features & 2 != 0, features & 4 != 0);
        if data_file {
            return Err(refused("data_file", "its data is in another file"));
        }
        if corrupt {
            return Err(refused("corrupt", "it is marked as corrupt"));
        }
    }
    Ok(())
}

async fn info(path: &Path, format: Format) -> Result<u64, Error> {
    let said = qemu_img(path, &["info", "--output=json", "-f", format.as_str()]).await?;
    let info: Info = serde_json::from_slice(&said).map_err(Error::internal)?;
    if info.format != format.as_str() || info.backing_filename.is_some() || info.encrypted {
        return Err(refused("value", "it is not what its header says"));
    }
    Ok(info.virtual_size)
}

/// Whether its tables hold together.
async fn check(path: &Path) -> Result<(), Error> {
    let checked = qemu_img(path, &["check", "-q", "-f", Format::Qcow2.as_str()]).await;
    checked.map(drop)
}

async fn qemu_img(path: &Path, words: &[&str]) -> Result<Vec<u8>, Error> {
    let child = Command::new("prlimit")
        .args([CPU, MEMORY, "--core=0", "--", "qemu-img"])
        .args(words)
        // A name may not be taken for anything else than a file's.
        .arg(format!("{}", path.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Also one that says too much: then it is not waited for.
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| Error::internal(format!("prlimit: {error}")))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ran = async {
        let (out, err) = tokio::try_join!(all(out), all(err))?;
        let status = child.wait().await.map_err(Error::internal)?;
        Ok::<_, Error>((status, out, err))
    };
    let ran = tokio::time::timeout(LIMIT, ran).await;
    let ran = ran.map_err(|_| refused("corrupt", "looking into it takes too long"))?;
    let (status, out, err) = ran?;
    // 3 of `check`: clusters that nothing refers to. They cost space only.
    if status.success() || words[0] == "check" && status.code() == Some(3) {
        return Ok(out);
    }
    let said = String::from_utf8_lossy(&err);
    let last = said.lines().last().unwrap_or_default().trim();
    // For whoever runs this host; to others its words say little, and name a path.
    tracing::info!(qemu_img = words[0], said = last, "a disk is refused");
    Err(refused("corrupt", DAMAGED))
}

/// All that comes, if it is not too much.
async fn all(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Error> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let read = pipe.take(MOST_SAID).read_to_end(&mut said).await;
        read.map_err(Error::internal)?;
    }
    if said.len() as u64 == MOST_SAID {
        return Err(refused("corrupt", "there is too much to be said of it"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::{fs, process::Command as Process};

    use super::*;

    fn img(words: &[&str], directory: &Path) -> bool {
        let mut run = Process::new("qemu-img");
        let run = run.args(words).current_dir(directory).output();
        run.is_ok_and(|output| output.status.success())
    }

    async fn why(path: &Path, format: Format, most: u64) -> String {
        let error = disk(path, format, most).await.unwrap_err();
        let details = error.details().unwrap();
        assert_eq!(details["field"], "format", "{error}");
        details["constraint"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_disk_is_what_it_is_said_to_be_and_refers_to_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        if !img(
            &["create", "-q", "-f", "qcow2", "good", "8M"],
            directory.path(),
        ) {
            photon_testkit::skip::report("plasmavmc-agent::inspect", "no qemu-img");
            return;
        }
        let size = 8 << 20;
        assert_eq!(disk(&at("good"), Format::Qcow2, size).await.unwrap(), size);
        fs::write(at("raw"), vec![7; 1024]).unwrap();
        assert_eq!(disk(&at("raw"), Format::Raw, 0).await.unwrap(), 1024);

        // A lie about the format, in both directions.
        assert_eq!(why(&at("good"), Format::Raw, 0).await, "value");
        assert_eq!(why(&at("raw"), Format::Qcow2, 0).await, "value");
        fs::write(at("gz"), b"\x1f\x8b and so on").unwrap();
        assert_eq!(why(&at("gz"), Format::Raw, 0).await, "value");
        fs::write(at("empty"), b"").unwrap();
        assert_eq!(why(&at("empty"), Format::Raw, 0).await, "value");
        fs::write(at("short"), b"QFI\xfb\0\0\0\x03").unwrap();
        assert_eq!(why(&at("short"), Format::Qcow2, 0).await, "value");
        assert_eq!(
            why(&at("good"), Format::Qcow2, size - 1).await,
            "virtual_size"
        );

        // Files of the host.
        let backing = ["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow"];
        let backing = [&backing[..], &["-F", "raw", "backed", "8M"]].concat();
        assert!(img(&backing, directory.path()));
        assert_eq!(why(&at("backed"), Format::Qcow2, 0).await, "backing_file");
        let external = ["create", "-q", "-f", "qcow2", "-o", "data_file=other"];
        assert!(img(
            &[&external[..], &["external", "8M"]].concat(),
            directory.path()
        ));
        assert_eq!(why(&at("external"), Format::Qcow2, 0).await, "data_file");

        // Tables that lead nowhere.
        let mut bytes = fs::read(at("good")).unwrap();
        bytes[40..48].copy_from_slice(&0x00ff_ffff_ffff_fe00_u64.to_be_bytes());
        fs::write(at("corrupt"), &bytes).unwrap();
        assert_eq!(why(&at("corrupt"), Format::Qcow2, 0).await, "corrupt");
        // One whose end is missing: what is wrong is said in words, and not in qemu-img's.
        assert!(img(
            &[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                "preallocation=full",
                "cut",
                "8M"
            ],
            directory.path()
        ));
        let cut = File::options().write(true).open(at("cut")).unwrap();
        cut.set_len(cut.metadata().unwrap().len() / 8).unwrap();
        let error = disk(&at("cut"), Format::Qcow2, 0).await.unwrap_err();
        assert!(error.message().ends_with(DAMAGED), "{error}");

        // Snapshots within.
        fs::copy(at("good"), at("kept")).unwrap();
        let keep = ["snapshot", "-c", "then", "kept"];
        assert!(img(&keep, directory.path()));
        assert_eq!(why(&at("kept"), Format::Qcow2, 0).await, "snapshots");

        // Some clusters that nothing refers to are no harm; of thousands there is too much to be said.
        let bytes = fs::read(at("good")).unwrap();
        let number = |from: usize| {
            let field: [u8; 8] = bytes[from..from + 8].try_into().unwrap();
            usize::try_from(u64::from_be_bytes(field)).unwrap()
        };
        let counts = number(number(48));
        let leaking = |name: &str, clusters: usize| {
            let mut bytes = bytes.clone();
            for cluster in 100..100 + clusters {
                bytes[counts + 2 * cluster + 1] = 1;
            }
            fs::write(at(name), bytes).unwrap();
            let file = File::options().write(true).open(at(name)).unwrap();
            file.set_len(5000 << 16).unwrap();
        };
        leaking("few", 10);
        assert_eq!(disk(&at("few"), Format::Qcow2, 0).await.unwrap(), size);
        leaking("many", 4000);
        assert_eq!(why(&at("many"), Format::Qcow2, 0).await, "corrupt");
    }

    #[tokio::test]
    async fn nobody_is_listened_to_for_ever() {
        assert_eq!(all(Some(&b"a word"[..])).await.unwrap(), b"a word");
        let endless = all(Some(tokio::io::repeat(b'x'))).await.unwrap_err();
        assert_eq!(endless.details().unwrap()["constraint"], "corrupt");
    }
}
