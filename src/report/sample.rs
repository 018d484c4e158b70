//! Made-up parts for tests: plausible figures, or any figures at all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::combine::{CombineInputs, VantageState};
use super::combined::OtherRequests;
use super::flow::{Flow, Publisher};
use super::part::{
    ConnectedSeries, GeneratorHealth, Headcount, Outcome, PacketCounts, ReportPart, SentCounts,
    SfuInfo, TierClock, TierPart,
};
use crate::clock::{MAX_DRIFT_PPM, OffsetInterval, Reading, RunClock};
use crate::job::{
    ClaimId, Digest, Fleet, Job, JobSpec, Origin, Quality, Ramp, RunId, SCHEMA_MAJOR, Span,
    Timestamp, Vantage, WriteId,
};
use crate::load::{Window, schedule};
use crate::measure::{Histogram, SignedHistogram};
use crate::rendezvous::objects::{ReferenceClock, RosterEntry, Start};
use crate::store::RequestCounts;

const DURATION_S: u32 = 10;

/// A label.
pub fn vantage(label: &str) -> Vantage {
    label.parse().unwrap()
}

fn claim(vantage: &Vantage) -> ClaimId {
    ClaimId::new(vantage, 0, 1)
}

/// The job's digest.
pub fn job_sha256() -> Digest {
    Digest::of(b"job")
}

/// A job of vantages a, b, c with ramp 5,10,20.
pub fn job() -> Job {
    let spec = JobSpec {
        url: Some("ws://127.0.0.1:7880".to_owned()),
        vantages: Some(["a", "b", "c"].map(|v| vantage(v).into()).to_vec()),
        ramp: Some(Ramp::new(&[5, 10, 20]).unwrap()),
        duration: Some(Span::secs(u64::from(DURATION_S))),
        ..JobSpec::default()
    };
    let origin = Origin {
        run: "20261122-071339-4f9c2a".parse::<RunId>().unwrap(),
        write_id: WriteId::from_u64(1),
        now: Timestamp::from_micros(1_795_331_619_000_000),
    };
    Job::resolve(spec, origin).unwrap()
}

/// Its start, all three on the roster.
pub fn start(job: &Job) -> Start {
    let start_at = job.created_at + Duration::from_secs(9);
    let labels = ["a", "b", "c"].map(vantage).into_iter().zip(0u32..);
    Start {
        roster: labels
            .map(|(v, index)| {
                let claim = Some(claim(&v));
                let entry = RosterEntry {
                    claim,
                    public_key: None,
                    index,
                };
                (v, entry)
            })
            .collect(),
        start_at,
        tiers: schedule(job, start_at),
        reference: ReferenceClock::Sfu,
        offset: None,
        marked: BTreeMap::new(),
        asked: None,
    }
}

fn histogram(us: &[u64], n: u64) -> Histogram {
    let mut h = Histogram::new();
    for us in us {
        h.record_n(*us, n);
    }
    h
}

/// A vantage's publishers.
pub fn publisher(label: &str) -> Publisher {
    Publisher::Vantage(vantage(label))
}

fn flow(subscribers: u64) -> Flow {
    Flow {
        subscriptions_wanted: subscribers * 2,
        subscriptions_receiving: subscribers * 2,
        video_wanted: subscribers,
        frame_rate_milli: histogram(&[29_000, 30_000, 31_000], subscribers),
        latency_us: latency(&[38_000, 41_000, 47_000], subscribers),
        ..Flow::default()
    }
}

/// So many frames of each of these latencies.
pub fn latency(us: &[i64], n: u64) -> SignedHistogram {
    let mut h = SignedHistogram::default();
    for us in us {
        h.record_n(*us, n);
    }
    h
}

/// A tier in which nothing came from a vantage's publishers.
pub fn silent(label: &str, tier: u32, from: &str) -> TierPart {
    let mut part = part(label, tier);
    if let Some(flow) = part.flows.get_mut(&publisher(from)) {
        part.subscriptions_receiving -= flow.subscriptions_receiving;
        flow.subscriptions_receiving = 0;
    }
    part
}

/// Clocks that are known within a millisecond.
fn clock(window: Window) -> TierClock {
    let known = OffsetInterval {
        lo_us: -500,
        hi_us: 500,
    };
    let clock = |at| RunClock {
        at,
        by: ReferenceClock::Sfu,
        offset: known,
        reading: Reading {
            sfu: Some(known),
            node: "ND_x8".to_owned(),
            bucket: Some(known.aged(Duration::from_secs(20), MAX_DRIFT_PPM)),
        },
    };
    TierClock {
        opened: clock(window.from),
        closed: clock(window.to),
    }
}

