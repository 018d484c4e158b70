//! The floor: what receiving and decrypting alone costs, with the participant's own sockets.
//!
//! [`receive`] wakes at the participant's tick, takes what waits with its `recvmmsg`, and opens
//! each packet with AES-256-GCM under its socket's key. [`send`] sends each socket what a
//! subscriber to the layout `speaker` gets of some publishers: the same clips, paced alike.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: both loops wait for their next tick"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::child::{SAMPLE_INTERVAL, Sample, Told};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::VideoCodec;
use crate::participant::EngineConfig;
use crate::participant::epoll::Epoll;
use crate::participant::media::{
    AudioClip, AudioOptions, AudioTrack, ClipError, MediaPacket, Quality, VideoClips, VideoOptions,
    VideoTrack, audio_clip, video_clips,
};
use crate::participant::outbox::Outbox;
use crate::participant::stamp;
use crate::participant::udp::{Batch, Socket};

/// An RTP header without extensions (RFC 3550 5.1). Its 12 bytes differ from packet to packet:
/// here they are the nonce as well.
const HEADER: usize = 12;

/// The same at both ends. It keeps no secret: it makes work.
fn key(socket: usize) -> Result<LessSafeKey, Error> {
    let byte = u8::try_from(socket % 256).unwrap_or_default();
    UnboundKey::new(&AES_256_GCM, &[byte; 32])
        .map(LessSafeKey::new)
        .map_err(|e| Error::new(Exit::Internal, format!("AES-256-GCM: {e}")))
}

/// Between the starts of two publishers: their frames don't come together.
const STAGGER: Duration = Duration::from_millis(7);

/// Between two wakeups of the sender, as of a publishing participant.
const SEND_INTERVAL: Duration = Duration::from_millis(2);

fn failed(what: &str) -> impl Fn(io::Error) -> Error {
    move |e| Error::new(Exit::Internal, format!("{what}: {e}"))
}

/// Receives on `count` sockets, and tells a sample every second, until it is killed.
///
/// # Errors
/// When sockets can't be had, or `tell` fails.
pub fn receive(
    count: usize,
    mut tell: impl FnMut(&Told) -> Result<(), Error>,
) -> Result<(), Error> {
    let config = EngineConfig::default();
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let start = Instant::now();
    let mut epoll = Epoll::new().map_err(failed("epoll"))?;
    let mut seats = Vec::new();
    let mut ports = Vec::new();
    for i in 0..count {
        let socket = Socket::bind(ip, config.recv_buffer_bytes).map_err(failed("bind"))?;
        epoll.add(&socket, i).map_err(failed("epoll"))?;
        ports.push(socket.port().map_err(failed("port"))?);
        seats.push((socket, key(i)?));
    }
    tell(&Told::Ready { ports })?;
    let mut ready = Vec::new();
    let mut batch = Batch::new();
    let mut sum = Sample::default();
    let mut next = Instant::now();
    let mut next_sample = next;
    loop {
        next = wait(next + config.tick);
        epoll.ready(&mut ready);
        for slot in ready.drain(..) {
            let Some((socket, key)) = seats.get(slot) else {
                continue;
            };
            loop {
                let more = batch.receive(socket);
                for datagram in batch.datagrams() {
                    sum.packets += 1;
                    sum.bytes += u64::try_from(datagram.bytes.len()).unwrap_or(u64::MAX);
                    sum.forged += u64::from(!open(key, datagram.bytes));
                }
                if !more {
                    break;
                }
            }
        }
        if next >= next_sample {
            next_sample = next + SAMPLE_INTERVAL;
            sum.at_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            tell(&Told::Sample(sum))?;
        }
    }
}

/// Waits until `next`; who is late doesn't hurry after.
fn wait(next: Instant) -> Instant {
    match next.checked_duration_since(Instant::now()) {
        Some(early) => {
            std::thread::sleep(early);
            next
        }
        None => Instant::now(),
    }
}

fn open(key: &LessSafeKey, packet: &mut [u8]) -> bool {
    let Some((header, sealed)) = packet.split_first_chunk_mut::<HEADER>() else {
        return false;
    };
    let nonce = Nonce::assume_unique_for_key(*header);
    key.open_in_place(nonce, Aad::from(&*header), sealed)
        .is_ok()
}

