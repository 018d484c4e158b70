//! A network without IPv4: a whole run of `muster local` in a network namespace of its own.

use muster::report::Combined;

use crate::fixtures::namespace::{KEY, Namespace, SECRET};
use crate::fixtures::skip::skip;

/// What stands for the network; a server announces no `::1`.
const ADDRESS: &str = "fd12::1";

#[tokio::test]
async fn a_run_goes_over_ipv6_where_there_is_nothing_else() {
    let namespace = match Namespace::new().await {
        Ok(namespace) => namespace,
        Err(lacks) => skip!("{lacks}"),
    };
    let config = format!(
        r#"port: 7880
bind_addresses: ["{ADDRESS}"]
rtc:
  udp_port: 7882
  tcp_port: 7881
  use_external_ip: false
  node_ip: {{ipv6: "{ADDRESS}"}}
  enable_loopback_candidate: true
  interfaces: {{includes: [lo]}}
  ips: {{excludes: ["127.0.0.0/8"]}}
keys: {{{KEY}: {SECRET}}}
"#
    );
    let script = format!(
        r#"ip link set lo up && ip -6 address add {ADDRESS}/64 dev lo nodad || exit 1
"$SERVER" --config livekit.yaml > server.log 2>&1 &
for i in $(seq 200); do grep -q ':1EC8 .* 0A ' /proc/net/tcp6 && break; sleep 0.1; done
"$MUSTER" local --url 'ws://[{ADDRESS}]:7880' --vantages 1 --ramp 2 --duration 3s --settle 2s \
  --threshold 'connected>=100%' --threshold 'receiving>=1%' --livekit-keys keys --json combined.json
"#
    );
    let text = namespace.run(&config, &script).await.read("combined.json");
    let combined: Combined = serde_json::from_str(&text).expect("a report");
    let figures = combined.tiers[1].figures.as_ref().expect("measured");
    assert_eq!(figures.connected_percent, Some(100.0), "{text}");
    assert_eq!(figures.packets.lost, 0, "{text}");
    assert!(figures.packets.received > 500, "{text}");
    assert_eq!(figures.transports.get("udp"), Some(&3), "{text}");
}
