//! `muster check`: does everything that a run needs work from here?

#![expect(
    clippy::disallowed_methods,
    reason = "the edge: each check is given up after a while, and its room has a random name"
)]

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::args::{BucketArgs, KeysArgs};
use super::{edge, output};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{JobError, RunId, Vantage};
use crate::participant::{Cause, Engine, EngineConfig, Failure};
use crate::prober::{LoadContext, SelfTest, SelfTestError, self_test};
use crate::rooms::{Keys, Rooms};
use crate::store::{Capabilities, Finding, probe};

/// How long one check may take.
const GIVE_UP_AFTER: Duration = Duration::from_secs(6);

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

/// Prints a line for each check; exits as its first failure says.
pub async fn run(args: &Args) -> Result<Exit, Error> {
    let (sfu, bucket) = tokio::join!(check_sfu(args), check_bucket(&args.bucket));
    let lines: Vec<Line> = sfu.into_iter().chain(bucket).collect();
    let text: String = lines.iter().map(Line::text).collect();
    output::print(&text)?;
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

/// `work`, or an error when it takes too long.
async fn in_time<T, E: Into<Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    match tokio::time::timeout(GIVE_UP_AFTER, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::new(
            Exit::Unreachable,
            format!(
                "no answer in {} s; check the network",
                GIVE_UP_AFTER.as_secs()
            ),
        )),
    }
}

async fn check_sfu(args: &Args) -> Vec<Line> {
    let Some(url) = &args.url else {
        return vec![failed("keys", JobError::NoUrl)];
    };
    let keys = match args.keys.keys() {
        Ok(keys) => keys,
        Err(error) => return vec![failed("keys", error)],
    };
    let rooms = Rooms::new(url, &keys);
    let mut lines = vec![match in_time(rooms.list()).await {
        Ok(found) => ok(
            "keys",
            format!(
                "{url} accepts `{}`, and has {} rooms",
                keys.api_key,
                found.len()
            ),
        ),
        Err(error) => return vec![failed("keys", error)],
    }];
    let run = edge::origin(None).run;
    let room = format!("muster-check-{run}");
    match in_time(rooms.create(&room, &run, ROOM_TIMEOUT)).await {
        Ok(_) => {}
        Err(error) => {
            lines.push(failed("rooms", error));
            return lines;
        }
    }
    let path = in_time(async { Ok::<_, Error>(try_path(url, keys, &room, &run).await) }).await;
    // Whatever came of the path, the room goes.
    lines.push(match in_time(rooms.delete(&room, &run)).await {
        Ok(_) => ok("rooms", "can be created and deleted"),
        Err(error) => failed("rooms", error),
    });
    let (udp, tcp) = match path {
        Ok(Ok(test)) => (ok("udp path", seen(&test)), test.tcp_candidates),
        Ok(Err(error)) => {
            let tcp = error.tcp_candidates.clone();
            (failed("udp path", error), tcp)
        }
        Err(error) => (failed("udp path", error), Vec::new()),
    };
    lines.push(udp);
    lines.push(check_tcp(&tcp).await);
    lines
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
        keys,
        ca_file: None,
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

/// Whether the server's ports for media over TCP are open from here. muster's own participants
/// use UDP; real clients behind strict firewalls don't.
async fn check_tcp(candidates: &[SocketAddr]) -> Line {
    const NAME: &str = "tcp path";
    let mut why = Vec::new();
    for address in candidates {
        match tokio::time::timeout(TCP_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return ok(NAME, format!("{address} accepts connections")),
            Ok(Err(error)) => why.push(format!("{address}: {error}")),
            Err(_) => why.push(format!(
                "{address}: no answer in {} s",
                TCP_WITHIN.as_secs()
            )),
        }
    }
    if why.is_empty() {
        return skipped(NAME, "the SFU announced no address for media over TCP");
    }
    let text = format!("{}; open the SFU's TCP port for media", why.join(", "));
    failed(NAME, Error::new(Exit::Unreachable, text))
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

async fn check_bucket(args: &BucketArgs) -> Vec<Line> {
    if args.bucket.is_none() {
        return vec![skipped(
            "bucket",
            "give --bucket s3://name/prefix or set MUSTER_BUCKET",
        )];
    }
    let tried = async {
        let store = args.open().await?;
        let found = probe(&store, rand::random()).await?;
        let needed = found.require(&store);
        Ok::<_, Error>((found, needed))
    };
    match in_time(tried).await {
        Ok((found, Ok(()))) => vec![ok("bucket", works(&found))],
        Ok((_, Err(error))) => vec![failed("bucket", error)],
        Err(error) => vec![failed("bucket", error)],
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
