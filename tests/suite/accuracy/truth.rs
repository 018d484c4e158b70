//! What really happened to media, by what a relay tells: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Span;
use crate::fixtures::relay::record::{Nanos, Passed, RTX, Rtp, Way, What};

/// The payload type that LiveKit gives Opus; its clock runs at 48 kHz, that of video at 90.
const OPUS: u8 = 111;

/// A sender's report, and a receiver's (RFC 3550, 12.1).
const REPORTS: [u8; 2] = [200, 201];

const SECOND: Nanos = 1_000_000_000;

/// A client gives up on a packet after so long, and only then is it lost.
const GIVE_UP: Nanos = SECOND;

/// What became of the sequence numbers of a window: of those that a receiver can know of, from
/// the first to the last that got through in each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// All.
    pub expected: u64,
    /// Those of which the first copy was lost, or that never came to the relay.
    pub missing: u64,
    /// Those of which no copy got through, of those that were given up within the span.
    pub lost: u64,
    /// Those of which the first copy left after a higher sequence number.
    pub reordered: u64,
}

impl Sequences {
    /// Missing before retransmission, in percent.
    pub fn missing_percent(&self) -> f64 {
        percent(self.missing, self.expected)
    }

    /// Lost after retransmission, in percent.
    pub fn lost_percent(&self) -> f64 {
        percent(self.lost, self.expected)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

/// Packets by socket and stream.
type Streams<'a> = HashMap<(usize, u32), Vec<(&'a Passed, Rtp)>>;

/// All streams of media.
fn streams<'a>(passed: &'a [Passed], span: &Span) -> Streams<'a> {
    let mut streams = Streams::new();
    for p in passed {
        if let (Way::Down, What::Rtp(rtp)) = (p.way, p.what)
            && span.flows.contains(&p.flow)
            && rtp.payload_type != RTX
            && (span.ssrcs.is_empty() || span.ssrcs.contains(&rtp.ssrc))
        {
            streams
                .entry((p.flow, rtp.ssrc))
                .or_default()
                .push((p, rtp));
        }
    }
    streams
}

/// Sequence numbers that don't wrap: the one nearest to the last.
fn extend(last: i64, sequence: u16) -> i64 {
    let low = u16::try_from(last.rem_euclid(1 << 16)).expect("sixteen bits");
    last + i64::from(sequence.wrapping_sub(low).cast_signed())
}

/// What came of one sequence number.
#[derive(Clone, Copy)]
struct Copies {
    rtp: Rtp,
    first_left: Option<Nanos>,
    got_through: bool,
}

/// Retransmissions that got through: which packet is under encryption, but its frame and its
/// length behind the original's sequence number are not.
type Repairs = HashMap<(usize, u32, usize), u32>;

fn repairs(passed: &[Passed]) -> Repairs {
    let mut repairs = Repairs::new();
    for p in passed.iter().filter(|p| p.left.is_some()) {
        if let (Way::Down, What::Rtp(rtp)) = (p.way, p.what)
            && let (RTX, Some(payload)) = (rtp.payload_type, rtp.payload.checked_sub(2))
        {
            *repairs.entry((p.flow, rtp.timestamp, payload)).or_default() += 1;
        }
    }
    repairs
}

/// Counts the packets to the clients of which these could know within the span.
pub fn sequences(passed: &[Passed], span: &Span) -> Sequences {
    let mut sum = Sequences::default();
    let mut repairs = repairs(passed);
    for ((flow, _), mut packets) in streams(passed, span) {
        packets.sort_by_key(|(p, _)| p.came);
        let mut seen: BTreeMap<i64, Copies> = BTreeMap::new();
        let mut last = None;
        for (p, rtp) in packets {
            let index = extend(
                last.unwrap_or(1 << 20 | i64::from(rtp.sequence)),
                rtp.sequence,
            );
            last = last.max(Some(index));
            let copies = seen.entry(index).or_insert(Copies {
                rtp,
                first_left: p.left,
                got_through: false,
            });
            copies.got_through |= p.left.is_some();
        }
        for copies in seen.values_mut().filter(|c| !c.got_through) {
            let of = (flow, copies.rtp.timestamp, copies.rtp.payload);
            if let Some(repair @ 1..) = repairs.get_mut(&of) {
                *repair -= 1;
                copies.got_through = true;
            }
        }
        let through = || seen.iter().filter(|(_, c)| c.got_through).map(|(i, _)| *i);
        let (Some(first), Some(last)) = (through().min(), through().max()) else {
            continue;
        };
        // A receiver learns of a packet that is missing from the next that comes.
        let mut learned = 0;
        for index in (first..=last).rev() {
            let copies = seen.get(&index);
            let first_left = copies.and_then(|c| c.first_left);
            learned = first_left.unwrap_or(learned);
            if span.window.contains(&(learned + GIVE_UP)) {
                sum.lost += u64::from(copies.is_none_or(|c| !c.got_through));
            }
            if span.window.contains(&learned) {
                sum.expected += 1;
                sum.missing += u64::from(first_left.is_none());
            }
        }
        let mut left: Vec<_> = seen
            .iter()
            .filter_map(|(index, c)| Some((c.first_left?, *index)))
            .collect();
        left.sort_unstable();
        let mut highest = i64::MIN;
        for (left, index) in left {
            sum.reordered += u64::from(index < highest && span.window.contains(&left));
            highest = highest.max(index);
        }
    }
    sum
}