/// A tier that held, as a fit prober measured it.
pub fn part(label: &str, tier: u32) -> TierPart {
    let job = job();
    let plan = start(&job).tiers[usize::try_from(tier).unwrap()];
    let subscribers = plan.subscribers;
    let n = u64::from(subscribers);
    let seconds = usize::try_from(DURATION_S).unwrap();
    let vantage = vantage(label);
    TierPart {
        schema: SCHEMA_MAJOR,
        write_id: WriteId::from_u64(u64::from(tier)),
        run: job.run,
        job_sha256: job_sha256(),
        claim: claim(&vantage),
        vantage,
        tier,
        window: plan.window,
        measured: plan.window,
        clock: Some(clock(plan.window)),
        requested: Headcount {
            publishers: 1,
            subscribers,
        },
        connected: ConnectedSeries {
            publishers: vec![Some(1); seconds],
            subscribers: vec![Some(subscribers); seconds],
        },
        subscriptions_wanted: n * 6,
        subscriptions_receiving: n * 6,
        flows: ["a", "b", "c"]
            .map(|from| (publisher(from), flow(n)))
            .into(),
        join_us: histogram(&[18_000, 25_000, 31_000], n),
        connect_us: histogram(&[90_000, 110_000, 160_000], n),
        phases_us: BTreeMap::from([
            ("ice".to_owned(), histogram(&[40_000, 60_000], n)),
            ("dtls".to_owned(), histogram(&[20_000, 30_000], n)),
        ]),
        track_subscribe_us: histogram(&[60_000, 140_000, 210_000], n),
        rtt_us: histogram(&[400, 700, 1_300, 2_600], n * 3),
        rtt_by_us: [
            ("ice".to_owned(), histogram(&[400, 1_300], n * 3)),
            ("rtcp".to_owned(), histogram(&[700, 2_600], n * 3)),
        ]
        .into(),
        layers: [("1280x720".to_owned(), n), ("320x180".to_owned(), n * 2)].into(),
        stamp_offset_us: Some(0),
        jitter_us: histogram(&[200, 900, 2_100], n * 3),
        packets: PacketCounts {
            expected: 2_000 * n,
            received: 2_000 * n,
            bytes: 2_000_000 * n,
            ..PacketCounts::default()
        },
        sent: SentCounts {
            packets: 2_900,
            bytes: 2_900_000,
            send_failures: Some(0),
            ..SentCounts::default()
        },
        loss_ppm: histogram(&[0], n),
        bitrate_in_kbps: histogram(&[1_600], n),
        quality: BTreeMap::from([(Quality::Excellent, n * 9), (Quality::Good, n)]),
        failures: BTreeMap::new(),
        bad_input: Some(crate::report::bad_input::BadInput::default()),
        reconnects: 0,
        transports: BTreeMap::from([("udp".to_owned(), n + 1)]),
        generator: GeneratorHealth {
            cpu_ms: Some(1_500),
            cpu_available_ms: 20_000,
            machine_busy_percent: Some(40.0),
            run_delay_ms: Some(120),
            resident_bytes: Some(24 << 20),
            receive_drops: 0,
            tick_lag_us: histogram(&[100, 900, 4_000], 500),
            pacing_lag_us: histogram(&[100, 900, 4_000], 500),
            join_lag_us: histogram(&[100, 900, 4_000], 5),
        },
        sfu: vec![SfuInfo {
            version: "1.11.0".to_owned(),
            edition: "Standard".to_owned(),
            node: "ND_x8".to_owned(),
            region: String::new(),
            protocol: 16,
        }],
    }
}

/// A tier with a share of its packets lost on the path.
pub fn lossy(label: &str, tier: u32, percent: u64) -> TierPart {
    let mut part = part(label, tier);
    let p = &mut part.packets;
    p.missing_before_rtx = p.expected * percent * 2 / 100;
    p.lost = p.expected * percent / 100;
    p.recovered = p.missing_before_rtx - p.lost;
    p.received = p.expected - p.lost;
    for flow in part.flows.values_mut() {
        flow.lost = p.lost / 3;
    }
    let subscribers = u64::from(part.requested.subscribers);
    part.loss_ppm = histogram(&[percent * 10_000], subscribers);
    part
}

/// A prober that was stopped for long within the tier.
pub fn starve(part: &mut TierPart) {
    part.generator.tick_lag_us = histogram(&[2_000, 380_000], 500);
}

