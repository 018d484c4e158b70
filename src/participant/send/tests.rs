//! A camera and a microphone on simulated time.

use std::time::{Duration, Instant};

use crate::job::{Timestamp, VideoCodec};
use crate::participant::keys;
use crate::participant::media::{
    AudioOptions, AudioTrack, VideoOptions, VideoTrack, audio_clip, video_clips,
};
use crate::participant::moment::Moment;
use crate::participant::outbox::Outbox;
use crate::participant::rtp::rtcp::Compounds;

use super::{ExtensionIds, Sender, Source, StreamPlan};

/// Messages to the kernel a second at most: 30 with the highest layer's frames, 20 with the lower
/// ones', 20 with sound, of which the rest leaves with frames, and some for what is longer than usual.
/// A message for each frame and each packet of sound would be 120.
const MESSAGES_MAX: usize = 85;
/// Times a second that something is due: 50 for sound, with which frames are captured.
const VISITS_MAX: usize = 50;

fn plan(ssrc: u32, clock_rate: u32) -> (StreamPlan, u16) {
    let plan = StreamPlan {
        ssrc,
        payload_type: 96,
        repair: None,
        mid: "0".into(),
        rid: String::new(),
        clock_rate,
        extensions: ExtensionIds {
            abs_send_time: Some(4),
            transport_cc: Some(5),
            ..ExtensionIds::default()
        },
    };
    (plan, 0)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "some instant to count from")]
fn what_is_due_at_once_leaves_in_few_messages() {
    let start = Instant::now();
    let mut sender = Sender::new(1);
    let audio = AudioTrack::new(audio_clip().unwrap(), AudioOptions::default(), start);
    sender.add(Source::Audio(audio), vec![plan(1, 48_000)], start);
    let clips = video_clips(VideoCodec::Vp8).unwrap();
    let video = VideoTrack::new(clips, VideoOptions::default(), start);
    let plans = (2..5).map(|ssrc| plan(ssrc, 90_000)).collect();
    sender.add(Source::Video(video), plans, start);
    let (srtp, _) = keys::pair_for_tests();
    let (mut messages, mut packets, mut calls) = (0, 0, 0);
    let seconds = 10;
    for ms in (0..seconds * 1_000).step_by(5) {
        let since = Duration::from_millis(ms);
        let wall = Timestamp::from_micros(1_000_000_000) + since;
        let now = Moment {
            at: start + since,
            wall,
            shared: wall,
        };
        let mut out = Outbox::default();
        out.set_destination(Some(([127, 0, 0, 1], 1).into()));
        sender.poll(&srtp, now, &mut out, &mut Compounds::default());
        packets += out.len();
        messages += out.runs(0, 64).count();
        calls += usize::from(out.len() > 0);
    }
    let per_second = |count: usize| count / usize::try_from(seconds).unwrap();
    println!("{packets} packets, {messages} messages, {calls} calls");
    assert!(per_second(packets) > 300, "{packets}");
    assert!(per_second(messages) <= MESSAGES_MAX, "{messages}");
    assert!(per_second(calls) <= VISITS_MAX, "{calls}");
}
