//! An SFU behind TLS, as they all are but on a desk: a whole run, and what a stranger's certificate
//! comes to.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use muster::exit::Exit;
use muster::local::LivekitServer;
use muster::report::Combined;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::fixtures::alone::alone;
use crate::fixtures::certificate::{self, CERTIFICATE, KEY};
use crate::fixtures::{livekit, skip::skip};

/// Takes TLS off and passes the rest on to the server, as a proxy before an SFU does; its URL.
async fn terminate(server: &LivekitServer, certs: &Path) -> String {
    let chain = CertificateDer::from_pem_file(certs.join(CERTIFICATE)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certs.join(KEY)).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("its own versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target = server.url().trim_start_matches("ws://").to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                // Who doesn't trust the certificate hangs up.
                let Ok(mut near) = acceptor.accept(near).await else {
                    return;
                };
                let mut far = TcpStream::connect(target).await.expect("the server");
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    format!("wss://localhost:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_over_tls_with_a_certificate_that_is_trusted_alone() {
    let _alone = alone().await;
    let Some(server) = livekit::start().await else {
        skip!("livekit-server or Go");
    };
    let dir = TempDir::new().expect("a folder");
    let ca_file = certificate::issue(dir.path(), &dir.path().join("ca.pem"));
    let url = terminate(&server, dir.path()).await;
    let json = dir.path().join("combined.json");
    let run = async |ca_file: Option<&Path>| {
        let args = "local --vantages iad --ramp 1 --settle 2s --duration 3s --grace 5s \
                    --threshold connected>=1% --url";
        let mut muster = tokio::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        muster
            .args(args.split_whitespace())
            .arg(&url)
            .arg("--json")
            .arg(&json)
            .env("LIVEKIT_API_KEY", server.key())
            .env("LIVEKIT_API_SECRET", server.secret().expose())
            .env_remove("SSL_CERT_FILE")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(ca_file) = ca_file {
            muster.env("SSL_CERT_FILE", ca_file);
        }
        let output = tokio::time::timeout(Duration::from_secs(90), muster.output()).await;
        let output = output.expect("it ends").expect("muster can be run");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr)
    };
    let is = |exit: Exit| Some(i32::from(exit.code()));

    let (code, stderr) = run(None).await;
    assert_eq!(code, is(Exit::Unreachable), "{stderr}");
    assert!(stderr.contains("certificate"), "{stderr}");
    assert!(!json.exists(), "{stderr}");

    let (code, stderr) = run(Some(&ca_file)).await;
    assert_eq!(code, is(Exit::Passed), "{stderr}");
    let text = std::fs::read_to_string(&json).expect("it was written");
    let report: Combined = serde_json::from_str(&text).expect("a report");
    for tier in &report.tiers {
        let figures = tier.figures.as_ref().expect("measured");
        assert_eq!(figures.connected_percent, Some(100.0), "tier {}", tier.tier);
        assert!(figures.packets.received > 0, "tier {}", tier.tier);
    }
    let phases = &report.tiers[0]
        .figures
        .as_ref()
        .expect("measured")
        .phases_ms;
    assert!(
        phases["tls"].count > 0 && phases["tls"].p50 > 0.0,
        "{phases:?}"
    );
}
