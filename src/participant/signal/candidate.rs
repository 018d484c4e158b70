//! Candidates of the server that str0m does not take.

use std::net::SocketAddr;

/// More addresses than a server has networks are not worth keeping.
pub const TCP_CANDIDATES_MAX: usize = 8;

/// The address of a candidate that waits for TCP connections:
/// `candidate:F 1 tcp P ADDRESS PORT typ host tcptype passive` (RFC 6544 section 4.5).
pub fn passive_tcp(candidate: &str) -> Option<SocketAddr> {
    let mut words = candidate.split_whitespace().skip(2);
    let tcp = words.next()?.eq_ignore_ascii_case("tcp");
    let address = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let passive = words.any(|word| word.eq_ignore_ascii_case("passive"));
    (tcp && passive).then_some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passive_tcp_has_an_address() {
        let found = |candidate: &str| passive_tcp(candidate).map(|a| a.to_string());
        assert_eq!(
            found("candidate:1 1 tcp 1518280447 127.0.0.1 7881 typ host tcptype passive"),
            Some("127.0.0.1:7881".into())
        );
        assert_eq!(
            found("candidate:1 1 TCP 1518280447 ::1 7881 typ host tcptype passive"),
            Some("[::1]:7881".into())
        );
        for other in [
            "",
            "candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host",
            "candidate:1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
            "candidate:1 1 tcp 1518280447 sfu.example 7881 typ host tcptype passive",
            "candidate:1 1 tcp 1518280447 127.0.0.1 99999 typ host tcptype passive",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
