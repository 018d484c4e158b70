//! A stand-in for EventBridge Scheduler: one-time schedules that invoke a function.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster::job::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

use super::http::{Request, Server, answer};
use super::lambda::{Lambda, refusal, signed_for};

/// The stand-in: it takes what CreateSchedule takes, and fires on time.
pub struct ScheduleStandIn {
    server: Server,
    created: Arc<Mutex<Vec<(String, Value)>>>,
}

impl ScheduleStandIn {
    /// One that invokes the functions of `lambda`.
    pub async fn start(lambda: &Lambda) -> ScheduleStandIn {
        let created: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let fired: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let (send, kept) = (lambda.sender(), Arc::clone(&created));
        let server = Server::start(move |request: Request| {
            let (send, kept, fired) = (send.clone(), Arc::clone(&kept), Arc::clone(&fired));
            async move {
                let name = request
                    .path
                    .strip_prefix("/schedules/")
                    .unwrap_or_default()
                    .to_owned();
                if signed_for(&request, "scheduler").is_none() {
                    return refusal(403, "not signed");
                }
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let Some((at, arn, input)) = once(&body).filter(|_| is_name(&name)) else {
                    return refusal(400, "ValidationException");
                };
                let mut kept = kept.lock().expect("no panic");
                if kept.iter().any(|(known, _)| *known == name) {
                    return refusal(409, "Schedule already exists");
                }
                kept.push((name, body));
                fired.lock().expect("no panic").spawn(async move {
                    let wait = at.saturating_since(muster::clock::now());
                    tokio::time::sleep(wait + Duration::from_millis(200)).await;
                    send(&arn, &input);
                });
                answer(200, "{}")
            }
        })
        .await;
        ScheduleStandIn { server, created }
    }

    /// For `AWS_ENDPOINT_URL_SCHEDULER`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Each schedule so far, by its name.
    pub fn created(&self) -> Vec<(String, Value)> {
        self.created.lock().expect("no panic").clone()
    }
}

/// CreateSchedule's rule for names.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// When a one-time schedule fires, whom, and with what; nothing when it isn't one.
fn once(body: &Value) -> Option<(Timestamp, String, Value)> {
    let text = |pointer: &str| body.pointer(pointer)?.as_str().map(str::to_owned);
    let expression = text("/ScheduleExpression")?;
    let at = expression.strip_prefix("at(")?.strip_suffix(')')?;
    let right = text("/FlexibleTimeWindow/Mode")? == "OFF"
        && text("/ScheduleExpressionTimezone")? == "UTC"
        && text("/ActionAfterCompletion")? == "DELETE"
        && text("/Target/RoleArn")?.starts_with("arn:aws:iam::")
        && text("/GroupName").is_some();
    let input = serde_json::from_str(&text("/Target/Input")?).ok()?;
    let at = format!("{at}Z").parse().ok()?;
    right.then_some((at, text("/Target/Arn")?, input))
}
