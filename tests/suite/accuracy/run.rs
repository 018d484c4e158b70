//! Two whole runs of `muster local` at once, with a scene per tier: two vantages over UDP, and one
//! over TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use muster::job::Timestamp;
use muster::local::LivekitServer;
use muster::report::Combined;
use muster::report::combined::{Figures, FlowReport, LatencyFigures};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Scene, Span};
use crate::fixtures::crowd;
use crate::fixtures::relay::record::Nanos;
use crate::fixtures::relay::signalling::Signalling;
use crate::fixtures::relay::{Relay, owner};

/// The vantage to which the first run's are nearer or farther, where a scene has them so.
pub const NEAR: &str = "near";
/// The other one.
pub const FAR: &str = "far";
/// The second run's.
const WIRED: &str = "wired";

/// A publisher at each of the two, and the baseline's subscribers.
const CROWD: usize = 4;

/// From the job to the start: the second run first finds UDP closed.
const START_IN: &str = "22s";

/// What was in flight when a scene began has arrived, and every filter has settled.
const SETTLE_S: u64 = 3;
/// How long a scene is measured.
const MEASURED_S: u64 = 7;

/// How often flows are looked up, and the room's participants counted.
const LOOK: Duration = Duration::from_millis(200);

/// The longest that the runs may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What muster reports of one scene.
pub struct Reported {
    /// When it was measured.
    window: Range<Nanos>,
    /// The flows of each vantage.
    flows: Flows,
    /// The tier's figures.
    pub figures: Figures,
    /// From each vantage to each.
    matrix: Vec<FlowReport>,
}

type Flows = BTreeMap<String, BTreeSet<usize>>;

impl Reported {
    /// All packets that this is about.
    pub fn span(&self) -> Span {
        Span {
            window: self.window.clone(),
            flows: self.flows.values().flatten().copied().collect(),
            ssrcs: Vec::new(),
        }
    }

    /// Every pair of a publisher's vantage and a subscriber's.
    pub fn pairs(&self) -> Vec<[&str; 2]> {
        let to = |from| self.flows.keys().map(move |to| [from, to.as_str()]);
        let labels = self.flows.keys().map(String::as_str);
        labels.flat_map(to).collect()
    }

    /// The flows of the one, and the other's packets.
    pub fn between(&self, [from, to]: [&str; 2]) -> (&BTreeSet<usize>, Span) {
        let span = Span {
            flows: self.flows[to].clone(),
            ..self.span()
        };
        (&self.flows[from], span)
    }

    /// What the report has in this cell of the matrix.
    pub fn latency(&self, [from, to]: [&str; 2]) -> Option<&LatencyFigures> {
        let mut cells = self.matrix.iter();
        let cell = cells.find(|c| c.from.place_str() == from && c.to.as_str() == to)?;
        Some(&cell.latency)
    }
}

/// What both runs report of one scene.
pub struct Both {
    /// Of two vantages.
    pub udp: Reported,
    /// Of one.
    pub tcp: Reported,
}

/// Which of two.
struct Run {
    room: &'static str,
    vantages: Vec<&'static str>,
    transport: &'static str,
    json: PathBuf,
}

/// Runs all scenes.
pub async fn report(server: &LivekitServer, relay: &Relay, scenes: &[Scene]) -> Vec<Both> {
    let dir = TempDir::new().expect("a temporary directory");
    let keys = dir.path().join("keys");
    let pair = format!("{}: {}\n", server.key(), server.secret().expose());
    fs::write(&keys, pair).expect("the keys can be written");
    let signalling = Signalling::start(server, relay).await;
    let udp = Run {
        room: "accuracy-udp",
        vantages: vec![FAR, NEAR],
        transport: "udp",
        json: dir.path().join("udp.json"),
    };
    let tcp = Run {
        room: "accuracy-tcp",
        vantages: vec![WIRED],
        transport: "tcp",
        json: dir.path().join("tcp.json"),
    };
    let start = |run: &Run, url: &str| {
        let subscribers = |scene: &Scene| (run.vantages.len() + scene.more).to_string();
        let ramp: Vec<String> = scenes.iter().map(subscribers).collect();
        start(run, url, &ramp.join(","), &keys)
    };
    let children = [start(&udp, server.url()), start(&tcp, signalling.url())];
    let mut flows = Flows::new();
    let [of_udp, of_tcp] = children.map(Child::wait_with_output);
    let ended = async { tokio::join!(of_udp, of_tcp) };
    let (of_udp, of_tcp) = tokio::select! {
        ended = tokio::time::timeout(PATIENCE, ended) => ended.expect("the runs end"),
        () = stage(server, relay, udp.room, scenes, &mut flows) => unreachable!("it goes on"),
    };
    let of_udp = udp.reported(of_udp.expect("muster can be waited for"), &flows);
    let of_tcp = tcp.reported(of_tcp.expect("muster can be waited for"), &flows);
    assert_eq!(of_udp.len(), scenes.len());
    assert_eq!(of_tcp.len(), scenes.len());
    let both = of_udp.into_iter().zip(of_tcp);
    both.map(|(udp, tcp)| Both { udp, tcp }).collect()
}

