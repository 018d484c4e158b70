//! From a URL to an open WebSocket, each phase timed on its own.
#![expect(
    clippy::disallowed_methods,
    reason = "the edge: times what it waits for"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Instant;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http};

use crate::clock;
use crate::participant::failure::{Cause, Failure};
use crate::participant::snapshot::Phases;
use crate::secret::Secret;

use super::refusal::refusal;
use super::tls;
use super::url::Endpoint;

/// Signals are small: tungstenite's own 128 KiB would be half of a participant's memory.
const READ_BUFFER: usize = 4 * 1_024;
/// More than any answer of a room that fits one server.
const MAX_MESSAGE: usize = 16 * 1_024 * 1_024;

/// TCP, with or without TLS.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An open WebSocket.
pub type WebSocket = WebSocketStream<Box<dyn Transport>>;

/// What dialling came to.
pub struct Dialled {
    /// The WebSocket.
    pub websocket: WebSocket,
    /// This machine's address for media towards the server.
    pub local_ip: IpAddr,
    /// DNS, TCP, TLS and WebSocket.
    pub phases: Phases,
}

/// Dials. `url` is the endpoint's own, with its query.
///
/// # Errors
/// With the cause of the phase that failed.
pub async fn dial(
    endpoint: &Endpoint,
    url: &str,
    token: &Secret,
    ca_file: Option<&Path>,
) -> Result<Dialled, Failure> {
    let mut phases = Phases::default();
    let clock = Instant::now();
    let addresses = resolve(endpoint).await?;
    phases.dns = Some(clock.elapsed());
    let clock = Instant::now();
    let stream = connect(&addresses).await?;
    phases.tcp = Some(clock.elapsed());
    let tcp = |e: std::io::Error| Failure::new(Cause::Tcp, e.to_string());
    stream.set_nodelay(true).map_err(tcp)?;
    let local_ip = media_ip(&addresses, stream.local_addr().map_err(tcp)?.ip());
    let stream: Box<dyn Transport> = if endpoint.secure {
        let clock = Instant::now();
        let config = tls::config(ca_file)?;
        let refused = |e: String| Failure::new(Cause::Tls, format!("{}: {e}", endpoint.host));
        let name =
            ServerName::try_from(endpoint.host.clone()).map_err(|e| refused(e.to_string()))?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        let stream = connecting.await.map_err(|e| refused(e.to_string()))?;
        phases.tls = Some(clock.elapsed());
        Box::new(stream)
    } else {
        Box::new(stream)
    };
    let clock = Instant::now();
    let websocket = upgrade(url, token, stream).await?;
    phases.websocket = Some(clock.elapsed());
    Ok(Dialled {
        websocket,
        local_ip,
        phases,
    })
}

/// Where media leave from: by IPv4 if the server's name has such an address, however signalling
/// goes. By default LiveKit announces its media there alone.
fn media_ip(addresses: &[SocketAddr], signalling: IpAddr) -> IpAddr {
    if signalling.is_ipv4() {
        return signalling;
    }
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.and_then(|to| towards(*to)).unwrap_or(signalling)
}

/// This machine's address towards another: connecting a UDP socket sends nothing.
fn towards(to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |e: String| Failure::new(Cause::Dns, format!("{}: {e}", endpoint.host));
    let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let addresses: Vec<_> = found.map_err(|e| failed(e.to_string()))?.collect();
    if addresses.is_empty() {
        return Err(failed("the name has no address".to_owned()));
    }
    Ok(addresses)
}

/// Tries the addresses in turn; the last one's error speaks for all.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = Failure::new(Cause::Tcp, "no address to connect to");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Failure::new(Cause::Tcp, format!("{address}: {e}")),
        }
    }
    Err(last)
}

async fn upgrade(
    url: &str,
    token: &Secret,
    stream: Box<dyn Transport>,
) -> Result<WebSocket, Failure> {
    let place = url.split('?').next().unwrap_or_default();
    let wrong = |e: String| Failure::new(Cause::Url, format!("{place}: {e}"));
    let mut request = url
        .into_client_request()
        .map_err(|e| wrong(e.to_string()))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| Failure::new(Cause::Unauthorized, "the token has characters of no token"))?;
    bearer.set_sensitive(true);
    request
        .headers_mut()
        .insert(http::header::AUTHORIZATION, bearer);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    match upgraded.await {
        Ok((websocket, _)) => Ok(websocket),
        Err(tungstenite::Error::Http(response)) => {
            Err(refusal(place, token, &response, clock::now()))
        }
        Err(e) => Err(Failure::new(Cause::SignalClosed, format!("{place}: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_go_by_ipv4_where_the_server_has_it() {
        let (v4, v6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), "::1".parse().unwrap());
        let both = [(v6, 7880).into(), (v4, 7880).into()];
        assert_eq!(media_ip(&both, v6), v4);
        assert_eq!(media_ip(&both, v4), v4);
        assert_eq!(media_ip(&both[..1], v6), v6);
    }
}
