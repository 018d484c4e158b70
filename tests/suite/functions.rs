//! muster's Lambda functions, each the real program under the runtime API, invoked as AWS does
//! it: by its API, by a store's notifications, by a schedule.

mod environment;
mod failures;
mod http;
mod lambda;
mod laptop;
mod run;
mod schedule;

use std::time::Duration;

use muster::local::LivekitServer;
use muster::store::S3Settings;

use self::lambda::Config;

/// Where the coordinator and the finalizer are.
const HOME: &str = "eu-west-1";
/// Where the probers are.
const REGIONS: [&str; 3] = ["ap-southeast-2", "eu-west-1", "us-east-1"];

const COORDINATOR: Option<&str> = option_env!("CARGO_BIN_EXE_muster-coordinator-function");
const FINALIZER: Option<&str> = option_env!("CARGO_BIN_EXE_muster-finalizer-function");
const PROBER: Option<&str> = option_env!("CARGO_BIN_EXE_muster-prober-function");

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

    fn function(&self, program: Option<&'static str>, region: &str, name: &str) -> Config {
        Config {
            program: program.expect("asked for before"),
            region: region.to_owned(),
            name: name.to_owned(),
            memory_mib: 1_769,
            timeout: Duration::from_secs(120),
            retries: 0,
            concurrency: 1,
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
