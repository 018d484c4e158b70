//! What several rounds of one contender make together.

use super::density::{Contender, Figures, Publishing};

/// CPU time for packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Over so many seconds.
    pub seconds: f64,
    /// RTP packets that came, or went.
    pub packets: f64,
    /// CPU time, in microseconds.
    pub cpu_us: f64,
}

impl Cost {
    /// Packets in a second.
    pub fn packets_per_second(&self) -> f64 {
        self.packets / self.seconds
    }

    /// CPU time per packet, in microseconds.
    pub fn cpu_us_per_packet(&self) -> f64 {
        self.cpu_us / self.packets
    }

    /// All together: a round weighs as much as it measured.
    fn sum(costs: impl Iterator<Item = Cost>) -> Cost {
        costs.fold(Cost::default(), |sum, cost| Cost {
            seconds: sum.seconds + cost.seconds,
            packets: sum.packets + cost.packets,
            cpu_us: sum.cpu_us + cost.cpu_us,
        })
    }
}

/// A round of receiving.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// What it cost.
    pub cost: Cost,
    /// See [`Figures::joins_per_second`].
    pub joins_per_second: Option<f64>,
    /// See [`Figures::lost`].
    pub lost: Option<u64>,
    /// See [`Figures::lost_own`].
    pub lost_own: Option<u64>,
    /// See [`Figures::lost_percent`].
    pub lost_percent: Option<f64>,
    /// See [`Figures::own_drops`].
    pub own_drops: u64,
    /// See [`Figures::server_packets_per_second`].
    pub server_packets_per_second: Option<f64>,
}

/// A round of sending.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// What it cost.
    pub cost: Cost,
    /// How late the packets went out behind their due times, added up, in microseconds.
    pub late_us: f64,
    /// See [`Publishing::pacing_lag_max_us`].
    pub pacing_lag_max_us: u64,
}

/// What came of a contender's rounds; nothing if one failed.
pub fn received(
    name: &'static str,
    rounds: impl IntoIterator<Item = Result<Received, String>>,
) -> Contender<Figures> {
    let rounds: Result<Vec<_>, String> = rounds.into_iter().collect();
    Contender::new(name, rounds.and_then(|rounds| figures(&rounds)))
}

fn figures(rounds: &[Received]) -> Result<Figures, String> {
    let cost = Cost::sum(rounds.iter().map(|round| round.cost));
    let each = rounds.iter().map(|round| round.cost.cpu_us_per_packet());
    let mean = |of: fn(&Received) -> Option<f64>| {
        let known: Option<Vec<f64>> = rounds.iter().map(of).collect();
        known.map(|known| known.iter().sum::<f64>() / rounds.len() as f64)
    };
    if rounds.is_empty() {
        return Err("there was no round".to_owned());
    }
    Ok(Figures {
        packets_per_second: cost.packets_per_second(),
        cpu_us_per_packet: cost.cpu_us_per_packet(),
        rounds: each.collect(),
        joins_per_second: mean(|round| round.joins_per_second),
        lost: rounds.iter().map(|round| round.lost).sum(),
        lost_own: rounds.iter().map(|round| round.lost_own).sum(),
        lost_percent: mean(|round| round.lost_percent),
        own_drops: rounds.iter().map(|round| round.own_drops).sum(),
        server_packets_per_second: mean(|round| round.server_packets_per_second),
    })
}

/// What came of all rounds of `publishers` that send; nothing if one failed.
pub fn sent(
    publishers: u32,
    rounds: impl IntoIterator<Item = Result<Sent, String>>,
) -> Contender<Publishing> {
    let rounds: Result<Vec<_>, String> = rounds.into_iter().collect();
    let publishing = rounds.and_then(|rounds| {
        let cost = Cost::sum(rounds.iter().map(|round| round.cost));
        let each = rounds.iter().map(|round| round.cost.cpu_us_per_packet());
        let latest = rounds.iter().map(|round| round.pacing_lag_max_us).max();
        Ok(Publishing {
            publishers,
            packets_per_second: cost.packets_per_second(),
            cpu_us_per_packet: cost.cpu_us_per_packet(),
            rounds: each.collect(),
            pacing_lag_mean_us: rounds.iter().map(|round| round.late_us).sum::<f64>()
                / cost.packets,
            pacing_lag_max_us: latest.ok_or("there was no round")?,
        })
    });
    Contender::new("muster", publishing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(packets: f64, cpu_us: f64) -> Cost {
        Cost {
            seconds: 10.0,
            packets,
            cpu_us,
        }
    }

    #[test]
    fn rounds_add_up_and_each_is_kept() {
        let round = |packets, cpu_us, lost| {
            Ok(Received {
                cost: cost(packets, cpu_us),
                joins_per_second: Some(packets / 100.0),
                lost: Some(lost),
                lost_own: Some(lost - 1),
                own_drops: lost,
                ..Received::default()
            })
        };
        let contender = received(
            "muster",
            [round(1_000.0, 4_000.0, 1), round(3_000.0, 6_000.0, 2)],
        );
        let figures = contender.figures.unwrap();
        assert_eq!(figures.packets_per_second, 200.0);
        assert_eq!(figures.cpu_us_per_packet, 2.5);
        assert_eq!(figures.rounds, [4.0, 2.0]);
        assert_eq!(figures.joins_per_second, Some(20.0));
        assert_eq!((figures.lost, figures.own_drops), (Some(3), 3));
        assert_eq!(figures.lost_own, Some(1));
        assert_eq!(figures.lost_percent, None, "unknown in a round");
    }

    #[test]
    fn a_round_that_failed_leaves_no_figures() {
        let rounds = [Ok(Received::default()), Err("killed".to_owned())];
        let contender = received("lk", rounds);
        assert!(contender.figures.is_none());
        assert_eq!(contender.not_run.as_deref(), Some("killed"));
        assert!(received("lk", []).figures.is_none());
        assert!(sent(30, []).figures.is_none());
    }

    #[test]
    fn lateness_is_of_all_packets_sent() {
        let round = |late_us, pacing_lag_max_us| {
            Ok(Sent {
                cost: cost(1_000.0, 5_000.0),
                late_us,
                pacing_lag_max_us,
            })
        };
        let publishing = sent(30, [round(1e6, 9), round(3e6, 7)]).figures.unwrap();
        assert_eq!(publishing.pacing_lag_mean_us, 2_000.0);
        assert_eq!(publishing.pacing_lag_max_us, 9);
        assert_eq!(publishing.rounds, [5.0, 5.0]);
    }
}
