//! What came from whom, second by second, from each subscriber's tracks: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::identity::publisher;
use super::tally::{Id, Seen};
use crate::job::RunId;
use crate::measure::SignedHistogram;
use crate::participant::TrackSnapshot;
use crate::participant::snapshot::{LatencySample, TrackKind};
use crate::report::flow::{Flow, Publisher};

/// Identities that flows are told apart by; what comes of more is one together, others'.
const FLOWS_MAX: usize = 16_384;
/// Sizes of video told apart; LiveKit has three layers a track.
const LAYERS_MAX: usize = 64;
/// What comes of too many publishers or sizes.
const OTHER: &str = "other";

/// The flows of a tier in the making. A server that makes up tracks, people and sizes does not
/// make it grow.
#[derive(Debug, Default)]
pub struct Flows {
    /// Each participant's tracks as they were a second ago.
    tracks: BTreeMap<Id, BTreeMap<Arc<str>, TrackSnapshot>>,
    /// Who publishes a track, by the latest look and by the one before.
    publishers: [BTreeMap<Arc<str>, Arc<str>>; 2],
    /// By the publisher's identity.
    flows: BTreeMap<Arc<str>, Flow>,
    layers: BTreeMap<String, u64>,
}

impl Flows {
    /// What a subscriber's tracks brought since the last second.
    pub fn second(&mut self, s: &Seen) {
        let before = self.tracks.get(&s.id);
        for track in &s.tracks {
            let before = before.and_then(|tracks| tracks.get(&track.sid));
            let since = |count: fn(&TrackSnapshot) -> u64| {
                count(track).saturating_sub(before.map_or(0, count))
            };
            let flow = flow(&mut self.flows, &track.publisher);
            flow.lost += since(|t| t.lost);
            flow.freezes += since(|t| t.freezes);
            flow.freeze_us += since(|t| t.freeze_us);
            if track.muted {
                continue;
            }
            flow.subscriptions_wanted += 1;
            let came = s.snapshot.state.is_connected() && since(|t| t.packets) > 0;
            flow.subscriptions_receiving += u64::from(came);
            if track.kind == TrackKind::Video {
                flow.video_wanted += 1;
                if let Some(rate) = frame_rate_milli(track, before) {
                    flow.frame_rate_milli.record(if came { rate } else { 0 });
                }
                if came {
                    let layer = layer(track);
                    let is_told =
                        self.layers.len() < LAYERS_MAX || self.layers.contains_key(&layer);
                    let layer = if is_told { layer } else { OTHER.to_owned() };
                    *self.layers.entry(layer).or_default() += 1;
                }
            }
        }
    }

    /// Keeps what the next second is compared with.
    pub fn remember(&mut self, seen: &[Seen]) {
        let [latest, before] = &mut self.publishers;
        *before = std::mem::take(latest);
        for track in seen.iter().flat_map(|s| &s.tracks) {
            latest
                .entry(Arc::clone(&track.sid))
                .or_insert_with(|| Arc::clone(&track.publisher));
        }
        let by_sid = |t: &TrackSnapshot| (Arc::clone(&t.sid), t.clone());
        self.tracks = seen
            .iter()
            .map(|s| (s.id, s.tracks.iter().map(by_sid).collect()))
            .collect();
    }

    /// Ways of frames. Between which clocks that of an unknown track was can't be told.
    pub fn latency(&mut self, samples: &BTreeMap<Arc<str>, Vec<LatencySample>>) {
        for (sid, samples) in samples {
            if let Some(publisher) = self.publishers.iter().find_map(|known| known.get(sid)) {
                let flow = flow(&mut self.flows, publisher);
                for sample in samples {
                    flow.latency_us.record(sample.us);
                }
            }
        }
    }

    /// The flows by who published them.
    pub fn of(&self, run: &RunId) -> BTreeMap<Publisher, Flow> {
        let mut flows: BTreeMap<Publisher, Flow> = BTreeMap::new();
        for (identity, flow) in &self.flows {
            let from = publisher(run, identity);
            flows.entry(from).or_default().merge(flow);
        }
        // Others' stamps are on a clock of theirs.
        if let Some(others) = flows.get_mut(&Publisher::Other) {
            others.latency_us = SignedHistogram::default();
        }
        flows
    }

    /// Seconds of video subscriptions with packets, by the layer that they got.
    pub fn layers(&self) -> &BTreeMap<String, u64> {
        &self.layers
    }
}

/// The flow of who publishes.
fn flow<'a>(flows: &'a mut BTreeMap<Arc<str>, Flow>, publisher: &Arc<str>) -> &'a mut Flow {
    let is_told = flows.len() < FLOWS_MAX || flows.contains_key(publisher);
    let publisher = if is_told {
        Arc::clone(publisher)
    } else {
        OTHER.into()
    };
    flows.entry(publisher).or_default()
}

