//! Where signalling is served, from the URL that users know.

use ::url::{Host, Url};

use crate::participant::failure::{Cause, Failure};

/// The signalling protocol that this client speaks: LiveKit's dual-connection one.
const PROTOCOL: u32 = 16;

/// A server's signalling endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, without brackets.
    pub host: String,
    /// The port, by the scheme if the URL has none.
    pub port: u16,
    /// TLS is spoken.
    pub secure: bool,
    /// As the `Host` header says it.
    authority: String,
    /// What precedes `/rtc`, without a slash at its end.
    prefix: String,
}

impl Endpoint {
    /// Reads a URL (`ws`, `wss`, `http` or `https`).
    ///
    /// # Errors
    /// [`Cause::Url`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(Cause::Url, format!("`{text}`: {why}"));
        let url = Url::parse(text).map_err(|e| wrong(e.to_string()))?;
        let secure = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            other => return Err(wrong(format!("the scheme `{other}` is neither ws nor wss"))),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(wrong("there is no host".to_owned())),
        };
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(if secure { 443 } else { 80 }),
            secure,
            authority,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The URL of the WebSocket. `resume` is the participant's sid when a session goes on.
    pub fn websocket(&self, auto_subscribe: bool, resume: Option<&str>) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let (authority, prefix) = (&self.authority, &self.prefix);
        let auto = u8::from(auto_subscribe);
        let version = env!("CARGO_PKG_VERSION");
        let mut url = format!(
            "{scheme}://{authority}{prefix}/rtc?auto_subscribe={auto}&protocol={PROTOCOL}\
             &sdk=rust&version={version}&adaptive_stream=0"
        );
        if let Some(sid) = resume {
            let sid: String = ::url::form_urlencoded::byte_serialize(sid.as_bytes()).collect();
            url.push_str("&reconnect=1&sid=");
            url.push_str(&sid);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_endpoints() {
        for (text, host, port, url) in [
            (
                "ws://127.0.0.1:7880",
                "127.0.0.1",
                7880,
                "ws://127.0.0.1:7880/rtc?",
            ),
            (
                "https://sfu.example.com/",
                "sfu.example.com",
                443,
                "wss://sfu.example.com/rtc?",
            ),
            ("wss://h:1/a/b/", "h", 1, "wss://h:1/a/b/rtc?"),
            ("ws://[::1]:7880", "::1", 7880, "ws://[::1]:7880/rtc?"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((&*endpoint.host, endpoint.port), (host, port));
            assert!(endpoint.websocket(true, None).starts_with(url), "{text}");
        }
    }

    #[test]
    fn a_resumed_session_names_its_participant() {
        let endpoint = Endpoint::parse("ws://h").unwrap();
        assert!(
            endpoint
                .websocket(false, Some("PA_x&y"))
                .ends_with("&reconnect=1&sid=PA_x%26y")
        );
    }

    #[test]
    fn what_is_no_url_is_refused_by_name() {
        for text in ["", "sfu.example.com", "ftp://x", "ws://"] {
            let failure = Endpoint::parse(text).unwrap_err();
            assert_eq!(failure.cause, Cause::Url, "{text}");
            assert!(failure.detail.contains(text));
        }
    }
}
