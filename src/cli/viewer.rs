//! A link that shows the run's room in a browser.

use std::io::{self, Write};
use std::time::Duration;

use livekit_api::access_token::{AccessToken, AccessTokenError, VideoGrants};
use url::Url;

use crate::clock;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Job, Workload};
use crate::rooms::Keys;
use crate::secret::Secret;

/// LiveKit's own web client, which takes a server and a token in its address.
const CLIENT: &str = "https://meet.livekit.io/custom";

/// The address that joins `room` as a hidden participant who sees and hears, and nothing else.
/// It is secret: whoever has it may watch for `ttl`.
fn link(sfu: &str, room: &str, keys: &Keys, ttl: Duration) -> Result<Secret, AccessTokenError> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        can_subscribe: Some(true),
        can_publish: Some(false),
        can_publish_data: Some(false),
        can_update_own_metadata: Some(false),
        hidden: true,
        ..VideoGrants::default()
    };
    let token = AccessToken::with_api_key(&keys.api_key, keys.api_secret.expose())
        .with_identity("muster-viewer")
        .with_name("muster viewer")
        .with_grants(grants)
        .with_ttl(ttl)
        .to_jwt()?;
    let query = [("liveKitUrl", sfu), ("token", token.as_str())];
    let address = Url::parse_with_params(CLIENT, query)
        .map_or_else(|_| format!("{CLIENT}?{token}"), String::from);
    Ok(Secret::new(address))
}

/// The link to the room of `job`, good for as long as the run may last.
pub fn link_to(job: &Job, keys: &Keys) -> Result<Secret, Error> {
    let Workload::SharedRoom { room, .. } = &job.workload;
    let ttl = job.times.hard_deadline.saturating_since(clock::now()) + job.times.grace.0;
    link(&job.url, room, keys, ttl).map_err(|e| {
        let text = format!("can't sign a token for --viewer: {e}; check LIVEKIT_API_SECRET");
        Error::new(Exit::BadConfiguration, text)
    })
}

/// Prints the link on standard error, where the log goes too but never has it. The room must
/// exist: a browser that comes first would create another.
pub fn show(link: &Secret) {
    // Nothing helps against a closed stream.
    drop(writeln!(io::stderr(), "viewer: {}", link.expose()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_api::access_token::Claims;

    #[test]
    fn the_link_only_watches() {
        let keys = Keys {
            api_key: "key".into(),
            api_secret: Secret::new("s".repeat(32)),
        };
        let hour = Duration::from_secs(3_600);
        let link = link("wss://sfu.example:443/x", "room one", &keys, hour).unwrap();
        let url = Url::parse(link.expose()).unwrap();
        let query: std::collections::BTreeMap<_, _> = url.query_pairs().collect();
        assert_eq!(query["liveKitUrl"], "wss://sfu.example:443/x");
        let grants = Claims::from_unverified(&query["token"]).unwrap().video;
        assert_eq!(grants.room, "room one");
        assert!(grants.hidden && grants.room_join);
        assert_eq!(grants.can_publish, Some(false));
        assert_eq!(grants.can_publish_data, Some(false));
    }
}
