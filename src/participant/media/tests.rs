//! Tracks on simulated time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::pace::{MAX_LATE, SMALL_FRAME};
use super::{
    AUDIO_BITRATE, AudioOptions, AudioTrack, KEYFRAME_SPACING, Quality, Sent, VideoOptions,
    VideoTrack, audio_clip, video_clips,
};
use crate::job::VideoCodec;
use crate::participant::beat::BEAT;
use crate::participant::rtp::h264::{nal, user_data};

const MS: Duration = Duration::from_millis(1);
const STAMP: [u8; 24] = *b"the twenty-four byte end";

/// A packet, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    at: Duration,
    layer: usize,
    payload: Vec<u8>,
    marker: bool,
    rtp_timestamp: u32,
    keyframe: bool,
}

impl Packet {
    fn picture_id(&self) -> u16 {
        u16::from_be_bytes([self.payload[2], self.payload[3]]) & 0x7fff
    }
}

/// A video track and its own time.
struct World {
    start: Instant,
    now: Instant,
    track: VideoTrack,
    sent: Vec<Packet>,
    total: Sent,
}

impl World {
    fn new(options: VideoOptions) -> Self {
        World::of(VideoCodec::Vp8, options)
    }

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn of(codec: VideoCodec, options: VideoOptions) -> Self {
        let start = Instant::now();
        World {
            start,
            now: start,
            track: VideoTrack::new(video_clips(codec).unwrap(), options, start),
            sent: Vec::new(),
            total: Sent::default(),
        }
    }

    fn poll(&mut self) {
        let mut ready = Vec::new();
        let skipped = self
            .track
            .ready(self.now, STAMP.len(), |due| ready.push(due.layer));
        self.total.skipped_frames += skipped;
        ready.into_iter().for_each(|layer| self.poll_layer(layer));
    }

    fn poll_layer(&mut self, layer: usize) {
        let (now, start, sent) = (self.now, self.start, &mut self.sent);
        let done = self.track.poll(
            layer,
            now,
            |_| STAMP,
            |packet| {
                let mut payload = Vec::new();
                packet.payload.write(&mut payload);
                sent.push(Packet {
                    at: now - start,
                    layer: packet.layer,
                    payload,
                    marker: packet.marker,
                    rtp_timestamp: packet.rtp_timestamp,
                    keyframe: packet.keyframe,
                });
            },
        );
        self.total.packets += done.packets;
        self.total.payload_bytes += done.payload_bytes;
        self.total.frames += done.frames;
        self.total.skipped_frames += done.skipped_frames;
        self.total.lag = self.total.lag.max(done.lag);
    }

    /// Polls every `tick` for `time`.
    fn run(&mut self, time: Duration, tick: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.poll();
            self.now += tick;
        }
    }

    /// A layer's frames, put together again: when the first packet came, and the bytes.
    fn frames(&self, layer: usize) -> Vec<(Packet, Vec<u8>)> {
        let mut frames: Vec<(Packet, Vec<u8>)> = Vec::new();
        let mut open = false;
        for packet in self.sent.iter().filter(|packet| packet.layer == layer) {
            let starts = packet.payload[0] & 0x10 != 0;
            assert_eq!(starts, !open, "a frame starts where the last one ended");
            if starts {
                frames.push((packet.clone(), Vec::new()));
            }
            let (first, data) = frames.last_mut().unwrap();
            assert_eq!(packet.rtp_timestamp, first.rtp_timestamp);
            assert_eq!(packet.picture_id(), first.picture_id());
            assert_eq!(packet.keyframe, first.keyframe);
            data.extend_from_slice(&packet.payload[6..]);
            open = !packet.marker;
        }
        frames
    }
}

