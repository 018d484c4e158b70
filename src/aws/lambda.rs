//! Invoking a function in a region, without waiting for it.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::request::Request;
use super::{AwsError, Caller};
use crate::job::Vantage;

/// A function's name (`muster-prober`), the same in every region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName(String);

impl FromStr for FunctionName {
    type Err = AwsError;

    /// Lambda's own rule for names that are no ARN.
    fn from_str(text: &str) -> Result<Self, AwsError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(word) {
            return Ok(FunctionName(text.to_owned()));
        }
        Err(AwsError::Name {
            what: "function's name",
            name: text.to_owned(),
            rule: "use 1 to 64 of a-z, A-Z, 0-9, - and _",
        })
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Caller {
    /// Hands an event to a function in `region` and returns: `InvocationType: Event` of Lambda's
    /// Invoke. The event may arrive more than once.
    ///
    /// # Errors
    /// When Lambda doesn't take the event.
    pub async fn invoke(
        &self,
        region: &Vantage,
        function: &FunctionName,
        event: Value,
    ) -> Result<(), AwsError> {
        self.send(&Request {
            service: "lambda",
            region: region.to_string(),
            path: format!("/2015-03-31/functions/{function}/invocations"),
            headers: vec![("x-amz-invocation-type", "Event")],
            content_type: "application/json",
            body: event.to_string(),
            what: format!("invoke function `{function}`"),
        })
        .await
        .map(drop)
    }
}
