//! A run that never was: its job, its start and the parts of its vantages, signed and as large as
//! real ones.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{OffsetInterval, Reading, ReferenceClock, RunClock};
use crate::job::{
    ClaimId, Digested, Job, JobSpec, Origin, Quality, Ramp, RunId, SCHEMA_MAJOR, Span, Timestamp,
    Vantage, WriteId,
};
use crate::load::{TierPlan, Window, schedule};
use crate::measure::{Histogram, SignedHistogram};
use crate::participant::Transport;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Decision, Live, Ready, RosterEntry, Slot, Start, StartDocument};
use crate::report::flow::{Flow, Publisher};
use crate::report::part::{
    ConnectedSeries, GeneratorHealth, Headcount, Outcome, PacketCounts, ReportPart, SentCounts,
    SfuInfo, TierClock, TierPart,
};
use crate::signature::SigningKey;
use crate::store::RequestCounts;

/// How long ago it began. It is over.
const AGO: Duration = Duration::from_secs(24 * 3_600);
/// Each tier.
const DURATION: Span = Span::secs(20);
const SETTLE: Span = Span::secs(5);
/// Publishers that a subscriber takes, as the layout `speaker` does.
const TAKEN: u32 = 6;
/// One vantage in so many has no report, so that its tiers are read.
const LOST_ONE_IN: u32 = 100;
const BUILD: &str = "0.1.0 (made up)";
const NODE: &str = "ND_made_up";

/// The run.
pub struct MadeUp {
    job: Digested<Job>,
    start: Start,
    vantages: Vec<(Vantage, SigningKey)>,
}

/// One of its objects.
pub struct Object {
    /// Where.
    pub key: RunKey,
    /// What.
    pub body: Bytes,
}

fn words(e: impl ToString) -> String {
    e.to_string()
}