#[test]
fn layers_keep_their_bitrate_over_30_s() {
    let mut world = World::new(VideoOptions::default());
    world.run(Duration::from_secs(30), 5 * MS);
    let layers = world.track.layers().to_vec();
    assert_eq!(layers.len(), 3);
    for (index, layer) in layers.iter().enumerate() {
        let frames = world.frames(index);
        assert_eq!(frames.len(), 30 * layer.fps as usize);
        let bytes: usize = frames.iter().map(|(_, data)| data.len()).sum();
        let ratio = (bytes * 8 / 30) as f64 / layer.bitrate.as_bps() as f64;
        assert!((0.9..=1.1).contains(&ratio), "{}: {ratio}", layer.rid);
    }
    assert_eq!(world.total.skipped_frames, 0);
}

#[test]
fn audio_keeps_its_bitrate_over_30_s() {
    let start = World::new(VideoOptions::default()).start;
    let options = AudioOptions {
        rtp_timestamp: u32::MAX - 959,
        ..AudioOptions::default()
    };
    let mut track = AudioTrack::new(audio_clip().unwrap(), options, start);
    let (mut bytes, mut packets, mut voiced) = (0, 0, 0);
    while track.next_due() < start + Duration::from_secs(30) {
        let due = track.next_due();
        let sent = track.poll(
            due,
            |frame| {
                assert_eq!((frame.number, frame.due), (packets, due));
                STAMP
            },
            |packet| {
                assert_eq!(packet.marker, packets == 0);
                let expected = (packets as u32).wrapping_sub(1).wrapping_mul(960);
                assert_eq!(packet.rtp_timestamp, expected);
                assert!(packet.payload.head.ends_with(&STAMP));
                voiced += u32::from(packet.audio_level.unwrap().voice);
                bytes += packet.payload.length();
            },
        );
        assert_eq!((sent.packets, sent.lag), (1, Some(Duration::ZERO)));
        packets += 1;
    }
    assert_eq!(packets, 30 * 50);
    assert!(voiced > 1_000, "{voiced}");
    let ratio = (bytes * 8 / 30) as f64 / AUDIO_BITRATE.as_bps() as f64;
    assert!((0.9..=1.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_silent_microphone_sends_a_packet_each_400_ms() {
    let start = World::new(VideoOptions::default()).start;
    let options = AudioOptions {
        discontinuous: true,
        ..AudioOptions::default()
    };
    let mut track = AudioTrack::new(audio_clip().unwrap(), options, start);
    let mut timestamps = Vec::new();
    for n in 0..10 {
        let due = start + 400 * MS * n;
        assert_eq!(track.next_due(), due);
        let sent = track.poll(
            due,
            |_| STAMP,
            |packet| {
                assert!(packet.marker);
                timestamps.push(packet.rtp_timestamp);
            },
        );
        assert_eq!((sent.packets, sent.skipped_frames), (1, 0));
    }
    let expected: Vec<u32> = (0..10).map(|n| n * 19_200).collect();
    assert_eq!(timestamps, expected);
}

#[test]
fn late_audio_is_skipped_and_counted() {
    let start = World::new(VideoOptions::default()).start;
    let mut track = AudioTrack::new(audio_clip().unwrap(), AudioOptions::default(), start);
    let sent = track.poll(start + MAX_LATE, |_| STAMP, |_| ());
    assert_eq!((sent.packets, sent.skipped_frames), (13, 0));
    assert_eq!(sent.lag, Some(MAX_LATE));
    let now = start + Duration::from_secs(2);
    let mut markers = Vec::new();
    let sent = track.poll(now, |_| STAMP, |packet| markers.push(packet.marker));
    assert_eq!((sent.packets, sent.skipped_frames), (1, 87));
    assert_eq!(markers, [true]);
    assert_eq!(sent.lag, Some(Duration::ZERO));
}

#[test]
fn frames_are_the_clip_in_order_with_the_stamp_behind() {
    let options = VideoOptions {
        rtp_timestamp: u32::MAX - 100_000,
        picture_id: 0x7ff0,
        ..VideoOptions::default()
    };
    let mut world = World::new(options);
    world.run(Duration::from_secs(9), 3 * MS);
    for (index, layer) in world.track.layers().iter().enumerate() {
        let clip = &video_clips(VideoCodec::Vp8).unwrap().layers[index].frames;
        for (n, (first, data)) in world.frames(index).iter().enumerate() {
            let frame = &clip[n % clip.len()];
            let data = data.strip_suffix(&STAMP).unwrap();
            let zeros = data.strip_prefix(frame.data).unwrap();
            assert!(
                zeros.len() < 64 && zeros.iter().all(|byte| *byte == 0),
                "{n}"
            );
            assert_eq!(first.keyframe, frame.keyframe);
            assert_eq!(first.picture_id(), (0x7ff0 + n as u16) & 0x7fff);
            assert_eq!(first.payload[4], n as u8, "TL0PICIDX");
            let captured = (n as u32 * 30).div_ceil(layer.fps);
            let ticks = 90_000 / 50 * (captured * 50).div_ceil(30);
            assert_eq!(
                first.rtp_timestamp,
                options.rtp_timestamp.wrapping_add(ticks)
            );
        }
    }
}

#[test]
fn packets_fit_and_never_split_a_stamp() {
    for max_payload in [100, 500, 1_150] {
        let mut world = World::new(VideoOptions {
            max_payload,
            ..VideoOptions::default()
        });
        world.run(Duration::from_secs(4), 5 * MS);
        for packet in &world.sent {
            assert!(packet.payload.len() <= max_payload);
            assert!(!packet.marker || packet.payload.ends_with(&STAMP));
        }
    }
}

#[test]
fn a_small_frame_leaves_at_once_and_a_large_one_over_its_interval() {
    // So that some frames take many packets.
    let mut world = World::new(VideoOptions {
        max_payload: 400,
        ..VideoOptions::default()
    });
    world.run(Duration::from_secs(4), MS);
    let (mut small, mut large) = (0, 0);
    for (index, layer) in world.track.layers().iter().enumerate() {
        let interval = Duration::from_secs(1) / layer.fps;
        let packets: Vec<_> = world.sent.iter().filter(|p| p.layer == index).collect();
        for frame in packets.chunk_by(|a, b| a.rtp_timestamp == b.rtp_timestamp) {
            let spread = frame.last().unwrap().at - frame[0].at;
            let bursts = frame.chunk_by(|a, b| a.at == b.at).count();
            if frame.len() <= SMALL_FRAME {
                small += 1;
                assert_eq!(bursts, 1);
            } else {
                large += 1;
                assert!(bursts > 1 && spread < interval, "{bursts}, {spread:?}");
                // Polled every millisecond, so a burst may come that much off its time.
                let bursts = u32::try_from(bursts - 1).unwrap();
                assert!(spread + MS > BEAT * bursts);
            }
        }
    }
    assert!(small > 100 && large > 0, "{small} and {large}");
    assert!(world.total.lag.unwrap() < MS);
}

#[test]
fn the_packets_of_a_frame_are_equally_long() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let mut world = World::of(codec, VideoOptions::default());
        world.run(Duration::from_secs(4), MS);
        for layer in 0..world.track.layers().len() {
            let packets: Vec<_> = world.sent.iter().filter(|p| p.layer == layer).collect();
            for frame in packets.chunk_by(|a, b| a.rtp_timestamp == b.rtp_timestamp) {
                // The first one of H.264 has parameters and stamp, and no slice.
                let frame = &frame[usize::from(codec == VideoCodec::H264)..];
                let (last, equal) = frame.split_last().unwrap();
                let lengths = equal.iter().map(|p| p.payload.len());
                let length = equal.first().map_or(usize::MAX, |p| p.payload.len());
                assert!(lengths.clone().all(|l| l == length), "{lengths:?}");
                match codec {
                    VideoCodec::Vp8 if !equal.is_empty() => {
                        assert_eq!(last.payload.len(), length);
                    }
                    // A slice has no room for more.
                    _ => assert!(last.payload.len() <= length),
                }
            }
        }
    }
}

#[test]
fn a_request_brings_a_keyframe_soon_and_not_too_often() {
    let mut world = World::new(VideoOptions::default());
    // Someone asks in every tick, of all layers and of one that doesn't exist.
    for _ in 0..2_000 {
        for layer in 0..4 {
            world.track.request_keyframe(layer);
        }
        world.run(5 * MS, 5 * MS);
    }
    for (index, layer) in world.track.layers().iter().enumerate() {
        let frames = world.frames(index);
        let keyframes: Vec<_> = frames
            .iter()
            .filter(|(first, _)| first.keyframe)
            .map(|(first, _)| first.at)
            .collect();
        for pair in keyframes.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap + 5 * MS >= KEYFRAME_SPACING, "{gap:?}");
            assert!(gap <= KEYFRAME_SPACING + 60 * MS, "{gap:?}");
        }
        let bytes: usize = frames.iter().map(|(_, data)| data.len()).sum();
        let ratio = (bytes * 8 / 10) as f64 / layer.bitrate.as_bps() as f64;
        assert!((0.5..=1.5).contains(&ratio), "{}: {ratio}", layer.rid);
    }
}

