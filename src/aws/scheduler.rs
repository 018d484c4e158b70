//! Scheduling one invocation of a function, with EventBridge Scheduler.

use serde_json::{Value, json};

use super::request::Request;
use super::{AwsError, Caller};
use crate::job::Timestamp;

/// The most characters that a schedule's name may have (EventBridge Scheduler's API).
pub const NAME_MAX: usize = 64;

/// One invocation at one time, deleted afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct OneTime {
    /// Unique within the group; letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The schedules' group.
    pub group: String,
    /// When, by AWS's clock, to the second.
    pub at: Timestamp,
    /// The function.
    pub target_arn: String,
    /// What the scheduler may do.
    pub role_arn: String,
    /// The function's event.
    pub event: Value,
}

/// What came of scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// It is new.
    Now,
    /// There is one of that name.
    Before,
}

impl OneTime {
    fn body(&self) -> Value {
        json!({
            "ActionAfterCompletion": "DELETE",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "GroupName": self.group,
            "ScheduleExpression": format!("at({})", self.second()),
            "ScheduleExpressionTimezone": "UTC",
            "Target": {
                "Arn": self.target_arn,
                "RoleArn": self.role_arn,
                "Input": self.event.to_string(),
            },
        })
    }

    /// The first whole second that is not before the time, without a zone, as `at(…)` has it.
    fn second(&self) -> String {
        let us = self.at.as_micros();
        let up =
            Timestamp::from_micros(us.saturating_add(999_999).div_euclid(1_000_000) * 1_000_000);
        up.to_string()
            .chars()
            .take("2026-11-22T07:13:39".len())
            .collect()
    }
}

impl Caller {
    /// Schedules an invocation in `region`. A second one of the same name changes nothing.
    ///
    /// # Errors
    /// When the scheduler doesn't take it.
    pub async fn schedule(&self, region: &str, once: &OneTime) -> Result<Scheduled, AwsError> {
        let request = Request {
            service: "scheduler",
            region: region.to_owned(),
            method: "POST",
            path: format!("/schedules/{}", once.name),
            headers: Vec::new(),
            content_type: "application/json",
            body: once.body().to_string(),
            what: format!("create schedule `{}`", once.name),
        };
        match self.send(&request).await {
            Ok(_) => Ok(Scheduled::Now),
            // ConflictException
            Err(AwsError::Refused { status: 409, .. }) => Ok(Scheduled::Before),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_never_early() {
        let once = |us| OneTime {
            name: "r1".into(),
            group: "muster".into(),
            at: Timestamp::from_micros(us),
            target_arn: "arn:f".into(),
            role_arn: "arn:r".into(),
            event: json!({"run": "r1"}),
        };
        for (us, at) in [
            (1_795_331_619_000_000, "at(2026-11-22T07:13:39)"),
            (1_795_331_619_000_001, "at(2026-11-22T07:13:40)"),
            (1_795_331_619_999_999, "at(2026-11-22T07:13:40)"),
        ] {
            let body = once(us).body();
            assert_eq!(body["ScheduleExpression"], at);
            assert_eq!(body["Target"]["Input"], r#"{"run":"r1"}"#);
        }
    }
}
