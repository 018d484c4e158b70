//! What muster reports, held against what was injected.
//!
//! A relay between clients and a real server loses, delays, spreads and reorders media, and keeps
//! a record of every packet. Whole runs of `muster local` go through it, over UDP and over TCP, and
//! after them the official Python SDK and `lk`. `cargo test accuracy -- --nocapture` prints the
//! table.

mod others;
mod run;
mod session;
mod table;
mod truth;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::fixtures::alone::alone;
use crate::fixtures::livekit;
use crate::fixtures::relay::conditions::{Conditions, Leg};
use crate::fixtures::relay::record::{Nanos, Passed};
use crate::fixtures::relay::{self, Relay};
use crate::fixtures::skip::skip;
use others::Others;
use run::{Both, FAR, NEAR, Reported};
use table::{Held, Row, Told};

/// What is done to the media for a while.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    conditions: Conditions,
    /// What is done to that of one vantage instead.
    far: Conditions,
    figures: &'static [Figure],
    /// Whether others are to tell what they make of it.
    asks_others: bool,
    /// So many more subscribers than in the baseline: no fewer than in the scene before.
    more: usize,
}

/// What a scene is about.
#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Rtt,
    /// From each vantage to each: the one that is off furthest.
    Latency,
    /// From each of two vantages to each.
    Matrix,
    Jitter,
    Loss(Loss),
    Reordered,
}

/// Before and after retransmission, in percent.
#[derive(Clone, Copy, PartialEq)]
struct Loss {
    /// So far it may be off.
    within: f64,
    /// So much is lost at least.
    before: f64,
    /// So much stays lost at least.
    after: f64,
}

impl Loss {
    const NONE: Loss = Loss::of(0.1, 0.0, 0.0);

    const fn of(within: f64, before: f64, after: f64) -> Loss {
        Loss {
            within,
            before,
            after,
        }
    }
}

impl Scene {
    /// Whether the Python SDK has a figure of it, and whether `lk` has.
    fn others(&self) -> (bool, bool) {
        let is_loss = |f: &Figure| matches!(f, Figure::Loss(_));
        let is_pythons = |f: &Figure| is_loss(f) || matches!(f, Figure::Rtt | Figure::Jitter);
        let figures = self.figures.iter().filter(|_| self.asks_others);
        let any = |is: &dyn Fn(&Figure) -> bool| figures.clone().any(is);
        (any(&is_pythons), any(&is_loss))
    }
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// In the order in which they happen. Delays stay below what a client takes for congestion.
fn scenes() -> Vec<Scene> {
    use Figure::{Jitter, Latency, Matrix, Reordered, Rtt};
    const LITTLE: Figure = Figure::Loss(Loss::of(0.1, 0.4, 0.0));
    const MUCH: Figure = Figure::Loss(Loss::of(0.5, 16.0, 0.0));
    const LITTLE_FOR_GOOD: Figure = Figure::Loss(Loss::of(0.1, 0.4, 0.4));
    const MUCH_FOR_GOOD: Figure = Figure::Loss(Loss::of(0.5, 16.0, 16.0));
    const NO_LOSS: Figure = Figure::Loss(Loss::NONE);
    let down = |leg| Conditions {
        down: leg,
        ..Conditions::default()
    };
    let nothing = Conditions::default();
    let away = Conditions::delay(ms(15), ms(15));
    let uneven = down(Leg {
        jitter: ms(16),
        ..Leg::default()
    });
    let overtaken = |late| {
        down(Leg {
            overtaken: Some((25, late)),
            ..Leg::default()
        })
    };
    let scene = |name, conditions, figures| Scene {
        name,
        conditions,
        far: conditions,
        figures,
        asks_others: true,
        more: 1,
    };
    vec![
        scene("nothing", nothing, &[Rtt, Latency, NO_LOSS]),
        scene(
            "40 ms down, 20 ms up",
            Conditions::delay(ms(40), ms(20)),
            &[Rtt, Latency, NO_LOSS],
        ),
        Scene {
            far: Conditions::delay(ms(40), ms(20)),
            asks_others: false,
            ..scene("the same for `far` alone", nothing, &[Matrix])
        },
        scene(
            "0 to 16 ms more a frame",
            uneven,
            &[Latency, Jitter, NO_LOSS],
        ),
        Scene {
            asks_others: false,
            ..scene(
                "each 25th packet 5 ms late",
                overtaken(ms(5)),
                &[Reordered, NO_LOSS],
            )
        },
        // Video is asked for again before it comes, and sound isn't, whose next packet tells of it.
        scene(
            "each 25th packet 25 ms late",
            overtaken(ms(25)),
            &[Reordered, NO_LOSS],
        ),
        scene(
            "15 ms each way, 1 % lost",
            away.loss_ppm(10_000),
            &[Rtt, LITTLE],
        ),
        scene(
            "15 ms each way, 20 % lost",
            away.loss_ppm(200_000),
            &[Rtt, MUCH],
        ),
        // Enough packets that a burst given up at a window's very edge is no tenth of a point.
        Scene {
            more: 6,
            ..scene(
                "15 ms each way, 1 % lost for good",
                away.lost_for_good_ppm(10_000),
                &[LITTLE_FOR_GOOD],
            )
        },
        Scene {
            more: 6,
            ..scene(
                "15 ms each way, 20 % lost for good",
                away.lost_for_good_ppm(200_000),
                &[MUCH_FOR_GOOD],
            )
        },
    ]
}

/// Which packets are looked at.
#[derive(Clone, Debug)]
struct Span {
    /// Those of this time.
    window: Range<Nanos>,
    /// Those of these clients' sockets.
    flows: BTreeSet<usize>,
    /// Of these streams; of all if there are none.
    ssrcs: Vec<u32>,
}

/// Everything about one scene.
struct Scenery<'a> {
    scene: Scene,
    passed: &'a [Passed],
    reported: &'a Both,
    others: &'a Others,
}

