//! Parts of other builds: older ones are read, what they don't have is unknown, newer ones are
//! rejected with the reason.
//!
//! The fixtures are bodies as they were written, and stay as they are.

use bytes::Bytes;
use serde_json::{Value, json};

use super::combine::combine;
use super::combined::{Combined, Figures, SlotState};
use super::part::ReportPart;
use super::sample::{healthy, vantage};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::{RendezvousError, document};

/// Vantage a's report as the first builds of schema 1 wrote it.
const FIRST: &str = include_str!("golden/report.1.first.json");
/// The same with all that came later in schema 1.
const LATER: &str = include_str!("golden/report.1.json");

fn read(body: &str) -> Result<ReportPart, RendezvousError> {
    let run = healthy().job.run;
    let key = RunKey::new(&run, Item::Report(vantage("a")));
    document::read(&key, &Bytes::copy_from_slice(body.as_bytes()))
}

/// The combined report of a run with this one of vantage a.
fn with(report: ReportPart) -> Combined {
    let mut inputs = healthy();
    inputs.tiers.retain(|t| t.vantage != report.vantage);
    inputs.reports.retain(|r| r.vantage != report.vantage);
    inputs.reports.push(report);
    combine(&inputs)
}

fn figures(c: &Combined) -> &Figures {
    &c.tiers[1].rows[0].figures
}

#[test]
fn a_part_of_any_build_of_this_schema_counts() {
    for body in [FIRST, LATER] {
        let c = with(read(body).unwrap());
        let slot = &c.vantages[0];
        assert_eq!(
            (slot.vantage.clone(), slot.state),
            (Some(vantage("a")), SlotState::Partial)
        );
        assert_eq!(slot.tiers, [0, 1], "the tiers that the fixture has");
        assert!(c.rejected.is_empty(), "{:?}", c.rejected);
        let f = figures(&c);
        assert_eq!((f.requested.subscribers, f.loss_percent), (5, Some(0.0)));
        assert_eq!(f.rtt_ms.unwrap().count, 60);
        assert_eq!(f.connected.subscribers.unwrap().min, 5);
    }
}

#[test]
fn what_a_part_does_not_have_is_unknown() {
    let later = with(read(LATER).unwrap());
    let f = figures(&later);
    assert!(f.latency.ms.is_some() && f.video.is_some() && f.bad_input.is_some());
    assert_eq!(f.sent.send_failures, Some(0));

    let first = with(read(FIRST).unwrap());
    let row = &first.tiers[1].rows[0];
    let f = &row.figures;
    assert_eq!((f.latency.ms, f.latency.plus_minus_ms), (None, None));
    assert_eq!((f.video.as_ref(), f.bad_input), (None, None));
    assert_eq!(f.sent.send_failures, None);
    assert!(f.layers.is_empty() && f.rtt_by_ms.is_empty());
    assert_eq!(row.generator.join_lag_ms, None);
    assert_eq!((row.clock.by, row.clock.sfu), (None, None));
    assert_eq!(row.clock.marked, ["its part says nothing of its clocks"]);
    assert_eq!(first.tiers[1].started_apart_uncertainty_ms, None);
    assert_eq!(first.usage.requests, None, "one did not count");
    // In JSON it is null, not 0.
    let json = serde_json::to_value(f).unwrap();
    for path in ["/latency/ms", "/video", "/bad_input", "/sent/send_failures"] {
        assert_eq!(json.pointer(path), Some(&Value::Null), "{path}");
    }
}

#[test]
fn what_this_build_does_not_know_is_ignored() {
    let mut body: Value = serde_json::from_str(LATER).unwrap();
    for path in [
        "",
        "/tiers/0",
        "/tiers/1/packets",
        "/tiers/1/generator",
        "/tiers/1/clock/opened",
    ] {
        let place = body.pointer_mut(path).unwrap();
        place["shoe_size"] = json!({"left": 43, "right": [44]});
    }
    assert_eq!(read(&body.to_string()), read(LATER));
}

#[test]
fn a_part_of_a_newer_schema_is_rejected_with_the_reason() {
    let mut body: Value = serde_json::from_str(LATER).unwrap();
    body["schema"] = 2.into();
    // Whatever else it may look like.
    body["tiers"] = json!("elsewhere");
    let why = read(&body.to_string()).unwrap_err().to_string();
    assert!(
        why.contains("has schema 2, and this muster reads 1; update it"),
        "{why}"
    );
    let mut newer = read(LATER).unwrap();
    newer.tiers[1].schema = 2;
    let c = with(newer);
    assert_eq!(c.rejected.len(), 1);
    assert_eq!(c.rejected[0].vantage, Some(vantage("a")));
    assert!(
        c.rejected[0]
            .reason
            .contains("schema is version 2, and this build reads 1")
    );
    assert!(
        c.tiers[1]
            .rows
            .iter()
            .all(|row| row.vantage != vantage("a"))
    );
}

#[test]
fn a_report_that_an_older_build_combined_is_read() {
    let mut older = serde_json::to_value(combine(&healthy())).unwrap();
    let drop = |place: &mut Value, names: &[&str]| {
        for name in names {
            assert!(
                place.as_object_mut().unwrap().remove(*name).is_some(),
                "{name}"
            );
        }
    };
    drop(&mut older["job"], &["probers"]);
    for tier in older["tiers"].as_array_mut().unwrap() {
        drop(tier, &["probers", "expected_probers", "flows"]);
        for row in tier["rows"].as_array_mut().unwrap() {
            drop(row, &["clock"]);
            drop(&mut row["figures"], &["latency", "video", "bad_input"]);
        }
    }
    let read: Combined = serde_json::from_value(older).unwrap();
    assert_eq!((read.tiers[1].vantages, read.tiers[1].probers), (3, None));
    assert_eq!(read.tiers[1].rows[0].figures.video, None);
    let shown = crate::render::text(&read);
    assert!(shown.contains("tier 1         3/3"), "{shown}");
}