/// Every part of a run in which all held.
pub fn healthy() -> CombineInputs {
    let job = job();
    let start = start(&job);
    let tiers: Vec<TierPart> = ["a", "b", "c"]
        .into_iter()
        .flat_map(|label| (0..4).map(move |tier| part(label, tier)))
        .collect();
    let reports = ["a", "b", "c"].map(|label| ReportPart {
        requests: Some(RequestCounts {
            reads: 21,
            lists: 3,
            creates: 7,
            heartbeats: 42,
            deletes: 0,
        }),
        function: None,
        schema: SCHEMA_MAJOR,
        write_id: WriteId::from_u64(99),
        run: job.run.clone(),
        job_sha256: job_sha256(),
        vantage: vantage(label),
        claim: claim(&vantage(label)),
        finished_at: start.tiers[3].window.to,
        outcome: Outcome::Complete,
        stops: vec![],
        build: "0.1.0".to_owned(),
        tiers: tiers
            .iter()
            .filter(|t| t.vantage.as_str() == label)
            .cloned()
            .collect(),
    });
    let state = |label| VantageState {
        claim: Some(claim(&vantage(label))),
        ready: true,
        last_heartbeat: Some(start.tiers[2].window.from),
        last_phase: Some("tier 2".to_owned()),
        build: Some("0.1.0".to_owned()),
    };
    CombineInputs {
        vantages: ["a", "b", "c"].map(|l| (vantage(l), state(l))).into(),
        start: Some(start),
        job,
        cancelled: None,
        aborted: None,
        tiers,
        packed: vec![],
        reports: reports.to_vec(),
        rejected: vec![],
        requests: OtherRequests {
            coordinator: Some(RequestCounts {
                reads: 12,
                lists: 40,
                creates: 9,
                heartbeats: 0,
                deletes: 2,
            }),
            finalizer: Some(RequestCounts {
                reads: 6,
                lists: 1,
                creates: 2,
                heartbeats: 0,
                deletes: 0,
            }),
        },
    }
}

/// A fleet of so many healthy vantages of which the last, [`fleet_broken`], is slow.
pub fn fleet(vantages: u32) -> CombineInputs {
    let all = healthy();
    let labels = (1..vantages).map(|n| vantage(&format!("v{n:05}")));
    let labels: Vec<Vantage> = labels.chain([fleet_broken()]).collect();
    let mut inputs = CombineInputs {
        tiers: vec![],
        reports: vec![],
        vantages: BTreeMap::new(),
        ..all.clone()
    };
    inputs.job.fleet = Fleet::Vantages(labels.iter().cloned().collect());
    let start = inputs.start.as_mut().unwrap();
    start.roster.clear();
    for (label, index) in labels.iter().zip(0..) {
        let entry = RosterEntry {
            claim: Some(claim(label)),
            public_key: None,
            index,
        };
        start.roster.insert(label.clone(), entry);
        let mut report = all.reports[0].clone();
        (report.vantage, report.claim) = (label.clone(), claim(label));
        for tier in &mut report.tiers {
            *tier = part(label.as_str(), tier.tier);
            if *label == fleet_broken() && tier.tier > 0 {
                tier.rtt_us = histogram(&[900_000], 100);
            }
        }
        inputs.reports.push(report);
    }
    inputs
}

/// The slow vantage of a [`fleet`].
pub fn fleet_broken() -> Vantage {
    vantage("worst")
}

/// Put a part where another of its tier and vantage was, in objects and reports.
pub fn replace(inputs: &mut CombineInputs, part: &TierPart) {
    let in_reports = inputs.reports.iter_mut().flat_map(|r| &mut r.tiers);
    for old in inputs.tiers.iter_mut().chain(in_reports) {
        if (&old.vantage, old.tier) == (&part.vantage, part.tier) {
            *old = part.clone();
        }
    }
}

/// The report of this vantage never came, nor did its tiers from `tier` on.
pub fn kill(inputs: &mut CombineInputs, label: &str, tier: u32) {
    inputs.reports.retain(|r| r.vantage.as_str() != label);
    inputs
        .tiers
        .retain(|t| t.vantage.as_str() != label || t.tier < tier);
}