/// A machine that does something else for a moment is no error of the figures: if not all are held,
/// all are measured once more, and every one of these is to be held.
const TRIES: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_is_what_was_injected() {
    let _alone = alone().await;
    for left in (0..TRIES).rev() {
        let Some(rows) = measure().await else {
            skip!("livekit-server or Go");
        };
        let text = table::text(&rows);
        println!("{text}");
        if rows.iter().all(Row::holds) {
            return;
        }
        assert!(left > 0, "beyond a bound:\n{text}");
    }
}

/// Each row of the table; `None` without a server.
async fn measure() -> Option<Vec<Row>> {
    let server = livekit::start_announcing(relay::ADDRESS).await?;
    let relay = Relay::start_with_tcp(server.udp_port(), server.tcp_port());
    let scenes = scenes();
    let reported = run::report(&server, &relay, &scenes).await;
    let others = session::sessions(&server, &relay, &scenes).await;
    let passed = relay.passed();
    // Video was sent again in streams of its own, audio in the one that it was lost from.
    assert!(truth::repaired(&passed) > 0);
    let each = scenes.iter().zip(&reported).zip(&others);
    let rows = each.flat_map(|((scene, reported), others)| {
        let scenery = Scenery {
            scene: *scene,
            passed: &passed,
            reported,
            others,
        };
        let figures = scene.figures.iter();
        let rows = figures.flat_map(|figure| scenery.rows(*figure));
        rows.collect::<Vec<_>>()
    });
    Some(rows.collect())
}

/// Muster's figure beside a true one. What was not measured is within no bound.
fn held(truth: f64, muster: Option<f64>, bound: f64) -> Held {
    Held {
        truth,
        least: 0.0,
        muster: muster.unwrap_or(f64::NAN),
        bound,
    }
}

