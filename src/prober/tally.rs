//! One tier's figures, from what its participants counted: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::flows::Flows;
use super::host::HostSample;
use super::identity::Role;
use crate::job::{ClaimId, Digest, Quality, RunId, SCHEMA_MAJOR, Vantage, WriteId};
use crate::load::{TierPlan, Window};
use crate::measure::Histogram;
use crate::participant::snapshot::{Phases, RxTotals, TxTotals};
use crate::participant::{EngineHealth, Event, Samples, Snapshot, State, TrackSnapshot};
use crate::report::bad_input::BadInput;
use crate::report::part::{
    ConnectedSeries, GeneratorHealth, Headcount, PacketCounts, SentCounts, SfuInfo, TierClock,
    TierPart,
};

/// A participant's number within its role.
pub type Id = (Role, u32);

/// A participant as the tally sees it at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which it is.
    pub id: Id,
    /// Whether it was asked to join for the tier at hand.
    pub new: bool,
    /// What it has counted.
    pub snapshot: Snapshot,
    /// Each track that it takes.
    pub tracks: Vec<TrackSnapshot>,
}

/// Whose part it becomes.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The run.
    pub run: RunId,
    /// The digest of the job.
    pub job_sha256: Digest,
    /// Where from.
    pub vantage: Vantage,
    /// By which process.
    pub claim: ClaimId,
    /// Tells the write from another.
    pub write_id: WriteId,
    /// The tier.
    pub plan: TierPlan,
    /// When the window was really open, on the reference clock.
    pub measured: Window,
    /// The clocks as known meanwhile.
    pub clock: Option<TierClock>,
    /// What was asked for.
    pub requested: Headcount,
    /// What was added to local time for stamps, in microseconds.
    pub stamp_offset_us: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Base {
    rx: RxTotals,
    tx: TxTotals,
    reconnects: u32,
    bad_input: BadInput,
}

/// A tier in the making.
#[derive(Debug, Default)]
pub struct Tally {
    base: BTreeMap<Id, Base>,
    host: HostSample,
    latest: Headcount,
    subscriptions_wanted: u64,
    flows: Flows,
    connected: ConnectedSeries,
    rtt_by_us: BTreeMap<&'static str, Histogram>,
    jitter_us: Histogram,
    track_subscribe_us: Histogram,
    quality: BTreeMap<Quality, u64>,
    failures: BTreeMap<String, u64>,
    tick_lag_us: Histogram,
    pacing_lag_us: Histogram,
    join_lag_us: Histogram,
}

impl Tally {
    /// What happened to a participant while the tier settled or was measured.
    pub fn events(&mut self, role: Role, events: &[Event]) {
        for event in events {
            match event {
                Event::TrackSubscribed { after, .. } if role == Role::Subscriber => {
                    self.track_subscribe_us.record_duration(*after);
                }
                Event::Failed(failure) => self.failure(failure.cause.name()),
                _ => {}
            }
        }
    }

    /// A participant was to join at `due`: how late it began to.
    pub fn join(&mut self, due: Instant, snapshot: &Snapshot) {
        if let Some(dialled) = snapshot.dialled {
            let late = dialled.saturating_duration_since(due);
            self.join_lag_us.record_duration(late);
        }
    }

    /// A participant that could not even be asked to join.
    pub fn failure(&mut self, cause: &str) {
        *self.failures.entry(cause.to_owned()).or_default() += 1;
    }

    /// The window opens: what was counted before is left out.
    pub fn open(&mut self, seen: &[Seen], host: HostSample) {
        self.host = host;
        self.base = seen
            .iter()
            .map(|s| {
                let base = Base {
                    rx: s.snapshot.rx,
                    tx: s.snapshot.tx,
                    reconnects: s.snapshot.reconnects,
                    bad_input: BadInput::of(&s.snapshot),
                };
                (s.id, base)
            })
            .collect();
        self.latest = connected(seen);
        self.flows.remember(seen);
    }

    /// Samples that were taken inside the window.
    pub fn samples(&mut self, samples: &Samples) {
        for (by, rtt_us) in [("ice", &samples.rtt_us), ("rtcp", &samples.rtcp_rtt_us)] {
            for us in rtt_us {
                let histogram = self.rtt_by_us.entry(by).or_default();
                histogram.record(u64::from(*us));
            }
        }
        self.flows.latency(&samples.latency);
    }

