//! What muster reports, held against what was injected.
//!
//! A relay between clients and a real server loses, delays, spreads and reorders media, and keeps
//! a record of every packet. A whole run of `muster local` and participants of the test's own go
//! through it, and the official Python SDK and `lk` beside them. `cargo test accuracy --
//! --nocapture` prints the table.

mod others;
mod run;
mod session;
mod table;
mod truth;

use std::ops::Range;
use std::time::Duration;

use crate::fixtures::alone::alone;
use crate::fixtures::livekit;
use crate::fixtures::relay::conditions::{Conditions, Leg};
use crate::fixtures::relay::record::{Nanos, Passed};
use crate::fixtures::relay::{self, Relay};
use crate::fixtures::skip::skip;
use others::Others;
use run::Reported;
use session::Session;
use table::{Row, Told};

/// What is done to the media for a while.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    conditions: Conditions,
    figures: &'static [Figure],
}

/// What a scene is about.
#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Rtt,
    Latency,
    Jitter,
    /// Before and after retransmission, within so many points.
    Loss(f64),
    Reordered,
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// In the order in which they happen. Delays stay below what a client takes for congestion.
fn scenes() -> Vec<Scene> {
    use Figure::{Jitter, Latency, Loss, Reordered, Rtt};
    let down = |leg| Conditions {
        down: leg,
        ..Conditions::default()
    };
    let away = Conditions::delay(ms(15), ms(15));
    let uneven = down(Leg {
        jitter: ms(16),
        ..Leg::default()
    });
    let overtaken = down(Leg {
        overtaken: Some((25, ms(5))),
        ..Leg::default()
    });
    let scene = |name, conditions, figures| Scene {
        name,
        conditions,
        figures,
    };
    vec![
        scene("nothing", Conditions::default(), &[Rtt, Latency, Loss(0.1)]),
        scene(
            "40 ms down, 20 ms up",
            Conditions::delay(ms(40), ms(20)),
            &[Rtt, Latency, Loss(0.1)],
        ),
        scene(
            "0 to 16 ms more a frame",
            uneven,
            &[Latency, Jitter, Loss(0.1)],
        ),
        scene(
            "each 25th packet 5 ms late",
            overtaken,
            &[Reordered, Loss(0.1)],
        ),
        scene(
            "15 ms each way, 1 % lost",
            away.loss_ppm(10_000),
            &[Rtt, Loss(0.1)],
        ),
        scene(
            "15 ms each way, 20 % lost",
            away.loss_ppm(200_000),
            &[Rtt, Loss(0.5)],
        ),
    ]
}

/// Which packets are looked at.
#[derive(Clone, Debug)]
struct Span {
    /// Those of this time.
    window: Range<Nanos>,
    /// Those of these clients' sockets.
    flows: Range<usize>,
    /// Of these streams; of all if there are none.
    ssrcs: Vec<u32>,
}

/// Everything about one scene.
struct Scenery<'a> {
    scene: Scene,
    passed: &'a [Passed],
    reported: &'a Reported,
    session: &'a Session,
    others: &'a Others,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_is_what_was_injected() {
    let _alone = alone().await;
    let Some(server) = livekit::start_announcing(relay::ADDRESS).await else {
        skip!("livekit-server or Go");
    };
    let relay = Relay::start(server.udp_port());
    let scenes = scenes();
    let reported = run::report(&server, &relay, &scenes).await;
    let sessions = session::sessions(&server, &relay, &scenes).await;
    let passed = relay.passed();
    // Video was sent again in streams of its own, audio in the one that it was lost from.
    assert!(truth::repaired(&passed) > 0);
    let mut rows = Vec::new();
    for ((scene, reported), (session, others)) in scenes.iter().zip(&reported).zip(&sessions) {
        let scenery = Scenery {
            scene: *scene,
            passed: &passed,
            reported,
            session,
            others,
        };
        rows.extend(
            scene
                .figures
                .iter()
                .flat_map(|figure| scenery.rows(*figure)),
        );
    }
    let text = table::text(&rows);
    println!("{text}");
    assert!(rows.iter().all(Row::holds), "beyond a bound:\n{text}");
}

