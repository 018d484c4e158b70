//! The Lambda service on loopback: it describes functions, takes events by its Invoke API, starts and stops functions,
//! tries failed events again, and stops what takes too long.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::environment::{Environment, Event, now_ms};
use super::http::{Answer, Request, Server, answer};

/// The access key that requests to the service must be signed with.
pub const ACCESS_KEY: &str = "loopback-root";
/// The most bytes of an event that nobody waits for, and of one that somebody does (*Lambda
/// quotas*).
const EVENT_MAX: [usize; 2] = [1 << 20, 6 << 20];
/// Between two tries of a failed event; a minute at AWS.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// A function as it is deployed.
#[derive(Clone, Debug)]
pub struct Config {
    pub program: PathBuf,
    pub region: String,
    pub name: String,
    pub memory_mib: u32,
    pub timeout: Duration,
    /// How often a failed event that nobody waits for is tried again.
    pub retries: u32,
    /// How many events it serves at once.
    pub concurrency: usize,
    /// What the service says of its memory and its time, until the function is called: somebody
    /// deploys it anew in between.
    pub said: Option<(u32, Duration)>,
    /// Whether the service takes no event for it (AWS does so when it is busy or disabled).
    pub takes_none: bool,
    /// The deadline that it tells its functions, instead of a true one.
    pub constant_deadline_ms: Option<u128>,
    pub env: Vec<(String, String)>,
}

impl Config {
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:123456789012:function:{}",
            self.region, self.name
        )
    }

    /// GetFunctionConfiguration's answer, as far as anyone here looks at it.
    fn described(&self) -> Value {
        let (memory_mib, timeout) = self.said.unwrap_or((self.memory_mib, self.timeout));
        json!({
            "FunctionName": self.name,
            "FunctionArn": self.arn(),
            "Runtime": "provided.al2023",
            "MemorySize": memory_mib,
            "Timeout": timeout.as_secs(),
            "Architectures": ["x86_64"],
            "State": "Active",
        })
    }
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function's answer.
    Answered(Value),
    /// The function reported an error: its type, and its words.
    Failed(String, String),
    /// It took too long, and was killed.
    TimedOut,
    /// The process ended, or never became able to take events.
    Exited,
}

impl Outcome {
    /// From the body that a function reports an error with.
    pub fn failed(body: &[u8]) -> Outcome {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        Outcome::Failed(text("errorType"), text("errorMessage"))
    }

    /// The answer, or a failed test.
    #[track_caller]
    pub fn answer(&self) -> &Value {
        match self {
            Outcome::Answered(value) => value,
            other => panic!("{other:?}"),
        }
    }
}

/// One try of one event.
#[derive(Clone, Debug)]
pub struct Served {
    pub function: String,
    pub request_id: String,
    pub process: u32,
    /// From the process's start until it could take events, when it was started for this one.
    pub init: Option<Duration>,
    pub outcome: Outcome,
}

struct Queued {
    event: Bytes,
    request_id: String,
    tries_left: u32,
    reply: Option<oneshot::Sender<Outcome>>,
}

struct Function {
    config: Config,
    queue: mpsc::UnboundedSender<Queued>,
}

/// The service. Its functions' processes end with it.
pub struct Lambda {
    shared: Arc<Shared>,
    server: Server,
    _workers: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    functions: BTreeMap<String, Function>,
    served: Mutex<Vec<Served>>,
    requests: Mutex<u32>,
}

impl Lambda {
    /// A service with these functions, none of which runs yet.
    pub async fn start(configs: impl IntoIterator<Item = Config>) -> Lambda {
        let mut functions = BTreeMap::new();
        let mut queues = Vec::new();
        for config in configs {
            let (queue, events) = mpsc::unbounded_channel();
            queues.push((config.clone(), queue.downgrade(), events));
            functions.insert(config.arn(), Function { config, queue });
        }
        let shared = Arc::new(Shared {
            functions,
            ..Shared::default()
        });
        let mut workers = JoinSet::new();
        for (config, queue, events) in queues {
            let events = Arc::new(tokio::sync::Mutex::new(events));
            for _ in 0..config.concurrency {
                let (config, queue) = (config.clone(), queue.clone());
                let (events, shared) = (Arc::clone(&events), Arc::clone(&shared));
                workers.spawn(async move {
                    let mut environment = None;
                    loop {
                        let Some(queued) = events.lock().await.recv().await else {
                            return;
                        };
                        shared
                            .serve(&config, &mut environment, queued, &queue)
                            .await;
                    }
                });
            }
        }
        let server = {
            let shared = Arc::clone(&shared);
            Server::start(move |request| {
                let shared = Arc::clone(&shared);
                async move { shared.invoke(request).await }
            })
            .await
        };
        Lambda {
            shared,
            server,
            _workers: workers,
        }
    }

    /// For `AWS_ENDPOINT_URL_LAMBDA`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Hands over an event and waits for what comes of it.
    pub async fn call(&self, arn: &str, event: impl Into<Bytes>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.shared.queue(arn, event.into(), 0, Some(reply));
        outcome.await.unwrap_or(Outcome::Exited)
    }

    /// Hands over an event and leaves it to be served.
    pub fn send(&self, arn: &str, event: &Value) {
        let retries = self.shared.functions[arn].config.retries;
        self.shared
            .queue(arn, event.to_string().into(), retries, None);
    }

