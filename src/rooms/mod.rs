//! The rooms of a run, by LiveKit's room service: a run deletes no room but its own.

mod keys;

use std::time::Duration;

use livekit_api::services::room::{CreateRoomOptions, RoomClient};
use livekit_api::services::{ServerError, ServerErrorCode, ServiceError};
use serde::{Deserialize, Serialize};

pub use keys::{Keys, KeysError};

use crate::job::RunId;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the room service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// No answer: DNS, TCP, TLS or time ran out.
    #[error("no SFU answers at {url}: {why}; check --url and that the server runs")]
    Unreachable {
        /// The SFU.
        url: String,
        /// The chain of causes.
        why: String,
    },
    /// Something answers, and not as LiveKit's room service does.
    #[error(
        "{url} answers, but not as a LiveKit server that knows the API key `{key}` with this secret ({why}); check --url, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, and this machine's clock"
    )]
    Strange {
        /// The SFU.
        url: String,
        /// The API key's name.
        key: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// The key is unknown, its secret is wrong, or it may not do this.
    #[error(
        "the SFU at {url} refuses the API key `{key}`: {why}; check LIVEKIT_API_KEY, LIVEKIT_API_SECRET, and this machine's clock"
    )]
    Refused {
        /// The SFU.
        url: String,
        /// The API key's name.
        key: String,
        /// The server's own words.
        why: String,
    },
    /// The room is somebody else's.
    #[error(
        "room `{room}` exists already at {url}, with {participants} participants; choose another --room, or say --existing-room to use it (it is then not deleted)"
    )]
    Exists {
        /// The room's name.
        room: String,
        /// The SFU.
        url: String,
        /// How many are in it.
        participants: u32,
    },
    /// `--existing-room` without such a room.
    #[error("room `{room}` does not exist at {url}; create it first, or leave --existing-room out")]
    Absent {
        /// The room's name.
        room: String,
        /// The SFU.
        url: String,
    },
    /// Anything else the server says.
    #[error("the SFU at {url} failed: {why}")]
    Failed {
        /// The SFU.
        url: String,
        /// The server's own words.
        why: String,
    },
}

/// A room as the SFU sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// How many are in it, hidden ones left out.
    pub participants: u32,
    /// The run that created it; `None` when none of muster's did.
    pub run: Option<RunId>,
}

/// What a run writes into the metadata of its rooms.
#[derive(Serialize, Deserialize)]
struct Mark {
    muster_run: RunId,
}

/// The room service of one SFU.
#[derive(Debug)]
pub struct Rooms {
    client: RoomClient,
    url: String,
    key: String,
}

impl Rooms {
    /// The room service at `url` (`ws`, `wss`, `http` or `https`). Nothing is sent yet.
    pub fn new(url: &str, keys: &Keys) -> Rooms {
        Rooms {
            client: RoomClient::with_api_key(url, &keys.api_key, keys.api_secret.expose())
                .with_request_timeout(REQUEST_TIMEOUT),
            url: url.to_owned(),
            key: keys.api_key.clone(),
        }
    }

    /// All rooms.
    pub async fn list(&self) -> Result<Vec<Room>, RoomError> {
        self.list_named(Vec::new()).await
    }

    /// The room called `name`, if there is one.
    pub async fn find(&self, name: &str) -> Result<Option<Room>, RoomError> {
        let rooms = self.list_named(vec![name.to_owned()]).await?;
        Ok(rooms.into_iter().find(|room| room.name == name))
    }

    /// Creates `name` for `run`. Whether it did: false when this very run has created it before.
    /// The SFU deletes it by itself when nobody has been in it for
    /// `empty_timeout`, in whole seconds.
    ///
    /// LiveKit's own call takes an existing room for a created one, so existence is asked
    /// first. A room that somebody creates in between is not noticed.
    ///
    /// # Errors
    /// [`RoomError::Exists`] when there is such a room of somebody else.
    pub async fn create(
        &self,
        name: &str,
        run: &RunId,
        empty_timeout: Duration,
    ) -> Result<bool, RoomError> {
        if let Some(room) = self.find(name).await? {
            return if room.run.as_ref() == Some(run) {
                Ok(false)
            } else {
                Err(RoomError::Exists {
                    room: room.name,
                    url: self.url.clone(),
                    participants: room.participants,
                })
            };
        }
        let mark = Mark {
            muster_run: run.clone(),
        };
        let options = CreateRoomOptions {
            empty_timeout: whole_seconds(empty_timeout),
            // Probers try the path long before the start, and leave the room empty again.
            departure_timeout: whole_seconds(empty_timeout),
            metadata: serde_json::to_string(&mark).unwrap_or_default(),
            ..CreateRoomOptions::default()
        };
        self.client
            .create_room(name, options)
            .await
            .map_err(|e| self.explain(e))?;
        Ok(true)
    }

    /// Checks that `name` exists.
    pub async fn must_exist(&self, name: &str) -> Result<Room, RoomError> {
        self.find(name).await?.ok_or_else(|| RoomError::Absent {
            room: name.to_owned(),
            url: self.url.clone(),
        })
    }

    /// Deletes `name` if `run` created it. Whether it did; a room that is gone is no error.
    pub async fn delete(&self, name: &str, run: &RunId) -> Result<bool, RoomError> {
        match self.find(name).await? {
            Some(room) if room.run.as_ref() == Some(run) => {}
            _ => return Ok(false),
        }
        match self.client.delete_room(name).await {
            Ok(()) => Ok(true),
            Err(ServiceError::Twirp(ServerError::Twirp(e)))
                if e.code == ServerErrorCode::NOT_FOUND =>
            {
                Ok(true)
            }
            Err(e) => Err(self.explain(e)),
        }
    }

    async fn list_named(&self, names: Vec<String>) -> Result<Vec<Room>, RoomError> {
        let rooms = self
            .client
            .list_rooms(names)
            .await
            .map_err(|e| self.explain(e))?;
        Ok(rooms
            .into_iter()
            .map(|room| Room {
                run: serde_json::from_str::<Mark>(&room.metadata)
                    .ok()
                    .map(|mark| mark.muster_run),
                participants: room.num_participants,
                name: room.name,
            })
            .collect())
    }

    fn explain(&self, error: ServiceError) -> RoomError {
        let (url, key) = (self.url.clone(), self.key.clone());
        match error {
            ServiceError::Twirp(ServerError::Twirp(e)) => {
                let why = format!("{} ({})", e.msg, e.code);
                match e.code.as_str() {
                    ServerErrorCode::UNAUTHENTICATED | ServerErrorCode::PERMISSION_DENIED => {
                        RoomError::Refused { url, key, why }
                    }
                    ServerErrorCode::BAD_ROUTE => RoomError::Strange { url, key, why },
                    _ => RoomError::Failed { url, why },
                }
            }
            ServiceError::Twirp(ServerError::Request(e)) => {
                let why = innermost(&e);
                if e.is_decode() || e.is_body() {
                    // LiveKit itself refuses a key in plain text, which its client can't read.
                    let why = "the answer is not the room service's".to_owned();
                    RoomError::Strange { url, key, why }
                } else {
                    RoomError::Unreachable { url, why }
                }
            }
            ServiceError::Twirp(ServerError::Prost(e)) => RoomError::Strange {
                url,
                key,
                why: e.to_string(),
            },
            other => RoomError::Failed {
                url,
                why: other.to_string(),
            },
        }
    }
}

/// The innermost cause of an error: what the system or the server said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn whole_seconds(d: Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}