impl MadeUp {
    /// One of so many vantages and tiers beside the baseline, that was over before `now`.
    ///
    /// # Errors
    /// When no job can be so large.
    pub fn new(vantages: u32, tiers: u32, now: Timestamp) -> Result<MadeUp, String> {
        let ramp: Vec<u32> = (1..=tiers).collect();
        let spec = JobSpec {
            url: Some("wss://sfu.example.com".to_owned()),
            expect: Some(vantages),
            ramp: Some(Ramp::new(&ramp).map_err(words)?),
            duration: Some(DURATION),
            settle: Some(SETTLE),
            max_participants: Some(1_000_000),
            ..JobSpec::default()
        };
        let origin = Origin {
            run: RunId::new(now, vantages),
            write_id: WriteId::from_u64(1),
            now,
        };
        let job = document::digested(Job::resolve(spec, origin).map_err(words)?).map_err(words)?;
        let start_at = now - AGO;
        let mut run = MadeUp {
            start: Start {
                roster: BTreeMap::new(),
                start_at,
                tiers: schedule(&job, start_at),
                reference: ReferenceClock::Sfu,
                offset: None,
                marked: BTreeMap::new(),
                asked: None,
            },
            job,
            vantages: Vec::new(),
        };
        for index in 0..vantages {
            let vantage: Vantage = format!("v{index:05}").parse().map_err(words)?;
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&index.to_le_bytes());
            let key = SigningKey::from_seed(seed).map_err(words)?;
            let entry = RosterEntry {
                claim: Some(claim(&vantage, &key)),
                public_key: Some(key.public()),
                index,
            };
            run.start.roster.insert(vantage.clone(), entry);
            run.vantages.push((vantage, key));
        }
        Ok(run)
    }

    /// Its id.
    pub fn id(&self) -> &RunId {
        &self.job.run
    }

    /// The vantages that have no report, and their tiers: all that a finalizer has to read of
    /// them beside the reports.
    pub fn lost(&self) -> u32 {
        let all = 0..u32::try_from(self.vantages.len()).unwrap_or(u32::MAX);
        u32::try_from(all.filter(|n| is_lost(*n)).count()).unwrap_or(u32::MAX)
    }

    /// What its coordinator wrote.
    ///
    /// # Errors
    /// Never for what is made up here.
    pub fn head(&self) -> Result<Vec<Object>, String> {
        let start = StartDocument {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(2),
            run: self.job.run.clone(),
            job_sha256: self.job.digest,
            decision: Decision::Start(self.start.clone()),
        };
        let at = |item| RunKey::new(&self.job.run, item);
        Ok(vec![
            object(at(Item::Job), document::write(&self.job.document))?,
            object(at(Item::Start), document::write(&start))?,
        ])
    }

    /// What the prober of one vantage wrote, the `index`-th.
    ///
    /// # Errors
    /// Never for what is made up here.
    pub fn of_vantage(&self, index: u32) -> Result<Vec<Object>, String> {
        let n = usize::try_from(index).map_err(words)?;
        let Some((vantage, key)) = self.vantages.get(n) else {
            return Ok(vec![]);
        };
        let run = &self.job.run;
        let claim = claim(vantage, key);
        let at = |item| RunKey::new(run, item);
        let mut dice = Dice(u64::from(index) + 1);
        let tiers: Vec<TierPart> = self
            .start
            .tiers
            .iter()
            .map(|plan| self.tier(index, &claim, *plan, &mut dice))
            .collect();
        let slot = Slot {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(3),
            run: run.clone(),
            vantage: vantage.clone(),
            claim: claim.clone(),
            public_key: key.public(),
            build: BUILD.to_owned(),
        };
        let ready = Ready {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(4),
            run: run.clone(),
            vantage: vantage.clone(),
            claim: claim.clone(),
            build: BUILD.to_owned(),
            sfu_offset: Some(known(500)),
            sfu_node: NODE.to_owned(),
            bucket_offset: Some(known(9_000)),
            must_end_by: None,
            transport: Some(Transport::Udp),
            unfit: None,
            function: None,
        };
        let live = Live {
            schema: SCHEMA_MAJOR,
            run: run.clone(),
            vantage: vantage.clone(),
            claim: claim.clone(),
            sequence: 60,
            phase: "finished".to_owned(),
            connected: 0,
            packets_received: 1_000_000,
            failures: 0,
            own_at: None,
        };
        let mut objects = vec![
            object(at(Item::Slot(vantage.clone(), 0)), document::write(&slot))?,
            object(at(Item::Ready(claim.clone())), document::write(&ready))?,
            object(at(Item::Live(vantage.clone())), document::write(&live))?,
        ];
        for tier in &tiers {
            let place = at(Item::Tier(vantage.clone(), tier.tier));
            let body = document::write_signed(tier, &place, &claim, key);
            objects.push(object(place, body)?);
        }
        if !is_lost(index) {
            let report = self.report(&claim, tiers);
            let place = at(Item::Report(vantage.clone()));
            let body = document::write_signed(&report, &place, &claim, key);
            objects.push(object(place, body)?);
        }
        Ok(objects)
    }

    fn report(&self, claim: &ClaimId, tiers: Vec<TierPart>) -> ReportPart {
        let end = self.start.tiers.last().map(|t| t.window.to);
        ReportPart {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(5),
            run: self.job.run.clone(),
            job_sha256: self.job.digest,
            vantage: claim.vantage(),
            claim: claim.clone(),
            finished_at: end.unwrap_or(self.start.start_at),
            outcome: Outcome::Complete,
            stops: vec![],
            build: BUILD.to_owned(),
            requests: Some(RequestCounts {
                reads: 25,
                lists: 1,
                creates: 24,
                heartbeats: 60,
                deletes: 0,
            }),
            function: None,
            tiers,
        }
    }

    fn tier(&self, index: u32, claim: &ClaimId, plan: TierPlan, dice: &mut Dice) -> TierPart {
        let subscribers = plan.subscribers.max(1);
        let n = u64::from(subscribers);
        let seconds = DURATION.0.as_secs();
        let series = usize::try_from(seconds).unwrap_or(0);
        let fleet = u32::try_from(self.vantages.len()).unwrap_or(u32::MAX);
        let taken = (0..TAKEN.min(fleet)).map(|k| (index + k) % fleet.max(1));
        let flows = taken.filter_map(|k| {
            let (from, _) = self.vantages.get(usize::try_from(k).ok()?)?;
            let flow = Flow {
                subscriptions_wanted: n * seconds * 2,
                subscriptions_receiving: n * seconds * 2,
                video_wanted: n * seconds,
                frame_rate_milli: dice.times(30_000, n * seconds),
                latency_us: dice.signed(60_000, n * seconds * 75),
                ..Flow::default()
            };
            Some((Publisher::Vantage(from.clone()), flow))
        });
        let flows: BTreeMap<Publisher, Flow> = flows.collect();
        let wanted = flows.values().map(|f| f.subscriptions_wanted).sum();
        let packets = n * seconds * 900;
        let phases = [
            ("dns", 1_000),
            ("tcp", 40_000),
            ("tls", 45_000),
            ("websocket", 42_000),
            ("join", 60_000),
            ("ice", 90_000),
            ("dtls", 50_000),
            ("first_packet", 300_000),
            ("first_frame", 420_000),
        ];
        TierPart {
            schema: SCHEMA_MAJOR,
            write_id: WriteId::from_u64(u64::from(plan.tier) + 10),
            run: self.job.run.clone(),
            job_sha256: self.job.digest,
            vantage: claim.vantage(),
            claim: claim.clone(),
            tier: plan.tier,
            window: plan.window,
            measured: plan.window,
            clock: Some(clock(plan.window)),
            requested: Headcount {
                publishers: 1,
                subscribers,
            },
            connected: ConnectedSeries {
                publishers: vec![Some(1); series],
                subscribers: vec![Some(subscribers); series],
            },
            subscriptions_wanted: wanted,
            subscriptions_receiving: wanted,
            flows,
            join_us: dice.times(190_000, 1),
            connect_us: dice.times(330_000, 1),
            phases_us: phases
                .into_iter()
                .map(|(name, us)| (name.to_owned(), dice.times(us, 1)))
                .collect(),
            track_subscribe_us: dice.times(210_000, 2),
            rtt_us: dice.times(42_000, n * seconds),
            rtt_by_us: BTreeMap::from([
                ("ice".to_owned(), dice.times(42_000, n * seconds / 2)),
                ("rtcp".to_owned(), dice.times(42_000, n * seconds / 2)),
            ]),
            jitter_us: dice.times(1_500, n * seconds),
            packets: PacketCounts {
                expected: packets,
                received: packets,
                bytes: packets * 1_100,
                ..PacketCounts::default()
            },
            sent: SentCounts {
                packets: seconds * 400,
                bytes: seconds * 400_000,
                ..SentCounts::default()
            },
            loss_ppm: dice.times(100, n),
            bitrate_in_kbps: dice.times(2_400, n),
            layers: BTreeMap::from([
                ("1280x720".to_owned(), n * seconds),
                ("320x180".to_owned(), n * seconds * 5),
            ]),
            stamp_offset_us: Some(dice.below(300).cast_signed()),
            quality: BTreeMap::from([(Quality::Excellent, n * seconds), (Quality::Good, 1)]),
            failures: BTreeMap::new(),
            bad_input: Some(crate::report::bad_input::BadInput::default()),
            reconnects: 0,
            transports: BTreeMap::from([("udp".to_owned(), n + 1)]),
            generator: GeneratorHealth {
                cpu_ms: Some(seconds * 120),
                cpu_available_ms: seconds * 2_000,
                machine_busy_percent: Some(23.5),
                run_delay_ms: Some(90),
                resident_bytes: Some(40 << 20),
                receive_drops: 0,
                tick_lag_us: dice.times(400, seconds * 100),
                pacing_lag_us: dice.times(700, seconds * 75),
                join_lag_us: dice.times(300, 1),
            },
            sfu: vec![SfuInfo {
                version: "1.11.0".to_owned(),
                edition: "Standard".to_owned(),
                node: NODE.to_owned(),
                region: String::new(),
                protocol: 16,
            }],
        }
    }
}

