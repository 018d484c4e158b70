//! The sums of one tier, over any number of vantages.
//!
//! Only integers are added, so that parts give the same sums in any order and any grouping.
//! A part must be added once; [`super::combine`] sees to that.

use std::collections::BTreeMap;

use super::bad_input::BadInput;
use super::flow::{Flow, Publisher};
use super::part::{Headcount, PacketCounts, SentCounts, TierPart};
use crate::job::Quality;
use crate::measure::{Histogram, SignedHistogram};

/// Sums and histograms of a tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierMerge {
    /// How many parts are in it.
    pub vantages: u32,
    /// Participants asked for.
    pub requested: Headcount,
    /// Participants connected at second 0, 1, … of the window.
    pub connected: Vec<Second>,
    /// Subscriptions that the layout wants.
    pub subscriptions_wanted: u64,
    /// Of these, with packets.
    pub subscriptions_receiving: u64,
    /// What came from whom.
    pub flows: BTreeMap<Publisher, Flow>,
    /// Subscribers' packets.
    pub packets: PacketCounts,
    /// Publishers' packets.
    pub sent: SentCounts,
    /// Lost after retransmission, each part's own drops left out.
    pub lost_on_path: u64,
    /// Missing before retransmission, each part's own drops left out.
    pub missing_on_path: u64,
    /// Received by all subscribers, in bits per second.
    pub bps_in: u64,
    /// Sent by all publishers, in bits per second.
    pub bps_out: u64,
    /// Media-path round trip.
    pub rtt_us: Histogram,
    /// The same by how it was measured.
    pub rtt_by_us: BTreeMap<String, Histogram>,
    /// Seconds of video subscriptions by the layer received.
    pub layers: BTreeMap<String, u64>,
    /// Interarrival jitter.
    pub jitter_us: Histogram,
    /// Dial to JoinResponse.
    pub join_us: Histogram,
    /// Dial to ICE and DTLS up.
    pub connect_us: Histogram,
    /// Each phase of connecting.
    pub phases_us: BTreeMap<String, Histogram>,
    /// Subscription to first packet.
    pub track_subscribe_us: Histogram,
    /// Loss of each subscriber.
    pub loss_ppm: Histogram,
    /// Bit rate of each subscriber.
    pub bitrate_in_kbps: Histogram,
    /// Samples of LiveKit's connection quality.
    pub quality: BTreeMap<Quality, u64>,
    /// Participants that failed, by cause.
    pub failures: BTreeMap<String, u64>,
    /// What no protocol allows.
    pub bad_input: Option<BadInput>,
    /// Signalling sessions lost and resumed.
    pub reconnects: u64,
    /// Participants by selected transport.
    pub transports: BTreeMap<String, u64>,
}

/// Participants connected in one second, over the vantages that sampled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// How many vantages these are.
    pub vantages: u32,
    /// Publishers.
    pub publishers: u64,
    /// Subscribers.
    pub subscribers: u64,
}

impl TierMerge {
    /// One part's.
    pub fn of(part: TierPart) -> Self {
        let mut packets = part.packets;
        // An older part tells only of own drops that never came.
        packets.missing_own = packets.missing_own.max(packets.own_drops);
        let p = &packets;
        // Own drops are a part of what was lost; a part that says otherwise gains nothing by it.
        let lost_on_path = p.lost.saturating_sub(p.own_drops);
        let missing_on_path = p.missing_before_rtx.saturating_sub(p.missing_own);
        let measured = part.measured.to.saturating_since(part.measured.from);
        let bps = |bytes: u64| {
            let us = measured.as_micros();
            let bits = u128::from(bytes) * 8 * 1_000_000;
            bits.checked_div(us)
                .map_or(0, |bps| u64::try_from(bps).unwrap_or(u64::MAX))
        };
        let series = &part.connected;
        let connected = series
            .publishers
            .iter()
            .zip(&series.subscribers)
            .map(|second| match second {
                (Some(publishers), Some(subscribers)) => Second {
                    vantages: 1,
                    publishers: u64::from(*publishers),
                    subscribers: u64::from(*subscribers),
                },
                _ => Second::default(),
            })
            .collect();
        Self {
            vantages: 1,
            requested: part.requested,
            connected,
            subscriptions_wanted: part.subscriptions_wanted,
            subscriptions_receiving: part.subscriptions_receiving,
            packets,
            sent: part.sent,
            lost_on_path,
            missing_on_path,
            bps_in: bps(part.packets.bytes),
            bps_out: bps(part.sent.bytes),
            flows: part.flows,
            rtt_us: part.rtt_us,
            rtt_by_us: part.rtt_by_us,
            layers: part.layers,
            jitter_us: part.jitter_us,
            join_us: part.join_us,
            connect_us: part.connect_us,
            phases_us: part.phases_us,
            track_subscribe_us: part.track_subscribe_us,
            loss_ppm: part.loss_ppm,
            bitrate_in_kbps: part.bitrate_in_kbps,
            quality: part.quality,
            failures: part.failures,
            bad_input: part.bad_input,
            reconnects: part.reconnects,
            transports: part.transports,
        }
    }

    /// What came from all publishers together, apart from its latency.
    pub fn flow_but_latency(&self) -> Flow {
        let mut all = Flow::default();
        for flow in self.flows.values() {
            all.merge_but_latency(flow);
        }
        all
    }

