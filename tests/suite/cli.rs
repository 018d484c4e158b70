//! Bad input: one clear error that names the value and the remedy, the right exit code, nothing
//! left behind.

use std::process::{Command, Output};

use muster::exit::Exit;
use muster::local::EmbeddedBucket;
use muster::rooms::{Keys, Rooms};
use muster::store::{List, S3Settings, S3Store, Store};

use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, ports};

/// One wrong input.
struct Row {
    args: &'static [&'static str],
    exit: Exit,
    /// What standard error must name: the value and the remedy.
    says: &'static [&'static str],
}

const fn row(args: &'static [&'static str], exit: Exit, says: &'static [&'static str]) -> Row {
    Row { args, exit, says }
}

/// The real binary in an environment of its own.
pub fn muster(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("muster runs")
}

/// Fails unless the process ended as a wrong input should.
fn check(what: &str, output: &Output, exit: Exit, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(i32::from(exit.code())),
        "{what}: {stderr}"
    );
    let errors = stderr.lines().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{what}: one error, not {errors}: {stderr}");
    for part in says {
        assert!(stderr.contains(part), "{what}: no `{part}` in: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{what}: printed a result");
}

/// Arguments that are wrong whatever the servers say.
const WRONG_ARGUMENTS: [Row; 37] = {
    use Exit::BadConfiguration as Bad;
    [
        row(
            &["plan", "--ramp", "10,,5"],
            Bad,
            &["`10,,5`", "like 10,25,50"],
        ),
        row(&["plan", "--ramp", "0"], Bad, &["`0`", "from 1 to"]),
        row(&["plan", "--ramp", "-1"], Bad, &["`-1`", "from 1 to"]),
        row(
            &["plan", "--ramp", "1000000"],
            Bad,
            &["`1000000`", "to 100000"],
        ),
        row(&["plan", "--ramp", ""], Bad, &["--ramp", "like 10,25,50"]),
        row(&["local", "--ramp", "5,x"], Bad, &["`x`", "like 10,25,50"]),
        row(&["plan", "--duration", "20"], Bad, &["`20`", "like 20s"]),
        row(
            &["plan", "--duration", "20 parsecs"],
            Bad,
            &["`20 parsecs`", "like 20s"],
        ),
        row(&["run", "--timeout", "never"], Bad, &["`never`", "10m"]),
        row(&["plan", "--duration", "-5s"], Bad, &["`-5s`", "like 20s"]),
        row(&["local", "--settle", "-1s"], Bad, &["`-1s`", "like 20s"]),
        row(&["run", "--start-in", "-1s"], Bad, &["`-1s`", "like 20s"]),
        row(&["probe", "--timeout", "-1s"], Bad, &["`-1s`", "like 20s"]),
        row(
            &["local", "--json", "/nonexistent/report.json"],
            Bad,
            &["/nonexistent/report.json", "a folder that exists"],
        ),
        row(
            &["report", "--json", "/nonexistent/report.json"],
            Bad,
            &["/nonexistent/report.json", "a folder that exists"],
        ),
        row(
            &["bench", "density", "--json", "/nonexistent/density.json"],
            Bad,
            &["/nonexistent/density.json", "a folder that exists"],
        ),
        row(
            &["bench", "density", "--duration", "1s"],
            Bad,
            &["'1s'", "at least 5s"],
        ),
        row(
            &["finalize", "--json", "/"],
            Bad,
            &["--json /", "name a file"],
        ),
        row(
            &["run", "--start-at", "tomorrow"],
            Bad,
            &["`tomorrow`", "RFC 3339"],
        ),
        row(&["plan", "--threshold", "lag<1s"], Bad, &["`lag`", "rtt"]),
        row(
            &["plan", "--threshold", "loss<1"],
            Bad,
            &["`1`", "percentage"],
        ),
        row(
            &["plan", "--threshold", "loss"],
            Bad,
            &["`loss`", "loss<1%"],
        ),
        row(
            &["plan", "--threshold", "rtt_p95<200"],
            Bad,
            &["`200`", "200ms"],
        ),
        row(
            &["plan", "--headroom", "150%"],
            Bad,
            &["150%", "1% to 100%"],
        ),
        row(&["plan", "--layout", "7x7"], Bad, &["`7x7`", "speaker"]),
        row(&["plan", "--vantages", "iad,NYC"], Bad, &["`NYC`", "a-z"]),
        row(
            &["plan", "--job", "/nonexistent/job.json"],
            Bad,
            &["/nonexistent/job.json"],
        ),
        row(
            &["plan", "--url", "wss://sfu.example"],
            Bad,
            &["--vantages", "--expect"],
        ),
        row(&["plan", "--expect", "3"], Bad, &["--url", "LIVEKIT_URL"]),
        row(
            &["plan", "--url", "sfu.example", "--expect", "3"],
            Bad,
            &["`sfu.example`", "wss://host"],
        ),
        row(
            &[
                "plan",
                "--url",
                "wss://sfu.example",
                "--vantages",
                "iad,iad",
            ],
            Bad,
            &["`iad`", "unique"],
        ),
        row(
            &[
                "plan",
                "--url",
                "wss://sfu.example",
                "--expect",
                "30",
                "--ramp",
                "50",
            ],
            Bad,
            &["1530", "--max-participants is 1000"],
        ),
        row(
            &[
                "plan",
                "--url",
                "wss://sfu.example",
                "--lambda",
                "eu-west-1,us-east-1",
                "--ramp",
                "50",
                "--max-cost",
                "0.05",
            ],
            Bad,
            &["USD", "SFU egress", "--max-cost is 0.05"],
        ),
        row(
            &[
                "plan",
                "--url",
                "wss://shop.livekit.cloud",
                "--expect",
                "3",
                "--ramp",
                "17",
            ],
            Bad,
            &["51 subscribers", "--cloud-agreement"],
        ),
        row(
            &["probe", "--vantage", "New York"],
            Bad,
            &["`New York`", "a-z"],
        ),
        row(&["probe", "--run", "../x"], Bad, &["`../x`", "run id"]),
        row(
            &["report", "--bucket", "gs://b"],
            Bad,
            &["`gs://b`", "s3://name"],
        ),
    ]
};