    /// A second of the window is over. Who was connected at its beginning and at its end counts
    /// for it, and a subscription that brought packets in it.
    pub fn second(&mut self, seen: &[Seen], health: EngineHealth) {
        let now = connected(seen);
        self.connected
            .publishers
            .push(Some(now.publishers.min(self.latest.publishers)));
        self.connected
            .subscribers
            .push(Some(now.subscribers.min(self.latest.subscribers)));
        self.latest = now;
        for s in seen {
            if s.id.0 == Role::Subscriber {
                self.subscriptions_wanted += u64::from(s.snapshot.subscriptions_wanted);
                self.flows.second(s);
            }
            if s.snapshot.state.is_connected() {
                if let Some(us) = s.snapshot.rx.jitter_us {
                    self.jitter_us.record(u64::from(us));
                }
                if let Some(q) = s.snapshot.quality {
                    *self.quality.entry(q).or_default() += 1;
                }
            }
        }
        self.flows.remember(seen);
        self.health(health);
    }

    /// A second of the window is over of which the prober saw the beginning or the end too late.
    /// Nothing counts for it.
    pub fn missed(&mut self, seen: &[Seen], health: EngineHealth) {
        self.connected.publishers.push(None);
        self.connected.subscribers.push(None);
        self.latest = connected(seen);
        self.flows.remember(seen);
        self.health(health);
    }

    fn health(&mut self, health: EngineHealth) {
        self.tick_lag_us.record(health.tick_lag_max_us);
        self.pacing_lag_us.record(health.pacing_lag_max_us);
    }

    /// The window closes: the part.
    pub fn close(
        mut self,
        heading: Heading,
        seen: &[Seen],
        host: HostSample,
        processors: f64,
    ) -> TierPart {
        let length = heading.measured.to.saturating_since(heading.measured.from);
        for _ in seen
            .iter()
            .filter(|s| s.new && s.snapshot.state == State::Connecting)
        {
            self.failure("still_connecting");
        }
        let mut part = self.empty_part(heading, host, length, processors);
        let mut sfu = BTreeSet::new();
        for s in seen {
            let base = self.base.get(&s.id).cloned().unwrap_or_default();
            add(&mut part, s, &base, length);
            if let Some(i) = &s.snapshot.server {
                sfu.insert(SfuInfo {
                    version: i.version.clone(),
                    edition: i.edition.clone(),
                    node: i.node_id.clone(),
                    region: i.region.clone(),
                    protocol: i.protocol,
                });
            }
        }
        part.sfu = sfu.into_iter().collect();
        part
    }