/// Sends to `ports` what subscribers of so many publishers get, until it is killed.
///
/// # Errors
/// When there is no socket, or the clips are damaged.
pub fn send(ports: &[u16], publishers: usize) -> Result<(), Error> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = EngineConfig::default();
    let socket = Socket::bind(ip, config.recv_buffer_bytes).map_err(failed("bind"))?;
    let receivers: Vec<(SocketAddr, LessSafeKey)> = ports
        .iter()
        .enumerate()
        .map(|(i, port)| Ok((SocketAddr::new(ip, *port), key(i)?)))
        .collect::<Result<_, Error>>()?;
    let damaged = |e: ClipError| Error::new(Exit::Internal, e.to_string());
    let clips = video_clips(VideoCodec::Vp8).map_err(damaged)?;
    let tone = audio_clip().map_err(damaged)?;
    let mut next = Instant::now();
    let mut start = next;
    let mut publishers: Vec<Publisher> = (0..publishers)
        .map(|i| {
            start += STAGGER;
            let top = if i == 0 { Quality::High } else { Quality::Low };
            Publisher::new((clips, tone), top, i, start)
        })
        .collect();
    let mut outbox = Outbox::default();
    loop {
        let due = publishers.iter().filter_map(Publisher::next_due).min();
        next = wait(due.unwrap_or(next).max(next + SEND_INTERVAL));
        let mut skipped = 0;
        for publisher in &mut publishers {
            skipped += publisher.send(next, &receivers, &mut outbox);
        }
        let refused = socket.send(&outbox);
        if skipped > 0 || refused > 0 {
            tracing::warn!("{skipped} frames came too late, {refused} packets were refused");
        }
        outbox.clear();
    }
}

/// What a subscriber gets of one publisher.
struct Publisher {
    video: (VideoTrack, Stream),
    audio: (AudioTrack, Stream),
}

impl Publisher {
    fn new(
        (clips, tone): (&'static VideoClips, &'static AudioClip),
        top: Quality,
        number: usize,
        start: Instant,
    ) -> Self {
        let options = VideoOptions {
            top,
            simulcast: false,
            ..VideoOptions::default()
        };
        let ssrc = u32::try_from(number).unwrap_or_default() * 2;
        let stream = |ssrc| Stream { ssrc, sequence: 0 };
        Self {
            video: (VideoTrack::new(clips, options, start), stream(ssrc)),
            audio: (
                AudioTrack::new(tone, AudioOptions::default(), start),
                stream(ssrc + 1),
            ),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.video.0.next_due().into_iter();
        due.chain([self.audio.0.next_due()]).min()
    }

    /// Returns how many frames were skipped.
    fn send(
        &mut self,
        now: Instant,
        receivers: &[(SocketAddr, LessSafeKey)],
        out: &mut Outbox,
    ) -> u64 {
        let (track, stream) = &mut self.video;
        let each = |packet: MediaPacket<'_>| stream.send(&packet, receivers, out);
        let video = track.poll(now, |_| [0; stamp::LEN], each);
        let (track, stream) = &mut self.audio;
        let each = |packet: MediaPacket<'_>| stream.send(&packet, receivers, out);
        let audio = track.poll(now, |_| [0; stamp::LEN], each);
        video.skipped_frames + audio.skipped_frames
    }
}

struct Stream {
    ssrc: u32,
    sequence: u16,
}

impl Stream {
    fn send(
        &mut self,
        packet: &MediaPacket<'_>,
        receivers: &[(SocketAddr, LessSafeKey)],
        outbox: &mut Outbox,
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = [0x80; HEADER];
        let fields = [96]
            .into_iter()
            .chain(self.sequence.to_be_bytes())
            .chain(packet.rtp_timestamp.to_be_bytes())
            .chain(self.ssrc.to_be_bytes());
        for (byte, field) in header.iter_mut().skip(1).zip(fields) {
            *byte = field;
        }
        let mut sealed = Vec::new();
        for (to, key) in receivers {
            sealed.clear();
            sealed.extend_from_slice(packet.payload);
            let nonce = Nonce::assume_unique_for_key(header);
            // AES-GCM refuses gigabytes alone.
            if key
                .seal_in_place_append_tag(nonce, Aad::from(&header), &mut sealed)
                .is_ok()
            {
                outbox.push_to(*to, &[&header[..], &sealed].concat());
            }
        }
    }
}
