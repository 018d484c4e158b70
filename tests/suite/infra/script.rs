//! The whole of `muster-aws`, by the real `aws` command, against moto's server on loopback.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{file, own, printed, python};
use crate::fixtures::checker::run;
use crate::fixtures::ports;
use crate::fixtures::skip::skip;

const HOME: &str = "eu-west-1";
const AWAY: &str = "us-east-1";
/// moto's account.
const BUCKET: &str = "muster-runs-123456789012-eu-west-1";

/// An AWS account that is a process on loopback, killed on drop.
struct Account {
    server: Child,
    port: u16,
    python: PathBuf,
    dir: TempDir,
}

impl Account {
    fn start(python: PathBuf) -> Account {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let port = ports::free_tcp();
        let log = fs::File::create(dir.path().join("log")).expect("a log can be made");
        let server = Command::new(python.with_file_name("moto_server"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("moto's server can be run");
        let account = Account {
            server,
            port,
            python,
            dir,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || fs::read_to_string(account.dir.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "moto does not answer:\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        account
    }

    /// A program whose AWS is this account, and no other.
    fn command(&self, program: &Path) -> Command {
        let tools = self.python.parent().expect("a folder of programs");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::join_paths(path).expect("a PATH"))
            .env("HOME", self.dir.path())
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("AWS_ACCESS_KEY_ID", "loopback")
            .env("AWS_SECRET_ACCESS_KEY", "loopback")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.dir.path());
        command
    }

    /// `muster-aws` with these arguments beside `--home`.
    fn muster_aws(&self, args: &[&str]) -> Result<String, String> {
        run(self
            .command(&file("muster-aws"))
            .args(args)
            .args(["--home", HOME]))
    }

    /// `aws` with these arguments.
    fn aws(&self, args: &[&str]) -> String {
        let printed = run(self.command(Path::new("aws")).args(args));
        printed.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Everything that it holds.
    fn holds(&self) -> Value {
        let mut script = self.command(&self.python);
        printed(script.arg(own("account.py")).args([HOME, AWAY]))
    }

    /// A function's zip file with this content, where the script looks for it.
    fn build(&self, function: &str, content: &str) {
        let dir = self.dir.path().join("functions").join(function);
        fs::create_dir_all(&dir).expect("a folder can be made");
        fs::write(dir.join("bootstrap"), content).expect("a file can be written");
        let zip = ["-m", "zipfile", "-c", "bootstrap.zip", "bootstrap"];
        run(Command::new(&self.python).args(zip).current_dir(&dir)).expect("zipped");
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// How a function should look, wherever it runs.
fn check_function(holds: &Value, region: &str, name: &str, (timeout_s, at_once): (u32, u32)) {
    let function = &holds["functions"][format!("{region} {name}")];
    assert_eq!(function["Runtime"], "provided.al2023", "{name}: {holds:#}");
    assert_eq!(function["Timeout"], timeout_s, "{name}");
    assert_eq!(function["Concurrency"], at_once, "{name}");
    let log = &holds["logs"][format!("{region} /aws/lambda/{name}")];
    assert_eq!(*log, 30, "{name} keeps its log for 30 days");
}

#[test]
fn the_script_deploys_updates_and_removes_all_of_it() {
    let Some(python) = python() else {
        skip!("python3");
    };
    let account = Account::start(python);
    let secret = "{\"api_key\":\"devkey\",\"api_secret\":\"0123456789abcdef0123456789abcdef\"}";
    let create = ["secretsmanager", "create-secret", "--name", "sfu"];
    let query = [
        "--region",
        HOME,
        "--secret-string",
        secret,
        "--query",
        "ARN",
        "--output",
        "text",
    ];
    let arn = account.aws(&[&create[..], &query].concat());
    let options = ["--functions", "functions", "--livekit-secret", arn.trim()];
    let deploy = |regions: &str| {
        let flags = ["deploy", "--architecture", "arm64", "--regions", regions];
        let size = ["--memory", "3538", "--concurrency", "2"];
        account.muster_aws(&[&flags[..], &size, &options].concat())
    };
    let both = format!("{HOME},{AWAY}");

    // Nothing is made of half the functions, or of half a command.
    account.build("coordinator", "c");
    account.build("finalizer", "f");
    let missing = deploy(&both).expect_err("no prober");
    assert!(
        missing.contains("functions/prober/bootstrap.zip is missing"),
        "{missing}"
    );
    let unclear = account.muster_aws(&["deploy"]).expect_err("no regions");
    assert!(unclear.contains("usage: muster-aws"), "{unclear}");
    assert_eq!(account.holds()["buckets"], json!({}));

    account.build("prober", "p");
    let said = deploy(&both).unwrap_or_else(|e| panic!("{e}"));
    for line in [
        format!(
            "export MUSTER_BUCKET=s3://{BUCKET} AWS_REGION={HOME} MUSTER_PROBER_FUNCTION=muster-prober"
        ),
        format!("muster run --lambda {both}"),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    let holds = account.holds();
    assert_eq!(
        holds["stacks"][HOME],
        json!(["muster", "muster-code", "muster-prober"])
    );
    assert_eq!(
        holds["stacks"][AWAY],
        json!(["muster-code", "muster-prober"])
    );
    check_function(&holds, HOME, "muster-coordinator", (60, 1));
    check_function(&holds, HOME, "muster-finalizer", (120, 1));
    for region in [HOME, AWAY] {
        check_function(&holds, region, "muster-prober", (900, 2));
        let prober = &holds["functions"][format!("{region} muster-prober")];
        assert_eq!(prober["MemorySize"], 3_538);
        let variables = prober["Environment"]["Variables"].as_object();
        assert!(variables.is_none_or(serde_json::Map::is_empty), "{prober}");
    }
    let buckets = holds["buckets"].as_object().expect("buckets");
    assert_eq!(buckets.len(), 3, "results, and code in two regions");
    for (name, bucket) in buckets {
        let encrypted = bucket.as_array().is_some_and(|rules| !rules.is_empty());
        assert!(encrypted, "{name}");
    }

    // The functions are asked what they have, and there is one in each of these two regions.
    let refused = |regions: &str, duration: &str| {
        let mut muster = account.command(Path::new(env!("CARGO_BIN_EXE_muster")));
        muster
            .args(["run", "--url", "ws://127.0.0.1:9", "--lambda", regions])
            .args(["--ramp", "1", "--duration", duration])
            .env("MUSTER_BUCKET", format!("s3://{BUCKET}"))
            .env("AWS_REGION", HOME)
            .env("LIVEKIT_API_KEY", "devkey")
            .env("LIVEKIT_API_SECRET", "0123456789abcdef0123456789abcdef");
        run(&mut muster).expect_err("no such run")
    };
    let long = refused(&both, "10m");
    let says = format!("the function in {HOME} has 15m");
    assert!(long.contains(&says), "{long}");
    let third = refused(&format!("{both},ap-southeast-2"), "1s");
    assert!(
        third.contains("in ap-southeast-2 refuses") && !third.contains(&format!("in {AWAY}")),
        "{third}"
    );

    // What has changed is updated, the rest is left alone.
    account.build("prober", "another p");
    deploy(HOME).unwrap_or_else(|e| panic!("{e}"));
    let updated = account.holds();
    let code = |holds: &Value, region: &str, name: &str| {
        holds["functions"][format!("{region} {name}")]["CodeSha256"].clone()
    };
    assert_ne!(
        code(&holds, HOME, "muster-prober"),
        code(&updated, HOME, "muster-prober")
    );
    assert_eq!(
        code(&holds, AWAY, "muster-prober"),
        code(&updated, AWAY, "muster-prober")
    );
    assert_eq!(
        code(&holds, HOME, "muster-finalizer"),
        code(&updated, HOME, "muster-finalizer")
    );

    // Results are not thrown away by the way.
    let result = format!("s3://{BUCKET}/runs/r/combined.json");
    account.aws(&[
        "s3",
        "cp",
        "--only-show-errors",
        "functions/prober/bootstrap",
        &result,
    ]);
    let remove = ["remove", "--regions", &both];
    let refused = account.muster_aws(&remove).expect_err("there are results");
    assert!(refused.contains("has results"), "{refused}");
    assert_eq!(account.holds()["stacks"], holds["stacks"]);

    let all = [&remove[..], &["--with-results"]].concat();
    account.muster_aws(&all).unwrap_or_else(|e| panic!("{e}"));
    let left = account.holds();
    assert_eq!(left["stacks"], json!({HOME: [], AWAY: []}));
    assert_eq!(left["functions"], json!({}));
    assert_eq!(left["buckets"], json!({}));
}
