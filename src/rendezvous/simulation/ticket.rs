//! What a prober with a ticket may ask of the bucket: its doors, and nothing beside them.

use std::collections::BTreeSet;

use super::bucket::{Answer, Call};
use super::process::signing_key;
use crate::job::{Job, Vantage};
use crate::rendezvous::chance::mix;
use crate::signature::SigningKey;
use crate::store::{Key, List, Listing};
use crate::ticket::Doors;

/// A ticket's URLs.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    doors: Doors,
    whole: BTreeSet<String>,
}

/// The key of a vantage's ticket.
pub(super) fn ticket_key(seed: u64, vantage: &Vantage) -> SigningKey {
    let label = vantage.as_str().bytes();
    let own = label.fold(seed, |h, b| mix(h ^ u64::from(b)));
    signing_key(own ^ 0x71c8)
}

impl Pass {
    pub(super) fn of(job: &Job, vantage: &Vantage, key: &SigningKey) -> Self {
        Pass {
            doors: Doors::of(job, vantage, &key.public()),
            whole: Doors::whole(&job.run, vantage),
        }
    }

    /// Whether it has a URL for this, or those that make up this listing.
    pub(super) fn opens(&self, call: &Call) -> bool {
        let run_key = |key: &Key| key.as_str().parse().ok();
        match call {
            Call::Create(key, _) => run_key(key).is_some_and(|k| self.doors.create.contains(&k)),
            Call::Put(key, _) | Call::Replace(key, ..) => {
                run_key(key).is_some_and(|k| self.doors.put.contains(&k))
            }
            Call::Get(key, _) => run_key(key).is_some_and(|k| self.doors.get.contains(&k)),
            Call::List(list) => !list.folders && self.whole.contains(&list.prefix),
        }
    }

    /// How many objects it looks at for a listing.
    pub(super) fn reads_to_list(&self, list: &List) -> usize {
        let all = self.doors.get.iter().map(ToString::to_string);
        all.filter(|key: &String| key.starts_with(&list.prefix))
            .count()
    }

    /// Of a listing, what looking at each of its objects shows.
    pub(super) fn narrowed(&self, answer: Answer) -> Answer {
        let Answer::Listed(Ok(Listing { mut objects, .. })) = answer else {
            return answer;
        };
        objects.retain(|entry| entry.key.parse().is_ok_and(|k| self.doors.get.contains(&k)));
        Answer::Listed(Ok(Listing {
            objects,
            ..Listing::default()
        }))
    }
}