fn start(run: &Run, url: &str, ramp: &str, keys: &PathBuf) -> Child {
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["local", "--url", url, "--room", run.room])
        .args(["--vantages", &run.vantages.join(",")])
        .args(["--ramp", ramp, "--ramp-total", "--start-in", START_IN])
        .args(["--duration", &format!("{MEASURED_S}s")])
        .args(["--settle", &format!("{SETTLE_S}s")])
        // The figures are judged here.
        .args(["--threshold", "connected>=1%"])
        .args(["--beside-others", "--allow-tcp"])
        .arg("--livekit-keys")
        .arg(keys)
        .arg("--json")
        .arg(&run.json)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("muster can be started")
}

/// Sets the first scene when its tier's subscriber begins to join, and the others as long after it
/// as a tier takes; finds out whose flows are whose, as long as nobody ends it.
async fn stage(
    server: &LivekitServer,
    relay: &Relay,
    room: &str,
    scenes: &[Scene],
    flows: &mut Flows,
) {
    let mut began = None;
    let mut known = BTreeSet::new();
    loop {
        look_up(relay, &mut known, flows);
        if began.is_none() && crowd::count(server, room).await > CROWD {
            began = Some(Instant::now());
        }
        if let Some(began) = began {
            let tiers = began.elapsed().as_secs() / (SETTLE_S + MEASURED_S);
            let scene = usize::try_from(tiers).expect("few").min(scenes.len() - 1);
            let far = flows.get(FAR).cloned().unwrap_or_default();
            relay.set_apart(scenes[scene].conditions, far, scenes[scene].far);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Finds out whose the flows are that aren't known yet.
fn look_up(relay: &Relay, known: &mut BTreeSet<usize>, flows: &mut Flows) {
    let clients = relay.clients();
    let unknown: Vec<usize> = (0..clients.len()).filter(|n| !known.contains(n)).collect();
    if unknown.is_empty() {
        return;
    }
    let asked: Vec<_> = unknown.iter().map(|n| clients[*n]).collect();
    for (flow, label) in unknown
        .into_iter()
        .zip(owner::vantages(&asked, relay.tcp_port()))
    {
        if let Some(label) = label {
            known.insert(flow);
            flows.entry(label).or_default().insert(flow);
        }
    }
}

impl Run {
    /// What it says of each scene.
    fn reported(&self, output: Output, flows: &Flows) -> Vec<Reported> {
        let text = fs::read_to_string(&self.json).unwrap_or_else(|e| {
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            panic!("{e}:\n{}\n{}", shown(&output.stdout), shown(&output.stderr))
        });
        let combined: Combined = serde_json::from_str(&text).expect("a report");
        let flows: Flows = self
            .vantages
            .iter()
            .map(|label| {
                let flows = flows.get(*label).cloned();
                ((*label).to_owned(), flows.expect("its media passed here"))
            })
            .collect();
        let tiers = combined.tiers.into_iter().skip(1);
        tiers
            .map(|tier| {
                let figures = tier.figures.expect("it was measured");
                // Each result names its transport.
                let transports: Vec<&str> = figures.transports.keys().map(String::as_str).collect();
                assert_eq!(transports, [self.transport]);
                Reported {
                    window: nanos(tier.window.from)..nanos(tier.window.to),
                    flows: flows.clone(),
                    figures,
                    matrix: tier.flows,
                }
            })
            .collect()
    }
}

/// All clocks are this machine's.
fn nanos(at: Timestamp) -> Nanos {
    at.as_micros() * 1_000
}