#[test]
fn a_lone_request_is_answered_with_the_next_frame() {
    let mut world = World::new(VideoOptions::default());
    world.run(Duration::from_secs(1), 5 * MS);
    world.track.request_keyframe(2);
    let asked = world.now - world.start;
    world.run(Duration::from_secs(1), 5 * MS);
    let next = |layer| {
        let frames = world.frames(layer);
        let later = frames.iter().find(|(first, _)| first.at >= asked);
        later.unwrap().0.keyframe
    };
    assert_eq!([next(0), next(1), next(2)], [false, false, true]);
}

#[test]
fn late_frames_are_sent_and_too_late_ones_skipped_and_counted() {
    let mut world = World::new(VideoOptions::default());
    world.run(Duration::from_secs(1), 5 * MS);
    world.now += 200 * MS;
    world.run(100 * MS, 5 * MS);
    assert_eq!(world.total.skipped_frames, 0);
    assert!((200 * MS..MAX_LATE).contains(&world.total.lag.unwrap()));
    let before: Vec<_> = (0..3).map(|layer| world.frames(layer).len()).collect();
    world.now += Duration::from_secs(2);
    world.run(Duration::from_secs(1), 5 * MS);
    for (layer, &sent) in before.iter().enumerate() {
        let (first, _) = &world.frames(layer)[sent];
        assert!(first.keyframe, "a gap ends with a keyframe");
    }
    let due: u64 = [20, 20, 30].iter().map(|fps| fps * 4_300 / 1_000).sum();
    let total = world.total.frames + world.total.skipped_frames;
    assert!(total.abs_diff(due) <= 3, "{total} of {due}");
    assert!(world.total.skipped_frames > 100);
}