    /// Every try so far of a function's events.
    pub fn served(&self, arn: &str) -> Vec<Served> {
        let served = self.shared.served.lock().expect("no panic");
        served
            .iter()
            .filter(|s| s.function == arn)
            .cloned()
            .collect()
    }

    /// Something that hands events over, for stand-ins of services that do.
    pub fn sender(&self) -> impl Fn(&str, &Value) + Clone + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |arn, event| {
            let retries = shared.functions[arn].config.retries;
            shared.queue(arn, event.to_string().into(), retries, None);
        }
    }
}

impl Shared {
    fn queue(
        &self,
        arn: &str,
        event: Bytes,
        retries: u32,
        reply: Option<oneshot::Sender<Outcome>>,
    ) {
        let request_id = {
            let mut requests = self.requests.lock().expect("no panic");
            *requests += 1;
            format!("00000000-0000-4000-8000-{:012}", *requests)
        };
        let queued = Queued {
            event,
            request_id,
            tries_left: retries,
            reply,
        };
        let _ = self.functions[arn].queue.send(queued);
    }

    async fn serve(
        &self,
        config: &Config,
        environment: &mut Option<Environment>,
        mut queued: Queued,
        queue: &mpsc::WeakUnboundedSender<Queued>,
    ) {
        let mut init = None;
        let outcome = async {
            if environment.is_none() {
                let started = Environment::start(config).await?;
                init = Some(started.init);
                *environment = Some(started);
            }
            let deadline = config.constant_deadline_ms;
            let event = Event {
                request_id: queued.request_id.clone(),
                deadline_ms: deadline.unwrap_or(now_ms() + config.timeout.as_millis()),
                body: queued.event.clone(),
            };
            let running = environment.as_mut().expect("started");
            Ok(running.serve(event, config.timeout).await)
        };
        let outcome = outcome.await.unwrap_or_else(|failed| failed);
        self.served.lock().expect("no panic").push(Served {
            function: config.arn(),
            request_id: queued.request_id.clone(),
            process: environment.as_ref().map_or(0, Environment::id),
            init,
            outcome: outcome.clone(),
        });
        if matches!(outcome, Outcome::TimedOut | Outcome::Exited) {
            *environment = None;
        }
        let again = !matches!(outcome, Outcome::Answered(_)) && queued.tries_left > 0;
        if let Some(reply) = queued.reply.take() {
            let _ = reply.send(outcome);
        } else if again {
            queued.tries_left -= 1;
            tokio::time::sleep(RETRY_AFTER).await;
            if let Some(queue) = queue.upgrade() {
                let _ = queue.send(queued);
            }
        }
    }

    /// `POST /2015-03-31/functions/NAME/invocations`, `GET /2015-03-31/functions/NAME/configuration`
    async fn invoke(&self, request: Request) -> Answer {
        let path = request.path.strip_prefix("/2015-03-31/functions/");
        let (name, what) = path
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_default();
        let describes = match (request.method.as_str(), what) {
            ("POST", "invocations") => false,
            ("GET", "configuration") => true,
            _ => return refusal(404, "no such API"),
        };
        let Some(region) = signed_for(&request, "lambda") else {
            return refusal(403, "The request signature we calculated does not match");
        };
        let arn = format!("arn:aws:lambda:{region}:123456789012:function:{name}");
        let Some(function) = self.functions.get(&arn) else {
            return refusal(404, &format!("Function not found: {arn}"));
        };
        if describes {
            return answer(200, function.config.described().to_string());
        }
        if function.config.takes_none {
            return refusal(403, "The function is disabled");
        }
        let kind = request.headers.get("x-amz-invocation-type");
        let waits = kind.is_none_or(|kind| kind != "Event");
        if request.body.len() > EVENT_MAX[usize::from(waits)] {
            return refusal(413, "Request must be smaller");
        }
        if serde_json::from_slice::<Value>(&request.body).is_err() {
            return refusal(400, "Could not parse request body into json");
        }
        if !waits {
            self.queue(&arn, request.body, function.config.retries, None);
            return answer(202, "");
        }
        let (reply, outcome) = oneshot::channel();
        self.queue(&arn, request.body, 0, Some(reply));
        match outcome.await.unwrap_or(Outcome::Exited) {
            Outcome::Answered(value) => answer(200, value.to_string()),
            other => {
                let mut failed = answer(
                    200,
                    json!({"errorMessage": format!("{other:?}")}).to_string(),
                );
                let unhandled = hyper::header::HeaderValue::from_static("Unhandled");
                failed
                    .headers_mut()
                    .insert("x-amz-function-error", unhandled);
                failed
            }
        }
    }
}

/// The region that a request to `service` is signed for; nothing when it is not signed.
pub fn signed_for(request: &Request, service: &str) -> Option<String> {
    request.headers.get("x-amz-date")?;
    let authorization = request.headers.get("authorization")?.to_str().ok()?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let (scope, rest) = fields.split_once(", SignedHeaders=")?;
    let signature = rest.split_once(", Signature=")?.1;
    let scope: Vec<&str> = scope.split('/').collect();
    match scope[..] {
        [ACCESS_KEY, _, region, of, "aws4_request"] if of == service && signature.len() == 64 => {
            Some(region.to_owned())
        }
        _ => None,
    }
}

/// What AWS says instead of doing it.
pub fn refusal(status: u16, words: &str) -> Answer {
    answer(status, json!({"message": words}).to_string())
}
