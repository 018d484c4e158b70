//! What a job will use, as far as its plan tells: an upper estimate, for congestion only lowers it.

use std::time::Duration;

use super::{GbSeconds, Used};
use crate::job::{Job, LEAVE_ALLOWANCE, Media, START_LEAD, Timestamp};
use crate::load::{Place, schedule};
use crate::participant::media::{AUDIO_BITRATE, LAYERS, Quality};
use crate::rendezvous::prober::HEARTBEAT_EVERY;

/// IPv4 and UDP (RFC 791, 768).
pub const DATAGRAM_OVERHEAD: u64 = 20 + 8;
/// With RTP, its extensions and SRTP's tag (RFC 3550, 7714).
const PACKET_OVERHEAD: u64 = DATAGRAM_OVERHEAD + 12 + 12 + 16;
/// Payload of a full packet of video.
const VIDEO_PAYLOAD: u64 = 1_150;
/// Packets of audio each second, of 20 ms.
const AUDIO_PACKETS: u64 = 50;
/// Requests of a prober beside its heartbeats that read.
const READS: u64 = 45;
/// Those that write or list, beside one for each tier.
const WRITES: u64 = 15;
/// Listings and reads of a coordinator, each second.
const COORDINATOR_LISTS: u64 = 1;

/// Bytes a second that one publisher sends, and that one subscriber of a room with so many
/// publishers receives.
pub fn media_rates(media: &Media, vantages: u32) -> (u64, u64) {
    let video = |bps: u64| {
        let bytes = bps / 8;
        bytes + bytes.div_ceil(VIDEO_PAYLOAD) * PACKET_OVERHEAD
    };
    let audio = AUDIO_BITRATE.as_bps() / 8 + AUDIO_PACKETS * PACKET_OVERHEAD;
    let top = |layer: &&crate::participant::media::Layer| {
        media.simulcast || layer.quality == Quality::High
    };
    let sent: u64 = LAYERS
        .iter()
        .filter(top)
        .map(|l| video(l.bitrate.as_bps()))
        .sum();
    let videos = u64::from(media.video_publishers) * u64::from(vantages);
    let audios = u64::from(media.audio_publishers) * u64::from(vantages);
    let shown = usize::try_from(videos).unwrap_or(usize::MAX);
    let received: u64 = (0..shown.min(media.layout.videos()))
        .filter_map(|i| media.layout.size(i))
        .map(|(width, height)| {
            let fits =
                |l: &&crate::participant::media::Layer| l.width >= width && l.height >= height;
            let layers = || LAYERS.iter().filter(top);
            let layer = layers().find(fits).or_else(|| layers().next_back());
            layer.map_or(0, |l| video(l.bitrate.as_bps()))
        })
        .sum();
    let both = u64::from(media.video_publishers) * sent + u64::from(media.audio_publishers) * audio;
    (both, received + audios * audio)
}

/// What the job will use.
pub fn used(job: &Job) -> Used {
    let vantages = job.vantages();
    let (sent, received) = media_rates(&job.media, vantages.publishing);
    let places = Place::all(job);
    let zero = Timestamp::from_micros(0);
    let tiers = schedule(job, zero);
    let length = |from: Timestamp, to: Timestamp| to.saturating_since(from).as_secs();
    let all = tiers.last().map_or(0, |t| length(zero, t.window.to));
    let subscriber_seconds: u64 = tiers
        .iter()
        .map(|tier| {
            let each = |p: &Place| u64::from(p.subscribers(job, tier.tier, tier.subscribers));
            let subscribers: u64 = places.iter().map(each).sum();
            subscribers * length(tier.settle_from, tier.window.to)
        })
        .sum();
    let n = u64::from(job.fleet.size());
    let count = u64::try_from(tiers.len()).unwrap_or(u64::MAX);
    // Probers are there when the job is written, or soon after.
    let wait = match job.times.start_at {
        Some(at) => at.saturating_since(job.created_at),
        None => START_LEAD,
    };
    let seconds = all + wait.as_secs() + LEAVE_ALLOWANCE.as_secs();
    let mut functions = GbSeconds::default();
    for function in job.functions.values() {
        functions.add(*function, Duration::from_secs(seconds));
    }
    Used {
        functions: (!job.functions.is_empty()).then_some(functions),
        invocations: invocations(job.functions.len()),
        bucket_writes: Some(
            n * (WRITES + count + seconds / HEARTBEAT_EVERY.as_secs())
                + seconds * COORDINATOR_LISTS,
        ),
        bucket_reads: Some(n * READS + seconds * COORDINATOR_LISTS),
        prober_egress_bytes: u64::from(vantages.publishing) * sent * all,
        sfu_egress_bytes: subscriber_seconds * received,
    }
}

/// Requests that start a function, in a run of so many probers that are functions: the
/// coordinator's, theirs, and the finalizer's for each report and for the schedule.
pub fn invocations(probers: usize) -> u64 {
    match u64::try_from(probers).unwrap_or(u64::MAX) {
        0 => 0,
        n => n.saturating_mul(2).saturating_add(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Function;
    use crate::job::{JobSpec, sample};

    fn job(ramp: &str) -> Job {
        let spec = JobSpec {
            expect: Some(3),
            ramp: Some(ramp.parse().unwrap()),
            ..JobSpec::default()
        };
        sample::job(spec, Timestamp::from_micros(0))
    }

    #[test]
    fn a_subscriber_of_the_speaker_takes_one_large_video_and_small_ones() {
        // 1,700 kbit/s, twice 160 kbit/s (356x200 is more than 320x180: 450), three tones.
        let (sent, received) = media_rates(&Media::default(), 3);
        let mbps = |bytes: u64| bytes as f64 * 8.0 / 1e6;
        assert!((2.4..2.7).contains(&mbps(sent)), "{}", mbps(sent));
        assert!((2.7..3.2).contains(&mbps(received)), "{}", mbps(received));
    }

    #[test]
    fn twice_the_load_is_twice_the_egress() {
        let (one, two) = (used(&job("10")), used(&job("20")));
        let tier = |u: &Used| u.sfu_egress_bytes;
        // The baseline is the same in both.
        let baseline = tier(&one) * 2 - tier(&two);
        assert!(
            tier(&two) > tier(&one) && baseline < tier(&one) / 9,
            "{baseline}"
        );
        assert_eq!(one.prober_egress_bytes, two.prober_egress_bytes);
        assert_eq!((one.functions, one.invocations), (None, 0));
    }

    #[test]
    fn functions_are_paid_for_from_their_call_to_their_end() {
        let mut job = job("10");
        for (region, arm64) in [("a", true), ("b", false)] {
            let memory_mib = 1_024;
            let function = Function { memory_mib, arm64 };
            job.functions.insert(region.parse().unwrap(), function);
        }
        // Two tiers of 25 s, and what is around them.
        let around = START_LEAD + LEAVE_ALLOWANCE;
        let each = (Duration::from_secs(50) + around).as_secs_f64();
        let all = GbSeconds {
            x86_64: each,
            arm64: each,
        };
        assert_eq!(used(&job).functions, Some(all));
        assert_eq!(used(&job).invocations, 6);

        job.times.start_at = Some(Timestamp::from_micros(0) + Duration::from_secs(60));
        let waits = used(&job).functions.unwrap();
        assert_eq!(waits.arm64, 50.0 + 60.0 + LEAVE_ALLOWANCE.as_secs_f64());
    }
}
