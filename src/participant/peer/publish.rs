//! The publisher connection's negotiation: from tracks to an offer, from the answer to streams.

use std::collections::HashMap;
use std::time::Instant;

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};

use crate::job::VideoCodec;
use crate::participant::failure::Cause;
use crate::participant::media::{
    AudioOptions, AudioTrack, ClipError, LAYERS, Quality, VideoOptions, VideoTrack, audio_clip,
    video_clips,
};
use crate::participant::moment::Moment;
use crate::participant::rtp::codec::Codec;
use crate::participant::sdp::{self, Description, Section};
use crate::participant::send::{ExtensionIds, Source, StreamPlan};
use crate::participant::snapshot::TrackKind;

use super::{Peer, PeerEvent};

/// A track to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishTrack {
    /// The id that `AddTrack` named, and the msid's track id.
    pub cid: String,
    /// What it carries.
    pub kind: TrackKind,
    /// Whether video has its lower layers as well.
    pub simulcast: bool,
    /// How video is encoded.
    pub codec: VideoCodec,
    /// Whether audio is sent like a silent microphone's.
    pub discontinuous: bool,
}

impl Peer {
    pub(super) fn publish(&mut self, tracks: Vec<PublishTrack>) {
        let mut api = self.rtc.sdp_api();
        let mids = tracks
            .into_iter()
            .map(|track| {
                let kind = match track.kind {
                    TrackKind::Audio => MediaKind::Audio,
                    TrackKind::Video => MediaKind::Video,
                };
                let simulcast = (track.kind == TrackKind::Video && track.simulcast).then(|| {
                    let mut simulcast = Simulcast::new();
                    for layer in LAYERS {
                        simulcast.add_send_layer(SimulcastLayer::new(layer.rid));
                    }
                    simulcast
                });
                let stream = Some("muster".to_owned());
                let cid = Some(track.cid.clone());
                let mid = api.add_media(kind, Direction::SendOnly, stream, cid, simulcast);
                (mid, track)
            })
            .collect();
        if let Some((offer, pending)) = api.apply() {
            self.publishing = Some((pending, mids));
            self.events
                .push_back(PeerEvent::Offer(offer.to_sdp_string()));
        }
    }

    pub(super) fn answer(&mut self, sdp: &str, now: Moment) {
        let Some((pending, mids)) = self.publishing.take() else {
            return;
        };
        let accepted = sdp::narrow_answer(sdp)
            .and_then(|answer| SdpAnswer::from_sdp_string(&answer).map_err(|e| e.to_string()))
            .and_then(|answer| {
                let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
                accepted.map_err(|e| e.to_string())
            });
        if let Err(e) = accepted {
            self.fail(Cause::Protocol, format!("the server's answer: {e}"));
            return;
        }
        let description = Description::parse(sdp, &HashMap::new());
        for (mid, track) in mids {
            let plans = description
                .sections
                .get(&*mid)
                .and_then(|section| self.plan(mid, &track, &description, section));
            match plans {
                Some(plans) => self.planned.push((track, plans)),
                None => self.fail(
                    Cause::PublishRefused,
                    format!("the server's answer takes no codec of {}", track.cid),
                ),
            }
        }
        if self.connected {
            self.start_tracks(now);
        }
    }

    /// What SDP settled for each layer of a track.
    fn plan(
        &mut self,
        mid: Mid,
        track: &PublishTrack,
        description: &Description,
        section: &Section,
    ) -> Option<Vec<StreamPlan>> {
        let (codec, clock_rate) = match track.kind {
            TrackKind::Audio => (Codec::Opus, 48_000),
            TrackKind::Video => match track.codec {
                VideoCodec::Vp8 => (Codec::Vp8, 90_000),
                VideoCodec::H264 => (Codec::H264, 90_000),
            },
        };
        let (payload_type, repair) = description.payload_of(section, codec)?;
        let id = |uri| section.extensions.get(uri).copied();
        let extensions = ExtensionIds {
            mid: id(sdp::EXT_MID),
            rid: id(sdp::EXT_RID),
            repaired_rid: id(sdp::EXT_REPAIRED_RID),
            abs_send_time: id(sdp::EXT_ABS_SEND_TIME),
            transport_cc: id(sdp::EXT_TRANSPORT_CC),
            audio_level: id(sdp::EXT_AUDIO_LEVEL),
        };
        let rids: Vec<&str> = match track.kind {
            TrackKind::Video if track.simulcast => LAYERS.iter().map(|layer| layer.rid).collect(),
            _ => vec![""],
        };
        rids.into_iter()
            .map(|rid| {
                let mut api = self.rtc.direct_api();
                let layer = (!rid.is_empty()).then(|| Rid::from(rid));
                let stream = api.stream_tx_by_mid(mid, layer)?;
                // Without the repaired layer's name the server can't tell what is repaired.
                let named = rid.is_empty() || extensions.repaired_rid.is_some();
                let repair = repair.filter(|_| named).zip(stream.rtx());
                Some(StreamPlan {
                    ssrc: *stream.ssrc(),
                    payload_type,
                    repair: repair.map(|(payload_type, ssrc)| (*ssrc, payload_type)),
                    mid: mid.to_string(),
                    rid: rid.to_owned(),
                    clock_rate,
                    extensions,
                })
            })
            .collect()
    }

    pub(super) fn start_tracks(&mut self, now: Moment) {
        let start = self.config.beats.from(now.at);
        for (track, plans) in std::mem::take(&mut self.planned) {
            let rtp_timestamp = self.random.next();
            let source = match source(&track, rtp_timestamp, start) {
                Ok(source) => source,
                Err(e) => return self.fail(Cause::PublishRefused, e.to_string()),
            };
            let random = &mut self.random;
            let plans = plans.into_iter().map(|plan| (plan, random.next_u16()));
            self.sender.add(source, plans.collect(), start);
        }
    }
}

/// What is sent on a track.
fn source(track: &PublishTrack, rtp_timestamp: u32, start: Instant) -> Result<Source, ClipError> {
    Ok(match track.kind {
        TrackKind::Audio => {
            let options = AudioOptions {
                rtp_timestamp,
                discontinuous: track.discontinuous,
            };
            Source::Audio(AudioTrack::new(audio_clip()?, options, start))
        }
        TrackKind::Video => {
            let options = VideoOptions {
                top: Quality::High,
                simulcast: track.simulcast,
                rtp_timestamp,
                ..VideoOptions::default()
            };
            let clips = video_clips(track.codec)?;
            Source::Video(VideoTrack::new(clips, options, start))
        }
    })
}