/// W3C `framesPerSecond` in thousandths: frames over the time between the two counts, which are
/// some milliseconds old. `None` for a track whose frames have only begun to be counted.
fn frame_rate_milli(track: &TrackSnapshot, before: Option<&TrackSnapshot>) -> Option<u64> {
    let Some(now) = track.counted_at else {
        // Nothing of it came yet.
        return Some(0);
    };
    let before = before?;
    let time = now.saturating_duration_since(before.counted_at?);
    let frames = track.frames.saturating_sub(before.frames);
    let rate = u128::from(frames) * 1_000_000_000 / time.as_micros().max(1);
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// The layer that a subscription gets, by its size.
fn layer(track: &TrackSnapshot) -> String {
    match track.received {
        Some((width, height)) => format!("{width}x{height}"),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::job::{Timestamp, Vantage};
    use crate::participant::{Snapshot, State};
    use crate::prober::identity::Role;

    fn run() -> RunId {
        "r".parse().unwrap()
    }

    fn from(label: &str) -> Publisher {
        Publisher::Vantage(label.parse::<Vantage>().unwrap())
    }

    fn seen(tracks: Vec<TrackSnapshot>) -> Seen {
        Seen {
            id: (Role::Subscriber, 0),
            new: true,
            snapshot: Snapshot {
                state: State::Connected,
                ..Snapshot::default()
            },
            tracks,
        }
    }

    fn track(sid: &str, publisher: &str, packets: u64) -> TrackSnapshot {
        TrackSnapshot {
            sid: sid.into(),
            publisher: publisher.into(),
            kind: TrackKind::Audio,
            muted: false,
            wanted: None,
            received: None,
            packets,
            bytes: 0,
            lost: 0,
            frames: 0,
            freezes: 0,
            freeze_us: 0,
            counted_at: None,
            subscribe: None,
        }
    }

    /// The flows of a subscriber that is looked at in these states, a second apart.
    fn flows(states: Vec<Vec<TrackSnapshot>>) -> Flows {
        let mut flows = Flows::default();
        for (i, tracks) in states.into_iter().enumerate() {
            let s = seen(tracks);
            if i > 0 {
                flows.second(&s);
            }
            flows.remember(&[s]);
        }
        flows
    }

    #[test]
    fn what_came_is_told_apart_by_who_published_it() {
        let state = |n: u64| {
            let mut lossy = track("TR_1", "r.iad.p0", n * 50);
            lossy.lost = n;
            let mut muted = track("TR_4", "alice", 0);
            muted.muted = true;
            let second = track("TR_2", "r.iad.p1", n * 50);
            vec![lossy, second, track("TR_3", "r.lhr.p0", 7), muted]
        };
        let flows = flows(vec![state(1), state(2), state(4)]).of(&run());
        let told = |from: Publisher| {
            let flow = &flows[&from];
            let (wanted, receiving) = (flow.subscriptions_wanted, flow.subscriptions_receiving);
            (wanted, receiving, flow.lost)
        };
        assert_eq!(told(from("iad")), (4, 4, 3));
        assert_eq!(told(from("lhr")), (2, 0, 0));
        assert_eq!(told(Publisher::Other), (0, 0, 0));
    }

    #[test]
    fn made_up_tracks_people_and_sizes_are_told_together() {
        let mut flows = Flows::default();
        let rounds = 40;
        for round in 0..rounds {
            let track = |n: u32| {
                let name = |what: &str| format!("{what}{round}_{n}");
                let mut track = track(&name("TR_"), &name("P_"), 1);
                track.kind = TrackKind::Video;
                track.received = Some((round, n));
                track
            };
            let s = seen((0..1_000).map(track).collect());
            flows.second(&s);
            flows.remember(&[s]);
        }
        assert_eq!(flows.flows.len(), FLOWS_MAX + 1);
        assert_eq!(flows.layers.len(), LAYERS_MAX + 1);
        assert_eq!(flows.layers[OTHER], 40_000 - 64);
        assert!(flows.publishers.iter().all(|known| known.len() == 1_000));
        let told = &flows.of(&run())[&Publisher::Other];
        assert_eq!(told.subscriptions_wanted, 40_000, "nothing is lost");
    }

    #[test]
    fn a_video_tells_its_rate_its_layer_and_its_freezes() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let start = Instant::now();
        let state = |ms: u64, frames, freezes, size| {
            let mut track = track("TR_1", "r.iad.p0", ms);
            track.kind = TrackKind::Video;
            track.counted_at = Some(start + Duration::from_millis(ms));
            (track.frames, track.freezes, track.received) = (frames, freezes, size);
            track.freeze_us = freezes * 200_000;
            vec![track]
        };
        let high = Some((1_280, 720));
        let flows = flows(vec![
            state(0, 100, 1, None),
            // Counted 100 ms early: the rate is 30 all the same.
            state(900, 127, 1, None),
            state(2_000, 160, 2, high),
            state(2_000, 160, 3, high),
        ]);
        let layers = [("unknown".to_owned(), 1), ("1280x720".to_owned(), 1)];
        assert_eq!(flows.layers(), &layers.into());
        let flow = &flows.of(&run())[&from("iad")];
        assert_eq!(
            (flow.video_wanted, flow.freezes, flow.freeze_us),
            (3, 2, 400_000)
        );
        let rates: Vec<u64> = flow.frame_rate_milli.values().map(|(v, _)| v).collect();
        assert!(
            matches!(rates[..], [0, steady] if steady.abs_diff(30_000) < 300),
            "{rates:?}"
        );
    }

    #[test]
    fn latency_is_between_the_run_s_own_vantages() {
        let mut flows = flows(vec![vec![
            track("TR_1", "r.lhr.p0", 0),
            track("TR_2", "alice", 0),
        ]]);
        let sample = |us| LatencySample {
            source: 7,
            us,
            at: Timestamp::from_micros(0),
        };
        flows.latency(&BTreeMap::from([
            ("TR_1".into(), vec![sample(45_000), sample(-300)]),
            ("TR_2".into(), vec![sample(9)]),
            ("TR_0".into(), vec![sample(9)]),
        ]));
        let flows = flows.of(&run());
        assert_eq!(flows[&from("lhr")].latency_us.count(), 2);
        assert!(flows[&Publisher::Other].latency_us.is_empty());
        assert_eq!(flows.len(), 2);
    }
}
