//! What goes wrong with one function alone: its event, its time, its size, its network.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};

use super::lambda::{Config, Lambda, Outcome};
use super::{Deployment, HOME, built};
use crate::fixtures::skip::skip;

/// The functions, with a bucket that takes connections and never answers.
fn hanging(listener: &TcpListener) -> Vec<Config> {
    let port = listener.local_addr().expect("an address").port();
    let deployment = Deployment { env: Vec::new() }
        .with("MUSTER_BUCKET", "s3://nowhere")
        .with("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{port}"))
        .with("AWS_ACCESS_KEY_ID", "loopback")
        .with("AWS_SECRET_ACCESS_KEY", "loopback")
        .with("LIVEKIT_API_KEY", "devkey")
        .with("LIVEKIT_API_SECRET", "0123456789abcdef0123456789abcdef")
        .with("LIVEKIT_URL", "ws://127.0.0.1:9")
        .with("MUSTER_PROBER_FUNCTION", "muster-prober")
        .with(
            "MUSTER_FINALIZER_ARN",
            "arn:aws:lambda:eu-west-1:1:function:f",
        )
        .with("MUSTER_SCHEDULE_GROUP", "muster")
        .with("MUSTER_SCHEDULE_ROLE_ARN", "arn:aws:iam::1:role/r");
    vec![
        deployment.coordinator(),
        deployment.finalizer(),
        deployment.prober(HOME),
    ]
}

/// An event that each function takes.
fn event() -> Value {
    json!({"run": "20261122-071339-4f9c2a"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_refused_and_the_next_one_served() {
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let configs = hanging(&listener);
    let lambda = Lambda::start(configs.clone()).await;
    let wide: Vec<Value> = (0..20_000)
        .map(|i| json!({"Records": i, "run": [i]}))
        .collect();
    let poison = [
        "".into(),
        "{".into(),
        "\u{0}".into(),
        "7".into(),
        "null".into(),
        "[]".into(),
        "\"run\"".into(),
        "{}".into(),
        "[".repeat(100_000),
        json!({"run": 7}).to_string(),
        json!({"run": "../../etc"}).to_string(),
        json!({"run": "r".repeat(1_000_000)}).to_string(),
        json!({"run": null, "Records": 7, "detail": 7}).to_string(),
        json!({"ticket": "file:///etc/passwd"}).to_string(),
        json!({"run": "r", "bomb": wide}).to_string(),
    ];
    for config in &configs {
        let arn = config.arn();
        for event in &poison {
            let outcome = lambda.call(&arn, event.clone()).await;
            let shown: String = event.chars().take(40).collect();
            match outcome {
                Outcome::Failed(kind, words) => {
                    assert!(!kind.is_empty() && words.len() < 2_000, "{shown}: {words}");
                }
                other => panic!("{} {shown}: {other:?}", config.name),
            }
        }
        let served = lambda.served(&arn);
        let cold = served.first().expect("served");
        let init = cold.init.expect("a cold start");
        eprintln!("{}: init {} ms", config.name, init.as_millis());
        assert!(init < Duration::from_secs(5), "{init:?}");
        assert!(
            served.iter().all(|s| s.process == cold.process),
            "no event ended the process"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_ends_by_itself_before_its_time_is_over() {
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut configs = hanging(&listener);
    for config in &mut configs {
        config.timeout = Duration::from_secs(4);
    }
    let lambda = Lambda::start(configs.clone()).await;
    for config in &configs {
        let outcome = lambda.call(&config.arn(), event_of(config)).await;
        match outcome {
            Outcome::Failed(kind, words) => {
                assert_eq!(kind, "TimedOut", "{}: {words}", config.name);
            }
            other => panic!("{}: {other:?}", config.name),
        }
    }
}

fn event_of(config: &Config) -> String {
    if config.name.ends_with("coordinator") {
        json!({"run": "r1", "url": "ws://127.0.0.1:9", "vantages": [HOME], "ramp": "1"}).to_string()
    } else {
        event().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_stopped_is_started_anew() {
    if !built() {
        skip!("the functions, which the feature `lambda` builds");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut configs = hanging(&listener);
    for config in &mut configs {
        config.timeout = Duration::from_secs(2);
        // A deadline that is none, as cargo-lambda's emulator says it.
        config.constant_deadline_ms = Some(600_000);
        config.retries = 1;
    }
    let lambda = Lambda::start(configs.clone()).await;
    for config in &configs {
        let arn = config.arn();
        let event: Value = serde_json::from_str(&event_of(config)).expect("JSON");
        lambda.send(&arn, &event);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while lambda.served(&arn).len() < 2 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{arn} is not tried again"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let served = lambda.served(&arn);
        let [first, second] = &served[..] else {
            panic!("{served:?}");
        };
        assert_eq!(
            (&first.outcome, &second.outcome),
            (&Outcome::TimedOut, &Outcome::TimedOut)
        );
        assert_eq!(
            first.request_id, second.request_id,
            "a retry is the same event"
        );
        assert!(second.init.is_some() && first.process != second.process);
        let after = lambda.call(&arn, "[]").await;
        assert!(matches!(after, Outcome::Failed(..)), "{after:?}");
    }
}
