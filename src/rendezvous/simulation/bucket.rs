//! The simulated bucket: a request is under way, befallen by what is drawn, answered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::dice::Dice;
use crate::job::Timestamp;
use crate::store::{
    At, ByteLimit, Entry, Key, List, Listing, Location, Object, Op, Put, StoreError,
};

/// One call of the store.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Create(Key, Bytes),
    Put(Key, Bytes),
    /// Over the object with this entity tag.
    Replace(Key, Bytes, String),
    Get(Key, ByteLimit),
    List(List),
}

impl Call {
    pub(super) fn op(&self) -> Op {
        match self {
            Call::Create(..) => Op::Create,
            Call::Put(..) => Op::Put,
            Call::Replace(..) => Op::Replace,
            Call::Get(..) => Op::Get,
            Call::List(..) => Op::List,
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Call::Create(key, _)
            | Call::Put(key, _)
            | Call::Replace(key, ..)
            | Call::Get(key, _) => key.as_str(),
            Call::List(list) => &list.prefix,
        }
    }
}

/// Its result.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Put(Result<Put, StoreError>),
    Got(Result<Object, StoreError>),
    Listed(Result<Listing, StoreError>),
}

/// How often what goes wrong, in thousandths of the calls that it can befall.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) lost_request: u64,
    pub(super) lost_response: u64,
    /// 403
    pub(super) denied: u64,
    /// 500 and 503
    pub(super) busy: u64,
    /// 409
    pub(super) conflict: u64,
    /// 412, though there is no such key
    pub(super) exists: u64,
    /// A listing as it was some seconds ago.
    pub(super) stale: u64,
    /// Each way takes up to this.
    pub(super) longest_delay_ms: u64,
}

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    LostRequest,
    LostResponse,
    Denied,
    Busy,
    Conflict,
    Exists,
    Stale,
}

/// What will become of a call, drawn when it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) fault: Option<Fault>,
}

/// How long a client waits for an answer that doesn't come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old a stale listing is.
const STALE: Duration = Duration::from_secs(6);

impl Weather {
    /// Draws what becomes of a call.
    pub(super) fn way(&self, dice: &mut Dice, op: Op) -> Way {
        let mut drawn = dice.roll(1_000);
        let mut befalls = |rate: u64, applies: bool| {
            let hit = applies && drawn < rate;
            drawn = if applies {
                drawn.saturating_sub(rate)
            } else {
                drawn
            };
            // What was hit is not hit again.
            drawn = if hit { 1_000 } else { drawn };
            hit
        };
        let fault = if befalls(self.lost_request, true) {
            Some(Fault::LostRequest)
        } else if befalls(self.lost_response, true) {
            Some(Fault::LostResponse)
        } else if befalls(self.denied, true) {
            Some(Fault::Denied)
        } else if befalls(self.busy, true) {
            Some(Fault::Busy)
        } else if befalls(self.conflict, matches!(op, Op::Create | Op::Replace)) {
            Some(Fault::Conflict)
        } else if befalls(self.exists, op == Op::Create) {
            Some(Fault::Exists)
        } else if befalls(self.stale, op == Op::List) {
            Some(Fault::Stale)
        } else {
            None
        };
        let delay =
            |dice: &mut Dice| Duration::from_micros(1 + dice.roll(self.longest_delay_ms * 1_000));
        Way::befallen(delay(dice), delay(dice), fault)
    }
}

impl Way {
    pub(super) fn befallen(before: Duration, after: Duration, fault: Option<Fault>) -> Self {
        let lost = matches!(fault, Some(Fault::LostRequest | Fault::LostResponse));
        Way {
            before,
            after: if lost { PATIENCE } else { after },
            fault,
        }
    }

    /// Whether the answer comes, with its `Date`.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.fault, Some(Fault::LostRequest | Fault::LostResponse))
    }
}

/// An object.
#[derive(Clone, Debug)]
struct Stored {
    body: Bytes,
    /// As it says, so that what is too large need not be.
    size: u64,
    created: Timestamp,
    written: Timestamp,
    /// Of all writes, which one it is: its entity tag.
    nth: u64,
}

#[derive(Clone)]
pub(super) struct SimBucket {
    at: Rc<At>,
    objects: BTreeMap<String, Stored>,
    /// What was written once and is no more what it was.
    pub(super) rewritten: BTreeSet<String>,
    writes: u64,
}

impl SimBucket {
    pub(super) fn new() -> Self {
        let location = Location {
            bucket: "sim".into(),
            prefix: String::new(),
            endpoint: "memory".into(),
        };
        SimBucket {
            at: Rc::new(At::store(&location)),
            objects: BTreeMap::new(),
            rewritten: BTreeSet::new(),
            writes: 0,
        }
    }

    /// Carries a call out, as far as its way lets it. The bucket's clock is true time.
    pub(super) fn arrive(&mut self, now: Timestamp, call: Call, way: Way) -> Answer {
        let error = match way.fault {
            None | Some(Fault::LostResponse | Fault::Stale) => None,
            Some(fault) => Some(self.error(fault, call.op())),
        };
        if let Some(e) = error {
            return Answer::error(call.op(), e);
        }
        let stale = way.fault == Some(Fault::Stale);
        let op = call.op();
        let answer = self.answer(now, call, stale);
        if way.fault == Some(Fault::LostResponse) {
            return Answer::error(op, self.error(Fault::LostResponse, op));
        }
        answer
    }

