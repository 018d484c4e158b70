//! How each contender of a comparison is run, and what is read off it.

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: lets contenders warm up and run by the clock"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::{Child, SAMPLE_INTERVAL};
use super::density::{Contender, Memory, Setup};
use super::lk::{self, Line};
use super::rounds::{Cost, Received, Sent};
use super::sfu::packets_sent;
use super::stage::{Stage, within};
use super::window::{Window, difference};

/// From the last join to the measurement: keyframes and estimates have settled by then, and the
/// server's own counters, which lag by five seconds.
pub const WARM_UP: Duration = Duration::from_secs(7);

/// Subscribers whose memory is measured, with two tracks each. What a process loads once, its
/// code above all, is divided among them as among a prober's participants.
pub const MEMORY_SUBSCRIBERS: u32 = 100;

/// From the last join to where memory is read.
const MEMORY_WARM_UP: Duration = Duration::from_secs(4);

/// So far may the rates of two contenders with the same subscriptions lie apart, as a share: a
/// greater difference is one of counting or of what came, and no figure comes of it.
const RATE_TOLERANCE: f64 = 0.1;

/// The engine's one thread that receives.
const MEDIA_THREAD: &str = "media-0";

/// muster's participants.
pub const MUSTER: &str = "muster";
/// LiveKit's load tester.
pub const LK: &str = "lk";
/// The bare loop.
pub const FLOOR: &str = "floor";
/// All, in the order in which they are told.
pub const CONTENDERS: [&str; 3] = [MUSTER, LK, FLOOR];

/// How long a step may take beyond what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// From 0 on.
    pub number: u32,
}

impl Round {
    /// muster follows one of those that it is compared with and precedes the other, as a machine is
    /// most like itself from one minute to the next. Every other round goes backwards: what gets
    /// slower or faster meanwhile then does so to all.
    fn order(self) -> [&'static str; 3] {
        let mut order = [LK, MUSTER, FLOOR];
        if !self.number.is_multiple_of(2) {
            order.reverse();
        }
        order
    }
}

/// One server, and who meets there.
pub struct Contest<'a> {
    /// What is compared.
    pub setup: &'a Setup,
    /// Where.
    pub stage: &'a Stage,
    /// LiveKit's load tester.
    pub lk: Option<&'a Path>,
}