impl Scenery<'_> {
    fn rows(&self, figure: Figure) -> Vec<Row> {
        match figure {
            Figure::Rtt => self.rtt().into(),
            Figure::Latency => vec![self.latency()],
            Figure::Jitter => vec![self.jitter()],
            Figure::Loss(bound) => self.loss(bound).into(),
            Figure::Reordered => vec![self.reordered()],
        }
    }

    fn row(&self, figure: &'static str, truth: f64, muster: Option<f64>, bound: f64) -> Row {
        Row {
            condition: self.scene.name,
            figure,
            truth,
            // It is within no bound.
            muster: muster.unwrap_or(f64::NAN),
            bound,
            python: Told::Nothing,
            lk: Told::Nothing,
        }
    }

    fn rtt(&self) -> [Row; 2] {
        let truth = |span: &Span| truth::ice_rtts_ms(self.passed, span);
        let ice = truth::median(truth(&self.reported.span));
        let muster = self.reported.figures.rtt_ms.map(|rtt| rtt.p50);
        let bound = |rtt: f64| (rtt * 0.02).max(1.0);
        let by_ice = Row {
            python: self
                .others
                .python(|p| p.rtt_ms, |span| truth::mean(&truth(span))),
            ..self.row("round trip, ms", ice, muster, bound(ice))
        };
        let rtcp = truth::rtcp_rtt_ms(self.passed, &self.session.span);
        let muster = Some(self.session.rtcp_rtt_ms);
        [
            by_ice,
            self.row("least round trip by RTCP, ms", rtcp, muster, bound(rtcp)),
        ]
    }

    fn latency(&self) -> Row {
        let injected = truth::latency_ms(self.passed, &self.reported.span);
        let latency = &self.reported.figures.latency;
        let muster = latency.ms.map(|ms| ms.p50);
        // How wide the clock's interval is; unknown, it is within no bound.
        let interval = latency.plus_minus_ms.unwrap_or(f64::NAN);
        self.row("latency, ms", injected, muster, 2.0 + interval)
    }

    fn jitter(&self) -> Row {
        let truth = |span: &Span| truth::jitter_ms(self.passed, span);
        let injected = truth(&self.reported.span);
        let muster = self.reported.figures.jitter_ms.map(|jitter| jitter.mean);
        Row {
            python: self.others.python(|p| p.jitter_ms, truth),
            ..self.row("jitter, ms", injected, muster, injected * 0.1)
        }
    }

    fn loss(&self, bound: f64) -> [Row; 2] {
        let truth = |span: &Span| truth::sequences(self.passed, span);
        let injected = truth(&self.reported.span);
        let missing = |span: &Span| truth(span).missing_percent();
        let lost = |span: &Span| truth(span).lost_percent();
        let figures = &self.reported.figures;
        // Others have one figure for loss, and don't say which.
        let before = Row {
            python: self.others.python(|p| p.lost_percent, missing),
            lk: self.others.lk(missing),
            ..self.row(
                "loss before retransmission, %",
                injected.missing_percent(),
                figures.loss_before_rtx_percent,
                bound,
            )
        };
        let after = Row {
            python: self.others.python(|p| p.lost_percent, lost),
            lk: self.others.lk(lost),
            ..self.row(
                "loss after retransmission, %",
                injected.lost_percent(),
                figures.loss_percent,
                bound,
            )
        };
        [before, after]
    }

    fn reordered(&self) -> Row {
        let span = &self.reported.span;
        let truth = truth::sequences(self.passed, span);
        let packets = &self.reported.figures.packets;
        let muster = packets.reordered as f64 * 100.0 / packets.expected as f64;
        let injected = truth.reordered as f64 * 100.0 / truth.expected as f64;
        self.row("reordered, %", injected, Some(muster), 0.1)
    }
}
