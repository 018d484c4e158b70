//! What an event may ask for. Whoever may invoke a function writes it: it is read strictly.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::job::{JobSpec, RunId, Span, Timestamp};
use crate::rendezvous::keys::{Item, RunKey};
use crate::secret::Secret;

/// The most characters of a run's id here: the name of its schedule is longer by a time, and has
/// 64 at most.
const RUN_MAX: usize = 52;
/// From the event to the start, unless it says otherwise: probers start within seconds.
const START_IN: Duration = Duration::from_secs(60);

/// Why an event is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not an object of the right keys.
    #[error("the event can't be read; send {0}")]
    NoObject(&'static str),
    /// A key that isn't as it should be.
    #[error("the event's {0}")]
    Key(String),
    /// Nothing that a retry of the event would say again.
    #[error(
        "the event names no run; give `run`, or `id` and `time` as EventBridge does: a retry of the event must say the same"
    )]
    NoRun,
    /// The job can't be read.
    #[error("the event's job can't be read: {0}")]
    Job(String),
}

/// A run to begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CoordinatorEvent {
    /// Its id: the same event is the same run.
    pub(super) run: RunId,
    /// From now to the start, unless the job has one.
    pub(super) start_in: Span,
    /// What to do.
    pub(super) spec: JobSpec,
}

impl CoordinatorEvent {
    /// From an event of one's own, which is a job with `run` and `start_in` beside its keys, or
    /// one of EventBridge's, which has the job in `detail`.
    pub(super) fn read(event: Value) -> Result<Self, EventError> {
        let Value::Object(mut event) = event else {
            return Err(EventError::NoObject("a job, as a job file has it"));
        };
        let id = text(&mut event, "id")?;
        let time = text(&mut event, "time")?;
        let mut job = match event.remove("detail") {
            Some(Value::Object(detail)) => detail,
            Some(_) => return Err(EventError::Key("`detail` is no JSON object".to_owned())),
            None => event,
        };
        let named = text(&mut job, "run")?;
        let start_in = text(&mut job, "start_in")?;
        let run = match (named, id, time) {
            (Some(run), ..) => run,
            (None, Some(id), Some(time)) => format!("{}-{}", day(&time)?, id.to_ascii_lowercase()),
            _ => return Err(EventError::NoRun),
        };
        let start_in = match start_in {
            Some(text) => parsed("start_in", &text)?,
            None => Span(START_IN),
        };
        if run.len() > RUN_MAX {
            let text = format!(
                "`run` has {} characters, and {RUN_MAX} is the most",
                run.len()
            );
            return Err(EventError::Key(text));
        }
        let spec = serde_json::from_value(Value::Object(job));
        Ok(CoordinatorEvent {
            run: parsed("run", &run)?,
            start_in,
            spec: spec.map_err(|e| EventError::Job(e.to_string()))?,
        })
    }
}

/// A run to take part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProberEvent {
    /// Where the ticket is. Not the ticket itself: events are logged.
    Ticket(Secret),
    /// The run's id; the function has credentials of its own.
    Run(RunId),
}

impl ProberEvent {
    pub(super) fn read(event: Value) -> Result<Self, EventError> {
        let wrong = EventError::NoObject("{\"ticket\": \"https://…\"} or {\"run\": \"…\"}");
        let Value::Object(mut event) = event else {
            return Err(wrong);
        };
        let url = text(&mut event, "ticket")?;
        let run = text(&mut event, "run")?;
        match (url, run) {
            _ if !event.is_empty() => Err(wrong),
            (Some(url), None) if url.starts_with("https://") || url.starts_with("http://") => {
                Ok(ProberEvent::Ticket(Secret::new(url)))
            }
            (Some(_), None) => Err(EventError::Key("`ticket` is no URL".to_owned())),
            (None, Some(run)) => Ok(ProberEvent::Run(parsed("run", &run)?)),
            _ => Err(wrong),
        }
    }
}

/// Why a finalizer is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FinalizerEvent {
    /// A run's time has come, as its schedule says.
    Due(RunId),
    /// Reports of these runs have come.
    Reported(BTreeSet<RunId>),
}

impl FinalizerEvent {
    /// From a schedule's `{"run": …}`, or S3's notification of objects in a bucket whose runs are
    /// below `prefix`.
    pub(super) fn read(event: Value, prefix: &str) -> Result<Self, EventError> {
        let Value::Object(mut event) = event else {
            return Err(EventError::NoObject("{\"run\": \"…\"}"));
        };
        if let Some(run) = text(&mut event, "run")? {
            if let Some(key) = event.keys().next() {
                let key: String = key.chars().take(40).collect();
                let text = format!("`{key}` has no meaning beside `run`");
                return Err(EventError::Key(text));
            }
            return Ok(FinalizerEvent::Due(parsed("run", &run)?));
        }
        let Some(Value::Array(records)) = event.remove("Records") else {
            // S3 sends one when the notification is set up.
            return match event.get("Event") {
                Some(test) if test == "s3:TestEvent" => {
                    Ok(FinalizerEvent::Reported(BTreeSet::new()))
                }
                _ => Err(EventError::Key(
                    "content has neither `run` nor `Records`".to_owned(),
                )),
            };
        };
        let runs = records
            .iter()
            .filter_map(|record| record.pointer("/s3/object/key")?.as_str())
            .filter_map(|key| reported(key, prefix));
        Ok(FinalizerEvent::Reported(runs.collect()))
    }
}

/// The run whose report an object is; its key as a notification has it (form encoded).
fn reported(key: &str, prefix: &str) -> Option<RunId> {
    let encoded = format!("key={}", key.replace('&', "%26"));
    let (_, key) = url::form_urlencoded::parse(encoded.as_bytes()).next()?;
    let below = match prefix {
        "" => &*key,
        prefix => key.strip_prefix(prefix)?.strip_prefix('/')?,
    };
    let key: RunKey = below.parse().ok()?;
    matches!(key.item, Item::Report(_)).then_some(key.run)
}

