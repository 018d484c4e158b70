//! What the functions share: Lambda's runtime on one side, muster's words on the other.

use std::future::Future;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use muster::error::Error;
use muster::exit::Exit;
use muster::function::{Context, Invocation, start_log, starting};
use serde_json::Value;

/// What Lambda's runtime needs of its environment; it panics without.
const NEEDED: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// The most characters of an error's words.
const WORDS_MAX: usize = 1_000;

/// Does `work` for each event that comes, one after the other, until Lambda ends the process.
pub fn serve<W>(work: impl Fn(Value, Invocation) -> W) -> Exit
where
    W: Future<Output = Result<Value, Error>>,
{
    match start_log().and_then(|()| run(work)) {
        Ok(()) => Exit::Passed,
        Err(error) => {
            tracing::error!("{error}");
            error.exit()
        }
    }
}

fn run<W>(work: impl Fn(Value, Invocation) -> W) -> Result<(), Error>
where
    W: Future<Output = Result<Value, Error>>,
{
    for name in NEEDED {
        if std::env::var_os(name).is_none() {
            let text = format!("{name} is not set: this program runs as a Lambda function only");
            return Err(Error::new(Exit::BadConfiguration, text));
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Exit::Internal, format!("cannot start threads: {e}")))?;
    let handler = service_fn(|event: LambdaEvent<Value>| {
        let invocation = Invocation::begin(&Context {
            deadline_ms: event.context.deadline,
            memory_mib: u32::try_from(event.context.env_config.memory).unwrap_or(0),
        });
        let work = work(event.payload, invocation);
        async move { work.await.map_err(told) }
    });
    starting();
    runtime
        .block_on(lambda_runtime::run(handler))
        .map_err(|e| Error::new(Exit::Internal, format!("Lambda's runtime failed: {e}")))
}

/// An error as Lambda counts and shows it: its exit code's meaning, then its words. Those may
/// repeat what an event said, whose length is its writer's choice.
fn told(error: Error) -> Diagnostic {
    let words: String = error.to_string().chars().take(WORDS_MAX).collect();
    tracing::error!("{words}");
    Diagnostic {
        error_type: format!("{:?}", error.exit()),
        error_message: words,
    }
}
