//! Media over TCP from where UDP is closed: only if the job allows it.

use muster::report::Combined;

use crate::fixtures::alone::alone;
use crate::fixtures::namespace::{KEY, Namespace, SECRET};
use crate::fixtures::skip::skip;

const CONFIG: &str = r#"port: 7880
bind_addresses: ["127.0.0.1"]
rtc:
  udp_port: 7882
  tcp_port: 7881
  use_external_ip: false
  node_ip: 127.0.0.1
  enable_loopback_candidate: true
  interfaces: {includes: [lo]}
"#;

/// Nothing goes to the server's UDP port, and nothing comes from it. The rule that finds local
/// addresses comes first by default.
const SCRIPT: &str = r#"
ip link set lo up && ip rule add pref 10 lookup local && ip rule del pref 0 || exit 1
ip rule add pref 1 ipproto udp dport 7882 blackhole || exit 1
ip rule add pref 2 ipproto udp sport 7882 blackhole || exit 1
"$SERVER" --config livekit.yaml > server.log 2>&1 &
for i in $(seq 200); do grep -q ':1EC8 .* 0A ' /proc/net/tcp && break; sleep 0.1; done
run() {
  name=$1; shift
  "$MUSTER" local --url ws://127.0.0.1:7880 --vantages iad,sjc --ramp 2 --duration 3s \
    --settle 4s --livekit-keys keys --json $name.json "$@" > $name.out 2> $name.err
  echo $? > $name.code
}
run refused
run allowed --allow-tcp
"#;

#[tokio::test]
async fn a_job_decides_whether_media_go_over_tcp_where_udp_is_closed() {
    let _alone = alone().await;
    let namespace = match Namespace::new().await {
        Ok(namespace) => namespace,
        Err(lacks) => skip!("{lacks}"),
    };
    let config = format!("{CONFIG}keys: {{{KEY}: {SECRET}}}\n");
    let left = namespace.run(&config, SCRIPT).await;

    let said = left.read("refused.err");
    assert_eq!(left.read("refused.code").trim(), "113", "{said}");
    for expected in ["UDP is closed", "--allow-tcp", "127.0.0.1:7881"] {
        assert!(said.contains(expected), "no `{expected}`:\n{said}");
    }
    assert!(!left.path("refused.json").exists(), "{said}");

    let said = left.read("allowed.err");
    assert!(said.contains("UDP is closed there"), "{said}");
    let printed = left.read("allowed.out");
    assert!(printed.contains("over TCP"), "{said}\n{printed}");
    let combined: Combined = serde_json::from_str(&left.read("allowed.json")).expect("a report");
    // A busy machine may cost a tier, not the baseline: a subscriber and a publisher each.
    let figures = combined.tiers[0].figures.as_ref().expect("measured");
    assert_eq!(figures.transports.get("tcp"), Some(&4), "{printed}");
    assert_eq!(figures.transports.len(), 1, "{printed}");
    assert_eq!(figures.connected_percent, Some(100.0), "{printed}");
    assert_eq!(figures.packets.lost, 0, "{printed}");
    // Two voices of 50 packets a second for three seconds, twice, beside the video.
    assert!(figures.packets.received > 600, "{printed}");
    assert!(figures.latency.ms.is_some(), "{printed}");
}
