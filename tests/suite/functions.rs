//! muster's Lambda functions, each the real program under the runtime API, invoked as AWS does
//! it: by its API, by a store's notifications, by a schedule.

mod environment;
mod failures;
mod ground;
mod half;
mod http;
mod lambda;
mod laptop;
mod run;
mod schedule;
mod standing;
mod zip;

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::local::LivekitServer;
use muster::store::S3Settings;

use self::lambda::{Config, Lambda};
use self::schedule::ScheduleStandIn;
use crate::fixtures::minio::Minio;

/// Where the coordinator and the finalizer are.
const HOME: &str = "eu-west-1";
/// Where the probers are.
const REGIONS: [&str; 3] = ["ap-southeast-2", "eu-west-1", "us-east-1"];

/// Each function's name, and its program as the tests build it.
const COORDINATOR: Program = (
    "coordinator",
    option_env!("CARGO_BIN_EXE_muster-coordinator-function"),
);
const FINALIZER: Program = (
    "finalizer",
    option_env!("CARGO_BIN_EXE_muster-finalizer-function"),
);
const PROBER: Program = (
    "prober",
    option_env!("CARGO_BIN_EXE_muster-prober-function"),
);

type Program = (&'static str, Option<&'static str>);

/// Where `functions/build` left the functions to test, instead of those of the tests' own build.
const RELEASED: &str = "MUSTER_TEST_FUNCTIONS";

/// Whether there are programs to test.
fn built() -> bool {
    [COORDINATOR, FINALIZER, PROBER]
        .map(program)
        .iter()
        .all(Option::is_some)
}

fn program((name, built): Program) -> Option<PathBuf> {
    match std::env::var_os(RELEASED) {
        Some(folder) => Some(Path::new(&folder).join(name).join("bootstrap")),
        None => built.map(PathBuf::from),
    }
}

/// The functions of a deployment, as infra/aws has them.
struct Deployment {
    env: Vec<(String, String)>,
}

impl Deployment {
    /// Functions that meet in the bucket of `store`.
    fn new(store: &S3Settings) -> Deployment {
        let credentials = store.credentials.as_ref().expect("the bucket's own key");
        let endpoint = store.endpoint.as_ref().expect("an endpoint").to_string();
        let secret = credentials.secret_key.expose().to_owned();
        Deployment { env: Vec::new() }
            .with("MUSTER_BUCKET", &store.url.to_string())
            .with("AWS_ENDPOINT_URL_S3", &endpoint)
            .with("AWS_ACCESS_KEY_ID", &credentials.access_key)
            .with("AWS_SECRET_ACCESS_KEY", &secret)
            .with("MUSTER_LOG", "info,muster=debug")
    }

    fn with(mut self, name: &str, value: &str) -> Deployment {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the SFU's key, which only the coordinator has.
    fn keys(self, server: &LivekitServer) -> Deployment {
        self.with("LIVEKIT_API_KEY", server.key())
            .with("LIVEKIT_API_SECRET", server.secret().expose())
    }

    /// With what the coordinator calls: the other functions, the schedule, what gives it a role.
    fn calls(self, lambda: &Lambda, schedule: &ScheduleStandIn, roles: &Minio) -> Deployment {
        let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
        self.with("AWS_ENDPOINT_URL_LAMBDA", &lambda.url())
            .with("AWS_ENDPOINT_URL_SCHEDULER", &schedule.url())
            .with("AWS_ENDPOINT_URL_STS", &roles.endpoint())
            .with("MUSTER_TICKET_ROLE_ARN", &role("tickets"))
            .with("MUSTER_PROBER_FUNCTION", "muster-prober")
            .with("MUSTER_FINALIZER_ARN", &arn(HOME, "muster-finalizer"))
            .with("MUSTER_SCHEDULE_GROUP", "muster")
            .with("MUSTER_SCHEDULE_ROLE_ARN", &role("schedule"))
    }

    fn function(&self, which: Program, region: &str, name: &str) -> Config {
        Config {
            program: program(which).expect("asked for before"),
            region: region.to_owned(),
            name: name.to_owned(),
            memory_mib: 1_769,
            timeout: Duration::from_secs(120),
            retries: 0,
            concurrency: 1,
            said: None,
            takes_none: false,
            constant_deadline_ms: None,
            env: self.env.clone(),
        }
    }

    fn prober(&self, region: &str) -> Config {
        let mut config = self.function(PROBER, region, "muster-prober");
        config.timeout = Duration::from_secs(900);
        config
    }

    fn finalizer(&self) -> Config {
        let mut config = self.function(FINALIZER, HOME, "muster-finalizer");
        config.memory_mib = 512;
        config.retries = 2;
        config
    }

    fn coordinator(&self) -> Config {
        let mut config = self.function(COORDINATOR, HOME, "muster-coordinator");
        config.memory_mib = 256;
        config.timeout = Duration::from_secs(60);
        config
    }
}

fn arn(region: &str, name: &str) -> String {
    format!("arn:aws:lambda:{region}:123456789012:function:{name}")
}
