//! How many packets the server says it sent: the same count for every subscriber, whoever made it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// livekit-server's counter of media packets. It is brought up to date every few seconds for
/// each track: over a steady time its difference is right all the same.
const COUNTER: &str = "livekit_packet_total{";

/// Packets that the server has sent to its subscribers so far, retransmissions included; `None`
/// when it doesn't tell.
pub async fn packets_sent(metrics: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect(metrics).await.ok()?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {metrics}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    outgoing(&answer)
}

fn outgoing(metrics: &str) -> Option<u64> {
    let counts: Vec<f64> = metrics
        .lines()
        .filter(|line| line.starts_with(COUNTER) && line.contains("direction=\"outgoing\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter of whole packets"
    )]
    (!counts.is_empty()).then(|| counts.iter().sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_out_counts() {
        let metrics = "# TYPE livekit_packet_total counter\n\
            livekit_packet_total{country=\"\",direction=\"incoming\",transmission=\"initial\"} 9\n\
            livekit_packet_total{country=\"\",direction=\"outgoing\",transmission=\"initial\"} 1.5e+06\n\
            livekit_packet_total{country=\"\",direction=\"outgoing\",transmission=\"retransmit\"} 2\n";
        assert_eq!(outgoing(metrics), Some(1_500_002));
        assert_eq!(outgoing("other 1\n"), None);
    }
}
