//! What a world's probers are called, and what they are there for.

use super::dice::Dice;
use super::scenario::PROBERS;
use crate::job::{Job, Vantage, VantageRole, VantageSpec};
use crate::rendezvous::chance::mix;

/// The label of the `n`-th vantage.
pub(super) fn label(n: u64) -> Vantage {
    format!("v{n}").parse().unwrap()
}

/// How probers are named: each after a vantage of its own, or two after one.
#[derive(Clone, Copy)]
pub(super) enum Labels {
    Alone,
    Shared,
}

impl Labels {
    /// As the job names them.
    pub(super) fn of(job: &Job) -> Self {
        let mut named = job.fleet.named().into_iter();
        match named.any(|slot| slot.prober().is_some()) {
            true => Labels::Shared,
            false => Labels::Alone,
        }
    }

    /// The `n`-th prober's slot.
    pub(super) fn slot(self, n: u64) -> Vantage {
        match self {
            Labels::Alone => label(n),
            Labels::Shared => format!("{}/{}", label(n / 2), n % 2).parse().unwrap(),
        }
    }

    /// What the `n`-th prober is told in a world: its slot, or with the other one of some vantages
    /// no more than their label, so that each takes a slot that is free.
    pub(super) fn told(self, seed: u64, n: u64) -> Vantage {
        let slot = self.slot(n);
        match self {
            Labels::Shared if Dice(mix(seed ^ 0xba5e ^ (n / 2))).chance(40) => slot.place(),
            Labels::Alone | Labels::Shared => slot,
        }
    }
}

/// The vantages of those worlds in which each has two probers, and some only publish or only
/// subscribe.
pub(super) fn shared(seed: u64) -> Option<Vec<VantageSpec>> {
    let mut dice = Dice(mix(seed ^ 0x5a1e));
    let are_shared = dice.chance(40);
    let mut role = |n| match n {
        0 => VantageRole::Both,
        _ => dice.pick(&[
            VantageRole::Both,
            VantageRole::Both,
            VantageRole::Publish,
            VantageRole::Subscribe,
        ]),
    };
    let vantage = |n| VantageSpec {
        label: label(n),
        probers: 2,
        role: role(n),
    };
    let all = (0..PROBERS / 2).map(vantage).collect();
    are_shared.then_some(all)
}
