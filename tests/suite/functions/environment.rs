//! Where a function runs: its process, and the runtime API that it takes its events from, as
//! *Using the Lambda runtime API* (AWS Lambda's developer guide) describes it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

use super::http::{self, Answer, Request, Server, answer};
use super::lambda::{Config, Outcome};

/// What a function may open (*Lambda quotas*).
const DESCRIPTORS: u32 = 1_024;
/// How long a function may take until it asks for its first event (*Lambda execution
/// environment*).
const INIT_WITHIN: Duration = Duration::from_secs(10);

/// An event on its way to a function.
#[derive(Clone, Debug)]
pub struct Event {
    pub request_id: String,
    /// What a plausible deadline would be is up to the service.
    pub deadline_ms: u128,
    pub body: Bytes,
}

/// What a process told the runtime API.
enum Told {
    /// It asks for an event.
    Next,
    /// What came of an event, by its request id.
    Done(String, Outcome),
}

/// A process that serves one event after the other. Killed on drop.
pub struct Environment {
    process: Child,
    /// From the process's start to its first question for an event.
    pub init: Duration,
    events: mpsc::Sender<Event>,
    told: mpsc::Receiver<Told>,
    frozen: bool,
    log: PathBuf,
    name: String,
    _api: Server,
    _dir: TempDir,
}

impl Environment {
    /// Starts the function's process, and waits until it asks for an event.
    pub async fn start(config: &Config) -> Result<Environment, Outcome> {
        let (events, waiting) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(16);
        let api = api(config, tell, waiting).await;
        let dir = TempDir::new().expect("a temporary directory can be made");
        let log = dir.path().join("log");
        let file = File::create(&log).expect("a log can be made");
        let begun = Instant::now();
        let process = command(config, &api)
            .env("HOME", dir.path())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file)
            .spawn()
            .expect("a function can be run");
        let mut environment = Environment {
            process,
            init: Duration::ZERO,
            events,
            told,
            frozen: false,
            log,
            name: format!("{} in {}", config.name, config.region),
            _api: api,
            _dir: dir,
        };
        let asked = tokio::time::timeout(INIT_WITHIN, environment.told.recv()).await;
        environment.init = begun.elapsed();
        match asked {
            Ok(Some(Told::Next)) => Ok(environment),
            _ => Err(Outcome::Exited),
        }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the process logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Has the function serve an event, for `timeout` at most. After anything but an answer or a
    /// failure that it reported itself, the process is gone.
    pub async fn serve(&mut self, event: Event, timeout: Duration) -> Outcome {
        self.freeze(false);
        let request_id = event.request_id.clone();
        if self.events.send(event).await.is_err() {
            return Outcome::Exited;
        }
        let deadline = tokio::time::Instant::now() + timeout;
        let mut outcome = None;
        loop {
            tokio::select! {
                told = self.told.recv() => match (told, outcome.take()) {
                    // It is stopped when it asks for more, until there is.
                    (Some(Told::Next), Some(outcome)) => {
                        self.freeze(true);
                        return outcome;
                    }
                    (Some(Told::Done(id, done)), _) if id == request_id => outcome = Some(done),
                    (Some(_), before) => outcome = before,
                    (None, _) => return Outcome::Exited,
                },
                () = tokio::time::sleep_until(deadline) => {
                    self.kill();
                    return Outcome::TimedOut;
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    if !matches!(self.process.try_wait(), Ok(None)) {
                        return Outcome::Exited;
                    }
                }
            }
        }
    }

    /// Between two events a function doesn't run.
    fn freeze(&mut self, freeze: bool) {
        if self.frozen != freeze {
            self.frozen = freeze;
            let signal = if freeze { "-STOP" } else { "-CONT" };
            let sent = Command::new("kill")
                .args([signal, &self.id().to_string()])
                .status();
            assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
        }
    }

    fn kill(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() || std::env::var_os("MUSTER_TEST_LOGS").is_some() {
            eprintln!("--- the log of {}\n{}", self.name, self.log());
        }
    }
}

/// The function's process, with what Lambda sets in its environment and nothing else.
fn command(config: &Config, api: &Server) -> Command {
    let limit = format!("ulimit -n {DESCRIPTORS} && exec \"$0\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limit])
        .arg(&config.program)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TZ", ":UTC")
        .env("LANG", "en_US.UTF-8")
        .env("_HANDLER", "bootstrap")
        .env("AWS_LAMBDA_RUNTIME_API", api.address())
        .env("AWS_LAMBDA_FUNCTION_NAME", &config.name)
        .env(
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory_mib.to_string(),
        )
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env(
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", config.name),
        )
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0")
        .env("AWS_REGION", &config.region)
        .env("AWS_DEFAULT_REGION", &config.region)
        .envs(config.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command
}

/// The runtime API of one process.
async fn api(config: &Config, tell: mpsc::Sender<Told>, waiting: mpsc::Receiver<Event>) -> Server {
    let waiting = Arc::new(Mutex::new(waiting));
    let arn = config.arn();
    Server::start(move |request: Request| {
        let (tell, waiting, arn) = (tell.clone(), Arc::clone(&waiting), arn.clone());
        async move {
            let path = request
                .path
                .strip_prefix("/2018-06-01/runtime/")
                .unwrap_or_default();
            let parts: Vec<&str> = path.split('/').collect();
            match (request.method.as_str(), &parts[..]) {
                ("GET", ["invocation", "next"]) => {
                    let _ = tell.send(Told::Next).await;
                    match waiting.lock().await.recv().await {
                        Some(event) => next(event, &arn),
                        None => answer(500, ""),
                    }
                }
                ("POST", ["invocation", id, "response"]) => {
                    let value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
                    done(&tell, id, &request, Outcome::Answered(value)).await
                }
                ("POST", ["invocation", id, "error"]) => {
                    done(&tell, id, &request, Outcome::failed(&request.body)).await
                }
                ("POST", ["init", "error"]) => status("OK"),
                _ => answer(404, ""),
            }
        }
    })
    .await
}

fn next(event: Event, arn: &str) -> Answer {
    let mut next = answer(200, event.body);
    let mut set = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).expect("a header");
        next.headers_mut().insert(name, value);
    };
    set("lambda-runtime-aws-request-id", &event.request_id);
    set(
        "lambda-runtime-invocation-id",
        &invocation_id(&event.request_id),
    );
    set("lambda-runtime-deadline-ms", &event.deadline_ms.to_string());
    set("lambda-runtime-invoked-function-arn", arn);
    set(
        "lambda-runtime-trace-id",
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
    );
    set("content-type", "application/json");
    next
}

/// Tells an answer to one event from an answer to another.
fn invocation_id(request_id: &str) -> String {
    format!("inv-{request_id}")
}

async fn done(
    tell: &mpsc::Sender<Told>,
    id: &str,
    request: &http::Request,
    outcome: Outcome,
) -> Answer {
    let echoed = request.headers.get("lambda-runtime-invocation-id");
    assert_eq!(
        echoed.and_then(|value| value.to_str().ok()),
        Some(invocation_id(id).as_str()),
        "an answer belongs to its event"
    );
    let _ = tell.send(Told::Done(id.to_owned(), outcome)).await;
    status("OK")
}

fn status(text: &str) -> Answer {
    answer(202, json!({"status": text}).to_string())
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_millis()
}
