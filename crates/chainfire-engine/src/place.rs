//! Where the database lies, and how another one takes its place.
//!
//! ```text
//! <dir>/LIVE     the name of the live database, e.g. "db-3"; replaced by one rename
//! <dir>/db-3/    the live database
//! <dir>/db-4/    one that is to take over (before LIVE names it) or is left over: removed at the next open
//! ```
//! Whatever moment a crash picks, `LIVE` names a complete database: the old one or the new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const LIVE: &str = "LIVE";

const ADVICE: &str = "restore this member from a snapshot or let it rejoin with an empty directory";

fn context(what: &str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(context("syncing", dir))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("db-")?.parse().ok()
}

/// The directory of the state.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
}

/// What was found when the place was opened.
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The live database's directory.
    pub(crate) live: PathBuf,
    /// Whether there was none: call [`Place::name_live`] once it exists.
    pub(crate) new: bool,
}

impl Place {
    /// Finds the live database; removes what an interrupted swap left.
    pub(crate) fn open(dir: &Path) -> io::Result<Found> {
        fs::create_dir_all(dir).map_err(context("creating", dir))?;
        let place = Self {
            dir: dir.to_owned(),
        };
        let Some(live) = place.live()? else {
            let live = dir.join("db-1");
            return Ok(Found {
                place,
                live,
                new: true,
            });
        };
        let databases = place.databases()?.into_iter();
        for path in databases
            .map(|number| place.database(number))
            .filter(|path| *path != live)
        {
            tracing::info!(path = %path.display(), "removing what an interrupted swap of the state left");
            fs::remove_dir_all(&path).map_err(context("removing", &path))?;
        }
        Ok(Found {
            place,
            live,
            new: false,
        })
    }

    /// The live database of a directory nobody else uses; `None`: there is none yet. Changes nothing.
    pub(crate) fn find(dir: &Path) -> io::Result<Option<PathBuf>> {
        let place = Self {
            dir: dir.to_owned(),
        };
        if !dir.exists() {
            return Ok(None);
        }
        place.live()
    }

    /// What `LIVE` names.
    fn live(&self) -> io::Result<Option<PathBuf>> {
        let databases = self.databases()?;
        let pointer = self.dir.join(LIVE);
        let name = match fs::read_to_string(&pointer) {
            Ok(text) => text.trim().to_owned(),
            // db-1 alone is a creation that was interrupted: it holds nothing yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if databases.iter().all(|&number| number == 1) {
                    return Ok(None);
                }
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} has databases but no file {LIVE} that names the live one; {ADVICE}",
                        self.dir.display()
                    ),
                ));
            }
            // Bytes that are no text, too.
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("reading {}: {error}; {ADVICE}", pointer.display()),
                ));
            }
        };
        let number = number_of(&name).filter(|number| databases.contains(number));
        let named = number.map(|number| self.database(number));
        named.map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} names {name:?}, which is not there; {ADVICE}",
                    pointer.display()
                ),
            )
        })
    }

    fn database(&self, number: u64) -> PathBuf {
        self.dir.join(format!("db-{number}"))
    }

    fn databases(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(context("reading", &self.dir))? {
            if let Some(number) = entry?.file_name().to_str().and_then(number_of) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Moves a complete database beside the live one; where it is then.
    pub(crate) fn adopt(&self, from: &Path) -> io::Result<PathBuf> {
        let next = self.databases()?.into_iter().max().unwrap_or(0) + 1;
        let to = self.database(next);
        fs::rename(from, &to).map_err(context("moving the new state from", from))?;
        sync(&self.dir)?;
        Ok(to)
    }

    /// Makes a database the live one, durably.
    pub(crate) fn name_live(&self, database: &Path) -> io::Result<()> {
        let name = database
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| io::Error::other("a database directory has no name"))?;
        let written = self.dir.join("LIVE.new");
        let write = || {
            let mut file = fs::File::create(&written)?;
            io::Write::write_all(&mut file, name.as_bytes())?;
            file.sync_all()
        };
        write().map_err(context("writing", &written))?;
        fs::rename(&written, self.dir.join(LIVE)).map_err(context("renaming", &written))?;
        sync(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_swap_takes_effect_with_the_name_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let found = Place::open(&state).unwrap();
        assert!(found.new);
        fs::create_dir(&found.live).unwrap();
        found.place.name_live(&found.live).unwrap();

        let incoming = dir.path().join("incoming");
        fs::create_dir(&incoming).unwrap();
        let adopted = found.place.adopt(&incoming).unwrap();
        // A crash here: the old one is live, the new one is removed.
        let again = Place::open(&state).unwrap();
        assert_eq!((again.live, again.new), (found.live.clone(), false));
        assert!(!adopted.exists());

        fs::create_dir(&incoming).unwrap();
        let adopted = again.place.adopt(&incoming).unwrap();
        again.place.name_live(&adopted).unwrap();
        // A crash here: the new one is live, the old one is removed.
        let after = Place::open(&state).unwrap();
        assert_eq!(after.live, adopted);
        assert!(!found.live.exists());
    }

    #[test]
    fn a_directory_that_makes_no_sense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db-7")).unwrap();
        assert!(Place::open(dir.path()).is_err());
        fs::write(dir.path().join(LIVE), "db-8").unwrap();
        assert!(Place::open(dir.path()).is_err());
        fs::write(dir.path().join(LIVE), "db-7\n").unwrap();
        assert_eq!(
            Place::open(dir.path()).unwrap().live,
            dir.path().join("db-7")
        );
    }
}
