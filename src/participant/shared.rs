//! What a participant's signalling task and media thread tell its holder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::failure::Failure;
use super::receive::TrackCount;
use super::snapshot::{ClockSample, Event, LatencySample, Samples, Snapshot, State, TrackSnapshot};

/// Events kept for a holder that doesn't drain them.
const EVENTS: usize = 1_024;
/// Samples of each kind kept for a holder that doesn't drain them.
const SAMPLES: usize = 4_096;

/// What a round trip was measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RttSource {
    /// ICE's consent checks.
    Ice,
    /// RTCP's receiver reports.
    Rtcp,
}

/// Written by the task and the thread, read by the holder.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    closed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub snapshot: Snapshot,
    tracks: Vec<TrackSnapshot>,
    /// Where each one is, by its id.
    places: BTreeMap<Arc<str>, usize>,
    events: Vec<Event>,
    samples: Samples,
}

impl Inner {
    pub fn event(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push(event);
        } else {
            self.snapshot.events_dropped += 1;
        }
    }

    pub fn rtt(&mut self, source: RttSource, us: u32) {
        self.snapshot.rtt_us = Some(us);
        let samples = match source {
            RttSource::Ice => &mut self.samples.rtt_us,
            RttSource::Rtcp => &mut self.samples.rtcp_rtt_us,
        };
        keep(samples, us, &mut self.snapshot.samples_dropped);
    }

    pub fn clock(&mut self, sample: ClockSample) {
        keep(
            &mut self.samples.clock,
            sample,
            &mut self.snapshot.samples_dropped,
        );
    }

    /// Takes what came of a track.
    pub fn latency(&mut self, sid: &Arc<str>, samples: &mut Vec<LatencySample>) {
        let kept: usize = self.samples.latency.values().map(Vec::len).sum();
        let fitting = samples.len().min(SAMPLES.saturating_sub(kept));
        let dropped = u64::try_from(samples.len() - fitting).unwrap_or(u64::MAX);
        self.snapshot.samples_dropped += dropped;
        samples.truncate(fitting);
        match self.samples.latency.get_mut(sid) {
            Some(of_track) => of_track.append(samples),
            None if samples.is_empty() => {}
            None => {
                let first = std::mem::take(samples);
                self.samples.latency.insert(Arc::clone(sid), first);
            }
        }
    }
}

impl Inner {
    /// A track that was asked for.
    pub fn track(&mut self, sid: &str) -> Option<&mut TrackSnapshot> {
        let place = self.places.get(sid)?;
        self.tracks.get_mut(*place)
    }

    /// Keeps the tracks that `keep` keeps, in their order.
    pub fn keep_tracks(&mut self, keep: impl FnMut(&mut TrackSnapshot) -> bool) {
        let before = self.tracks.len();
        self.tracks.retain_mut(keep);
        if self.tracks.len() < before {
            let tracks = self.tracks.iter().enumerate();
            self.places = tracks
                .map(|(place, track)| (Arc::clone(&track.sid), place))
                .collect();
        }
    }

    /// Adds a track that isn't among them, as the last one.
    pub fn add_track(&mut self, track: TrackSnapshot) {
        let place = self.tracks.len();
        self.places.insert(Arc::clone(&track.sid), place);
        self.tracks.push(track);
    }

    /// Updates the tracks that were asked for by what came of them.
    pub fn count_tracks<'a>(&mut self, counts: impl Iterator<Item = &'a TrackCount>, now: Instant) {
        for count in counts {
            if let Some(track) = self.track(&count.sid) {
                track.packets = count.packets;
                track.bytes = count.bytes;
                track.lost = count.lost;
                track.frames = count.frames;
                track.freezes = count.freezes.count;
                track.freeze_us = u64::try_from(count.freezes.time.as_micros()).unwrap_or(u64::MAX);
                track.counted_at = Some(now);
                track.received = count.size;
            }
        }
        let receiving = self.tracks.iter().filter(|t| t.packets > 0).count();
        self.snapshot.subscriptions_receiving = u32::try_from(receiving).unwrap_or(u32::MAX);
    }
}

fn keep<T>(samples: &mut Vec<T>, sample: T, dropped: &mut u64) {
    if samples.len() < SAMPLES {
        samples.push(sample);
    } else {
        *dropped += 1;
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters are plain numbers: a panic elsewhere leaves them readable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    pub fn tracks(&self) -> Vec<TrackSnapshot> {
        self.lock().tracks.clone()
    }

    pub fn drain_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    pub fn drain_samples(&self) -> Samples {
        std::mem::take(&mut self.lock().samples)
    }

    /// Ends the participant's life by a failure, unless it has ended already.
    pub fn fail(&self, failure: Failure) {
        self.end(State::Failed(failure.clone()), Event::Failed(failure));
    }

    /// Ends the participant's life in order, unless it has ended already.
    pub fn left(&self) {
        self.end(State::Left, Event::Left);
    }

    fn end(&self, state: State, event: Event) {
        let mut inner = self.lock();
        if !matches!(inner.snapshot.state, State::Failed(_) | State::Left) {
            inner.snapshot.state = state;
            inner.event(event);
        }
    }

    /// Everything is closed.
    pub fn close(&self) {
        self.closed.notify_one();
    }

    /// Returns when everything is closed.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }
}