    /// What a ticket without a URL for this answers.
    pub(super) fn no_ticket(&self, op: Op) -> Answer {
        let (at, why) = (At::clone(&self.at), "it has no URL for this".into());
        Answer::error(op, StoreError::NoTicketFor { at, why })
    }

    fn error(&self, fault: Fault, op: Op) -> StoreError {
        let (at, why) = (At::clone(&self.at), String::from("drawn"));
        match fault {
            Fault::Denied => StoreError::Denied { at, op, why },
            Fault::Conflict => StoreError::Conflict { at },
            Fault::Exists => StoreError::Exists { at },
            Fault::Busy => StoreError::Busy { at, why },
            Fault::LostRequest | Fault::LostResponse | Fault::Stale => {
                StoreError::Unreachable { at, why }
            }
        }
    }

    pub(super) fn answer(&mut self, now: Timestamp, call: Call, stale: bool) -> Answer {
        let at = || At::clone(&self.at);
        match call {
            Call::Create(key, _) if self.objects.contains_key(key.as_str()) => {
                Answer::Put(Err(StoreError::Exists { at: at() }))
            }
            Call::Create(key, body) | Call::Put(key, body) => {
                self.write(now, &key, body);
                self.written()
            }
            Call::Replace(key, body, over) => match self.objects.get(key.as_str()) {
                Some(there) if there.etag() == over => {
                    self.write(now, &key, body);
                    self.written()
                }
                _ => Answer::Put(Err(StoreError::Changed { at: at() })),
            },
            Call::Get(key, limit) => Answer::Got(match self.objects.get(key.as_str()) {
                None => Err(StoreError::Absent { at: at() }),
                Some(stored) if stored.size > limit.0 => Err(StoreError::TooLarge {
                    at: at(),
                    size: stored.size,
                    limit,
                }),
                Some(stored) => Ok(stored.object()),
            }),
            Call::List(list) => {
                let as_of = if stale { now - STALE } else { now };
                Answer::Listed(Ok(self.list(&list, as_of)))
            }
        }
    }

    /// The answer to the last write.
    pub(super) fn written(&self) -> Answer {
        let etag = Some(self.writes.to_string());
        Answer::Put(Ok(Put { etag }))
    }

    /// Writes, whether something is there or not.
    pub(super) fn write(&mut self, now: Timestamp, key: &Key, body: Bytes) {
        self.write_sized(now, key, body, None);
    }

    /// Writes what says it has another size.
    pub(super) fn write_sized(
        &mut self,
        now: Timestamp,
        key: &Key,
        body: Bytes,
        size: Option<u64>,
    ) {
        let created = match self.objects.get(key.as_str()) {
            Some(old) => {
                if old.body != body {
                    self.rewritten.insert(key.as_str().to_owned());
                }
                old.created
            }
            None => now,
        };
        self.writes += 1;
        let stored = Stored {
            nth: self.writes,
            size: size.unwrap_or(body.len() as u64),
            body,
            created,
            written: now,
        };
        self.objects.insert(key.as_str().to_owned(), stored);
    }

    /// What a listing shows of what there was at a time.
    pub(super) fn list(&self, list: &List, as_of: Timestamp) -> Listing {
        let prefix = list.prefix.as_str();
        let mut listing = Listing::default();
        for (key, stored) in self.objects.range(prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            if stored.created > as_of {
                continue;
            }
            if let Some((name, _)) = rest.split_once('/').filter(|_| list.folders) {
                let folder = format!("{prefix}{name}/");
                if listing.prefixes.last() != Some(&folder) {
                    listing.prefixes.push(folder);
                }
                continue;
            }
            let written = if stored.written > as_of {
                stored.created
            } else {
                stored.written
            };
            listing.objects.push(Entry {
                key: key.clone(),
                size: stored.size,
                last_modified: floor(written, 1_000),
            });
        }
        listing
    }

    /// Looks at an object without anybody noticing.
    pub(super) fn peek(&self, key: &Key) -> Option<Object> {
        self.objects.get(key.as_str()).map(Stored::object)
    }

    /// Every key with its body, without anybody noticing.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.objects.iter().map(|(k, s)| (k.as_str(), &s.body))
    }

    /// Takes away what isn't to stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.objects.retain(|key, _| stays(key));
    }

    /// When the last part was written.
    pub(super) fn last_part(&self) -> Option<Timestamp> {
        let parts = self
            .objects
            .iter()
            .filter(|(key, _)| key.contains("/tiers/") || key.contains("/reports/"));
        parts.map(|(_, stored)| stored.written).max()
    }
}

impl Stored {
    fn etag(&self) -> String {
        self.nth.to_string()
    }

    fn object(&self) -> Object {
        Object {
            body: self.body.clone(),
            etag: Some(self.etag()),
            last_modified: floor(self.written, 1_000_000),
        }
    }
}

impl Answer {
    fn error(op: Op, e: StoreError) -> Self {
        match op {
            Op::Create | Op::Put | Op::Replace | Op::Delete => Answer::Put(Err(e)),
            Op::Get => Answer::Got(Err(e)),
            Op::List => Answer::Listed(Err(e)),
        }
    }
}

/// `t` rounded down to a multiple of `grain_us` microseconds, as stores do.
fn floor(t: Timestamp, grain_us: i64) -> Timestamp {
    Timestamp::from_micros(t.as_micros() - t.as_micros().rem_euclid(grain_us))
}
