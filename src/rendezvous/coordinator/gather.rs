//! What the bucket says of slots and probers before the start.

use super::{Action, Coordinator};
use crate::job::{ClaimId, Timestamp, Vantage};
use crate::participant::Transport;
use crate::rendezvous::exchange::Request;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Abort, Ready, Slot};
use crate::rendezvous::progress::Progress;
use crate::rendezvous::{RendezvousError, document};
use crate::store::Listing;

impl Coordinator {
    pub(super) fn listed(&mut self, listing: &Listing) {
        for entry in &listing.objects {
            let Ok(key) = entry.key.parse::<RunKey>() else {
                continue;
            };
            match &key.item {
                Item::Slot(vantage, k) => {
                    let slot = (vantage.clone(), *k);
                    if !self.slots.contains(&slot) {
                        self.read(key);
                    }
                    self.gathered.claims.insert(slot, entry.last_modified);
                }
                Item::Ready(claim)
                    if !self.gathered.ready.contains_key(claim)
                        && !self.gathered.unreadable.contains_key(claim) =>
                {
                    self.read(key);
                }
                Item::Live(vantage) => {
                    let at = entry.last_modified;
                    self.gathered.live.insert(vantage.clone(), at);
                }
                Item::Abort if self.abort.is_none() => {
                    self.abort_listed = true;
                    self.read(key);
                }
                _ => {}
            }
        }
    }

    pub(super) fn read(&mut self, key: RunKey) {
        if self.reads.insert(key.clone()) {
            self.ask(Request::Read(key));
        }
    }

    pub(super) fn learned(&mut self, key: RunKey, body: &[u8], stored: Timestamp) {
        match &key.item {
            Item::Slot(vantage, k) => {
                self.slots.insert((vantage.clone(), *k));
                if let Ok(slot) = document::read::<Slot>(&key, body) {
                    if !self.admits_key(&slot) {
                        return;
                    }
                    self.out.push_back(Action::Tell(Progress::Claimed {
                        vantage: slot.vantage,
                        claim: slot.claim,
                    }));
                }
            }
            Item::Ready(claim) => {
                let ready = match document::read::<Ready>(&key, body) {
                    Ok(ready) => ready,
                    Err(e) => return self.unreadable(claim, &e),
                };
                let vantage = ready.vantage.clone();
                if let Some(start) = ready.function {
                    let vantage = vantage.clone();
                    let told = Progress::FunctionStarted { vantage, start };
                    self.out.push_back(Action::Tell(told));
                }
                let progress = match ready.unfit.clone() {
                    Some(reason) => Progress::Unfit { vantage, reason },
                    None => self.ready_count(vantage, ready.transport),
                };
                self.gathered.ready.insert(claim.clone(), (ready, stored));
                self.out.push_back(Action::Tell(progress));
            }
            Item::Abort => {
                let abort = document::read::<Abort>(&key, body);
                self.abort = Some(abort.map_or_else(|e| e.to_string(), |abort| abort.reason));
            }
            _ => {}
        }
    }

    /// What a prober of another build found out can't be read: it takes no part.
    fn unreadable(&mut self, claim: &ClaimId, e: &RendezvousError) {
        if e.is_skew() {
            let (vantage, reason) = (claim.vantage(), e.to_string());
            self.gathered
                .unreadable
                .insert(claim.clone(), reason.clone());
            self.out
                .push_back(Action::Tell(Progress::Unfit { vantage, reason }));
        }
    }

    /// Takes the key of a claim, which must be the ticket's where there is one.
    fn admits_key(&mut self, slot: &Slot) -> bool {
        let ticket = self.job.ticket_keys.get(&slot.vantage);
        let admitted = ticket.is_none_or(|key| *key == slot.public_key);
        if admitted || planted!(TicketNotNeeded) {
            let claim = slot.claim.clone();
            self.gathered.keys.insert(claim, slot.public_key);
        } else {
            let what = format!("claim {} was made without its slot's ticket", slot.claim);
            self.out.push_back(Action::Tell(Progress::Trouble { what }));
        }
        admitted
    }

    fn ready_count(&mut self, vantage: Vantage, transport: Option<Transport>) -> Progress {
        let fleet = &self.job.fleet;
        if fleet.admits(&vantage) {
            self.waiting.insert(vantage.clone());
        }
        let expected = fleet.size();
        let ready = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        Progress::Ready {
            vantage,
            transport,
            ready: ready.min(expected),
            expected,
        }
    }
}
