//! VMs by the API and by hand, in turns: who begins changes with the round.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use serde_json::Value;

use super::api;
use super::cloud::{Cloud, Kind};
use super::peer::Peer;
use crate::figures::Figure;
use crate::network::control::Control;

/// How often a VM is looked at whether it runs; of several, each as much less often.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What is put off is not to fall into the other's time.
const SETTLE: Duration = Duration::from_millis(500);
/// After its upload, so long may its host take to tell of an image.
const TOLD: Duration = Duration::from_secs(30);

/// How long a side took in a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    /// Until the last one ran, in milliseconds.
    pub(super) running_ms: f64,
    /// Until the last one had answered, if they do.
    pub(super) answered_ms: Option<f64>,
}

impl Took {
    /// From when it began and when each of them ran and answered.
    pub(super) fn new(
        began: Instant,
        running: impl IntoIterator<Item = Instant>,
        answered: impl IntoIterator<Item = Instant>,
    ) -> Self {
        let ms = |at: Instant| at.duration_since(began).as_secs_f64() * 1000.0;
        Self {
            running_ms: running.into_iter().max().map_or(0.0, ms),
            answered_ms: answered.into_iter().max().map(ms),
        }
    }
}

/// All rounds, of the API and by hand.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    api: Vec<Took>,
    hand: Vec<Took>,
}

/// One figure of both sides.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    pub(super) api_ms: Vec<f64>,
    pub(super) hand_ms: Vec<f64>,
}

impl Rounds {
    /// Until they ran.
    pub(super) fn running(&self) -> Pairs {
        Pairs {
            api_ms: self.api.iter().map(|took| took.running_ms).collect(),
            hand_ms: self.hand.iter().map(|took| took.running_ms).collect(),
        }
    }

    /// Until they answered, if they do.
    pub(super) fn answered(&self) -> Option<Pairs> {
        let of = |side: &[Took]| -> Option<Vec<f64>> {
            side.iter().map(|took| took.answered_ms).collect()
        };
        Some(Pairs {
            api_ms: of(&self.api)?,
            hand_ms: of(&self.hand)?,
        })
        .filter(|pairs| !pairs.api_ms.is_empty())
    }
}

impl Pairs {
    /// How many times as long the API took, round by round.
    pub(super) fn ratio(&self) -> Figure {
        Figure::of(self.both().map(|(api, hand)| api / hand))
    }

    /// How much longer, in milliseconds.
    pub(super) fn over_ms(&self) -> Figure {
        Figure::of(self.both().map(|(api, hand)| api - hand))
    }

    fn both(&self) -> impl Iterator<Item = (f64, f64)> {
        self.api_ms
            .iter()
            .copied()
            .zip(self.hand_ms.iter().copied())
    }
}

/// Both sides, with so many VMs at once.
pub(super) struct Sides<'a> {
    cloud: &'a Cloud,
    wanted: Value,
    doors: Vec<Control>,
    peer: Peer,
    does_answer: bool,
    /// What runs guests, on both sides.
    pub(super) hypervisor: String,
}

impl<'a> Sides<'a> {
    /// Makes a VM to see what is to be done by hand, and has each side go once before it counts.
    ///
    /// # Errors
    /// What went wrong first.
    pub(super) async fn set_up(
        cloud: &'a Cloud,
        kind: Kind,
        at_once: usize,
    ) -> anyhow::Result<Self> {
        let mut doors = Vec::new();
        for _ in 0..at_once {
            doors.push(Control::connect(&cloud.service.rest).await?);
        }
        let wanted = cloud.wanted(kind);
        let door = doors.first_mut().context("at least one VM")?;
        wait_for_host(door, &wanted).await?;
        let first = api::boot(door, &wanted, None, LOOK_EVERY).await?;
        let does_answer = kind == Kind::Kernel;
        let model = cloud.model(&first.id)?;
        let peer = Peer::like(cloud, model, at_once, does_answer).await?;
        api::delete(door, &first.id).await?;
        let hypervisor = match first.shown["hypervisor_in_use"].as_str() {
            Some("qemu") => "emulated",
            Some(other) => other,
            None => "?",
        };
        let mut sides = Self {
            cloud,
            wanted,
            doors,
            peer,
            does_answer,
            hypervisor: hypervisor.to_owned(),
        };
        sides.api().await?;
        sides.hand().await?;
        Ok(sides)
    }

