//! A function in a region: what it has, and invoking it without waiting for it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::request::Request;
use super::{AwsError, Caller};
use crate::cost::Function;
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

/// A function as it is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// What is paid for.
    pub function: Function,
    /// How long it may run.
    pub timeout: Duration,
}

/// What of GetFunctionConfiguration's answer is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    memory_size: u32,
    timeout: u64,
    architectures: Vec<String>,
}

impl Caller {
    /// What a function in `region` has: Lambda's GetFunctionConfiguration.
    ///
    /// # Errors
    /// When there is no such function, or Lambda doesn't say.
    pub async fn deployed(
        &self,
        region: &Vantage,
        function: &FunctionName,
    ) -> Result<Deployed, AwsError> {
        let answer = self
            .send(&Request {
                service: "lambda",
                region: region.to_string(),
                method: "GET",
                path: format!("/2015-03-31/functions/{function}/configuration"),
                headers: Vec::new(),
                content_type: "application/json",
                body: String::new(),
                what: format!("describe function `{function}`"),
            })
            .await?;
        read(&answer).map_err(|e| AwsError::Request {
            service: "lambda",
            why: format!("its description of function `{function}` can't be read: {e}"),
        })
    }

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
            method: "POST",
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

fn read(answer: &[u8]) -> Result<Deployed, serde_json::Error> {
    let found: Configuration = serde_json::from_slice(answer)?;
    Ok(Deployed {
        function: Function {
            memory_mib: found.memory_size,
            arm64: found.architectures.iter().any(|name| name == "arm64"),
        },
        timeout: Duration::from_secs(found.timeout),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_lambda_describes_it() {
        let answer = br#"{"FunctionName": "muster-prober", "Runtime": "provided.al2023",
            "Timeout": 900, "MemorySize": 1769, "Architectures": ["arm64"], "State": "Active"}"#;
        let found = read(answer).unwrap();
        assert!(found.function.arm64 && found.function.memory_mib == 1_769);
        assert_eq!(found.timeout, Duration::from_secs(900));
        assert!(read(b"{}").is_err() && read(b"").is_err());
    }
}
