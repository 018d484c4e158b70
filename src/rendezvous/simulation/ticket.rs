//! What a prober with a ticket may ask of the bucket: its doors, and nothing beside them.

use std::collections::BTreeSet;

use super::bucket::{Answer, Call};
use super::process::signing_key;
use crate::job::{Job, Vantage};
use crate::rendezvous::chance::mix;
use crate::signature::SigningKey;
use crate::store::{List, Listing};
use crate::ticket::Doors;

/// A ticket's URLs, by the keys of what they are for.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    create: BTreeSet<String>,
    put: BTreeSet<String>,
    get: BTreeSet<String>,
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
        let doors = Doors::of(job, vantage, &key.public());
        Pass {
            create: doors.create.iter().map(ToString::to_string).collect(),
            put: doors.put.iter().map(ToString::to_string).collect(),
            get: doors.get.iter().map(ToString::to_string).collect(),
            whole: Doors::whole(&job.run, vantage),
        }
    }

    /// Whether it has a URL for this, or those that make up this listing.
    pub(super) fn opens(&self, call: &Call) -> bool {
        match call {
            Call::Create(key, _) => self.create.contains(key.as_str()),
            Call::Put(key, _) | Call::Replace(key, ..) => self.put.contains(key.as_str()),
            Call::Get(key, _) => self.get.contains(key.as_str()),
            Call::List(list) => !list.folders && self.whole.contains(&list.prefix),
        }
    }

    /// How many objects it looks at for a listing.
    pub(super) fn reads_to_list(&self, list: &List) -> usize {
        let all = self.get.iter();
        all.filter(|key| key.starts_with(&list.prefix)).count()
    }

    /// Of a listing, what looking at each of its objects shows.
    pub(super) fn narrowed(&self, answer: Answer) -> Answer {
        let Answer::Listed(Ok(Listing { mut objects, .. })) = answer else {
            return answer;
        };
        objects.retain(|entry| self.get.contains(&entry.key));
        Answer::Listed(Ok(Listing {
            objects,
            ..Listing::default()
        }))
    }
}
