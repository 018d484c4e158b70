//! Join tokens: room-scoped, short-lived, with only the grants that the role needs.

use std::sync::Arc;
use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};

use super::identity::{Role, identity};
use crate::job::{Job, RunId, Vantage, Workload};
use crate::load::Place;
use crate::rooms::Keys;
use crate::secret::Secret;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It could not be signed.
    #[error(
        "can't sign a join token for `{identity}`: {reason}; check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
    )]
    Unsigned {
        /// For whom.
        identity: String,
        /// The library's words.
        reason: String,
    },
    /// All that the ticket had are used.
    #[error("the ticket has no join token for `{identity}`: more failed than it provides for")]
    Spent {
        /// For whom.
        identity: String,
    },
}

/// Where a prober's join tokens come from.
#[derive(Clone, Debug)]
pub enum JoinTokens {
    /// It signs them itself.
    Signed(Keys),
    /// From its ticket.
    Minted(Arc<MintedTokens>),
}

/// The join tokens of one vantage in one run, by role and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedTokens {
    /// Of the hidden participant that tries the path.
    pub tester: Secret,
    /// Of its publishers.
    pub publishers: Vec<Secret>,
    /// Of its subscribers.
    pub subscribers: Vec<Secret>,
}

impl From<Keys> for JoinTokens {
    fn from(keys: Keys) -> Self {
        JoinTokens::Signed(keys)
    }
}

impl JoinTokens {
    /// The identity and the token of a vantage's `n`-th participant of a role. One that is signed
    /// here and now is good for `ttl`.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn token(
        &self,
        room: &str,
        (run, vantage): (&RunId, &Vantage),
        (role, n): (Role, u32),
        ttl: Duration,
    ) -> Result<(String, Secret), TokenError> {
        let identity = identity(run, vantage, role, n);
        let token = match self {
            JoinTokens::Signed(keys) => join_token(keys, room, &identity, role, ttl)?,
            JoinTokens::Minted(minted) => match minted.get(role, n) {
                Some(token) => token.clone(),
                None => return Err(TokenError::Spent { identity }),
            },
        };
        Ok((identity, token))
    }
}

impl MintedTokens {
    /// Enough tokens for the slot `vantage` to join every tier anew, as it would if all failed in
    /// each; none for a role that it doesn't have.
    ///
    /// # Errors
    /// When key or secret are unusable.
    pub fn mint(
        keys: &Keys,
        job: &Job,
        vantage: &Vantage,
        ttl: Duration,
    ) -> Result<Self, TokenError> {
        let Workload::SharedRoom { room, ramp, .. } = &job.workload;
        let tiers = ramp.tiers();
        // Of a total, one vantage alone has all.
        let place = Place::of(job, vantage, [vantage]);
        let subscribers = (1..)
            .zip(tiers)
            .map(|(tier, n)| place.subscribers(job, tier, *n))
            .fold(place.subscribers(job, 0, 1), u32::saturating_add);
        let times = u32::try_from(tiers.len()).unwrap_or(u32::MAX);
        let publishers = place
            .media(&job.media)
            .publishers()
            .saturating_mul(times.saturating_add(1));
        let mint = |role, n| {
            let identity = identity(&job.run, vantage, role, n);
            join_token(keys, room, &identity, role, ttl)
        };
        let mint_all = |role, count: u32| {
            let tokens = (0..count).map(|n| mint(role, n));
            tokens.collect::<Result<Vec<_>, _>>()
        };
        Ok(MintedTokens {
            tester: mint(Role::Tester, TESTER)?,
            publishers: mint_all(Role::Publisher, publishers)?,
            subscribers: mint_all(Role::Subscriber, subscribers)?,
        })
    }

    fn get(&self, role: Role, n: u32) -> Option<&Secret> {
        let of = match role {
            Role::Tester => return Some(&self.tester).filter(|_| n == TESTER),
            Role::Publisher => &self.publishers,
            Role::Subscriber => &self.subscribers,
        };
        of.get(usize::try_from(n).ok()?)
    }
}

/// The number of the tester that a run's probers join.
pub(crate) const TESTER: u32 = 0;

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
        .map_err(|e| TokenError::Unsigned {
            identity: identity.to_owned(),
            reason: e.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use livekit_api::access_token::Claims;

    #[test]
    fn a_ticket_s_tokens_join_one_room_in_one_role_for_a_while() {
        let keys = Keys {
            api_key: "key".into(),
            api_secret: Secret::new("s".repeat(32)),
        };
        let (job, vantage) = (sample::job(), sample::vantage("a"));
        let Workload::SharedRoom { room, .. } = &job.workload;
        let hour = Duration::from_secs(3_600);
        let minted = MintedTokens::mint(&keys, &job, &vantage, hour).unwrap();
        // Every tier of 5, 10, 20 anew, and the baseline; a publisher in each.
        assert_eq!(minted.subscribers.len(), 1 + 5 + 10 + 20);
        assert_eq!(minted.publishers.len(), 4);
        let tokens = JoinTokens::Minted(Arc::new(minted));
        let whose = (&job.run, &vantage);
        for (role, publish, hidden) in [
            (Role::Publisher, true, false),
            (Role::Subscriber, false, false),
            (Role::Tester, false, true),
        ] {
            let (identity, token) = tokens.token(room, whose, (role, 0), hour).unwrap();
            let claims = Claims::from_unverified(token.expose()).unwrap();
            assert_eq!(claims.sub, identity);
            let grants = claims.video;
            assert!(grants.room_join && grants.room == *room);
            assert_eq!(grants.can_publish, Some(publish));
            assert_eq!(grants.can_subscribe, Some(!publish));
            assert_eq!(grants.can_publish_data, Some(false));
            assert_eq!(grants.hidden, hidden);
            assert!(!grants.room_admin && !grants.room_create && !grants.room_list);
            assert!(claims.exp - claims.nbf <= 3_600);
        }
        let spent = tokens.token(room, whose, (Role::Publisher, 4), hour);
        assert!(spent.unwrap_err().to_string().contains("the ticket has no"));
    }
}
