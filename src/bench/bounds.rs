//! What the comparison is held to, and whether it was kept: pure.

use serde::Serialize;

use super::contest::{FLOOR, LK, MUSTER};
use super::density::{Density, Row};

/// At most this share of lk's CPU time per received packet, in the row of [`Density::reference`].
const LK_SHARE: f64 = 1.0 / 6.0;
/// At most so many times the floor's CPU time per received packet, in every row.
const FLOOR_TIMES: f64 = 1.5;
/// At most so much resident memory per subscriber with two tracks, in kB.
const SUBSCRIBER_KB: f64 = 250.0;
/// A sent packet costs at most so many times what a received one costs in that row.
const SENDING_TIMES: f64 = 2.0;
/// The least load that ratios are held at: half of lk's own subscriptions.
const LOAD_PACKETS_PER_SECOND: f64 = 5_000.0;

/// A bound, and what is held against it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// What it is a bound of.
    pub what: String,
    /// What was measured; `None` if nothing was.
    pub figure: Option<f64>,
    /// The most that it may be.
    pub bound: f64,
    /// Whether it was kept; `None` if it could not be looked at, which is no pass.
    pub kept: Option<bool>,
}

impl Bound {
    fn new(what: String, figure: Option<f64>, bound: f64, judged: bool) -> Bound {
        let figure = figure.filter(|figure| figure.is_finite());
        Bound {
            what,
            figure,
            bound,
            kept: figure.filter(|_| judged).map(|figure| figure <= bound),
        }
    }

    /// That it was broken, if it was.
    pub fn finding(&self) -> Option<String> {
        let figure = self.figure.filter(|_| self.kept == Some(false))?;
        let Bound { what, bound, .. } = self;
        Some(format!("{what} is {figure:.3}, more than {bound:.3}"))
    }
}

/// All bounds, in the order of the table. The figures of a debug build are held to none.
pub fn bounds(density: &Density) -> Vec<Bound> {
    let mut bounds = Vec::new();
    let is_release = density.conditions.machine.is_release();
    let mut hold = |what, figure, bound, has_load| {
        bounds.push(Bound::new(what, figure, bound, is_release && has_load));
    };
    let reference = density.reference();
    for (i, row) in density.rows.iter().enumerate() {
        let held = [(LK, LK_SHARE), (FLOOR, FLOOR_TIMES)];
        for (other, bound) in held {
            if other == LK && reference != Some(i) {
                continue;
            }
            let publishers = row.publishers;
            let what = format!(
                "the ratio of muster's CPU per received packet to {other}'s with {publishers} \
                 publishers"
            );
            hold(what, row.ratio(other), bound, has_load(row));
        }
    }
    let own = density.memory.iter().find(|c| c.name == MUSTER);
    let bytes = own.and_then(|c| c.figures).map(|f| f.bytes_per_subscriber);
    hold(
        "muster's memory per subscriber in kB".to_owned(),
        bytes.map(|bytes| bytes / 1e3),
        SUBSCRIBER_KB,
        true,
    );
    hold(
        "the ratio of the CPU of a sent packet to that of a received one".to_owned(),
        density.sending_ratio(),
        SENDING_TIMES,
        reference
            .and_then(|i| density.rows.get(i))
            .is_some_and(has_load),
    );
    bounds
}

/// Whether a row's packets are so many that what a process costs by itself doesn't count.
pub(super) fn has_load(row: &Row) -> bool {
    let rate = row.figures(MUSTER).map(|own| own.packets_per_second);
    rate >= Some(LOAD_PACKETS_PER_SECOND)
}