/// The mean of RFC 3550's interarrival jitter (A.8) of what left for the clients, in
/// milliseconds: of each client's streams, looked at every second of the window.
///
/// As libwebrtc and LiveKit have it, over the first packet of each timestamp that is ahead.
pub fn jitter_ms(passed: &[Passed], span: &Span) -> f64 {
    let mut samples = Vec::new();
    for packets in streams(passed, span).into_values() {
        let mut jitter_ms = 0.0;
        let mut last: Option<(Nanos, Rtp)> = None;
        let mut look = span.window.start + SECOND;
        for (p, rtp) in packets {
            let Some(left) = p.left else { continue };
            while left >= look && look <= span.window.end {
                // A stream that comes only later has none yet.
                if last.is_some_and(|(last_left, _)| last_left > look - SECOND) {
                    samples.push(jitter_ms);
                }
                look += SECOND;
            }
            if let Some((last_left, last)) = last {
                let ahead = rtp.sequence.wrapping_sub(last.sequence).cast_signed();
                let ticks = rtp.timestamp.wrapping_sub(last.timestamp).cast_signed();
                if ahead < 0 || ticks == 0 {
                    continue;
                }
                let clock = if rtp.payload_type == OPUS { 48.0 } else { 90.0 };
                let spacing = (left - last_left) as f64 / 1e6 - f64::from(ticks) / clock;
                jitter_ms += (spacing.abs() - jitter_ms) / 16.0;
            }
            last = Some((left, rtp));
        }
    }
    mean(&samples)
}

/// The round trips of ICE's checks as they passed the relay, in milliseconds: from the request's
/// coming to the response's leaving, of those that left within the span.
pub fn ice_rtts_ms(passed: &[Passed], span: &Span) -> Vec<f64> {
    let mut asked = HashMap::new();
    let mut round_trips = Vec::new();
    for p in passed.iter().filter(|p| span.flows.contains(&p.flow)) {
        let What::Stun {
            request,
            transaction,
        } = p.what
        else {
            continue;
        };
        match (p.way, request, p.left) {
            (Way::Up, true, _) => {
                asked.insert(transaction, p.came);
            }
            (Way::Down, false, Some(left)) => {
                if let Some(came) = asked.remove(&transaction)
                    && span.window.contains(&left)
                {
                    round_trips.push((left - came) as f64 / 1e6);
                }
            }
            _ => {}
        }
    }
    round_trips
}

/// How long the relay held back publishers' reports on the way up, and reports to them on the way
/// down: the medians' sum, in milliseconds. Which of these answers which is encrypted, and the time
/// from the server's reading one to its answer is in no round trip.
pub fn rtcp_rtt_ms(passed: &[Passed], span: &Span) -> f64 {
    let of = |way, kind| {
        passed.iter().filter(move |p| {
            p.way == way && p.what == What::Rtcp(kind) && span.window.contains(&p.came)
        })
    };
    let [sender, receiver] = REPORTS;
    let publishers: BTreeSet<usize> = of(Way::Up, sender)
        .map(|p| p.flow)
        .filter(|flow| span.flows.contains(flow))
        .collect();
    let held = |way, kind| {
        let of = of(way, kind).filter(|p| publishers.contains(&p.flow));
        median(
            of.filter_map(|p| Some((p.left? - p.came) as f64 / 1e6))
                .collect(),
        )
    };
    held(Way::Up, sender) + held(Way::Down, receiver)
}

