//! Dividing a total over vantages so that the shares sum to the whole.

use std::collections::BTreeSet;

use crate::job::{Fleet, Job, Media, Vantage, VantageRole, Workload};

/// One of several that share something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth {
    /// Which, from 0.
    pub index: u32,
    /// How many they are.
    pub of: u32,
}

impl Nth {
    /// Shares with nobody.
    pub const ONLY: Nth = Nth { index: 0, of: 1 };

    fn share(self, total: u32) -> u32 {
        share(total, self.of, self.index)
    }
}

/// A prober's place when the load is divided: over the vantages, then over each one's probers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What its vantage is there for.
    pub role: VantageRole,
    /// Its vantage among those that subscribe.
    pub vantage: Nth,
    /// Itself among the probers that its vantage has by the job. A vantage of which some are
    /// missing puts on less load; the others don't take over.
    pub prober: Nth,
}

impl Place {
    /// The place of `slot`, when the slots of `roster`, in the order of their labels, take part.
    pub fn of<'a>(
        job: &Job,
        slot: &Vantage,
        roster: impl IntoIterator<Item = &'a Vantage>,
    ) -> Self {
        let (mut index, mut of, mut last) = (0, 0, None);
        for other in roster {
            // The slots of a vantage stand together.
            let place = other.place_str();
            if last != Some(place) && job.role(other).subscribes() {
                if place == slot.place_str() {
                    index = of;
                }
                of += 1;
            }
            last = Some(place);
        }
        Place {
            role: job.role(slot),
            vantage: Nth { index, of },
            prober: Nth {
                index: slot.prober().unwrap_or(0),
                of: job.fleet.probers(slot),
            },
        }
    }

    /// The `index`-th of `of` vantages that have one prober each.
    pub const fn alone(index: u32, of: u32) -> Self {
        Place {
            role: VantageRole::Both,
            vantage: Nth { index, of },
            prober: Nth::ONLY,
        }
    }

    /// The place of `slot` if all of the fleet come; where nobody knows the labels, the first.
    pub fn planned(job: &Job, slot: &Vantage) -> Self {
        match &job.fleet {
            Fleet::Vantages(slots) => Place::of(job, slot, slots),
            Fleet::Expect(n) => Place::alone(0, *n),
        }
    }

    /// Every prober's place, if all of the fleet come; in the order of the slots.
    pub fn all(job: &Job) -> Vec<Place> {
        match &job.fleet {
            Fleet::Expect(n) => (0..*n).map(|i| Place::alone(i, *n)).collect(),
            Fleet::Vantages(slots) => all_named(job, slots),
        }
    }

    /// How many subscribers it is asked for in tier `tier`, whose number in the plan is `n`. The
    /// baseline's is per vantage, also when the ramp's are totals.
    pub fn subscribers(&self, job: &Job, tier: u32, n: u32) -> u32 {
        if !self.role.subscribes() {
            return 0;
        }
        let Workload::SharedRoom { ramp_total, .. } = &job.workload;
        let of_vantage = if *ramp_total && tier > 0 {
            self.vantage.share(n)
        } else {
            n
        };
        self.prober.share(of_vantage)
    }

    /// `media` of a vantage with the publishers that this prober has of it.
    pub fn media(&self, media: &Media) -> Media {
        let own = |n| match self.role.publishes() {
            true => self.prober.share(n),
            false => 0,
        };
        Media {
            video_publishers: own(media.video_publishers),
            audio_publishers: own(media.audio_publishers),
            ..media.clone()
        }
    }
}

/// As [`Place::of`] for each, in one go.
fn all_named(job: &Job, slots: &BTreeSet<Vantage>) -> Vec<Place> {
    let vantages = job.vantages().subscribing;
    let mut places: Vec<Place> = Vec::with_capacity(slots.len());
    let (mut subscribing, mut begun) = (0u32, 0usize);
    let mut ordered = slots.iter().peekable();
    while let Some(slot) = ordered.next() {
        let role = job.role(slot);
        places.push(Place {
            role,
            vantage: Nth {
                index: if role.subscribes() { subscribing } else { 0 },
                of: vantages,
            },
            prober: Nth {
                index: slot.prober().unwrap_or(0),
                of: 1,
            },
        });
        let over = ordered
            .peek()
            .is_none_or(|next| next.place_str() != slot.place_str());
        if over {
            let probers = u32::try_from(places.len() - begun).unwrap_or(u32::MAX);
            for place in places.iter_mut().skip(begun) {
                place.prober.of = probers;
            }
            begun = places.len();
            subscribing += u32::from(role.subscribes());
        }
    }
    places
}

