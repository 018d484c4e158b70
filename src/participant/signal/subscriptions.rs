//! What others publish, and what of it this participant asks for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;

use crate::participant::layout::{self, Announced, Size};
use crate::participant::shared::Shared;
use crate::participant::snapshot::{TrackKind, TrackSnapshot};
use crate::participant::spec::Subscribe;

use super::request;

/// Tracks followed at once; more is no room that anyone joins.
const TRACKS_MAX: usize = 4_096;
/// The longest name that a server may give to a track or participant, in bytes; LiveKit's ids have
/// 15, identities at most 256 (`limit.max_participant_identity_length`).
pub const NAME_MAX: usize = 256;

/// Tracks by id: their participant, and the size that they are asked for in.
type Wanted = BTreeMap<Arc<str>, (Arc<str>, Size)>;

/// A participant's subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    subscribe: Subscribe,
    /// In the order of their announcement, with its time.
    announced: Vec<(Announced, Instant)>,
    wanted: Wanted,
    /// Tracks that were not followed: too many, or with a name that is none.
    refused: u64,
    /// Something of this has changed since it was laid out.
    changed: bool,
}

impl Subscriptions {
    /// None yet.
    pub const fn new(subscribe: Subscribe) -> Self {
        Self {
            subscribe,
            announced: Vec::new(),
            wanted: BTreeMap::new(),
            refused: 0,
            changed: false,
        }
    }

    /// Whether the server subscribes to everything by itself.
    pub fn are_automatic(&self) -> bool {
        self.subscribe == Subscribe::Everything
    }

    /// When a track became known.
    pub fn announced_at(&self, sid: &str) -> Option<Instant> {
        let found = self.announced.iter().find(|(track, _)| *track.sid == *sid);
        found.map(|(_, at)| *at)
    }

    /// Another participant's state, in full. Returns tracks that were muted, or no longer are.
    pub fn announce(
        &mut self,
        participant: &proto::ParticipantInfo,
        now: Instant,
    ) -> Vec<(String, bool)> {
        let gone = participant.state() == proto::participant_info::State::Disconnected;
        let tracks = if gone { &[][..] } else { &participant.tracks };
        let before = self.announced.len();
        self.announced.retain(|(known, _)| {
            *known.participant_sid != *participant.sid
                || tracks.iter().any(|track| *track.sid == *known.sid)
        });
        self.changed |= self.announced.len() < before;
        let mut mutes = Vec::new();
        for track in tracks {
            let kind = match track.r#type() {
                proto::TrackType::Audio => TrackKind::Audio,
                proto::TrackType::Video => TrackKind::Video,
                proto::TrackType::Data => continue,
            };
            let known = self
                .announced
                .iter_mut()
                .find(|(known, _)| *known.sid == *track.sid);
            let was_muted = if let Some((known, _)) = known {
                std::mem::replace(&mut known.muted, track.muted)
            } else if self.announced.len() >= TRACKS_MAX
                || [&track.sid, &participant.sid, &participant.identity]
                    .iter()
                    .any(|name| name.len() > NAME_MAX)
            {
                self.refused += 1;
                self.changed = true;
                continue;
            } else {
                let announced = Announced {
                    sid: track.sid.as_str().into(),
                    participant_sid: participant.sid.as_str().into(),
                    publisher: participant.identity.as_str().into(),
                    kind,
                    muted: track.muted,
                };
                self.announced.push((announced, now));
                self.changed = true;
                false
            };
            if was_muted != track.muted {
                self.changed = true;
                mutes.push((track.sid.clone(), track.muted));
            }
        }
        mutes
    }

    /// Lays out what is announced now. Returns the requests for what has changed, and shows the
    /// participant's holder what is wanted.
    pub fn lay_out(&mut self, shown: &Shared) -> Vec<Request> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let announced: Vec<_> = self.announced.iter().map(|(a, _)| a.clone()).collect();
        let wanted = layout::wanted(self.subscribe, &announced);
        show(&wanted, self.refused, shown);
        let next: Wanted = wanted
            .into_iter()
            .map(|(track, size)| {
                let participant = Arc::clone(&track.participant_sid);
                (Arc::clone(&track.sid), (participant, size))
            })
            .collect();
        let previous = std::mem::replace(&mut self.wanted, next);
        let mut requests = Vec::new();
        if !self.are_automatic() {
            for (subscribe, of, unless) in [
                (false, &previous, &self.wanted),
                (true, &self.wanted, &previous),
            ] {
                let mut changed = of
                    .iter()
                    .filter(|(track, _)| !unless.contains_key(*track))
                    .map(|(track, (participant, _))| (participant, track))
                    .peekable();
                if changed.peek().is_some() {
                    let subscription = request::subscription(subscribe, changed);
                    requests.push(Request::Subscription(subscription));
                }
            }
        }
        let resized = self
            .wanted
            .iter()
            .filter(|(sid, (_, size))| previous.get(*sid).is_none_or(|(_, old)| old != size))
            .map(|(sid, (_, size))| (sid, *size));
        let sizes = request::sizes(resized).into_iter();
        requests.extend(sizes.map(|(size, sids)| request::settings(sids, size)));
        requests
    }

    /// What a resumed session tells of its subscriptions: those that differ from the default.
    pub fn sync(&self) -> proto::UpdateSubscription {
        let explicit = !self.are_automatic();
        let wanted = self.wanted.iter().filter(|_| explicit);
        let tracks = wanted.map(|(track, (participant, _))| (participant, track));
        request::subscription(explicit, tracks)
    }
}