/// Which were kept, in words: those that were not, and what nobody knows, by name.
pub fn verdict(bounds: &[Bound]) -> String {
    let mut out = String::new();
    for finding in bounds.iter().filter_map(Bound::finding) {
        out.push_str(&format!("FAILED: {finding}\n"));
    }
    for bound in bounds.iter().filter(|bound| bound.kept.is_none()) {
        let Bound { what, bound, .. } = bound;
        out.push_str(&format!("not looked at: {what}, at most {bound:.3}\n"));
    }
    let kept = bounds.iter().filter(|b| b.kept == Some(true)).count();
    match kept {
        0 => out.push_str("no bound is known to be kept\n\n"),
        _ if kept == bounds.len() => out.push_str("all bounds were kept\n\n"),
        _ => out.push_str(&format!("{kept} of {} bounds were kept\n\n", bounds.len())),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::density::{Conditions, Contender, Figures, Memory, Publishing};
    use crate::bench::stage;

    /// CPU of muster, lk and the floor at two rows, of a sent packet, and bytes of a subscriber.
    fn density(rows: [[f64; 3]; 2], sent: f64, bytes: f64) -> Density {
        let contender = |name, cpu_us_per_packet| {
            let figures = Figures {
                packets_per_second: 10_000.0,
                cpu_us_per_packet,
                rounds: vec![cpu_us_per_packet],
                ..Figures::default()
            };
            Contender::new(name, Ok(figures))
        };
        let rows = rows.map(|[muster, lk, floor]| Row {
            publishers: 2,
            contenders: vec![
                contender("muster", muster),
                contender("lk", lk),
                contender("floor", floor),
            ],
        });
        let publishing = Publishing {
            publishers: 30,
            packets_per_second: 10_000.0,
            cpu_us_per_packet: sent,
            rounds: vec![sent],
            pacing_lag_mean_us: 0.0,
            pacing_lag_max_us: 0,
        };
        let memory = [("muster", bytes), ("lk", 1e6)].map(|(name, bytes_per_subscriber)| {
            let memory = Memory {
                bytes_per_subscriber,
            };
            Contender::new(name, Ok(memory))
        });
        Density {
            conditions: Conditions {
                machine: stage::Conditions {
                    release: true,
                    ..stage::Conditions::default()
                },
                lk_on_path: true,
                ..Conditions::default()
            },
            rows: rows.into(),
            memory: memory.into(),
            publishing: Contender::new("muster", Ok(publishing)),
            bounds: Vec::new(),
            findings: Vec::new(),
        }
        .judged()
    }

    fn lost<T>(contender: &mut Contender<T>) {
        *contender = Contender::new(contender.name, Err("killed".to_owned()));
    }

    #[test]
    fn bounds_that_are_met_exactly_are_kept() {
        let density = density([[3.0, 18.0, 2.0], [3.0, 1.0, 2.0]], 6.0, 250e3);
        assert_eq!(density.findings, [""; 0]);
        assert!(density.is_complete());
        assert_eq!(verdict(&density.bounds), "all bounds were kept\n\n");
    }

    #[test]
    fn each_bound_can_be_broken() {
        let density = density([[3.1, 18.0, 2.0], [3.1, 1.0, 2.0]], 6.3, 251e3);
        assert_eq!(density.findings.len(), 5, "{:?}", density.findings);
        assert!(density.findings[0].contains("lk's with 2 publishers is 0.172, more than 0.167"));
        assert!(verdict(&density.bounds).ends_with("\nno bound is known to be kept\n\n"));
    }

    #[test]
    fn what_was_not_looked_at_was_not_kept() {
        type Lose = fn(&mut Density);
        let cases: [(Lose, &str, usize); 5] = [
            (|d| lost(&mut d.rows[0].contenders[1]), "lk's with 2", 1),
            (|d| lost(&mut d.rows[1].contenders[2]), "floor's with 2", 1),
            (|d| lost(&mut d.rows[0].contenders[0]), "lk's with 2", 3),
            (|d| lost(&mut d.memory[0]), "memory per subscriber", 1),
            (|d| lost(&mut d.publishing), "of a sent packet", 1),
        ];
        for (lose, what, unknown) in cases {
            let mut density = density([[3.0, 18.0, 2.0]; 2], 6.0, 0.0);
            lose(&mut density);
            let density = density.judged();
            assert_eq!(density.findings, [""; 0]);
            assert!(!density.is_complete(), "{what}");
            let text = verdict(&density.bounds);
            let lines: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with("not looked at: "))
                .collect();
            assert_eq!(lines.len(), unknown, "{text}");
            assert!(lines[0].contains(what), "{text}");
            let kept = format!("\n{} of 5 bounds were kept\n", 5 - unknown);
            assert!(text.contains(&kept), "{text}");
        }
    }

    #[test]
    fn without_lk_on_path_it_is_complete_and_its_bound_is_unknown() {
        let mut density = density([[3.0, 18.0, 2.0]; 2], 6.0, 0.0);
        density.conditions.lk_on_path = false;
        lost(&mut density.rows[0].contenders[1]);
        lost(&mut density.rows[1].contenders[1]);
        lost(&mut density.memory[1]);
        let density = density.judged();
        assert!(density.is_complete());
        assert_eq!(density.bounds[0].kept, None);
        assert!(verdict(&density.bounds).contains("not looked at: the ratio of muster's"));
        let mut density = density;
        density.conditions.lk_on_path = true;
        assert!(!density.is_complete(), "it was there, and came to nothing");
    }

    #[test]
    fn a_debug_build_is_held_to_no_bound() {
        let mut density = density([[9.0, 1.0, 1.0]; 2], 90.0, 1e6);
        density.conditions.machine.release = false;
        let density = density.judged();
        assert_eq!(density.findings, [""; 0]);
        assert!(!density.is_complete());
        assert!(
            density
                .bounds
                .iter()
                .all(|b| b.figure.is_some() && b.kept.is_none())
        );
    }

    #[test]
    fn a_load_of_next_to_nothing_says_nothing_of_a_packet() {
        let mut density = density([[9.0, 1.0, 1.0]; 2], 90.0, 2e5);
        for row in &mut density.rows {
            for figures in row.contenders.iter_mut().flat_map(|c| &mut c.figures) {
                figures.packets_per_second = 3_000.0;
            }
        }
        let density = density.judged();
        let kept: Vec<_> = density.bounds.iter().map(|bound| bound.kept).collect();
        assert_eq!(kept, [None, None, None, Some(true), None]);
        assert_eq!(density.findings, [""; 0]);
        assert!(!density.is_complete());
    }

    #[test]
    fn lk_is_compared_where_its_own_subscriptions_are() {
        for (rates, at) in [
            ([Some(20_000.0), Some(12_000.0)], 1),
            ([Some(12_000.0), Some(20_000.0)], 0),
            // Nobody knows what an unmeasured row would have been nearest to.
            ([None, Some(20_000.0)], 1),
            ([None, None], 0),
        ] {
            let mut density = density([[3.0, 18.0, 2.0], [4.0, 18.0, 2.0]], 6.0, 0.0);
            for (row, (rate, publishers)) in density.rows.iter_mut().zip(rates.iter().zip([7, 8])) {
                row.publishers = publishers;
                for contender in &mut row.contenders {
                    match (rate, &mut contender.figures) {
                        (Some(rate), Some(figures)) => figures.packets_per_second = *rate,
                        (_, figures) => *figures = None,
                    }
                }
            }
            let density = density.judged();
            assert_eq!(density.reference(), Some(at), "{rates:?}");
            let of_lk: Vec<_> = density
                .bounds
                .iter()
                .filter(|b| b.what.contains("lk's"))
                .collect();
            assert_eq!(of_lk.len(), 1);
            assert!(
                of_lk[0]
                    .what
                    .ends_with(&format!("{} publishers", [7, 8][at]))
            );
            let sending = rates[at].map(|_| 6.0 / [3.0, 4.0][at]);
            assert_eq!(density.sending_ratio(), sending, "of the same row");
        }
    }
}
