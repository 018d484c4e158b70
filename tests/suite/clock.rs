//! A process whose clock is wrong measures the same windows as the others.

use std::time::{Duration, SystemTime};

use muster::clock::ReferenceClock;
use muster::exit::Exit;
use muster::job::Timestamp;
use muster::local::EmbeddedBucket;
use muster::report::Combined;
use muster::report::combined::{Interval, Tier, VantageRow};

use crate::fixtures::alone::alone;
use crate::fixtures::faketime::{Faketime, Shift};
use crate::fixtures::fleet::{Fleet, Member};
use crate::fixtures::{latency, livekit, skip::skip};

/// How far apart windows may be beyond what the stated intervals allow.
const BEYOND: Duration = Duration::from_millis(20);

/// The vantage whose clock is wrong, and those whose clock is right.
const SHIFTED: &str = "shifted";
const OTHERS: [&str; 2] = ["east", "west"];

#[tokio::test(flavor = "multi_thread")]
async fn a_shifted_clock_shifts_no_window() {
    windows_agree(Shift {
        ahead_s: 30,
        ppm: 400,
        monotonic: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drifting_clock_drifts_no_window() {
    windows_agree(Shift {
        ahead_s: -30,
        ppm: 400,
        monotonic: true,
    })
    .await;
}

/// Half a minute behind or ahead, and drifting: the run is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinators_shifted_clock_shifts_no_window() {
    let _alone = alone().await;
    let Some(faketime) = Faketime::find() else {
        skip!("faketime");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    for (ahead_s, monotonic) in [(30, false), (-30, true)] {
        let bucket = EmbeddedBucket::start().await.expect("a bucket");
        let fleet = Fleet::new(&server, &bucket.settings().expect("its settings"));
        let args = "--vantages east,west --ramp 1 --duration 4s --settle 2s --grace 10s \
                    --timeout 60s --threshold connected>=50% --format json";
        let args: Vec<&str> = args.split_whitespace().collect();
        let shift = Shift {
            ahead_s,
            ppm: 400,
            monotonic,
        };
        let coordinator = fleet.coordinator_with(&args, &faketime.env(shift));
        let mut probers = OTHERS.map(|vantage| fleet.prober(vantage));
        let ended = coordinator.ended(Duration::from_secs(120));
        let report = ended.expect(Exit::Passed).report();
        for prober in &mut probers {
            prober.end(Duration::from_secs(30)).expect(Exit::Passed);
        }
        assert_eq!(report.reference, Some(ReferenceClock::Sfu));
        for tier in 0..2 {
            let [east, west] = &probers;
            agree(&report, tier, (east, OTHERS[0]), (west, OTHERS[1]));
            // The reference clock is this machine's, so the windows were where they should be.
            let window = report.tiers[tier].window;
            let opened = Timestamp::from_micros(micros(edge(east, tier, "opened")));
            let off = opened.saturating_since(window.from);
            assert!(off < Duration::from_secs(2), "{off:?} late");
            assert!(opened >= window.from - BEYOND, "too soon");
            for vantage in OTHERS {
                let row = row(&report, tier, vantage);
                assert!(row.clock.marked.is_empty(), "{:?}", row.clock.marked);
            }
        }
    }
}

fn micros(t: SystemTime) -> i64 {
    let since = t.duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.expect("later than 1970").as_micros();
    i64::try_from(micros).expect("before the year 290000")
}

/// The windows of two probers opened and closed together, by the clock of this process: within
/// 20 ms beyond what the stated intervals allow.
fn agree(report: &Combined, tier: usize, one: (&Member, &str), other: (&Member, &str)) {
    let widths = [one.1, other.1].map(|v| row(report, tier, v).clock.width_ms);
    let width_ms: f64 = widths.map(|w| w.expect("a width")).iter().sum();
    let allowed = BEYOND + Duration::from_secs_f64(width_ms / 2e3);
    let apart = ["opened", "closed"].map(|which| {
        let (here, there) = (edge(one.0, tier, which), edge(other.0, tier, which));
        let ahead = here.duration_since(there);
        ahead.unwrap_or_else(|behind| behind.duration())
    });
    // A busy machine serves a process late once; a wrong clock is wrong at both edges.
    let least = apart.iter().min().expect("two edges");
    assert!(
        *least <= allowed,
        "tier {tier}: {apart:?} apart, {allowed:?} allowed"
    );
}

/// The tier's sum is that of the vantages' own series, second by second.
fn adds_up(tier: &Tier) {
    let all = &tier.figures.as_ref().expect("measured").connected;
    assert!(!all.series.is_empty(), "tier {}", tier.tier);
    for (second, sum) in all.series.iter().enumerate() {
        let own = tier.rows.iter().map(|row| {
            let series = &row.figures.connected.series;
            series.get(second).copied().flatten()
        });
        assert_eq!(own.sum::<Option<u64>>(), *sum, "second {second}");
    }
}

/// Runs a fleet of which one prober's clock is shifted. What is compared is when the probers said
/// that their windows opened and closed, by the clock of this process.
async fn windows_agree(shift: Shift) {
    let _alone = alone().await;
    let Some(faketime) = Faketime::find() else {
        skip!("faketime");
    };
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let fleet = Fleet::new(&server, &bucket.settings().expect("its settings"));
    let args = "--vantages east,west,shifted --ramp 1,1,1 --duration 5s --settle 2s --grace 10s \
                --timeout 60s --threshold connected>=50% --format json";
    let coordinator = fleet.coordinator(&args.split_whitespace().collect::<Vec<_>>());
    let mut others = OTHERS.map(|vantage| fleet.prober(vantage));
    let env = faketime.env(shift);
    let born = SystemTime::now();
    let mut shifted = fleet.start_with(SHIFTED, &["probe", "--vantage", SHIFTED], &env);

    let ended = coordinator.ended(Duration::from_secs(150));
    let report = ended.expect(Exit::Passed).report();
    for prober in others.iter_mut().chain([&mut shifted]) {
        prober.end(Duration::from_secs(30)).expect(Exit::Passed);
    }
    assert_eq!(report.reference, Some(ReferenceClock::Sfu));
    for tier in 0..4 {
        let row = row(&report, tier, SHIFTED);
        assert!(row.clock.marked.is_empty(), "{:?}", row.clock.marked);
        assert_eq!(row.clock.by, Some(ReferenceClock::Sfu));
        // Its own clock is wrong, and it knows by how much.
        let opened = edge(&shifted, tier, "opened");
        let age = opened.duration_since(born).expect("it was born before");
        let drift_ms = age.as_secs_f64() * f64::from(shift.ppm) / 1e3;
        let drift_ms = if shift.monotonic { drift_ms } else { 0.0 };
        let behind_ms = f64::from(-shift.ahead_s) * 1e3 - drift_ms;
        holds(row.clock.sfu, behind_ms);
        holds(row.clock.bucket, behind_ms);
        // Aged since before the start alone, it would be ten times as wide.
        assert!(
            row.clock.width_ms.is_some_and(|w| w < 10.0),
            "{:?}",
            row.clock
        );

        for (other, vantage) in others.iter().zip(OTHERS) {
            agree(&report, tier, (&shifted, SHIFTED), (other, vantage));
        }
        let tier = &report.tiers[tier];
        assert!(tier.started_apart_ms.is_some_and(|ms| ms < 500.0));
        assert!(tier.started_apart_uncertainty_ms.is_some());
        adds_up(tier);
        latency::are_of_one_machine(tier);
    }
}

/// When a prober's window of a tier was heard to open or close.
fn edge(prober: &Member, tier: usize, which: &str) -> SystemTime {
    let texts = [&format!("window {which}"), &format!("tier={tier}")];
    let heard = prober.log.heard(&texts.map(String::as_str));
    heard.unwrap_or_else(|| panic!("tier {tier} never {which}"))
}

fn row<'a>(report: &'a Combined, tier: usize, vantage: &str) -> &'a VantageRow {
    let rows = &report.tiers[tier].rows;
    let row = rows.iter().find(|r| r.vantage.as_str() == vantage);
    row.unwrap_or_else(|| panic!("{vantage} has no tier {tier}"))
}

/// The truth lies in the stated interval, but for how exactly the test knows it itself.
#[track_caller]
fn holds(interval: Option<Interval>, truth_ms: f64) {
    let i = interval.expect("measured");
    let known_ms = 1.0;
    assert!(
        i.lo_ms - known_ms <= truth_ms && truth_ms <= i.hi_ms + known_ms,
        "{truth_ms} is not in {i:?}"
    );
}