#[test]
fn a_stall_within_a_frame_ends_like_any_other() {
    let mut world = World::new(VideoOptions {
        max_payload: 200,
        ..VideoOptions::default()
    });
    world.poll();
    let top = world.sent.iter().rfind(|packet| packet.layer == 2);
    assert!(!top.unwrap().marker, "a frame is under way");
    world.now += Duration::from_secs(2);
    world.poll();
    assert!(world.total.frames < 10, "{:?}", world.total);
    assert!(world.total.skipped_frames > 100);
    for layer in 0..3 {
        world.frames(layer);
    }
}

#[test]
fn a_paused_layer_is_silent_and_resumes_with_a_keyframe() {
    let mut world = World::new(VideoOptions::default());
    world.run(Duration::from_secs(1), 5 * MS);
    let before = world.frames(2).len();
    world.track.set_layer_active(2, false);
    world.run(Duration::from_secs(2), 5 * MS);
    assert!(world.frames(2).len() <= before + 1);
    let paused = world.frames(2).len();
    assert!(world.frames(0).len() >= 58, "others go on");
    world.track.set_layer_active(2, true);
    let resumed = world.now - world.start;
    world.run(Duration::from_secs(1), 5 * MS);
    let (first, _) = &world.frames(2)[paused];
    assert!(first.keyframe && first.at >= resumed);
    assert_eq!(world.total.skipped_frames, 0);
    assert!(world.total.lag.unwrap() < 5 * MS);
    for layer in 0..3 {
        world.track.set_layer_active(layer, false);
    }
    world.run(100 * MS, MS);
    assert_eq!(world.track.next_due(), None);
}

