//! `muster check`: does everything that a run needs work from here?

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: each check is given up after a while, and its room has a random name"
)]

mod clocks;

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::args::{BucketArgs, KeysArgs};
use super::signals::Signals;
use super::{edge, output};
use crate::clock::OffsetInterval;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Vantage, sfu_url};
use crate::participant::snapshot::ClockSample;
use crate::participant::{Cause, Engine, EngineConfig, Failure, Transport};
use crate::prober::{LoadContext, SelfTest, SelfTestError, self_test};
use crate::rooms::{Keys, RoomError, Rooms};
use crate::store::{Capabilities, Finding, S3Store, clear_probe, probe};

/// How long all checks may take together.
const ALL_WITHIN: Duration = Duration::from_secs(9);

/// What of it is kept for deleting what the checks made.
const CLEANUP: Duration = Duration::from_millis(1_500);

/// How long a participant may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a TCP connection for media may take.
const TCP_WITHIN: Duration = Duration::from_secs(2);

/// How long the SFU keeps the room of a check that could not delete it.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);

/// `muster check`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The SFU, like wss://sfu.example.com
    #[arg(long, value_name = "URL", env = "LIVEKIT_URL")]
    url: Option<String>,
    #[command(flatten)]
    keys: KeysArgs,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Prints a line for each check; exits as its first failure says. A signal ends the checks, not
/// the cleaning up after them.
pub async fn run(args: &Args) -> Result<Exit, Error> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = watch::channel(false);
    let limit = Limit {
        end: Instant::now() + ALL_WITHIN,
        stopped,
    };
    let checks =
        async { tokio::join!(check_sfu(args, &limit), check_bucket(&args.bucket, &limit)) };
    let mut checks = std::pin::pin!(checks);
    let (sfu, bucket) = loop {
        tokio::select! {
            lines = &mut checks => break lines,
            signal = signals.next() => signals.ask_once(signal, &stop)?,
        }
    };
    let ((sfu, sfu_clock), (bucket, bucket_clock)) = (sfu, bucket);
    let clock = clocks::line([("the SFU's", sfu_clock), ("the bucket's", bucket_clock)]);
    let lines: Vec<Line> = sfu.into_iter().chain(bucket).chain([clock]).collect();
    let text: String = lines.iter().map(Line::text).collect();
    output::print(&text)?;
    if *stop.borrow() {
        return Ok(Exit::Aborted);
    }
    Ok(lines
        .iter()
        .find_map(|line| match &line.outcome {
            Outcome::Failed(exit, _) => Some(*exit),
            _ => None,
        })
        .unwrap_or(Exit::Passed))
}

/// One check.
struct Line {
    name: &'static str,
    outcome: Outcome,
}

enum Outcome {
    /// It works; what was seen.
    Ok(String),
    /// It does not; why, and what to do.
    Failed(Exit, String),
    /// It was not tried; why.
    Skipped(String),
}

impl Line {
    fn text(&self) -> String {
        let (word, detail) = match &self.outcome {
            Outcome::Ok(seen) => ("ok", seen),
            Outcome::Failed(_, why) => ("failed", why),
            Outcome::Skipped(why) => ("not tried", why),
        };
        format!("{word:<10} {:<12} {detail}\n", self.name)
    }
}

fn ok(name: &'static str, seen: impl Into<String>) -> Line {
    let outcome = Outcome::Ok(seen.into());
    Line { name, outcome }
}

fn failed(name: &'static str, error: impl Into<Error>) -> Line {
    let error = error.into();
    let outcome = Outcome::Failed(error.exit(), error.to_string());
    Line { name, outcome }
}

fn skipped(name: &'static str, why: &str) -> Line {
    let outcome = Outcome::Skipped(why.to_owned());
    Line { name, outcome }
}

/// When the checks end, for all of them together.
struct Limit {
    end: Instant,
    stopped: watch::Receiver<bool>,
}

