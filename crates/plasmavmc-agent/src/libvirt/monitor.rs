//! What qemu has to say yet to whoever was killed while he waited for it.
//!
//! Some of what libvirt asks of qemu takes as long as the guest's memory is large (a snapshot, the removal of one). Who asks and is killed
//! meanwhile never hears the answer: qemu gives it to the next one who comes. That would be an embedded libvirt again, which takes an
//! answer that it does not know for a sign that all is lost, and kills the guest (libvirt 9, `qemuProcessReconnect`). So before it comes,
//! somebody else listens until qemu has no more to say.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use serde_json::{Value, json};

/// How long qemu may take to greet: that it does in a thread of its own. If it does not, it talks to somebody else.
const GREETING: Duration = Duration::from_secs(5);
/// How long it may take to end what it was asked: as long as all of a guest's memory takes to be written.
const LIMIT: Duration = Duration::from_secs(1800);
/// The most bytes that it may say.
const MOST: u64 = 1 << 20;
/// What our question is called.
const OURS: &str = "photoncloud";

/// Listens to all guests of an embedded libvirt that is about to be opened. Blocks. What cannot be heard is left to libvirt.
pub fn hear_out(root: &Path) {
    // Else it is this other one who listens, and hears.
    if is_open(root).unwrap_or(true) {
        return;
    }
    for socket in sockets(root) {
        if let Err(error) = hear(&socket, LIMIT) {
            tracing::warn!(socket = %socket.display(), %error, "a guest is not heard out");
        }
    }
}

/// Whether a process has this libvirt open: then it has its lock.
fn is_open(root: &Path) -> io::Result<bool> {
    let file = match fs::File::options()
        .read(true)
        .write(true)
        .open(root.join("run/qemu/driver.pid"))
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).map_err(io::Error::other)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Where its guests listen; of those that are gone, too.
fn sockets(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("lib/qemu")) else {
        return Vec::new();
    };
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"domain-"));
    let sockets = ours.map(|entry| entry.path().join("monitor.sock"));
    sockets.filter(|socket| socket.exists()).collect()
}

/// Asks a question of our own: what is answered before it, was asked before it.
fn hear(socket: &Path, limit: Duration) -> io::Result<()> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        // Nobody is there.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let end = Instant::now() + limit;
    stream.set_write_timeout(Some(GREETING))?;
    stream.set_read_timeout(Some(GREETING))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(MOST));
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let question = json!({ "execute": "qmp_capabilities", "id": OURS });
    stream.write_all(format!("{question}\r\n").as_bytes())?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // None at all would be for ever.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["id"] == OURS {
            return Ok(());
        }
        if said["id"].is_string() {
            tracing::info!(socket = %socket.display(), answer = line.trim(), "an answer for somebody who is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    const GREETS: &[u8] = b"{\"QMP\": {}}\r\n";

    #[test]
    fn who_has_more_to_say_is_heard_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let guest = root.join("lib/qemu/domain-1-vm");
        fs::create_dir_all(&guest).unwrap();
        let socket = guest.join("monitor.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let qemu = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(GREETS).unwrap();
            let mut asked = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            lines.read_line(&mut asked).unwrap();
            let asked: Value = serde_json::from_str(&asked).unwrap();
            let answer = json!({ "return": {}, "id": asked["id"] });
            let all = format!(
                "{{\"return\": \"\", \"id\": \"libvirt-7\"}}\r\n{{\"event\": \"STOP\"}}\r\n{answer}\r\n"
            );
            stream.write_all(all.as_bytes()).unwrap();
            // Only then is it let go.
            let mut rest = String::new();
            lines.read_line(&mut rest).unwrap()
        });
        hear_out(root);
        assert_eq!(qemu.join().unwrap(), 0);
        // Of one that is gone, nothing is heard, and nothing is waited for.
        hear(&socket, LIMIT).unwrap();
        hear_out(&root.join("nothing"));
    }

    #[test]
    fn who_never_ends_is_waited_for_no_longer_than_that() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("monitor.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let qemu = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(GREETS).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap()
        });
        hear(&socket, Duration::from_millis(50)).unwrap_err();
        assert!(qemu.join().unwrap() > 0);
    }

    #[test]
    fn one_that_is_open_is_not_disturbed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert!(!is_open(root).unwrap());
        fs::create_dir_all(root.join("run/qemu")).unwrap();
        let path = root.join("run/qemu/driver.pid");
        fs::write(&path, "1").unwrap();
        assert!(!is_open(root).unwrap());
        let other = fs::File::options().write(true).open(&path).unwrap();
        let lock = libc::flock {
            l_type: i16::try_from(libc::F_WRLCK).unwrap(),
            l_whence: 0,
            l_start: 0,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(is_open(root).unwrap());
    }
}
