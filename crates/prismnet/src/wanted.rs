//! The thing that a filter asks for.

use photon_core::{Id, Kind};

/// Which ids pass. A text that is no id names nothing, as in a path: nothing passes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Wanted<K: Kind> {
    /// Nobody asked.
    #[default]
    Any,
    /// This one.
    One(Id<K>),
    /// None can be meant.
    Nothing,
}

impl<K: Kind> Wanted<K> {
    /// What a field asks for, if it is there.
    pub(crate) fn of(text: Option<&str>) -> Self {
        match text.map(str::parse) {
            None => Self::Any,
            Some(Ok(id)) => Self::One(id),
            Some(Err(_)) => Self::Nothing,
        }
    }

    /// Whether this one is asked for.
    pub(crate) fn is(&self, id: Id<K>) -> bool {
        match self {
            Self::Any => true,
            Self::One(wanted) => *wanted == id,
            Self::Nothing => false,
        }
    }

    /// Whether one of these is.
    pub(crate) fn is_among(&self, ids: &[Id<K>]) -> bool {
        matches!(self, Self::Any) || ids.iter().any(|id| self.is(*id))
    }
}
