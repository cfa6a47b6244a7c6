//! The servers of one stage, and in which order they take their turns.

use std::path::Path;

use super::plan::Stage;
use super::{Measure, Options};
use crate::server::{Kind, Single};

/// The servers of one stage, all running; those whose turn it is not are idle.
pub(crate) struct Sides {
    pub(crate) list: Vec<Single>,
}

impl Sides {
    /// Starts all sides that this stage compares.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) async fn start(
        options: &Options,
        stage: Stage,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let mut list = Vec::new();
        for (index, kind) in options.sides.iter().enumerate() {
            let constant = matches!(kind, Kind::Ceiling(_));
            if constant && !matches!(stage, Stage::Read | Stage::Write) {
                continue;
            }
            // Two builds of one program may be compared: a directory each.
            let home = scratch.join(index.to_string());
            list.push(Single::start(kind, &home).await?);
        }
        Ok(Self { list })
    }

    /// What runs, in the order of the columns.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.list.iter().map(|server| server.kind.clone()).collect()
    }

    /// All servers.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Single> {
        self.list.iter()
    }

    /// The indexes of the sides that take part in a measure, another one first in every run.
    pub(crate) fn order(&self, run: usize, measure: &Measure) -> Vec<usize> {
        let count = self.list.len();
        (0..count)
            .map(|step| (run + step) % count)
            .filter(|&index| {
                measure.load.has_ceiling() || !matches!(self.list[index].kind, Kind::Ceiling(_))
            })
            .collect()
    }
}
