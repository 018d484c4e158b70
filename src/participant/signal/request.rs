//! The requests that this client sends, as LiveKit's protocol has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use livekit_protocol as proto;
use proto::signal_request::Message;

use crate::participant::layout::Size;
use crate::participant::media::{LAYERS, Layer, Quality};
use crate::participant::peer::PublishTrack;
use crate::participant::snapshot::TrackKind;

/// Announces a track before it is offered.
pub fn add_track(track: &PublishTrack) -> Message {
    let mut request = proto::AddTrackRequest {
        cid: track.cid.clone(),
        disable_red: true,
        ..proto::AddTrackRequest::default()
    };
    match track.kind {
        TrackKind::Audio => {
            request.name = "microphone".to_owned();
            request.r#type = proto::TrackType::Audio.into();
            request.source = proto::TrackSource::Microphone.into();
        }
        TrackKind::Video => {
            let layers: Vec<_> = LAYERS
                .iter()
                .filter(|layer| track.simulcast || layer.quality == Quality::High)
                .zip(0..)
                .map(|(layer, spatial)| video_layer(layer, spatial, track.simulcast))
                .collect();
            request.name = "camera".to_owned();
            request.r#type = proto::TrackType::Video.into();
            request.source = proto::TrackSource::Camera.into();
            if let Some(top) = layers.last() {
                (request.width, request.height) = (top.width, top.height);
            }
            request.simulcast_codecs = vec![proto::SimulcastCodec {
                codec: track.codec.name().to_owned(),
                cid: track.cid.clone(),
                layers: layers.clone(),
                ..proto::SimulcastCodec::default()
            }];
            request.layers = layers;
        }
    }
    Message::AddTrack(request)
}

fn video_layer(layer: &Layer, spatial_layer: i32, simulcast: bool) -> proto::VideoLayer {
    let quality = match layer.quality {
        Quality::Low => proto::VideoQuality::Low,
        Quality::Medium => proto::VideoQuality::Medium,
        Quality::High => proto::VideoQuality::High,
    };
    proto::VideoLayer {
        quality: quality.into(),
        width: layer.width,
        height: layer.height,
        bitrate: u32::try_from(layer.bitrate.as_bps()).unwrap_or(u32::MAX),
        spatial_layer,
        rid: if simulcast {
            layer.rid.to_owned()
        } else {
            String::new()
        },
        ..proto::VideoLayer::default()
    }
}

/// Subscribes to tracks, or no longer. `tracks` are pairs of participant and track.
pub fn subscription<'a>(
    subscribe: bool,
    tracks: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
) -> proto::UpdateSubscription {
    let mut by_participant = BTreeMap::<&str, Vec<String>>::new();
    for (participant, track) in tracks {
        by_participant
            .entry(participant)
            .or_default()
            .push(track.to_string());
    }
    let participant_tracks =
        by_participant
            .into_iter()
            .map(|(participant, track_sids)| proto::ParticipantTracks {
                participant_sid: participant.to_owned(),
                track_sids,
            });
    proto::UpdateSubscription {
        track_sids: Vec::new(),
        subscribe,
        participant_tracks: participant_tracks.collect(),
    }
}

/// Asks for tracks in a size.
pub fn settings(track_sids: Vec<String>, (width, height): (u32, u32)) -> Message {
    // The deprecated quality is what the size comes to, for servers that look at it.
    let quality = LAYERS
        .iter()
        .find(|layer| layer.width >= width && layer.height >= height)
        .map_or(Quality::High, |layer| layer.quality);
    let quality = match quality {
        Quality::Low => proto::VideoQuality::Low,
        Quality::Medium => proto::VideoQuality::Medium,
        Quality::High => proto::VideoQuality::High,
    };
    Message::TrackSetting(proto::UpdateTrackSettings {
        track_sids,
        quality: quality.into(),
        width,
        height,
        ..proto::UpdateTrackSettings::default()
    })
}

/// A description under its id.
pub fn description(kind: &str, sdp: String, id: u32) -> proto::SessionDescription {
    proto::SessionDescription {
        r#type: kind.to_owned(),
        sdp,
        id,
        ..proto::SessionDescription::default()
    }
}

/// Sizes that have tracks, with these.
pub fn sizes<'a>(
    tracks: impl Iterator<Item = (&'a Arc<str>, Size)>,
) -> BTreeMap<(u32, u32), Vec<String>> {
    let mut sizes = BTreeMap::<_, Vec<String>>::new();
    for (sid, size) in tracks {
        if let Some(size) = size {
            sizes.entry(size).or_default().push(sid.to_string());
        }
    }
    sizes
}

/// Leaves in order.
pub fn leave() -> Message {
    Message::Leave(proto::LeaveRequest {
        reason: proto::DisconnectReason::ClientInitiated.into(),
        action: proto::leave_request::Action::Disconnect.into(),
        ..proto::LeaveRequest::default()
    })
}