impl Contest<'_> {
    /// One round of the contenders named, one after the other, with the same publishers.
    pub async fn row(
        &self,
        round: Round,
        publishers: u32,
        say: impl Fn(&str),
    ) -> Vec<(&'static str, Result<Received, String>)> {
        let room = format!("density-{publishers}-{}", round.number);
        let sources = match self.publish(&room, publishers).await {
            Ok(sources) => sources,
            Err(why) => return CONTENDERS.map(|name| (name, Err(why.clone()))).into(),
        };
        let mut taken = Vec::new();
        for name in round.order() {
            say(name);
            taken.push((name, self.received(name, &room).await));
        }
        for name in [LK, FLOOR] {
            if let Some(why) = unlike(&taken, name) {
                say(&format!("{name} again: {why}"));
                taken.retain(|(of, _)| *of != name);
                taken.push((name, self.received(name, &room).await));
                if let Some(why) = unlike(&taken, name) {
                    taken.retain(|(of, _)| *of != name);
                    taken.push((name, Err(why)));
                }
            }
        }
        sources.stop().await;
        taken
    }

    async fn received(&self, name: &str, room: &str) -> Result<Received, String> {
        let subscribers = self.setup.subscribers;
        match (name, self.lk) {
            (FLOOR, _) => self.in_time(subscribers, self.floor(room)).await,
            (LK, Some(lk)) => self.in_time(subscribers, self.lk(lk, room)).await,
            (LK, None) => Err(no_lk()),
            _ => self.in_time(subscribers, self.muster(room)).await,
        }
    }

    /// What subscribers hold in a room with one publisher: a track of audio, one of video.
    pub async fn memory(&self, say: impl Fn(&str)) -> Vec<Contender<Memory>> {
        let room = "memory";
        let sources = match self.publish(room, 1).await {
            Ok(sources) => sources,
            Err(why) => {
                return ["muster", "lk"]
                    .map(|name| Contender::new(name, Err(why.clone())))
                    .into();
            }
        };
        say("muster");
        let muster = async {
            let mut child = self.participants("muster", room, MEMORY_SUBSCRIBERS, "subscribers")?;
            child.told().await?;
            let empty = child.usage()?.resident_bytes;
            all_joined(&mut child).await?;
            tokio::time::sleep(MEMORY_WARM_UP).await;
            let reading = child.reading().await?;
            child.stop().await;
            if reading.sample.connected < u64::from(MEMORY_SUBSCRIBERS) {
                return Err(format!("only {} were connected", reading.sample.connected));
            }
            Ok(memory(empty, reading.usage.resident_bytes))
        };
        let muster = self.in_time(MEMORY_SUBSCRIBERS, muster).await;
        say("lk");
        let lk = async {
            let lk = self.lk.ok_or_else(no_lk)?;
            let (child, joined) = self
                .lk_joined(lk, room, MEMORY_SUBSCRIBERS, MEMORY_WARM_UP)
                .await?;
            tokio::time::sleep(MEMORY_WARM_UP).await;
            let full = child.usage()?.resident_bytes;
            child.stop().await;
            Ok(memory(joined.empty_bytes, full))
        };
        let lk = self.in_time(MEMORY_SUBSCRIBERS, lk).await;
        sources.stop().await;
        vec![Contender::new("muster", muster), Contender::new("lk", lk)]
    }

    /// One round of what publishers cost in a room of their own: as many as there are subscribers
    /// elsewhere, since each sends about as many packets as one of those receives.
    pub async fn sending(&self, round: Round) -> Result<Sent, String> {
        let publishers = self.setup.subscribers;
        self.in_time(publishers, async {
            let room = format!("sending-{}", round.number);
            let mut child = self.publish(&room, publishers).await?;
            tokio::time::sleep(WARM_UP).await;
            let first = child.reading().await?;
            tokio::time::sleep(self.setup.duration.saturating_sub(SAMPLE_INTERVAL / 2)).await;
            let last = child.reading().await?;
            child.stop().await;
            Ok(Sent {
                cost: Window { first, last }.cost()?,
                late_us: difference(last.sample.late_us, first.sample.late_us),
                pacing_lag_max_us: last.pacing_lag_us,
            })
        })
        .await
    }

    async fn in_time<T>(
        &self,
        joins: u32,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let joins = Duration::from_secs(u64::from(joins));
        within(joins + WARM_UP + self.setup.duration + PATIENCE, work).await
    }

    fn participants(
        &self,
        name: &str,
        room: &str,
        count: u32,
        load: &str,
    ) -> Result<Child, String> {
        let (count, rate) = (count.to_string(), self.setup.join_rate.to_string());
        let who = ["--room", room, "--load", load];
        let how = ["--count", &count, "--join-rate", &rate];
        self.stage.participants(name, &[&who[..], &how].concat())
    }

    /// Publishers that have all joined.
    async fn publish(&self, room: &str, count: u32) -> Result<Child, String> {
        let mut child = self.participants("publishers", room, count, "cameras")?;
        all_joined(&mut child).await?;
        Ok(child)
    }

    async fn muster(&self, room: &str) -> Result<Received, String> {
        let count = self.setup.subscribers;
        let mut child = self.participants("muster", room, count, "subscribers")?;
        let joined_ms = all_joined(&mut child).await?;
        tokio::time::sleep(WARM_UP).await;
        let first = child.reading().await?;
        let sent_first = packets_sent(self.stage.metrics()).await;
        tokio::time::sleep(self.setup.duration.saturating_sub(SAMPLE_INTERVAL / 2)).await;
        let last = child.reading().await?;
        let sent_last = packets_sent(self.stage.metrics()).await;
        child.stop().await;
        if last.sample.connected < u64::from(count) {
            return Err(format!("only {} were connected", last.sample.connected));
        }
        let window = Window { first, last };
        Ok(Received {
            cost: window.cost()?,
            joins_per_second: Some(f64::from(count) * 1_000.0 / joined_ms.max(1) as f64),
            lost: Some(last.sample.lost),
            lost_own: Some(last.sample.lost_own),
            lost_percent: (last.sample.expected > 0)
                .then(|| last.sample.lost as f64 * 100.0 / last.sample.expected as f64),
            own_drops: last.usage.drops,
            server_packets_per_second: sent_first
                .zip(sent_last)
                .map(|(first, last)| difference(last, first) / window.seconds()),
        })
    }

    /// lk with all its subscribers, which stay for `stay` and some seconds.
    async fn lk_joined(
        &self,
        lk: &Path,
        room: &str,
        count: u32,
        stay: Duration,
    ) -> Result<(Child, LkJoined), String> {
        let stay = stay + Duration::from_secs(3);
        let (url, keys) = (self.stage.url(), self.stage.keys());
        let command = lk::subscribers(lk, url, keys, room, count, self.setup.join_rate, stay);
        let mut child = Child::start("lk", command).map_err(|e| e.to_string())?;
        let (mut empty, mut start) = (None, Instant::now());
        loop {
            match Line::parse(&child.line().await?) {
                Some(Line::Starting) => (empty, start) = (Some(child.usage()?), Instant::now()),
                Some(Line::Failed) => return Err("a subscriber of lk could not connect".into()),
                Some(Line::Joined) => break,
                _ => {}
            }
        }
        let joined = LkJoined {
            empty_bytes: empty.unwrap_or_default().resident_bytes,
            after: start.elapsed(),
        };
        Ok((child, joined))
    }

    async fn lk(&self, lk: &Path, room: &str) -> Result<Received, String> {
        let (setup, metrics) = (self.setup, self.stage.metrics());
        let stay = WARM_UP + setup.duration;
        let (mut child, joined) = self.lk_joined(lk, room, setup.subscribers, stay).await?;
        tokio::time::sleep(WARM_UP).await;
        let unknown = || "the server does not tell how much it sent".to_owned();
        let from = Instant::now();
        let (first, sent_first) = (child.usage()?, packets_sent(metrics).await);
        tokio::time::sleep(setup.duration).await;
        let (last, sent_last) = (child.usage()?, packets_sent(metrics).await);
        let seconds = from.elapsed().as_secs_f64();
        let packets = difference(
            sent_last.ok_or_else(unknown)?,
            sent_first.ok_or_else(unknown)?,
        );
        if packets <= 0.0 {
            return Err("the server sent lk nothing".to_owned());
        }
        let lost = loop {
            match child.line().await {
                Ok(line) => {
                    if let Some(Line::Lost { packets, percent }) = Line::parse(&line) {
                        break Some((packets, percent));
                    }
                }
                // It ended without a summary.
                Err(_) => break None,
            }
        };
        child.stop().await;
        Ok(Received {
            cost: Cost {
                seconds,
                packets,
                cpu_us: difference(last.cpu_ms, first.cpu_ms) * 1_000.0,
            },
            joins_per_second: Some(f64::from(setup.subscribers) / joined.after.as_secs_f64()),
            lost: lost.map(|(packets, _)| packets),
            // It doesn't look at what its sockets dropped.
            lost_own: None,
            lost_percent: lost.map(|(_, percent)| percent),
            own_drops: last.drops,
            server_packets_per_second: Some(packets / seconds),
        })
    }

    /// What muster's participants cost if they only receive and decrypt: the same joins and the
    /// same packets, but of the process only the thread that receives them counts.
    async fn floor(&self, room: &str) -> Result<Received, String> {
        let count = self.setup.subscribers;
        let mut child = self.participants("floor", room, count, "floor")?;
        all_joined(&mut child).await?;
        tokio::time::sleep(WARM_UP).await;
        let first = child.reading_of(MEDIA_THREAD).await?;
        tokio::time::sleep(self.setup.duration.saturating_sub(SAMPLE_INTERVAL / 2)).await;
        let last = child.reading_of(MEDIA_THREAD).await?;
        child.stop().await;
        if last.sample.connected < u64::from(count) {
            return Err(format!("only {} were connected", last.sample.connected));
        }
        if last.sample.forged > 0 {
            return Err(format!("{} packets did not decrypt", last.sample.forged));
        }
        Ok(Received {
            cost: Window { first, last }.cost()?,
            own_drops: last.usage.drops,
            ..Received::default()
        })
    }
}