/// The share of the `i`-th of `n` when `total` is divided as evenly as whole numbers allow;
/// the first ones get one more. Zero when `i` is not below `n`.
pub fn share(total: u32, n: u32, i: u32) -> u32 {
    if i >= n {
        return 0;
    }
    total / n + u32::from(i < total % n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, Timestamp, sample};
    use proptest::prelude::*;

    fn job(named: &[String], total: bool, publishers: (u32, u32)) -> Job {
        let spec = JobSpec {
            vantages: Some(named.iter().map(|text| text.parse().unwrap()).collect()),
            ramp: Some("60,61".parse().unwrap()),
            ramp_total: Some(total),
            video_publishers: Some(publishers.0),
            audio_publishers: Some(publishers.1),
            max_participants: Some(1_000_000),
            join_rate: Some(1_000),
            ..JobSpec::default()
        };
        sample::job(spec, Timestamp::from_micros(0))
    }

    fn slots(job: &Job) -> &BTreeSet<Vantage> {
        match &job.fleet {
            Fleet::Vantages(slots) => slots,
            Fleet::Expect(_) => panic!("no labels"),
        }
    }

    #[test]
    fn roles_and_probers_divide_the_load() {
        let named = ["iad:2=subscribe", "fra=publish", "iad-2"].map(str::to_owned);
        let job = job(&named, true, (3, 1));
        let shown: Vec<(String, u32, u32, u32, u32)> = slots(&job)
            .iter()
            .zip(Place::all(&job))
            .map(|(slot, place)| {
                let media = place.media(&job.media);
                let baseline = place.subscribers(&job, 0, 1);
                let tier = place.subscribers(&job, 1, 61);
                let (video, audio) = (media.video_publishers, media.audio_publishers);
                (slot.to_string(), baseline, tier, video, audio)
            })
            .collect();
        // 61 over two vantages: 31 for the first by label, 30 for the other's two probers.
        let expected = [
            ("fra", 0, 0, 3, 1),
            ("iad-2", 1, 31, 3, 1),
            ("iad/0", 1, 15, 0, 0),
            ("iad/1", 0, 15, 0, 0),
        ];
        assert_eq!(
            shown,
            expected.map(|(v, b, t, x, y)| (v.to_owned(), b, t, x, y))
        );
        // Without one, the other vantage has all of a total; without one prober, nobody has its.
        let left = ["fra", "iad/1"].map(|v| v.parse::<Vantage>().unwrap());
        let alone = Place::of(&job, &left[1], &left);
        assert_eq!(alone.subscribers(&job, 1, 61), 30);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_whole(total in 0u32..100_000, n in 1u32..2_000) {
            let sum: u32 = (0..n).map(|i| share(total, n, i)).sum();
            prop_assert_eq!(sum, total);
            prop_assert!(share(total, n, 0) - share(total, n, n - 1) <= 1);
        }

        #[test]
        fn the_probers_loads_sum_to_the_jobs(
            vantages in prop::collection::vec((1u32..7, 0usize..3), 1..6),
            total: bool,
            publishers in (0u32..9, 0u32..9),
            n in 6u32..10_000,
        ) {
            let roles = ["", "=publish", "=subscribe"];
            let named: Vec<String> = (0..).zip(&vantages)
                // One of both roles is always there.
                .map(|(i, (probers, role))| format!("v{i}:{probers}{}", if i == 0 { "" } else { roles[*role] }))
                .collect();
            let job = job(&named, total, publishers);
            let places = Place::all(&job);
            let sum = |of: &dyn Fn(&Place) -> u32| places.iter().map(|p| u64::from(of(p))).sum::<u64>();
            let counts = job.vantages();
            let subscribing = u64::from(counts.subscribing);
            let wanted = if total { u64::from(n) } else { u64::from(n) * subscribing };
            prop_assert_eq!(sum(&|p| p.subscribers(&job, 1, n)), wanted);
            prop_assert_eq!(sum(&|p| p.subscribers(&job, 0, 1)), subscribing);
            prop_assert_eq!(sum(&|p| p.media(&job.media).publishers()), job.publishers());
            for (slot, place) in slots(&job).iter().zip(&places) {
                prop_assert_eq!(&Place::of(&job, slot, slots(&job)), place);
            }
        }
    }
}
