//! Has each prober of a run look at once whether it was stopped: who rewrites its heartbeat makes
//! the next one, which is written over the prober's own last one alone, be refused.
//!
//! What readers show of a heartbeat stays, and it says that it is not the prober's own any more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exchange::{Errand, Reply, Request};
use super::keys::{Folder, Item, RunKey};
use super::objects::Live;
use super::{LEASE, document};
use crate::job::{RunId, Timestamp};
use crate::store::{Entry, StoreError};

/// How many heartbeats are rewritten at a time: at 20 ms for each request, two thousand take two
/// seconds.
const AT_ONCE: usize = 64;
/// How often the listing, or one heartbeat, is tried.
const TRIES: u32 = 5;
/// How long after a failed listing the next try comes.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A rousing. It must begin after what stopped the run was stored.
#[derive(Debug)]
pub struct Rouse {
    run: RunId,
    since: Timestamp,
    list: Errand,
    lists: u32,
    /// With how often each was tried.
    to_read: VecDeque<(RunKey, u32)>,
    to_write: VecDeque<Request>,
    under_way: BTreeMap<RunKey, u32>,
}

impl Rouse {
    /// Of the probers of `run` that were heard of in the lease before `since`, on the bucket's
    /// clock: a heartbeat that is older stays what it is, a dead prober's last one.
    pub fn new(run: RunId, since: Timestamp, now: Timestamp) -> Self {
        Rouse {
            run,
            since,
            list: Errand::at(now),
            lists: 0,
            to_read: VecDeque::new(),
            to_write: VecDeque::new(),
            under_way: BTreeMap::new(),
        }
    }

    /// When to wake it, if no answer comes before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.list.wake_at()
    }

    /// Whether it waits for the listing, or is to ask for it.
    pub fn is_listing(&self) -> bool {
        self.list.under_way() || self.list.wake_at().is_some()
    }

    /// Whether all that could be roused were.
    pub fn is_done(&self) -> bool {
        !self.is_listing()
            && self.to_read.is_empty()
            && self.to_write.is_empty()
            && self.under_way.is_empty()
    }

    /// What to ask now.
    pub fn act(&mut self, now: Timestamp) -> Vec<Request> {
        let mut out: Vec<Request> = self.to_write.drain(..).collect();
        if self.list.start(now) {
            self.lists += 1;
            out.push(Request::List(Folder::Live.list(&self.run)));
        }
        while self.under_way.len() < AT_ONCE
            && let Some((key, tries)) = self.to_read.pop_front()
        {
            self.under_way.insert(key.clone(), tries + 1);
            out.push(Request::Read(key));
        }
        out
    }

    /// Hears the bucket; what is none of its own is passed over.
    pub fn replied(&mut self, now: Timestamp, reply: &Reply) {
        match reply {
            Reply::Listed(list, answer) if *list == Folder::Live.list(&self.run) => {
                if self.list.answered().is_none() {
                    return;
                }
                match answer {
                    Ok(listing) => {
                        let heard_of = listing.objects.iter().filter_map(|e| self.heard_of(e));
                        self.to_read = heard_of.map(|key| (key, 0)).collect();
                    }
                    Err(_) if self.lists < TRIES => self.list.again(now + RETRY_AFTER),
                    Err(_) => {}
                }
            }
            Reply::Read(key, answer) if self.under_way.contains_key(key) => match answer {
                Ok(object) => match rewritten(key, &object.body, object.last_modified) {
                    Some(body) => {
                        let over = object.etag.clone();
                        self.to_write
                            .push_back(Request::Overwrite(key.clone(), body, over));
                    }
                    None => drop(self.under_way.remove(key)),
                },
                Err(e) => self.failed(key, e),
            },
            Reply::Overwritten(key, answer) if self.under_way.contains_key(key) => match answer {
                Ok(_) => drop(self.under_way.remove(key)),
                Err(e) => self.failed(key, e),
            },
            _ => {}
        }
    }

    fn heard_of(&self, entry: &Entry) -> Option<RunKey> {
        let key: RunKey = entry.key.parse().ok()?;
        let silent = self.since.saturating_since(entry.last_modified);
        (matches!(key.item, Item::Live(_)) && silent <= LEASE).then_some(key)
    }

    fn failed(&mut self, key: &RunKey, e: &StoreError) {
        let tries = self.under_way.remove(key).unwrap_or(TRIES);
        if tries < TRIES && (e.retryable() || e.is_changed()) {
            self.to_read.push_back((key.clone(), tries));
        }
    }
}

