//! A state machine that remembers every command in order, and forgets what it has not flushed when
//! it is opened again, as a store without a log of its own does after a crash.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use photon_raft::StateMachine;

#[derive(Default, Clone)]
struct State {
    mark: Option<Bytes>,
    commands: Vec<String>,
}

pub(crate) struct Records {
    dir: PathBuf,
    state: Mutex<State>,
    pub(crate) flushes: AtomicU64,
    pub(crate) installs: AtomicU64,
    pub(crate) batches: AtomicU64,
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

impl State {
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = Vec::new();
        put(&mut out, self.mark.as_deref().unwrap_or_default());
        for command in &self.commands {
            put(&mut out, command.as_bytes());
        }
        let tmp = path.with_extension("tmp");
        let mut file = File::create(&tmp)?;
        file.write_all(&out)?;
        file.sync_all()?;
        fs::rename(&tmp, path)?;
        File::open(path.parent().unwrap())?.sync_all()
    }

    fn read(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let mut rest = bytes.as_slice();
        let mut parts = Vec::new();
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let (part, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
            parts.push(part.to_vec());
            rest = tail;
        }
        let mark = Bytes::from(parts.remove(0));
        let commands = parts
            .into_iter()
            .map(|part| String::from_utf8(part).unwrap())
            .collect();
        Ok(Self {
            mark: (!mark.is_empty()).then_some(mark),
            commands,
        })
    }
}

impl Records {
    pub(crate) fn open(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let state = State::read(&dir.join("state")).unwrap();
        Self {
            dir: dir.to_owned(),
            state: Mutex::new(state),
            flushes: AtomicU64::new(0),
            installs: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.state().commands.clone()
    }
}

impl StateMachine for Records {
    /// How many commands there are with this one.
    type Reply = u64;

    fn encode_reply(&self, reply: &u64) -> Bytes {
        Bytes::copy_from_slice(&reply.to_be_bytes())
    }

    fn decode_reply(&self, bytes: Bytes) -> io::Result<u64> {
        let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(io::Error::other)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn mark(&self) -> io::Result<Option<Bytes>> {
        Ok(self.state().mark.clone())
    }

    fn apply(&self, commands: &[Bytes], mark: Bytes) -> io::Result<Vec<u64>> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.mark = Some(mark);
        Ok(commands
            .iter()
            .map(|command| {
                state
                    .commands
                    .push(String::from_utf8(command.to_vec()).unwrap());
                state.commands.len() as u64
            })
            .collect())
    }

    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let state = self.state().clone();
        state.write(&self.dir.join("state"))
    }

    fn checkpoint(&self, dir: &Path) -> io::Result<Bytes> {
        fs::create_dir(dir)?;
        let state = self.state().clone();
        state.write(&dir.join("state"))?;
        fs::create_dir(dir.join("more"))?;
        fs::write(dir.join("more/filler"), vec![7; 700_000])?;
        state
            .mark
            .ok_or_else(|| io::Error::other("nothing applied"))
    }

    fn install(&self, dir: &Path) -> io::Result<()> {
        assert_eq!(fs::read(dir.join("more/filler"))?.len(), 700_000);
        let state = State::read(&dir.join("state"))?;
        state.write(&self.dir.join("state"))?;
        *self.state() = state;
        self.installs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