    /// The latency of what came from all publishers.
    pub fn latency_us(&self) -> SignedHistogram {
        let mut all = SignedHistogram::default();
        for flow in self.flows.values() {
            all.merge(&flow.latency_us);
        }
        all
    }

    /// Add another's. Associative and commutative.
    pub fn merge(&mut self, other: &TierMerge) {
        self.merge_but_flows(other);
        for (publisher, flow) in &other.flows {
            self.flows.entry(publisher.clone()).or_default().merge(flow);
        }
    }

    /// The same where nobody asks any more who published: what came from everybody is one flow.
    pub fn merge_all_flows(&mut self, other: &TierMerge) {
        self.merge_but_flows(other);
        let all = self.flows.entry(Publisher::Other).or_default();
        for flow in other.flows.values() {
            all.merge(flow);
        }
    }

    fn merge_but_flows(&mut self, other: &TierMerge) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        self.vantages = self.vantages.saturating_add(other.vantages);
        self.requested.publishers = self
            .requested
            .publishers
            .saturating_add(other.requested.publishers);
        self.requested.subscribers = self
            .requested
            .subscribers
            .saturating_add(other.requested.subscribers);
        if self.connected.len() < other.connected.len() {
            self.connected
                .resize(other.connected.len(), Second::default());
        }
        for (a, b) in self.connected.iter_mut().zip(&other.connected) {
            a.vantages = a.vantages.saturating_add(b.vantages);
            sum(&mut a.publishers, b.publishers);
            sum(&mut a.subscribers, b.subscribers);
        }
        sum(&mut self.subscriptions_wanted, other.subscriptions_wanted);
        sum(
            &mut self.subscriptions_receiving,
            other.subscriptions_receiving,
        );
        self.packets.merge(&other.packets);
        self.sent.merge(&other.sent);
        sum(&mut self.lost_on_path, other.lost_on_path);
        sum(&mut self.missing_on_path, other.missing_on_path);
        sum(&mut self.bps_in, other.bps_in);
        sum(&mut self.bps_out, other.bps_out);
        self.rtt_us.merge(&other.rtt_us);
        self.jitter_us.merge(&other.jitter_us);
        self.join_us.merge(&other.join_us);
        self.connect_us.merge(&other.connect_us);
        merge_named(&mut self.phases_us, &other.phases_us);
        merge_named(&mut self.rtt_by_us, &other.rtt_by_us);
        merge_counts(&mut self.layers, &other.layers);
        self.track_subscribe_us.merge(&other.track_subscribe_us);
        self.loss_ppm.merge(&other.loss_ppm);
        self.bitrate_in_kbps.merge(&other.bitrate_in_kbps);
        merge_counts(&mut self.quality, &other.quality);
        merge_counts(&mut self.failures, &other.failures);
        self.bad_input = BadInput::together(self.bad_input, other.bad_input);
        sum(&mut self.reconnects, other.reconnects);
        merge_counts(&mut self.transports, &other.transports);
    }
}

fn merge_named(into: &mut BTreeMap<String, Histogram>, from: &BTreeMap<String, Histogram>) {
    for (name, h) in from {
        into.entry(name.clone()).or_default().merge(h);
    }
}

fn merge_counts<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, n) in from {
        let count = into.entry(key.clone()).or_default();
        *count = count.saturating_add(*n);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use proptest::prelude::*;

    fn sum<'a>(parts: impl IntoIterator<Item = &'a TierMerge>) -> TierMerge {
        let mut total = TierMerge::default();
        for part in parts {
            total.merge(part);
        }
        total
    }

    proptest! {
        #[test]
        fn any_order_and_grouping_give_the_same_sums(
            seeds in prop::collection::vec(any::<u64>(), 0..6),
            cut in 0usize..6,
        ) {
            let parts: Vec<TierMerge> = seeds.iter().map(|s| TierMerge::of(sample::any_part(*s))).collect();
            let all = sum(&parts);
            prop_assert_eq!(&all, &sum(parts.iter().rev()));
            let (left, right) = parts.split_at(cut.min(parts.len()));
            prop_assert_eq!(&all, &sum([&sum(left), &sum(right)]));
        }
    }

    #[test]
    fn who_published_is_no_matter_to_the_sums_of_all_flows() {
        let parts = (0..9).map(|seed| TierMerge::of(sample::any_part(seed)));
        let (mut each, mut all) = (TierMerge::default(), TierMerge::default());
        for part in parts {
            each.merge(&part);
            all.merge_all_flows(&part);
        }
        assert!(each.flows.len() > 1 && all.flows.len() == 1);
        assert_eq!(each.latency_us(), all.latency_us());
        assert_eq!(each.flow_but_latency(), all.flow_but_latency());
        each.flows.clear();
        all.flows.clear();
        assert_eq!(each, all);
    }

    #[test]
    fn a_part_whose_own_drops_exceed_its_loss_hides_no_one_elses() {
        let mut dropping = sample::part("a", 1);
        dropping.packets.own_drops = 1_000;
        let mut losing = sample::part("b", 1);
        losing.packets.lost = 500;
        let total = sum([&TierMerge::of(dropping), &TierMerge::of(losing)]);
        assert_eq!(total.lost_on_path, 500);
        assert_eq!(
            total.packets.missing_own, 1_000,
            "of a part that knows no other figure"
        );
    }

    #[test]
    fn an_empty_window_has_no_rate() {
        let mut part = sample::part("a", 1);
        part.measured.to = part.measured.from;
        assert_eq!(TierMerge::of(part).bps_in, 0);
    }
}
