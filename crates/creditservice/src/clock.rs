//! The time that owners give to their ledgers.
//!
//! It is the wall clock's, unless that jumps: a clock that is set ahead by mistake would make every hold expire at once, and
//! the ledger's time never goes back. Then it goes on by the monotonic clock until the two agree again.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use creditservice_ledger::Time;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How far ahead the wall clock may get of the monotonic one.
const JUMP: Duration = Duration::from_secs(60);

/// The clock of one process.
#[derive(Debug)]
pub(crate) struct LedgerClock {
    wall: Arc<dyn WallClock>,
    anchor: Mutex<Anchor>,
}

/// A clock that may be set.
pub(crate) trait WallClock: fmt::Debug + Send + Sync {
    /// Since 1970.
    fn shows(&self) -> Duration;
}

/// The machine's.
#[derive(Debug)]
struct SystemClock;

/// What both clocks showed at a moment.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: Duration,
    monotonic: Instant,
    /// Whether the wall clock is not believed since then.
    jumped: bool,
}

impl LedgerClock {
    /// Believes what the wall clock shows now.
    pub(crate) fn new() -> Self {
        Self::of(Arc::new(SystemClock))
    }

    /// The same by another clock.
    pub(crate) fn of(wall: Arc<dyn WallClock>) -> Self {
        let anchor = Anchor {
            wall: wall.shows(),
            monotonic: Instant::now(),
            jumped: false,
        };
        Self {
            wall,
            anchor: Mutex::new(anchor),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Time {
        let (time, told) = self.anchor.lock().read(self.wall.shows(), Instant::now());
        if let Some(ahead) = told {
            tracing::error!(
                ahead_seconds = ahead.as_secs(),
                "the system's clock jumped ahead; the ledger goes on without it"
            );
        }
        time_of(time)
    }
}

impl Anchor {
    /// The time to use, and by how much the wall clock has just jumped.
    fn read(&mut self, wall: Duration, monotonic: Instant) -> (Duration, Option<Duration>) {
        let elapsed = monotonic.saturating_duration_since(self.monotonic);
        let expected = self.wall + elapsed;
        let ahead = wall.saturating_sub(expected);
        if ahead > JUMP {
            // The anchor stays: what is expected is counted from when the clocks agreed.
            let told = (!self.jumped).then_some(ahead);
            self.jumped = true;
            return (expected, told);
        }
        // Going back is no harm: the ledger holds to its own time until the clock is there again. Nor is slow drift.
        *self = Self {
            wall,
            monotonic,
            jumped: false,
        };
        (wall, None)
    }
}

impl WallClock for SystemClock {
    fn shows(&self) -> Duration {
        // Before 1970 it is 1970: the ledger's own time is later.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

fn time_of(since_1970: Duration) -> Time {
    Time::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_jump_ahead_is_not_followed_and_its_end_is() {
        let start = Instant::now();
        let mut anchor = Anchor {
            wall: 1_000 * SECOND,
            monotonic: start,
            jumped: false,
        };
        // In step, with a little drift.
        assert_eq!(
            anchor.read(1_011 * SECOND, start + 10 * SECOND),
            (1_011 * SECOND, None)
        );
        // A day ahead: told once, and counted on.
        let day = 86_400 * SECOND;
        let (time, told) = anchor.read(day, start + 20 * SECOND);
        assert_eq!((time, told), (1_021 * SECOND, Some(day - 1_021 * SECOND)));
        let (time, told) = anchor.read(day + 5 * SECOND, start + 25 * SECOND);
        assert_eq!((time, told), (1_026 * SECOND, None));
        // Set right again.
        assert_eq!(
            anchor.read(1_030 * SECOND, start + 30 * SECOND),
            (1_030 * SECOND, None)
        );
        // Back is followed: the ledger sees to it that its own time does not.
        assert_eq!(
            anchor.read(900 * SECOND, start + 31 * SECOND),
            (900 * SECOND, None)
        );
    }
}