/// The median way of a frame's last packet from the relay to the server and back and through the
/// relay, in milliseconds, its own holding back included: from the publisher's packet's coming to
/// the subscriber's leaving.
///
/// Of what these flows sent. This server leaves payload type, timestamp and length of a packet as
/// they are.
pub fn latency_ms(passed: &[Passed], from: &BTreeSet<usize>, span: &Span) -> f64 {
    let frame = |rtp: &Rtp| (rtp.payload_type, rtp.timestamp, rtp.payload);
    let mut came = HashMap::new();
    let mut ways = Vec::new();
    // As they came to the relay, which is before they left.
    for p in passed {
        let What::Rtp(rtp) = p.what else { continue };
        if !rtp.marker && rtp.payload_type != OPUS {
            continue;
        }
        match (p.way, p.left) {
            (Way::Up, _) => {
                if from.contains(&p.flow) {
                    came.insert(frame(&rtp), p.came);
                }
            }
            (Way::Down, Some(left)) if span.flows.contains(&p.flow) => {
                if let Some(came) = came.get(&frame(&rtp))
                    && span.window.contains(&left)
                {
                    ways.push((left - came) as f64 / 1e6);
                }
            }
            (Way::Down, _) => {}
        }
    }
    median(ways)
}

/// NaN for no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Retransmissions that got through in streams of their own.
pub fn repaired(passed: &[Passed]) -> u32 {
    repairs(passed).into_values().sum()
}

/// NaN for no values: it is within no bound.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    fn span(flows: Range<usize>, window: Range<Nanos>) -> Span {
        Span {
            window,
            flows: flows.collect(),
            ssrcs: Vec::new(),
        }
    }

    fn packet(sequence: u16, came: Nanos, left: Option<Nanos>) -> Passed {
        let rtp = Rtp {
            ssrc: 1,
            sequence,
            timestamp: u32::from(sequence) * 960,
            payload_type: OPUS,
            marker: false,
            payload: 100,
        };
        Passed {
            flow: 0,
            way: Way::Down,
            came,
            left,
            what: What::Rtp(rtp),
        }
    }

    #[test]
    fn a_packet_that_came_again_is_missing_and_not_lost() {
        let passed = [
            packet(65_533, 1, None), // Before the first that got through: nobody knows of it.
            packet(65_534, 2, Some(2)),
            packet(65_535, 3, None),
            packet(0, 4, None),
            packet(2, 6, Some(6)), // 1 never came.
            packet(0, 7, Some(7)),
            packet(4, 8, Some(8)),
            packet(3, 7, Some(9)),
            packet(5, 10, None), // After the last.
        ];
        let expected = Sequences {
            expected: 7,
            missing: 3,
            lost: 0,
            reordered: 1,
        };
        assert_eq!(sequences(&passed, &span(0..1, 0..SECOND)), expected);
        let later = sequences(&passed, &span(0..1, SECOND..2 * SECOND));
        assert_eq!((later.expected, later.lost), (0, 2));
        let none = sequences(&passed, &span(1..2, 0..20));
        assert_eq!(none, Sequences::default());
    }

    #[test]
    fn a_retransmission_in_its_own_stream_repairs_one_packet_of_its_frame() {
        let mut passed: Vec<Passed> = [Some(1), None, None, Some(4)]
            .into_iter()
            .zip(1..)
            .map(|(left, n)| {
                let mut packet = packet(n, Nanos::from(n), left);
                let What::Rtp(rtp) = &mut packet.what else {
                    unreachable!();
                };
                (rtp.payload_type, rtp.timestamp) = (96, 9);
                packet
            })
            .collect();
        let mut repair = passed[1];
        let What::Rtp(rtp) = &mut repair.what else {
            unreachable!();
        };
        (rtp.ssrc, rtp.payload_type, rtp.payload) = (2, RTX, 102);
        passed.push(repair);
        repair.left = Some(5);
        passed.push(repair);
        let counted = sequences(&passed, &span(0..1, 0..2 * SECOND));
        assert_eq!((counted.expected, counted.missing, counted.lost), (4, 2, 1));
    }

    #[test]
    fn jitter_is_the_mean_difference_of_transit_times() {
        const MS: Nanos = 1_000_000;
        let passed: Vec<Passed> = (0..2_000_u16)
            .map(|n| {
                let came = Nanos::from(n) * 20 * MS;
                packet(n, came, Some(came + Nanos::from(n % 2) * 8 * MS))
            })
            .collect();
        let jitter = jitter_ms(&passed, &span(0..1, 20 * SECOND..30 * SECOND));
        assert!((jitter - 8.0).abs() < 1e-6, "{jitter}");
    }

    #[test]
    fn a_round_trip_is_from_request_to_response() {
        let stun = |way, came, left, request| Passed {
            flow: 0,
            way,
            came,
            left: Some(left),
            what: What::Stun {
                request,
                transaction: [1; 12],
            },
        };
        let passed = [
            stun(Way::Up, 1_000_000, 2_000_000, true),
            stun(Way::Down, 3_000_000, 5_000_000, false),
        ];
        assert_eq!(ice_rtts_ms(&passed, &span(0..1, 0..SECOND)), [4.0]);
        assert!(mean(&ice_rtts_ms(&passed, &span(0..1, 0..1))).is_nan());
    }
}