impl Limit {
    /// What came of `work`, or an error when the time is over or a signal came.
    async fn work<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            done = work => Ok(done),
            _ = stopped.wait_for(|stopped| *stopped) => {
                Err(Error::new(Exit::Aborted, "stopped by a signal"))
            }
            () = tokio::time::sleep_until(self.end - CLEANUP) => Err(too_late()),
        }
    }

    /// What came of `cleanup`, which has some more time, signal or not.
    async fn cleanup<T>(&self, cleanup: impl Future<Output = T>) -> Result<T, Error> {
        let within = CLEANUP.min(self.end.saturating_duration_since(Instant::now()));
        tokio::time::timeout(within, cleanup)
            .await
            .map_err(|_| too_late())
    }
}

fn too_late() -> Error {
    let text = format!(
        "no answer within the {} s that all checks have; check the network",
        ALL_WITHIN.as_secs()
    );
    Error::new(Exit::Unreachable, text)
}

/// One result of two that may fail.
fn flat<T, E: Into<Error>>(result: Result<Result<T, E>, Error>) -> Result<T, Error> {
    result.and_then(|result| result.map_err(Into::into))
}

async fn check_sfu(args: &Args, limit: &Limit) -> (Vec<Line>, Option<OffsetInterval>) {
    let url = match sfu_url(args.url.clone()) {
        Ok(url) => url,
        Err(error) => return (vec![failed("keys", error)], None),
    };
    let keys = match args.keys.keys() {
        Ok(keys) => keys,
        Err(error) => return (vec![failed("keys", error)], None),
    };
    let rooms = Rooms::new(&url, &keys);
    let run = edge::origin(None).run;
    let room = format!("muster-check-{run}");
    let mut lines = vec![match limit.work(rooms.list()).await {
        Ok(Ok(found)) => ok(
            "keys",
            format!(
                "{url} accepts `{}`, and has {} rooms",
                keys.api_key,
                found.len()
            ),
        ),
        Ok(Err(error)) => {
            // A token that is not valid yet is answered as an unknown key is; signalling tells.
            let refused = matches!(error, RoomError::Strange { .. } | RoomError::Refused { .. });
            let line = match refused {
                true => limit.work(try_path(&url, keys, &room, &run)).await,
                false => Err(too_late()),
            };
            let line = match line {
                Ok(Err(path)) if path.failure.cause == Cause::Clock => failed("keys", path),
                _ => failed("keys", error),
            };
            return (vec![line], None);
        }
        Err(error) => return (vec![failed("keys", error)], None),
    }];
    let made = flat(limit.work(rooms.create(&room, &run, ROOM_TIMEOUT)).await);
    let path = match &made {
        Ok(_) => Some(limit.work(try_path(&url, keys, &room, &run)).await),
        Err(_) => None,
    };
    let tcp = match &path {
        Some(Ok(Ok(test))) => test.tcp_candidates.clone(),
        Some(Ok(Err(error))) => error.tcp_candidates.clone(),
        _ => Vec::new(),
    };
    // Whatever came of the path, the room goes; even one whose creation was not answered.
    let (deleted, tcp) = tokio::join!(
        limit.cleanup(rooms.delete(&room, &run)),
        limit.work(check_tcp(&tcp))
    );
    lines.push(match made.and(flat(deleted)) {
        Ok(_) => ok("rooms", "can be created and deleted"),
        Err(error) => failed("rooms", error),
    });
    let mut clock = None;
    if let Some(path) = path {
        lines.push(match flat(path) {
            Ok(test) => {
                clock = clocks::read(test.clock.iter().map(ClockSample::sample));
                ok("udp path", seen(&test))
            }
            Err(error) => failed("udp path", error),
        });
        lines.push(tcp.unwrap_or_else(|error| failed(TCP, error)));
    }
    (lines, clock)
}