#[test]
fn options_choose_the_layers() {
    let rids = |top, simulcast| {
        let options = VideoOptions {
            top,
            simulcast,
            ..VideoOptions::default()
        };
        let world = World::new(options);
        let layers = world.track.layers().iter();
        layers.map(|layer| layer.rid).collect::<Vec<_>>()
    };
    assert_eq!(rids(Quality::High, true), ["q", "h", "f"]);
    assert_eq!(rids(Quality::Medium, true), ["q", "h"]);
    assert_eq!(rids(Quality::Low, true), ["q"]);
    assert_eq!(rids(Quality::High, false), ["f"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// How often a track is polled changes when packets leave, never which.
    #[test]
    fn polling_rhythm_changes_no_packet(ticks in proptest::collection::vec(1_u32..60, 1..8)) {
        let mut reference = World::new(VideoOptions::default());
        while let Some(due) = reference.track.next_due()
            && due < reference.start + Duration::from_secs(3)
        {
            reference.now = due;
            reference.poll();
        }
        prop_assert_eq!(reference.total.lag, Some(Duration::ZERO));
        let mut world = World::new(VideoOptions::default());
        for &tick in ticks.iter().cycle() {
            if world.now >= world.start + Duration::from_secs(3) {
                break;
            }
            world.now += MS * tick;
            world.poll();
        }
        for layer in 0..3 {
            let strip = |world: &World| -> Vec<_> {
                let packets = world.sent.iter().filter(|packet| packet.layer == layer);
                packets.map(|p| (p.payload.clone(), p.marker, p.rtp_timestamp)).collect()
            };
            let (expected, got) = (strip(&reference), strip(&world));
            let both = expected.len().min(got.len());
            prop_assert!(both > 50);
            prop_assert!(expected[..both] == got[..both]);
        }
    }
}

#[test]
fn h264_pictures_come_whole_with_their_parameters_and_the_trailer() {
    let mut world = World::of(VideoCodec::H264, VideoOptions::default());
    world.run(Duration::from_secs(5), 5 * MS);
    for (index, layer) in world.track.layers().iter().enumerate() {
        let clip = &video_clips(VideoCodec::H264).unwrap().layers[index].frames;
        let packets = || world.sent.iter().filter(|packet| packet.layer == index);
        let (mut pictures, mut bytes) = (0, 0);
        let mut slice: Vec<u8> = Vec::new();
        let mut starts = true;
        for packet in packets() {
            let (payload, frame) = (&packet.payload, &clip[pictures % clip.len()]);
            bytes += payload.len();
            assert!(payload.len() <= VideoOptions::default().max_payload);
            assert_eq!(packet.keyframe, frame.keyframe);
            if starts {
                assert_eq!(user_data(payload), Some(STAMP));
                let head = if frame.keyframe {
                    nal::STAP_A
                } else {
                    nal::SEI
                };
                assert_eq!(nal::kind(payload[0]), head);
            } else if nal::kind(payload[0]) == nal::FU_A {
                if payload[1] & 0x80 != 0 {
                    slice.push(payload[0] & 0xe0 | payload[1] & 0x1f);
                }
                slice.extend(&payload[2..]);
            } else {
                slice.extend(payload);
            }
            starts = packet.marker;
            if packet.marker {
                assert!(slice == frame.data, "picture {pictures}");
                slice.clear();
                pictures += 1;
            }
        }
        assert_eq!(pictures, 5 * layer.fps as usize);
        let ratio = (bytes * 8 / 5) as f64 / layer.bitrate.as_bps() as f64;
        assert!((0.8..=1.2).contains(&ratio), "{}: {ratio}", layer.rid);
    }
    assert_eq!(world.total.frames, 5 * (20 + 20 + 30));
}