/// A heartbeat that was stored at a time, marked; nothing if it was marked before or is none.
fn rewritten(key: &RunKey, body: &[u8], stored: Timestamp) -> Option<bytes::Bytes> {
    let mut live = document::read::<Live>(key, body).ok()?;
    if live.own_at.is_some() {
        return None;
    }
    live.own_at = Some(stored);
    document::write(&live).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ClaimId, SCHEMA_MAJOR, Vantage};
    use crate::rendezvous::sample::{T0, object};
    use crate::store::{At, Listing, Location, Put};

    fn live(label: &str, own_at: Option<Timestamp>) -> Live {
        let vantage: Vantage = label.parse().unwrap();
        Live {
            schema: SCHEMA_MAJOR,
            run: "r1".parse().unwrap(),
            claim: ClaimId::new(&vantage, 0, 1),
            vantage,
            sequence: 7,
            phase: "waiting".into(),
            connected: 0,
            packets_received: 0,
            failures: 0,
            own_at,
        }
    }

    fn key(label: &str) -> RunKey {
        RunKey::new(&"r1".parse().unwrap(), Item::Live(label.parse().unwrap()))
    }

    fn listed(labels: &[(String, Duration)]) -> Reply {
        let objects = labels.iter().map(|(label, silent)| Entry {
            key: key(label).to_string(),
            size: 1,
            last_modified: T0 - *silent,
        });
        let listing = Listing {
            objects: objects.collect(),
            ..Listing::default()
        };
        Reply::Listed(Folder::Live.list(&"r1".parse().unwrap()), Ok(listing))
    }

    fn roused(labels: &[(String, Duration)]) -> Rouse {
        let mut rouse = Rouse::new("r1".parse().unwrap(), T0, T0);
        assert_eq!(rouse.act(T0).len(), 1);
        rouse.replied(T0, &listed(labels));
        rouse
    }

    #[test]
    fn a_fleet_is_rewritten_a_few_at_a_time() {
        let labels: Vec<_> = (0..200)
            .map(|n| (format!("v{n}"), Duration::ZERO))
            .collect();
        let mut rouse = roused(&labels);
        let (mut asked, mut written, mut most) = (VecDeque::from(rouse.act(T0)), 0, 0);
        while let Some(request) = asked.pop_front() {
            most = most.max(asked.len() + 1);
            let reply = match request {
                Request::Read(key) => {
                    let Item::Live(v) = &key.item else { panic!() };
                    let body = document::write(&live(v.as_str(), None)).unwrap();
                    Reply::Read(key, Ok(object(body)))
                }
                Request::Overwrite(key, body, _) => {
                    let marked = document::read::<Live>(&key, &body).unwrap();
                    assert_eq!(marked.own_at, Some(object(body).last_modified));
                    assert_eq!((marked.sequence, marked.phase.as_str()), (7, "waiting"));
                    written += 1;
                    Reply::Overwritten(key, Ok(Put { etag: None }))
                }
                other => panic!("{other:?}"),
            };
            rouse.replied(T0, &reply);
            asked.extend(rouse.act(T0));
        }
        assert_eq!((written, most, rouse.is_done()), (200, AT_ONCE, true));
    }

    #[test]
    fn a_dead_prober_s_heartbeat_stays_its_last_one() {
        let labels = [
            ("iad".to_owned(), LEASE),
            ("sjc".to_owned(), LEASE + Duration::from_secs(1)),
        ];
        let mut rouse = roused(&labels);
        assert_eq!(rouse.act(T0), [Request::Read(key("iad"))]);
        // It was marked by somebody else.
        let body = document::write(&live("iad", Some(T0))).unwrap();
        rouse.replied(T0, &Reply::Read(key("iad"), Ok(object(body))));
        assert!(rouse.act(T0).is_empty() && rouse.is_done());
    }

    #[test]
    fn a_heartbeat_that_came_between_is_read_again_and_not_for_ever() {
        let mut rouse = roused(&[("iad".to_owned(), Duration::ZERO)]);
        let location = Location {
            bucket: "b".into(),
            prefix: String::new(),
            endpoint: "memory".into(),
        };
        let mut reads = 0;
        for _ in 0..20 {
            for request in rouse.act(T0) {
                let reply = match request {
                    Request::Read(key) => {
                        reads += 1;
                        let body = document::write(&live("iad", None)).unwrap();
                        Reply::Read(key, Ok(object(body)))
                    }
                    Request::Overwrite(key, ..) => {
                        let at = At::store(&location);
                        Reply::Overwritten(key, Err(StoreError::Changed { at }))
                    }
                    other => panic!("{other:?}"),
                };
                rouse.replied(T0, &reply);
            }
        }
        assert_eq!((reads, rouse.is_done()), (TRIES, true));
    }
}