/// Any figures, by a seed: what an honest prober never sends as well.
pub fn any_part(seed: u64) -> TierPart {
    let mut state = seed;
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    };
    let label = ["a", "b", "c"][usize::try_from(draw(3)).unwrap()];
    let mut part = part(label, u32::try_from(draw(4)).unwrap());
    let expected = draw(u64::MAX);
    part.packets = PacketCounts {
        expected,
        received: draw(u64::MAX),
        missing_before_rtx: draw(100_000),
        missing_own: draw(1_000),
        recovered: draw(1_000),
        lost: draw(100_000),
        own_drops: draw(1_000),
        duplicates: draw(10),
        reordered: draw(10),
        bytes: draw(1 << 40),
    };
    part.rtt_us = histogram(&[draw(5_000), draw(5_000_000), draw(u64::MAX)], draw(50));
    part.jitter_us = histogram(&[draw(5_000), draw(50_000)], draw(50));
    part.join_us = histogram(&[draw(5_000_000)], draw(3));
    part.quality = Quality::ALL.map(|q| (q, draw(40))).into();
    part.connected
        .publishers
        .truncate(usize::try_from(draw(11)).unwrap());
    part.subscriptions_receiving = draw(60);
    for flow in part.flows.values_mut() {
        flow.subscriptions_receiving = draw(40);
        flow.lost = draw(40_000);
        flow.freeze_us = draw(9_000_000);
        flow.frame_rate_milli = histogram(&[draw(30_000), draw(60_000)], draw(20));
        let us = [draw(300_000), draw(50_000)].map(|us| us.cast_signed() - 5_000);
        flow.latency_us = latency(&us, draw(20));
    }
    if draw(4) == 0 {
        part.flows.insert(Publisher::Other, flow(draw(3)));
    }
    if draw(8) == 0 {
        // As an older prober sends it.
        part.flows.clear();
    }
    part.sent.frames_skipped = draw(40);
    part.sent.send_failures = (draw(4) > 0).then(|| draw(4));
    part.stamp_offset_us = (draw(3) > 0).then_some(draw(20_000).cast_signed());
    part.generator.tick_lag_us = histogram(&[draw(1_000), draw(70_000)], 100);
    part.failures = BTreeMap::from([("ice_timeout".to_owned(), draw(3))]);
    part.bad_input = (draw(4) > 0).then(|| crate::report::bad_input::BadInput {
        malformed: draw(3),
        ..Default::default()
    });
    part
}

/// The same run, with a and b as two probers of one vantage, iad, and c as sjc.
pub fn rolled_up(mut inputs: CombineInputs) -> CombineInputs {
    fn of(old: &Vantage) -> Vantage {
        vantage(match old.as_str() {
            "a" => "iad/0",
            "b" => "iad/1",
            _ => "sjc",
        })
    }
    fn part(part: &mut TierPart) {
        part.vantage = of(&part.vantage);
        part.claim = claim(&part.vantage);
        let renamed = |publisher| match publisher {
            Publisher::Vantage(v) => Publisher::Vantage(of(&v)),
            Publisher::Other => Publisher::Other,
        };
        let flows = std::mem::take(&mut part.flows).into_iter();
        part.flows = flows.map(|(from, flow)| (renamed(from), flow)).collect();
    }
    inputs.job.fleet = crate::job::Fleet::Vantages(["a", "b", "c"].map(|l| of(&vantage(l))).into());
    if let Some(start) = &mut inputs.start {
        let roster = std::mem::take(&mut start.roster).into_iter();
        let entry = |(v, entry): (Vantage, RosterEntry)| {
            let claim = entry.claim.as_ref().map(|_| claim(&of(&v)));
            (of(&v), RosterEntry { claim, ..entry })
        };
        start.roster = roster.map(entry).collect();
    }
    inputs.tiers.iter_mut().for_each(part);
    for report in &mut inputs.reports {
        report.vantage = of(&report.vantage);
        report.claim = claim(&report.vantage);
        report.tiers.iter_mut().for_each(part);
    }
    let states = std::mem::take(&mut inputs.vantages).into_iter();
    let state = |(v, state): (Vantage, VantageState)| {
        let claim = state.claim.as_ref().map(|_| claim(&of(&v)));
        (of(&v), VantageState { claim, ..state })
    };
    inputs.vantages = states.map(state).collect();
    inputs
}

/// A prober that was asked for these, and so measured nothing else.
pub fn asked_for(part: &mut TierPart, publishers: u32, subscribers: u32) {
    part.requested = Headcount {
        publishers,
        subscribers,
    };
    let seconds = part.connected.publishers.len();
    part.connected = ConnectedSeries {
        publishers: vec![Some(publishers); seconds],
        subscribers: vec![Some(subscribers); seconds],
    };
    if subscribers == 0 {
        (part.subscriptions_wanted, part.subscriptions_receiving) = (0, 0);
        part.flows.clear();
        part.packets = PacketCounts::default();
        (part.loss_ppm, part.bitrate_in_kbps) = (Histogram::new(), Histogram::new());
        (part.jitter_us, part.track_subscribe_us) = (Histogram::new(), Histogram::new());
    }
    if publishers == 0 {
        part.sent = SentCounts::default();
    }
    if (publishers, subscribers) == (0, 0) {
        part.quality.clear();
        (part.rtt_us, part.join_us, part.connect_us) =
            (Histogram::new(), Histogram::new(), Histogram::new());
    }
}