/// Joins a participant until media could flow.
async fn try_path(
    url: &str,
    keys: Keys,
    room: &str,
    run: &RunId,
) -> Result<SelfTest, SelfTestError> {
    let local = |e: &dyn Display| Failure::new(Cause::LocalSocket, e.to_string());
    let engine = Engine::start(EngineConfig::default()).map_err(|e| local(&e))?;
    let vantage: Vantage = "check".parse().map_err(|e| local(&e))?;
    let context = LoadContext {
        engine,
        tokens: keys.into(),
        ca_file: None,
        transport: Transport::Udp,
    };
    self_test(
        &context,
        url,
        room,
        run,
        &vantage,
        rand::random(),
        CONNECT_WITHIN,
    )
    .await
}

/// The name of the check of TCP.
const TCP: &str = "tcp path";

/// Whether the server's ports for media over TCP are open from here. muster's own participants
/// use UDP; real clients behind strict firewalls don't.
async fn check_tcp(candidates: &[SocketAddr]) -> Line {
    let tried = candidates.iter().map(|address| async move {
        match tokio::time::timeout(TCP_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(*address),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!(
                "{address}: no answer in {} s",
                TCP_WITHIN.as_secs()
            )),
        }
    });
    let mut why = Vec::new();
    for tried in join_all(tried).await {
        match tried {
            Ok(address) => return ok(TCP, format!("{address} accepts connections")),
            Err(error) => why.push(error),
        }
    }
    if why.is_empty() {
        return skipped(TCP, "the SFU announced no address for media over TCP");
    }
    let text = format!("{}; open the SFU's TCP port for media", why.join(", "));
    failed(TCP, Error::new(Exit::Unreachable, text))
}

fn seen(test: &SelfTest) -> String {
    let path = test.path.map_or_else(
        || "connected, over an unknown path".to_owned(),
        |path| format!("{} from {} to {}", path.transport, path.local, path.remote),
    );
    let rtt = match test.rtt_us.iter().min() {
        Some(us) => format!(", round trip {:.1} ms", f64::from(*us) / 1_000.0),
        None => String::new(),
    };
    format!("{path}{rtt}, LiveKit {}", test.sfu.version)
}

async fn check_bucket(args: &BucketArgs, limit: &Limit) -> (Vec<Line>, Option<OffsetInterval>) {
    if args.bucket.is_none() {
        let why = "give --bucket s3://name/prefix or set MUSTER_BUCKET";
        return (vec![skipped(BUCKET, why)], None);
    }
    let store = match flat(limit.work(args.open()).await) {
        Ok(store) => store,
        Err(error) => return (vec![failed(BUCKET, error)], None),
    };
    let line = try_bucket(&store, limit).await;
    (vec![line], clocks::read(store.dates().latest()))
}

/// The name of the check of the bucket.
const BUCKET: &str = "bucket";

async fn try_bucket(store: &S3Store, limit: &Limit) -> Line {
    let nonce = edge::random();
    let found = match limit.work(probe(store, nonce)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return failed(BUCKET, error),
        Err(given_up) => {
            // The probe was dropped before it could do this itself.
            return match limit.cleanup(clear_probe(store, nonce)).await {
                Ok(Finding::Yes) => failed(BUCKET, given_up),
                Ok(Finding::No(why)) => {
                    let text = format!("{given_up}; what it wrote is left: {why}");
                    failed(BUCKET, Error::new(given_up.exit(), text))
                }
                Err(_) => {
                    let text = format!("{given_up}; something may be left below probe/");
                    failed(BUCKET, Error::new(given_up.exit(), text))
                }
            };
        }
    };
    match found.require(store) {
        Ok(()) => ok(BUCKET, works(&found)),
        Err(error) => failed(BUCKET, error),
    }
}

fn works(found: &Capabilities) -> String {
    let names: Vec<&str> = found
        .findings()
        .into_iter()
        .filter(|(_, finding)| **finding == Finding::Yes)
        .map(|(name, _)| name)
        .collect();
    names.join(", ")
}