impl Scenery<'_> {
    fn rows(&self, figure: Figure) -> Vec<Row> {
        let mut rows = self.all(figure);
        if !self.scene.asks_others {
            for row in &mut rows {
                (row.python, row.lk) = (Told::Nothing, Told::Nothing);
            }
        }
        rows
    }

    fn all(&self, figure: Figure) -> Vec<Row> {
        match figure {
            Figure::Rtt => self.rtt().into(),
            Figure::Latency => vec![self.latency()],
            Figure::Matrix => self.matrix(),
            Figure::Jitter => vec![self.jitter()],
            Figure::Loss(loss) => self.loss(loss).into(),
            Figure::Reordered => vec![self.reordered()],
        }
    }

    fn row(&self, figure: impl Into<String>, held: impl Fn(&Reported) -> Held) -> Row {
        Row {
            condition: self.scene.name,
            figure: figure.into(),
            udp: held(&self.reported.udp),
            tcp: Some(held(&self.reported.tcp)),
            python: Told::Nothing,
            lk: Told::Nothing,
        }
    }

    fn rtt(&self) -> [Row; 2] {
        let by = |by: &str, reported: &Reported, truth: f64| {
            let muster = reported.figures.rtt_by_ms.get(by).map(|rtt| rtt.p50);
            held(truth, muster, (truth * 0.02).max(1.0))
        };
        let ice = |span: &Span| truth::ice_rtts_ms(self.passed, span);
        let by_ice = self.row("round trip by ICE, ms", |reported| {
            by("ice", reported, truth::median(ice(&reported.span())))
        });
        let by_rtcp = self.row("round trip by RTCP, ms", |reported| {
            let truth = truth::rtcp_rtt_ms(self.passed, &reported.span());
            by("rtcp", reported, truth)
        });
        let python = self
            .others
            .python(|p| p.rtt_ms, |span| truth::mean(&ice(span)));
        [Row { python, ..by_ice }, by_rtcp]
    }

    /// One cell of the matrix, held to what the clocks leave open and 2 ms.
    fn cell(&self, reported: &Reported, pair: [&str; 2]) -> Held {
        let (from, span) = reported.between(pair);
        let injected = truth::latency_ms(self.passed, from, &span);
        let latency = reported.latency(pair);
        let muster = latency.and_then(|latency| Some(latency.ms?.p50));
        // How wide the clock's interval is; unknown, it is within no bound.
        let interval = latency.and_then(|latency| latency.plus_minus_ms);
        held(injected, muster, 2.0 + interval.unwrap_or(f64::NAN))
    }

    fn latency(&self) -> Row {
        self.row("latency, ms", |reported| {
            let cells = reported
                .pairs()
                .into_iter()
                .map(|pair| self.cell(reported, pair));
            // What isn't a number is the greatest of all.
            let worst = cells.max_by(|a, b| (a.off() - a.bound).total_cmp(&(b.off() - b.bound)));
            worst.expect("a vantage")
        })
    }

    fn matrix(&self) -> Vec<Row> {
        let pairs = [[NEAR, NEAR], [NEAR, FAR], [FAR, NEAR], [FAR, FAR]];
        let rows = pairs.map(|pair| Row {
            condition: self.scene.name,
            figure: format!("latency `{}` to `{}`, ms", pair[0], pair[1]),
            udp: self.cell(&self.reported.udp, pair),
            tcp: None,
            python: Told::Nothing,
            lk: Told::Nothing,
        });
        rows.into()
    }

    fn jitter(&self) -> Row {
        let truth = |span: &Span| truth::jitter_ms(self.passed, span);
        let row = self.row("jitter, ms", |reported| {
            let injected = truth(&reported.span());
            let muster = reported.figures.jitter_ms.map(|jitter| jitter.mean);
            held(injected, muster, injected * 0.1)
        });
        Row {
            python: self.others.python(|p| p.jitter_ms, truth),
            ..row
        }
    }

    fn loss(&self, loss: Loss) -> [Row; 2] {
        let truth = |span: &Span| truth::sequences(self.passed, span);
        let missing = |span: &Span| truth(span).missing_percent();
        let lost = |span: &Span| truth(span).lost_percent();
        let before = self.row("loss before retransmission, %", |reported| Held {
            least: loss.before,
            ..held(
                missing(&reported.span()),
                reported.figures.loss_before_rtx_percent,
                loss.within,
            )
        });
        let after = self.row("loss after retransmission, %", |reported| Held {
            least: loss.after,
            ..held(
                lost(&reported.span()),
                reported.figures.loss_percent,
                loss.within,
            )
        });
        // Others have one figure for loss, and don't say which.
        [
            Row {
                python: self.others.python(|p| p.lost_percent, missing),
                lk: self.others.lk(missing),
                ..before
            },
            Row {
                python: self.others.python(|p| p.lost_percent, lost),
                lk: self.others.lk(lost),
                ..after
            },
        ]
    }

    fn reordered(&self) -> Row {
        self.row("reordered, %", |reported| {
            let truth = truth::sequences(self.passed, &reported.span());
            let packets = &reported.figures.packets;
            let muster = packets.reordered as f64 * 100.0 / packets.expected as f64;
            let injected = truth.reordered as f64 * 100.0 / truth.expected as f64;
            Held {
                least: 1.0,
                ..held(injected, Some(muster), 0.1)
            }
        })
    }
}
