//! What a server says that refuses the WebSocket, and whether a clock is to blame.

use std::time::Duration;

use jiff::fmt::rfc2822;
use livekit_api::access_token::Claims;
use tokio_tungstenite::tungstenite::http;

use crate::job::Timestamp;
use crate::participant::failure::{Cause, Failure};
use crate::secret::Secret;

/// How far a token's times may be off for LiveKit to take it all the same (go-jose's
/// `DefaultLeeway`).
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// The most of the server's words that are kept, in characters.
const SAID_MAX: usize = 200;

/// How a token begins: `{"` in Base64.
const TOKEN_BEGINS: &str = "eyJ";

/// Why the server at `place` took no WebSocket with this token, at a local time.
pub(super) fn refusal(
    place: &str,
    token: &Secret,
    response: &http::Response<Option<Vec<u8>>>,
    now: Timestamp,
) -> Failure {
    let status = response.status().as_u16();
    let said = said(response.body().as_deref().unwrap_or_default());
    let answered = format!("{place} answered {status} {said}");
    if !matches!(status, 401 | 403) {
        return Failure::new(Cause::WebsocketRefused { status }, answered);
    }
    let date = response.headers().get(http::header::DATE);
    let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    let times = Claims::from_unverified(token.expose()).ok();
    let times = times.and_then(|c| Some((i64::try_from(c.nbf).ok()?, i64::try_from(c.exp).ok()?)));
    let untimely = times.zip(date).and_then(|(times, date)| {
        let server_s = date.timestamp().as_second();
        untimely(times, server_s, now.as_micros() / 1_000_000)
    });
    match untimely {
        Some(why) => Failure::new(Cause::Clock, format!("{answered}; {why}")),
        None => Failure::new(Cause::Unauthorized, answered),
    }
}

/// The beginning of what was said, without the tokens that LiveKit repeats.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let (mut said, mut rest) = (String::new(), text.trim());
    while let Some((before, token)) = rest.find(TOKEN_BEGINS).map(|at| rest.split_at(at)) {
        said.push_str(before);
        said.push('…');
        rest = token.trim_start_matches(of_token);
    }
    said.push_str(rest);
    said.chars().take(SAID_MAX).collect()
}

/// Why a token that is good from one time to another is not at the server's, if it isn't; all in
/// seconds since 1970. `here_s` is the local clock's when the server's showed `server_s`.
fn untimely((from_s, to_s): (i64, i64), server_s: i64, here_s: i64) -> Option<String> {
    let leeway_s = i64::try_from(TOKEN_LEEWAY.as_secs()).unwrap_or(i64::MAX);
    let when = if server_s.saturating_add(leeway_s) < from_s {
        "not valid yet"
    } else if server_s.saturating_sub(leeway_s) > to_s {
        "not valid any more"
    } else {
        return None;
    };
    let ahead_s = here_s.saturating_sub(server_s);
    Some(match ahead_s.saturating_abs() {
        off_s if off_s <= leeway_s => {
            format!("by the server's clock, which agrees with this machine's, the token is {when}")
        }
        off_s => {
            let way = if ahead_s > 0 { "ahead of" } else { "behind" };
            format!(
                "this machine's clock is {off_s} s {way} the server's: tokens made by it are {when}"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn a_clock_is_blamed_only_for_a_token_that_is_not_valid_by_the_server_s() {
        let two_minutes = |from: i64| (from, from + 120);
        for (times, here, says) in [
            (two_minutes(0), 0, None),
            // LiveKit takes these.
            (two_minutes(30), 30, None),
            (two_minutes(-30), -30, None),
            (
                two_minutes(HOUR),
                HOUR,
                Some("3600 s ahead of the server's: tokens made by it are not valid yet"),
            ),
            (
                two_minutes(-HOUR),
                -HOUR,
                Some("3600 s behind the server's: tokens made by it are not valid any more"),
            ),
            // From a ticket: it has nothing to do with the clock here.
            (two_minutes(0), HOUR, None),
            (
                two_minutes(-HOUR),
                0,
                Some("agrees with this machine's, the token is not valid any more"),
            ),
        ] {
            let said = untimely(times, 0, here);
            match says {
                Some(says) => assert!(said.as_ref().is_some_and(|s| s.contains(says)), "{said:?}"),
                None => assert_eq!(said, None),
            }
        }
    }

    #[test]
    fn the_server_s_words_are_kept_without_the_token() {
        let token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.a_b-c";
        let body = format!("invalid token: {token}, error: it is expired\n");
        assert_eq!(
            said(body.as_bytes()),
            "invalid token: …, error: it is expired"
        );
        assert_eq!(said("x".repeat(1_000).as_bytes()).len(), SAID_MAX);
    }

    #[test]
    fn what_the_server_s_date_says_decides_who_is_to_blame() {
        let signed = livekit_api::access_token::AccessToken::with_api_key("key", "secret");
        let token = Secret::new(signed.to_jwt().unwrap());
        let claims = Claims::from_unverified(token.expose()).unwrap();
        let made = Timestamp::from_micros(i64::try_from(claims.nbf).unwrap() * 1_000_000);
        for (date, status, cause) in [
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 401, Cause::Clock),
            (Some("never"), 401, Cause::Unauthorized),
            (None, 401, Cause::Unauthorized),
            (
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                502,
                Cause::WebsocketRefused { status: 502 },
            ),
        ] {
            let mut response = http::Response::builder().status(status);
            if let Some(date) = date {
                response = response.header("Date", date);
            }
            let response = response.body(Some(token.expose().into())).unwrap();
            let failure = refusal("ws://sfu/rtc", &token, &response, made);
            assert_eq!(failure.cause, cause, "{failure}");
            assert!(!failure.to_string().contains(TOKEN_BEGINS), "{failure}");
        }
    }
}