#[test]
fn wrong_arguments_are_named_with_their_remedy() {
    for Row { args, exit, says } in &WRONG_ARGUMENTS {
        check(&args.join(" "), &muster(args, &[]), *exit, says);
    }
}

#[test]
fn an_unknown_key_in_a_job_file_is_an_error() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("job.json");
    std::fs::write(
        &path,
        r#"{"url": "wss://sfu.example", "expect": 3, "rampp": "5"}"#,
    )
    .expect("written");
    let path = path.display().to_string();
    let output = muster(&["plan", "--job", &path], &[]);
    check(
        "a job file",
        &output,
        Exit::BadConfiguration,
        &[&path, "`rampp`", "`ramp`"],
    );
}

#[test]
fn the_documented_job_file_is_one_and_every_key_is_documented() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let example: String = readme
        .lines()
        .skip_while(|line| *line != "    {")
        .take_while(|line| line.starts_with("    "))
        .collect();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("job.json");
    let path = path.to_str().expect("UTF-8");
    std::fs::write(path, example).expect("written");
    let output = muster(&["plan", "--job", path], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");

    std::fs::write(path, r#"{"?": 1}"#).expect("written");
    let output = muster(&["plan", "--job", path], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (_, keys) = stderr.split_once("expected one of ").expect("the keys");
    let keys: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
    assert!(keys.contains(&"join_rate"), "{stderr}");
    for key in keys {
        let documented = readme.contains(&format!("`{key}`"));
        assert!(documented, "README.md does not name the key `{key}`");
    }
}

#[test]
fn help_shows_what_a_command_itself_defaults_to() {
    for (command, ramp, url) in [
        ("run", "[default: 10,25,50]", "LIVEKIT_URL]"),
        ("plan", "[default: 10,25,50]", "LIVEKIT_URL]"),
        ("local", "[default: 5,10,20;", "a server of its own]"),
    ] {
        let output = muster(&[command, "--help"], &[]);
        let help = String::from_utf8_lossy(&output.stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [ramp, url] {
            assert!(help.contains(part), "{command}: no `{part}` in {help}");
        }
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let empty = [
        "MUSTER_RUN",
        "MUSTER_BUCKET",
        "MUSTER_BUCKET_REGION",
        "AWS_ENDPOINT_URL_S3",
        "AWS_CA_BUNDLE",
        "LIVEKIT_URL",
    ]
    .map(|name| (name, ""));
    for args in [&["report"][..], &["finalize"]] {
        let output = muster(args, &empty);
        let says = ["no bucket is named", "MUSTER_BUCKET"];
        check(&args.join(" "), &output, Exit::BadConfiguration, &says);
    }
    let output = muster(&["plan", "--expect", "1"], &empty);
    let says = ["no SFU is named"];
    check("plan", &output, Exit::BadConfiguration, &says);
}

#[test]
fn a_wrong_variable_is_named() {
    for (args, name, value) in [
        (["report"], "MUSTER_RUN", "../x"),
        (["report"], "MUSTER_BUCKET", "gs://b"),
        (["probe"], "AWS_ENDPOINT_URL_S3", "minio"),
    ] {
        let output = muster(&args, &[(name, value)]);
        check(name, &output, Exit::BadConfiguration, &[name, value]);
    }
}

#[test]
fn what_is_missing_from_the_environment_is_named() {
    let keys = [("LIVEKIT_API_KEY", "key"), ("LIVEKIT_API_SECRET", "secret")];
    for (args, env, says) in [
        (
            &["probe"][..],
            &keys[..],
            &["--vantage", "MUSTER_VANTAGE"][..],
        ),
        (
            &["probe", "--vantage", "iad"],
            &[],
            &["LIVEKIT_API_KEY", "--livekit-keys"],
        ),
        (
            &["probe", "--vantage", "iad"],
            &keys,
            &["--bucket", "MUSTER_BUCKET"],
        ),
        (&["report"], &[], &["--bucket", "MUSTER_BUCKET"]),
        (&["finalize"], &[], &["--bucket", "MUSTER_BUCKET"]),
        (&["local", "--use-env"], &keys, &["LIVEKIT_URL", "--url"]),
        (
            &["probe"],
            &[("FLY_REGION", "New York")],
            &["FLY_REGION", "`New York`"],
        ),
    ] {
        let output = muster(args, env);
        check(&args.join(" "), &output, Exit::BadConfiguration, says);
    }
}

#[test]
fn without_a_server_and_without_go_it_says_how_to_get_one() {
    let cache = tempfile::tempdir().expect("a folder");
    let env = [
        ("PATH", "/nonexistent"),
        ("MUSTER_CACHE_DIR", cache.path().to_str().expect("UTF-8")),
    ];
    let output = muster(&["local"], &env);
    let says = ["no Go on PATH", "install", "--livekit-server", "--url"];
    check("no server", &output, Exit::BadConfiguration, &says);
    let left = std::fs::read_dir(cache.path()).expect("a folder").count();
    assert_eq!(left, 0, "something was left in the cache");
}

/// What leads a process to `bucket`.
pub fn environment(bucket: &S3Settings) -> Vec<(String, String)> {
    let credentials = bucket.credentials.as_ref().expect("credentials");
    let endpoint = bucket.endpoint.as_ref().expect("an endpoint");
    [
        ("MUSTER_BUCKET", bucket.url.to_string()),
        ("AWS_ENDPOINT_URL_S3", endpoint.to_string()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key.clone()),
        (
            "AWS_SECRET_ACCESS_KEY",
            credentials.secret_key.expose().to_owned(),
        ),
        ("LIVEKIT_API_KEY", "key".to_owned()),
        (
            "LIVEKIT_API_SECRET",
            "secret-of-more-than-32-characters".to_owned(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// `env` with some variables changed.
pub fn changed<'a>(
    env: &'a [(String, String)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    env.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .chain(changes.iter().copied())
        .collect()
}

pub async fn keys_in(bucket: &S3Settings) -> Vec<String> {
    let store = S3Store::connect(bucket.clone(), std::sync::Arc::new(muster::clock::now))
        .await
        .expect("connected");
    let listing = store.list(&List::all("")).await.expect("listed");
    listing.objects.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_named() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    let env = environment(&settings);
    let nobody = format!("http://127.0.0.1:{}", ports::free_tcp());
    for (what, args, changes, exit, says) in [
        (
            "a run that does not exist",
            &["report", "20200101-000000-000000"][..],
            &[][..],
            Exit::BadConfiguration,
            &["`20200101-000000-000000`", "s3://muster"][..],
        ),
        (
            "a run that does not exist, to combine",
            &["finalize", "20200101-000000-000000"],
            &[],
            Exit::BadConfiguration,
            &["`20200101-000000-000000`"],
        ),
        (
            "a run that does not exist, to probe",
            &[
                "probe",
                "--vantage",
                "iad",
                "--run",
                "20200101-000000-000000",
            ],
            &[],
            Exit::BadConfiguration,
            &["`20200101-000000-000000`"],
        ),
        (
            "an empty bucket",
            &["report"],
            &[],
            Exit::BadConfiguration,
            &["no run in s3://muster", "muster run"],
        ),
        (
            "a bucket that does not exist",
            &["report"],
            &[("MUSTER_BUCKET", "s3://elsewhere")],
            Exit::Unreachable,
            &["`elsewhere`", "--bucket"],
        ),
        (
            "a wrong access key",
            &["report"],
            &[("AWS_ACCESS_KEY_ID", "AKIAnobody")],
            Exit::Unreachable,
            &["AWS_ACCESS_KEY_ID"],
        ),
        (
            "a wrong secret key",
            &["report"],
            &[("AWS_SECRET_ACCESS_KEY", "wrong")],
            Exit::Unreachable,
            &["AWS_SECRET_ACCESS_KEY"],
        ),
        (
            "nobody at the endpoint",
            &["report"],
            &[("AWS_ENDPOINT_URL_S3", nobody.as_str())],
            Exit::Unreachable,
            &[nobody.as_str(), "--endpoint"],
        ),
    ] {
        check(what, &muster(args, &changed(&env, changes)), exit, says);
    }
    assert_eq!(keys_in(&settings).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prober_gives_up_when_no_run_comes() {
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    let env = environment(&settings);
    let args = ["probe", "--vantage", "iad", "--timeout", "1s"];
    let output = muster(&args, &changed(&env, &[]));
    check(
        "no run",
        &output,
        Exit::TimedOut,
        &["`iad`", "1s", "muster run"],
    );
    assert_eq!(keys_in(&settings).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sfu_leaves_nothing_behind() {
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let bucket = EmbeddedBucket::start().await.expect("a bucket");
    let settings = bucket.settings().expect("settings");
    let env = environment(&settings);
    let nobody = format!("ws://127.0.0.1:{}", ports::free_tcp());
    let right = [
        ("LIVEKIT_API_KEY", server.key()),
        ("LIVEKIT_API_SECRET", server.secret().expose()),
    ];
    let rooms = Rooms::new(
        server.url(),
        &Keys {
            api_key: server.key().to_owned(),
            api_secret: server.secret().clone(),
        },
    );
    let theirs = "r1".parse().expect("a run id");
    rooms
        .create("taken", &theirs, std::time::Duration::from_secs(60))
        .await
        .expect("created");
    let run = |url: &str, more: &[&str], keys: &[(&str, &str)]| {
        let mut args = vec!["run", "--expect", "1", "--ramp", "1", "--url", url];
        args.extend(more);
        let env: Vec<(String, String)> = changed(&env, keys)
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        muster(&args, &env)
    };

    let output = run(&nobody, &[], &right);
    check(
        "nobody there",
        &output,
        Exit::Unreachable,
        &[&nobody, "--url"],
    );

    let unknown = [("LIVEKIT_API_KEY", "nobody"), right[1]];
    let output = run(server.url(), &[], &unknown);
    check(
        "a wrong key",
        &output,
        Exit::Unreachable,
        &["`nobody`", "LIVEKIT_API_KEY"],
    );

    let output = run(server.url(), &["--room", "taken"], &right);
    check(
        "a room of others",
        &output,
        Exit::BadConfiguration,
        &["`taken`", "--existing-room"],
    );

    let output = run(
        server.url(),
        &["--room", "absent", "--existing-room"],
        &right,
    );
    check(
        "no such room",
        &output,
        Exit::BadConfiguration,
        &["`absent`", "--existing-room"],
    );

    let output = run(server.url(), &["--timeout", "1s"], &right);
    check(
        "nobody came",
        &output,
        Exit::TimedOut,
        &["1s", "muster probe"],
    );

    let left: Vec<String> = rooms
        .list()
        .await
        .expect("listed")
        .into_iter()
        .map(|r| r.name)
        .collect();
    assert_eq!(left, ["taken"]);
    let objects = keys_in(&settings).await;
    assert!(
        objects
            .iter()
            .all(|key| key.ends_with("/job.json") || key.ends_with("/start.json")),
        "only the cancelled run's own record stays: {objects:?}"
    );
}
