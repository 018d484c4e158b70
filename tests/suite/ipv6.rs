//! A network without IPv4: a whole run of `muster local` in a network namespace of its own.

use std::fs;
use std::process::Stdio;

use muster::report::Combined;
use tempfile::TempDir;

use crate::fixtures::skip::skip;
use crate::fixtures::{livekit, namespace};

/// What stands for the network; a server announces no `::1`.
const ADDRESS: &str = "fd12::1";
const KEY: &str = "ipv6";
const SECRET: &str = "a-secret-for-a-network-of-its-own-alone";

#[tokio::test]
async fn a_run_goes_over_ipv6_where_there_is_nothing_else() {
    let Some(mut namespace) = namespace::command() else {
        skip!("ip and a network namespace by unshare");
    };
    let Some(server) = livekit::binary().await else {
        skip!("livekit-server or Go");
    };
    let dir = TempDir::new().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name);
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
    fs::write(path("livekit.yaml"), config).expect("a file can be written");
    fs::write(path("keys"), format!("{KEY}: {SECRET}\n")).expect("a file can be written");
    let script = format!(
        r#"ip link set lo up && ip -6 address add {ADDRESS}/64 dev lo nodad || exit 1
"$SERVER" --config livekit.yaml > server.log 2>&1 &
for i in $(seq 200); do grep -q ':1EC8 .* 0A ' /proc/net/tcp6 && break; sleep 0.1; done
"$MUSTER" local --url 'ws://[{ADDRESS}]:7880' --vantages 1 --ramp 2 --duration 3s --settle 2s \
  --threshold 'connected>=100%' --threshold 'receiving>=1%' --livekit-keys keys --json combined.json
"#
    );
    namespace
        .args(["sh", "-c", &script])
        .env("SERVER", server)
        .env("MUSTER", env!("CARGO_BIN_EXE_muster"))
        .current_dir(dir.path())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || namespace.output()).await;
    let output = output.expect("no panic").expect("unshare runs");
    let text = fs::read_to_string(path("combined.json")).unwrap_or_else(|e| {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("{e}:\n{}\n{}", shown(&output.stdout), shown(&output.stderr))
    });
    let combined: Combined = serde_json::from_str(&text).expect("a report");
    let figures = combined.tiers[1].figures.as_ref().expect("measured");
    assert_eq!(figures.connected_percent, Some(100.0), "{text}");
    assert_eq!(figures.packets.lost, 0, "{text}");
    assert!(figures.packets.received > 500, "{text}");
    assert_eq!(figures.transports.get("udp"), Some(&3), "{text}");
}