/// Takes a text out of an event; `None` when there is no such key.
fn text(event: &mut Map<String, Value>, key: &str) -> Result<Option<String>, EventError> {
    match event.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(EventError::Key(format!("`{key}` is no text"))),
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &str,
    text: &str,
) -> Result<T, EventError> {
    text.parse()
        .map_err(|e| EventError::Key(format!("`{key}`: {e}")))
}

/// A time as the ids of runs begin: `20261122-071339`.
fn day(time: &str) -> Result<String, EventError> {
    let at: Timestamp = parsed("time", time)?;
    let id = RunId::new(at, 0);
    Ok(id.as_str().chars().take("20261122-071339".len()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn job(event: Value) -> Result<(String, u64, JobSpec), String> {
        CoordinatorEvent::read(event)
            .map(|e| (e.run.to_string(), e.start_in.0.as_secs(), e.spec))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn an_event_is_a_job_with_its_runs_id() {
        let own = json!({"run": "r1", "url": "ws://sfu", "ramp": "1,2"});
        let (run, start_in, spec) = job(own).unwrap();
        assert_eq!((run.as_str(), start_in), ("r1", 60));
        assert_eq!(spec.url.as_deref(), Some("ws://sfu"));

        let bridged = json!({
            "version": "0", "id": "6A7E8FEB-b491-4cf7", "detail-type": "Nightly",
            "source": "ops", "account": "1", "time": "2026-11-22T07:13:39Z", "region": "eu-west-1",
            "resources": [], "detail": {"url": "ws://sfu", "start_in": "90s"},
        });
        let (run, start_in, again) = job(bridged.clone()).unwrap();
        assert_eq!(
            (run.as_str(), start_in),
            ("20261122-071339-6a7e8feb-b491-4cf7", 90)
        );
        assert_eq!(again.url, spec.url);
        assert_eq!(
            job(bridged.clone()),
            job(bridged),
            "a retry is the same run"
        );
    }

    #[test]
    fn poisoned_events_are_refused_in_words() {
        for (event, says) in [
            (json!(null), "can't be read"),
            (json!([{"run": "r1"}]), "can't be read"),
            (json!("run"), "can't be read"),
            (json!({}), "names no run"),
            (json!({"id": "x"}), "names no run"),
            (json!({"run": 7}), "`run` is no text"),
            (json!({"run": "../r"}), "`run`"),
            (json!({"run": "r".repeat(53)}), "52"),
            (json!({"id": "x", "time": "yesterday"}), "`time`"),
            (
                json!({"id": "x y", "time": "2026-11-22T07:13:39Z"}),
                "`run`",
            ),
            (json!({"run": "r", "detail": []}), "`detail`"),
            (json!({"run": "r", "start_in": "soon"}), "`start_in`"),
            (json!({"run": "r", "bomb": 1}), "bomb"),
            (json!({"run": "r", "ramp": {"a": 1}}), "job"),
            (json!({"run": "r", "max_participants": -1}), "job"),
        ] {
            let error = job(event.clone()).unwrap_err();
            assert!(error.contains(says), "{event}: {error}");
        }
        for event in [
            json!({}),
            json!({"run": 1}),
            json!([]),
            json!({"run": "r", "x": 1}),
            json!({"run": "r", "ticket": "https://x/y"}),
            json!({"ticket": "file:///etc/passwd"}),
            json!({"ticket": {"schema": 1}}),
        ] {
            assert!(ProberEvent::read(event.clone()).is_err(), "{event}");
        }
        for event in [
            json!({}),
            json!({"run": 1}),
            json!(0),
            json!({"Records": {}}),
            json!({"run": "r", "x": 1}),
        ] {
            assert!(FinalizerEvent::read(event.clone(), "").is_err(), "{event}");
        }
    }

    #[test]
    fn a_notification_names_the_runs_that_have_a_new_report() {
        let records = |keys: &[&str]| {
            let record =
                |key: &&str| json!({"eventSource": "aws:s3", "s3": {"object": {"key": key}}});
            json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
        };
        let runs = |event, prefix| match FinalizerEvent::read(event, prefix) {
            Ok(FinalizerEvent::Reported(runs)) => runs.iter().map(ToString::to_string).collect(),
            other => vec![format!("{other:?}")],
        };
        let keys = [
            "runs/r1/reports/iad.report.json",
            "runs/r1/reports/sjc.report.json",
            "runs/r2/job.json",
            "x",
        ];
        assert_eq!(runs(records(&keys), ""), ["r1"]);
        let below = [
            "night+ly%2Fa/runs/r1/reports/iad.report.json",
            "runs/r2/reports/iad.report.json",
        ];
        assert_eq!(runs(records(&below), "night ly/a"), ["r1"]);
        let nothing: [&str; 0] = [];
        assert_eq!(runs(json!({"Records": [{"s3": 7}, null]}), ""), nothing);
        assert_eq!(runs(json!({"Event": "s3:TestEvent"}), ""), nothing);
        let due = FinalizerEvent::read(json!({"run": "r1"}), "").unwrap();
        assert_eq!(due, FinalizerEvent::Due("r1".parse().unwrap()));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let key = prop_oneof![
                Just("run".to_owned()),
                Just("detail".to_owned()),
                Just("Records".to_owned()),
                Just("ramp".to_owned()),
                ".{0,8}"
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_event_breaks_a_function(event in any_json()) {
            let _ = CoordinatorEvent::read(event.clone());
            let _ = ProberEvent::read(event.clone());
            let _ = FinalizerEvent::read(event, "p");
        }
    }
}