fn object(
    key: RunKey,
    body: Result<Bytes, crate::rendezvous::RendezvousError>,
) -> Result<Object, String> {
    let body = body.map_err(words)?;
    Ok(Object { key, body })
}

fn claim(vantage: &Vantage, key: &SigningKey) -> ClaimId {
    ClaimId::new(vantage, 0, key.public().nonce())
}

const fn is_lost(index: u32) -> bool {
    index % LOST_ONE_IN == LOST_ONE_IN / 2
}

fn known(half_us: i64) -> OffsetInterval {
    OffsetInterval {
        lo_us: -half_us,
        hi_us: half_us,
    }
}

fn clock(window: Window) -> TierClock {
    let clock = |at| RunClock {
        at,
        by: ReferenceClock::Sfu,
        offset: known(500),
        reading: Reading {
            sfu: Some(known(500)),
            node: NODE.to_owned(),
            bucket: Some(known(9_000)),
        },
    };
    TierClock {
        opened: clock(window.from),
        closed: clock(window.to),
    }
}

/// Numbers that are the same in every run of the bench: SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Up to forty different values, spread about `middle` with a tail above it, of `n` samples.
    fn values(&mut self, middle: u64, n: u64) -> impl Iterator<Item = (u64, u64)> {
        let different = n.clamp(1, 40);
        (0..different).map(move |k| {
            let spread = self.below(middle / 2 + 1) + self.below(middle / 2 + 1);
            let tail = if k % 20 == 19 {
                self.below(middle * 4)
            } else {
                0
            };
            (middle / 2 + spread + tail, n / different)
        })
    }

    fn times(&mut self, middle: u64, n: u64) -> Histogram {
        let mut histogram = Histogram::new();
        for (value, n) in self.values(middle, n) {
            histogram.record_n(value, n);
        }
        histogram
    }

    fn signed(&mut self, middle: u64, n: u64) -> SignedHistogram {
        let mut histogram = SignedHistogram::default();
        for (value, n) in self.values(middle, n) {
            histogram.record_n(value.cast_signed(), n);
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vantage_in_a_hundred_has_no_report() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        for (vantages, lost) in [(10, 0), (100, 1), (250, 2)] {
            assert_eq!(MadeUp::new(vantages, 1, now).unwrap().lost(), lost);
        }
        let run = MadeUp::new(60, 2, now).unwrap();
        let count = |index| run.of_vantage(index).unwrap().len();
        // Slot, ready, live, the baseline and two tiers; and a report.
        assert_eq!((count(1), count(50)), (7, 6));
    }

    #[test]
    fn parts_are_as_large_as_real_ones() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let run = MadeUp::new(10, 20, now).unwrap();
        let objects = run.of_vantage(0).unwrap();
        let report = objects.last().unwrap().body.len();
        // Measured: `muster local` with 20 tiers of 20 s writes reports of this size.
        assert!((100_000..400_000).contains(&report), "{report} bytes");
    }
}
