//! Join tokens: room-scoped, short-lived, with only the grants that the role needs.

use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};

use super::identity::Role;
use crate::rooms::Keys;
use crate::secret::Secret;

/// A token that could not be signed.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't sign a join token for `{identity}`: {reason}; check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
)]
pub struct TokenError {
    identity: String,
    reason: String,
}

/// A token for one participant in one room.
///
/// # Errors
/// When key or secret are unusable.
pub fn join_token(
    keys: &Keys,
    room: &str,
    identity: &str,
    role: Role,
    ttl: Duration,
) -> Result<Secret, TokenError> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        can_publish: Some(role == Role::Publisher),
        can_subscribe: Some(role != Role::Publisher),
        can_publish_data: Some(false),
        can_update_own_metadata: Some(false),
        hidden: role == Role::Tester,
        ..VideoGrants::default()
    };
    AccessToken::with_api_key(&keys.api_key, keys.api_secret.expose())
        .with_identity(identity)
        .with_name(identity)
        .with_grants(grants)
        .with_ttl(ttl)
        .to_jwt()
        .map(Secret::new)
        .map_err(|e| TokenError {
            identity: identity.to_owned(),
            reason: e.to_string(),
        })
}