    fn empty_part(
        &self,
        heading: Heading,
        host: HostSample,
        length: Duration,
        processors: f64,
    ) -> TierPart {
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let flows = self.flows.of(&heading.run);
        let mut rtt_us = Histogram::new();
        for by in self.rtt_by_us.values() {
            rtt_us.merge(by);
        }
        let named = |(by, h): (&&str, &Histogram)| ((*by).to_owned(), h.clone());
        TierPart {
            schema: SCHEMA_MAJOR,
            write_id: heading.write_id,
            run: heading.run,
            job_sha256: heading.job_sha256,
            vantage: heading.vantage,
            claim: heading.claim,
            tier: heading.plan.tier,
            window: heading.plan.window,
            measured: heading.measured,
            clock: heading.clock,
            requested: heading.requested,
            connected: self.connected.clone(),
            subscriptions_wanted: self.subscriptions_wanted,
            subscriptions_receiving: flows.values().map(|f| f.subscriptions_receiving).sum(),
            flows,
            join_us: Histogram::new(),
            connect_us: Histogram::new(),
            phases_us: BTreeMap::new(),
            track_subscribe_us: self.track_subscribe_us.clone(),
            rtt_us,
            rtt_by_us: self.rtt_by_us.iter().map(named).collect(),
            layers: self.flows.layers().clone(),
            stamp_offset_us: heading.stamp_offset_us,
            jitter_us: self.jitter_us.clone(),
            packets: PacketCounts::default(),
            sent: SentCounts {
                send_failures: Some(0),
                ..SentCounts::default()
            },
            loss_ppm: Histogram::new(),
            bitrate_in_kbps: Histogram::new(),
            quality: self.quality.clone(),
            failures: self.failures.clone(),
            bad_input: Some(BadInput::default()),
            reconnects: 0,
            transports: BTreeMap::new(),
            generator: GeneratorHealth {
                cpu_ms: since(host.cpu_ms, self.host.cpu_ms),
                cpu_available_ms: millis(length.mul_f64(processors)),
                machine_busy_percent: host.machine_busy_percent(&self.host),
                run_delay_ms: since(host.run_delay_ms, self.host.run_delay_ms),
                resident_bytes: host.resident_bytes,
                receive_drops: 0,
                tick_lag_us: self.tick_lag_us.clone(),
                pacing_lag_us: self.pacing_lag_us.clone(),
                join_lag_us: self.join_lag_us.clone(),
            },
            sfu: Vec::new(),
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn connected(seen: &[Seen]) -> Headcount {
    let mut count = Headcount::default();
    for s in seen.iter().filter(|s| s.snapshot.state.is_connected()) {
        match s.id.0 {
            Role::Publisher => count.publishers += 1,
            Role::Subscriber => count.subscribers += 1,
            Role::Tester => {}
        }
    }
    count
}

/// Adds what one participant did in the window.
fn add(part: &mut TierPart, s: &Seen, base: &Base, length: Duration) {
    let (rx, rx0) = (&s.snapshot.rx, &base.rx);
    let (tx, tx0) = (&s.snapshot.tx, &base.tx);
    let drops = rx.own_buffer_drops.saturating_sub(rx0.own_buffer_drops);
    part.generator.receive_drops += drops;
    let bad = BadInput::of(&s.snapshot).since(&base.bad_input);
    part.bad_input = BadInput::together(part.bad_input, Some(bad));
    part.reconnects += u64::from(s.snapshot.reconnects.saturating_sub(base.reconnects));
    if s.new {
        phases(part, &s.snapshot.phases);
    }
    if s.snapshot.state.is_connected()
        && let Some(path) = &s.snapshot.path
    {
        *part
            .transports
            .entry(path.transport.to_owned())
            .or_default() += 1;
    }
    part.sent.retransmitted += tx.retransmitted.saturating_sub(tx0.retransmitted);
    part.sent.packets += tx
        .packets
        .saturating_sub(tx0.packets)
        .saturating_sub(tx.retransmitted.saturating_sub(tx0.retransmitted));
    part.sent.bytes += tx.bytes.saturating_sub(tx0.bytes);
    part.sent.frames_skipped += tx.frames_skipped.saturating_sub(tx0.frames_skipped);
    let refused = tx.send_failures.saturating_sub(tx0.send_failures);
    *part.sent.send_failures.get_or_insert_default() += refused;
    if s.id.0 != Role::Subscriber {
        return;
    }
    let expected = rx.expected.saturating_sub(rx0.expected);
    let lost = rx.lost.saturating_sub(rx0.lost);
    let pending = rx.pending.saturating_sub(rx0.pending);
    let bytes = rx.bytes.saturating_sub(rx0.bytes);
    let p = &mut part.packets;
    p.expected += expected;
    p.received += expected.saturating_sub(lost).saturating_sub(pending);
    p.missing_before_rtx += rx.missing_before_rtx.saturating_sub(rx0.missing_before_rtx);
    p.recovered += rx.recovered.saturating_sub(rx0.recovered);
    let lost_own = rx.lost_own.saturating_sub(rx0.lost_own);
    p.missing_own += rx.missing_own.saturating_sub(rx0.missing_own);
    p.lost += lost;
    p.own_drops += lost_own;
    p.duplicates += rx.duplicates.saturating_sub(rx0.duplicates);
    p.reordered += rx.reordered.saturating_sub(rx0.reordered);
    p.bytes += bytes;
    let not_own = lost.saturating_sub(lost_own);
    if let Some(ppm) = not_own.saturating_mul(1_000_000).checked_div(expected) {
        part.loss_ppm.record(ppm);
    }
    if s.snapshot.state.is_connected() && !length.is_zero() {
        let kbps = u128::from(bytes) * 8 * 1_000 / length.as_micros();
        part.bitrate_in_kbps
            .record(u64::try_from(kbps).unwrap_or(u64::MAX));
    }
}

fn phases(part: &mut TierPart, p: &Phases) {
    if let Some(d) = p.joined {
        part.join_us.record_duration(d);
    }
    if let Some(d) = p.connected {
        part.connect_us.record_duration(d);
    }
    for (name, d) in [
        ("dns", p.dns),
        ("tcp", p.tcp),
        ("tls", p.tls),
        ("websocket", p.websocket),
        ("join", p.join),
        ("ice", p.ice),
        ("dtls", p.dtls),
        ("first_packet", p.first_packet),
        ("first_frame", p.first_frame),
    ] {
        if let Some(d) = d {
            part.phases_us
                .entry(name.to_owned())
                .or_default()
                .record_duration(d);
        }
    }
}

#[cfg(test)]
mod tests;