/// The media thread, which others share, may wait for `shown`: it is locked for what takes one pass.
fn show(wanted: &[(&Announced, Size)], refused: u64, shown: &Shared) {
    let live = wanted.iter().filter(|(track, _)| !track.muted).count();
    let mut by_sid: HashMap<&str, (&Announced, Size)> = wanted
        .iter()
        .map(|(track, size)| (&*track.sid, (*track, *size)))
        .collect();
    let mut inner = shown.lock();
    inner.snapshot.subscriptions_wanted = u32::try_from(live).unwrap_or(u32::MAX);
    inner.snapshot.tracks_refused = refused;
    inner.keep_tracks(|shown| {
        let Some((track, size)) = by_sid.remove(&*shown.sid) else {
            return false;
        };
        shown.wanted = size;
        shown.muted = track.muted;
        true
    });
    for (track, size) in wanted {
        if by_sid.contains_key(&*track.sid) {
            inner.add_track(TrackSnapshot {
                sid: Arc::clone(&track.sid),
                publisher: Arc::clone(&track.publisher),
                kind: track.kind,
                muted: track.muted,
                wanted: *size,
                received: None,
                packets: 0,
                bytes: 0,
                lost: 0,
                frames: 0,
                freezes: 0,
                freeze_us: 0,
                counted_at: None,
                subscribe: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Layout;

    fn participant(sid: &str, tracks: &[(&str, bool)]) -> proto::ParticipantInfo {
        let tracks = tracks.iter().map(|(track, muted)| proto::TrackInfo {
            sid: format!("TR_{sid}_{track}"),
            r#type: if *track == "v" {
                proto::TrackType::Video
            } else {
                proto::TrackType::Audio
            }
            .into(),
            muted: *muted,
            ..proto::TrackInfo::default()
        });
        proto::ParticipantInfo {
            sid: sid.to_owned(),
            identity: sid.to_owned(),
            tracks: tracks.collect(),
            ..proto::ParticipantInfo::default()
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn now() -> Instant {
        Instant::now()
    }

    /// Requests in a short form: `+TR` subscribed, `-TR` unsubscribed, `TR 1280x720` resized.
    fn short(requests: Vec<Request>) -> Vec<String> {
        let mut short: Vec<String> = requests
            .into_iter()
            .flat_map(|request| match request {
                Request::Subscription(s) => {
                    let sign = if s.subscribe { "+" } else { "-" };
                    let tracks = s.participant_tracks.into_iter().flat_map(|p| p.track_sids);
                    tracks.map(|t| format!("{sign}{t}")).collect::<Vec<_>>()
                }
                Request::TrackSetting(s) => s
                    .track_sids
                    .iter()
                    .map(|t| format!("{t} {}x{}", s.width, s.height))
                    .collect(),
                other => panic!("{other:?}"),
            })
            .collect();
        short.sort();
        short
    }

    #[test]
    fn only_what_has_changed_is_asked_for() {
        let mut subscriptions = Subscriptions::new(Subscribe::Layout(Layout::Speaker));
        let shown = Shared::default();
        let a = participant("a", &[("v", false), ("s", false)]);
        let b = participant("b", &[("v", false)]);
        assert!(subscriptions.announce(&a, now()).is_empty());
        let asked = short(subscriptions.lay_out(&shown));
        assert_eq!(asked, ["+TR_a_s", "+TR_a_v", "TR_a_v 1280x720"]);
        subscriptions.announce(&b, now());
        let asked = short(subscriptions.lay_out(&shown));
        assert_eq!(asked, ["+TR_b_v", "TR_b_v 356x200"]);
        assert_eq!(shown.snapshot().subscriptions_wanted, 3);
        assert!(subscriptions.lay_out(&shown).is_empty());
        // The speaker leaves, the next takes its place.
        subscriptions.announce(&participant("a", &[]), now());
        let asked = short(subscriptions.lay_out(&shown));
        assert_eq!(asked, ["-TR_a_s", "-TR_a_v", "TR_b_v 1280x720"]);
        assert_eq!(shown.tracks().len(), 1);
    }

    #[test]
    fn a_muted_track_is_asked_for_and_not_expected() {
        let mut subscriptions = Subscriptions::new(Subscribe::Everything);
        let shown = Shared::default();
        let muted = participant("a", &[("s", true)]);
        let mute = ("TR_a_s".to_owned(), true);
        assert_eq!(subscriptions.announce(&muted, now()), [mute]);
        assert!(subscriptions.announce(&muted, now()).is_empty());
        assert!(subscriptions.lay_out(&shown).is_empty());
        assert_eq!(
            (shown.snapshot().subscriptions_wanted, shown.tracks().len()),
            (0, 1)
        );
    }

    #[test]
    fn tracks_are_shown_in_order_and_counted_where_they_are() {
        let mut subscriptions = Subscriptions::new(Subscribe::Everything);
        let shown = Shared::default();
        let sids = || -> Vec<_> {
            let tracks = shown.tracks().into_iter();
            tracks.map(|track| track.sid.to_string()).collect()
        };
        for name in ["c", "a", "b"] {
            subscriptions.announce(&participant(name, &[("s", false)]), now());
        }
        subscriptions.lay_out(&shown);
        assert_eq!(sids(), ["TR_c_s", "TR_a_s", "TR_b_s"]);
        // The first one leaves, another comes.
        subscriptions.announce(&participant("c", &[]), now());
        subscriptions.announce(&participant("0", &[("s", false)]), now());
        subscriptions.lay_out(&shown);
        assert_eq!(sids(), ["TR_a_s", "TR_b_s", "TR_0_s"]);
        for sid in sids() {
            assert_eq!(*shown.lock().track(&sid).unwrap().sid, *sid);
        }
        assert!(shown.lock().track("TR_c_s").is_none());
    }

    #[test]
    fn nothing_is_laid_out_where_nothing_has_changed() {
        let mut subscriptions = Subscriptions::new(Subscribe::Everything);
        let shown = Shared::default();
        let a = participant("a", &[("s", false)]);
        subscriptions.announce(&a, now());
        subscriptions.lay_out(&shown);
        shown.lock().snapshot.subscriptions_wanted = 77;
        subscriptions.announce(&a, now());
        subscriptions.lay_out(&shown);
        assert_eq!(shown.snapshot().subscriptions_wanted, 77);
        for (muted, wanted) in [(true, 0), (false, 1)] {
            subscriptions.announce(&participant("a", &[("s", muted)]), now());
            subscriptions.lay_out(&shown);
            assert_eq!(shown.snapshot().subscriptions_wanted, wanted);
        }
    }
}
