//! Why a participant failed, with a stable name for counting.

use std::fmt;

/// What went wrong, as a closed set. [`Cause::name`] is stable: reports count by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The URL of the SFU can't be used.
    Url,
    /// The host name did not resolve.
    Dns,
    /// No TCP connection.
    Tcp,
    /// The TLS handshake failed, or the certificate isn't trusted.
    Tls,
    /// The server answered the WebSocket handshake with another HTTP status.
    WebsocketRefused {
        /// The HTTP status.
        status: u16,
    },
    /// The server refused the token (HTTP 401 or 403).
    Unauthorized,
    /// The server refused the token, which is not valid yet or any more by the server's clock.
    Clock,
    /// No `JoinResponse` in time.
    JoinTimeout,
    /// The server never sent what ICE needs, or ICE did not find a path in time.
    IceTimeout,
    /// ICE had a path, and DTLS did not finish in time or failed.
    Dtls,
    /// The path was up and broke.
    IceLost,
    /// The server told this participant to leave.
    Kicked {
        /// LiveKit's `DisconnectReason`, in lower case (`duplicate_identity`).
        reason: String,
    },
    /// The signalling connection was lost and could not be resumed.
    SignalClosed,
    /// The server said what the protocol does not allow.
    Protocol,
    /// The server did not take a track.
    PublishRefused,
    /// A socket could not be opened or used on this machine.
    LocalSocket,
    /// muster itself went wrong.
    Internal,
}

impl Cause {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Cause::Url => "url",
            Cause::Dns => "dns",
            Cause::Tcp => "tcp",
            Cause::Tls => "tls",
            Cause::WebsocketRefused { .. } => "websocket_refused",
            Cause::Unauthorized => "unauthorized",
            Cause::Clock => "clock",
            Cause::JoinTimeout => "join_timeout",
            Cause::IceTimeout => "ice_timeout",
            Cause::Dtls => "dtls",
            Cause::IceLost => "ice_lost",
            Cause::Kicked { .. } => "kicked",
            Cause::SignalClosed => "signal_closed",
            Cause::Protocol => "protocol",
            Cause::PublishRefused => "publish_refused",
            Cause::LocalSocket => "local_socket",
            Cause::Internal => "internal",
        }
    }

    /// What a reader can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Cause::Url => "give a URL like wss://livekit.example.com",
            Cause::Dns => "check the host name and this machine's resolver",
            Cause::Tcp => "check that the server runs and that its port is open from here",
            Cause::Tls => "check the certificate's name and chain, or give its CA",
            Cause::WebsocketRefused { .. } => {
                "check that the URL names a LiveKit server and not a proxy's error page"
            }
            Cause::Unauthorized => "check that API key and secret are the server's own",
            Cause::Clock => "set the clock of the machine that makes the tokens",
            Cause::JoinTimeout => {
                "the server took the connection and did not answer: is it overloaded?"
            }
            Cause::IceTimeout => {
                "check that the server's UDP ports are open from here and that it announces its public address"
            }
            Cause::Dtls => "packets reach the server but no session came up: is it overloaded?",
            Cause::IceLost => "the media path broke: check the server and the network between",
            Cause::Kicked { .. } => "see the server's log for who removed the participant",
            Cause::SignalClosed => "the signalling connection broke: check the server and proxies",
            Cause::Protocol => "check the server's version",
            Cause::PublishRefused => "check that the token may publish and the codec is enabled",
            Cause::Internal => "this is a bug of muster: please report it",
            Cause::LocalSocket => "raise the limit of open files, or run fewer participants here",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Cause::WebsocketRefused { status } => write!(f, " ({status})"),
            Cause::Kicked { reason } => write!(f, " ({reason})"),
            _ => Ok(()),
        }
    }
}

/// The longest account of what was seen, in characters.
const DETAIL_MAX: usize = 400;

/// A cause with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {detail}; {}", cause.remedy())]
pub struct Failure {
    /// What went wrong.
    pub cause: Cause,
    /// What was seen: addresses, statuses, the library's words. No secrets.
    pub detail: String,
}

impl Failure {
    /// A failure of this cause. Of what was seen one line is kept, as much as one reads: it may be
    /// another's words.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            cause,
            detail: detail.chars().map(visible).take(DETAIL_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_one_line_of_what_it_was_told() {
        let f = Failure::new(Cause::Protocol, "x\r\n\u{1b}[2J".repeat(100_000));
        assert_eq!(f.detail.chars().count(), DETAIL_MAX);
        assert!(!f.detail.contains(char::is_control));
    }

    #[test]
    fn a_failure_reads_as_one_line_with_its_remedy() {
        let f = Failure::new(
            Cause::WebsocketRefused { status: 502 },
            "ws://sfu/rtc answered 502",
        );
        assert_eq!(
            f.to_string(),
            "websocket_refused (502): ws://sfu/rtc answered 502; check that the URL names a \
             LiveKit server and not a proxy's error page"
        );
    }
}