    /// So many rounds of each.
    ///
    /// # Errors
    /// What went wrong first.
    pub(super) async fn rounds(&mut self, rounds: usize) -> anyhow::Result<Rounds> {
        let mut all = Rounds::default();
        for round in 0..rounds {
            for turn in 0..2 {
                tokio::time::sleep(SETTLE).await;
                let is_api = (round + turn) % 2 == 0;
                let (name, took) = if is_api {
                    ("API", self.api().await?)
                } else {
                    ("virsh", self.hand().await?)
                };
                println!(
                    "{} at once, {name}: running after {:.0} ms{}",
                    self.doors.len(),
                    took.running_ms,
                    took.answered_ms
                        .map_or_else(String::new, |ms| format!(", answering after {ms:.0} ms"))
                );
                let side = if is_api { &mut all.api } else { &mut all.hand };
                side.push(took);
            }
        }
        Ok(all)
    }

    async fn api(&mut self) -> anyhow::Result<Took> {
        let from = self.cloud.from().filter(|_| self.does_answer);
        let every = LOOK_EVERY * u32::try_from(self.doors.len())?;
        let wanted = &self.wanted;
        let began = Instant::now();
        let doors = self.doors.iter_mut();
        let booted = try_join_all(doors.map(|door| api::boot(door, wanted, from, every))).await?;
        let running = booted.iter().map(|one| one.running);
        let answered = booted.iter().filter_map(|one| one.answered);
        let took = Took::new(began, running, answered);
        let both = self.doors.iter_mut().zip(&booted);
        try_join_all(both.map(|(door, one)| api::delete(door, &one.id))).await?;
        Ok(took)
    }

    async fn hand(&mut self) -> anyhow::Result<Took> {
        self.peer.boot().await
    }
}

/// An image that was uploaded is on a host only when that has told of it: until then there is no room for its VMs.
async fn wait_for_host(door: &mut Control, wanted: &Value) -> anyhow::Result<()> {
    let mut stopped = wanted.clone();
    stopped["start"] = false.into();
    let end = Instant::now() + TOLD;
    loop {
        let (status, answer) = door.answer("POST /api/v1/vms", &stopped).await?;
        if status == 201 {
            let id = answer["data"]["id"].as_str().context("no id")?.to_owned();
            return api::delete(door, &id).await;
        }
        let is_waiting = answer["error"]["code"] == "NO_CAPACITY" && Instant::now() < end;
        anyhow::ensure!(is_waiting, "{status} {answer}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn took(running_ms: f64, answered_ms: Option<f64>) -> Took {
        Took {
            running_ms,
            answered_ms,
        }
    }

    #[test]
    fn what_counts_is_the_last_of_them() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let all = Took::new(began, [at(30), at(10)], [at(40), at(90)]);
        assert!((all.running_ms - 30.0).abs() < 1e-6);
        assert!((all.answered_ms.unwrap() - 90.0).abs() < 1e-6);
        assert!(Took::new(began, [at(30)], []).answered_ms.is_none());
    }

    #[test]
    fn sides_are_held_against_each_other_round_by_round() {
        let rounds = Rounds {
            api: vec![took(300.0, None), took(100.0, None), took(260.0, None)],
            hand: vec![took(200.0, None), took(100.0, None), took(200.0, None)],
        };
        let running = rounds.running();
        assert_eq!(running.ratio().middle(), Some(1.3));
        assert_eq!(running.over_ms().middle(), Some(60.0));
        assert!(rounds.answered().is_none());
        assert!(Rounds::default().answered().is_none());
    }
}