/// Why another's figures of a round can't be compared with muster's: it had too many packets more
/// or fewer. lk doesn't tell what it receives, and the server's counter is of all that it sends: who
/// takes the same from the same publishers gets as much.
fn unlike(taken: &[(&'static str, Result<Received, String>)], other: &str) -> Option<String> {
    let rate = |of| {
        let (_, received) = taken.iter().find(|(name, _)| *name == of)?;
        Some(received.as_ref().ok()?.cost.packets_per_second())
    };
    let (own, counted) = (rate(MUSTER)?, rate(other)?);
    let told = match other {
        LK => format!("the server counted {counted:.0} packets a second for {LK}"),
        _ => format!("{other} received {counted:.0} packets a second"),
    };
    ((counted - own).abs() > own * RATE_TOLERANCE)
        .then(|| format!("{told}, where {MUSTER} received {own:.0} from the same publishers"))
}

/// How lk's joins went.
struct LkJoined {
    empty_bytes: u64,
    after: Duration,
}

/// Waits until all have joined. Returns the milliseconds that it took.
async fn all_joined(child: &mut Child) -> Result<u64, String> {
    let joined = child.joined().await?;
    match joined.causes() {
        causes if causes.is_empty() => Ok(joined.after_ms),
        causes => Err(format!("joins failed: {causes:?}")),
    }
}

fn memory(empty: u64, full: u64) -> Memory {
    Memory {
        bytes_per_subscriber: difference(full, empty) / f64::from(MEMORY_SUBSCRIBERS),
    }
}

fn no_lk() -> String {
    "there is no `lk` on PATH".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(
        name: &'static str,
        own: f64,
        counted: f64,
    ) -> Vec<(&'static str, Result<Received, String>)> {
        let received = |packets| {
            let cost = Cost {
                seconds: 10.0,
                packets,
                ..Cost::default()
            };
            Ok(Received {
                cost,
                ..Received::default()
            })
        };
        vec![(name, received(counted)), (MUSTER, received(own))]
    }

    #[test]
    fn who_takes_the_same_gets_as_much() {
        for name in [LK, FLOOR] {
            let unlike = |own, counted| unlike(&taken(name, own, counted), name);
            assert_eq!(unlike(218_000.0, 217_000.0), None);
            assert_eq!(unlike(218_000.0, 207_000.0), None);
            let why = unlike(218_000.0, 380_000.0).unwrap();
            assert!(why.contains(" 38000 packets a second"), "{why}");
            assert!(why.contains(name), "{why}");
            assert!(unlike(218_000.0, 196_000.0).is_some());
        }
    }

    #[test]
    fn nothing_is_held_against_who_was_not_measured() {
        let mut taken = taken(FLOOR, 218_000.0, 380_000.0);
        assert_eq!(unlike(&taken, LK), None);
        taken[1].1 = Err("killed".to_owned());
        assert_eq!(unlike(&taken, FLOOR), None);
    }
}
