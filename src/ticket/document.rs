//! The ticket itself, `tickets/{vantage}.json`: written for one prober, read as what anybody may
//! have written.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::Url;

use super::TicketError;
use super::doors::Doors;
use crate::job::{Digest, RunId, SCHEMA_MAJOR, Timestamp, Vantage, WriteId};
use crate::prober::MintedTokens;
use crate::rendezvous::keys::{RunKey, TICKET_MAX};
use crate::secret::Secret;
use crate::signature::SigningKey;
use crate::store::{BucketUrl, Key, Location, PresignedUrls};

/// The longest URL that is taken: a session's token alone has a thousand bytes and more.
const URL_MAX: usize = 16 << 10;

/// What admits one prober to one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The only label that it is good for.
    pub vantage: Vantage,
    /// The job that it was made for.
    pub job_sha256: Digest,
    /// Its URLs and tokens are good until then.
    pub expires_at: Timestamp,
    /// Signs the vantage's parts.
    pub signing_key: SigningKey,
    /// The bucket, for messages.
    pub location: Location,
    /// What its prober may do there.
    pub urls: PresignedUrls,
    /// How its participants join.
    pub tokens: MintedTokens,
}

/// As it is written. Unknown fields are ignored.
#[derive(Serialize, Deserialize)]
struct Written {
    schema: u32,
    write_id: WriteId,
    run: RunId,
    vantage: Vantage,
    job_sha256: Digest,
    expires_at: Timestamp,
    signing_key: String,
    bucket: String,
    prefix: String,
    endpoint: String,
    get: BTreeMap<String, String>,
    create: BTreeMap<String, String>,
    put: BTreeMap<String, String>,
    tester_token: String,
    publisher_tokens: Vec<String>,
    subscriber_tokens: Vec<String>,
}

impl Ticket {
    /// Its body.
    ///
    /// # Errors
    /// [`TicketError::TooMany`] when it is more than is read.
    pub fn write(&self) -> Result<Bytes, TicketError> {
        let exposed = |urls: &BTreeMap<Key, Secret>| {
            urls.iter()
                .map(|(key, url)| (key.to_string(), url.expose().to_owned()))
                .collect()
        };
        let all = |tokens: &[Secret]| tokens.iter().map(|t| t.expose().to_owned()).collect();
        let written = Written {
            schema: SCHEMA_MAJOR,
            write_id: self.write_id.clone(),
            run: self.run.clone(),
            vantage: self.vantage.clone(),
            job_sha256: self.job_sha256,
            expires_at: self.expires_at,
            signing_key: self.signing_key.expose(),
            bucket: self.location.bucket.clone(),
            prefix: self.location.prefix.clone(),
            endpoint: self.location.endpoint.clone(),
            get: exposed(&self.urls.get),
            create: exposed(&self.urls.create),
            put: exposed(&self.urls.put),
            tester_token: self.tokens.tester.expose().to_owned(),
            publisher_tokens: all(&self.tokens.publishers),
            subscriber_tokens: all(&self.tokens.subscribers),
        };
        let body = serde_json::to_vec(&written).map_err(malformed)?;
        let size = body.len() as u64;
        if size > TICKET_MAX.0 {
            return Err(TicketError::TooMany {
                vantage: self.vantage.clone(),
                size,
                max: TICKET_MAX.0,
            });
        }
        Ok(body.into())
    }

    /// Reads what somebody handed over as a ticket.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn read(body: &[u8]) -> Result<Self, TicketError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let size = body.len() as u64;
        if size > TICKET_MAX.0 {
            return Err(TicketError::TooLarge(TICKET_MAX.0));
        }
        let Versioned { schema } = serde_json::from_slice(body).map_err(malformed)?;
        if schema != SCHEMA_MAJOR {
            return Err(TicketError::Schema(schema));
        }
        let written: Written = serde_json::from_slice(body).map_err(malformed)?;
        let location = location(&written)?;
        let urls = |urls: BTreeMap<String, String>| {
            urls.into_iter()
                .map(|(key, url)| door(&key, url, &written.run, &written.vantage))
                .collect::<Result<BTreeMap<_, _>, _>>()
        };
        let all = |tokens: Vec<String>| tokens.into_iter().map(Secret::new).collect();
        Ok(Ticket {
            urls: PresignedUrls {
                get: urls(written.get)?,
                create: urls(written.create)?,
                put: urls(written.put)?,
                whole: Doors::whole(&written.run, &written.vantage),
            },
            tokens: MintedTokens {
                tester: Secret::new(written.tester_token),
                publishers: all(written.publisher_tokens),
                subscribers: all(written.subscriber_tokens),
            },
            signing_key: written
                .signing_key
                .parse()
                .map_err(|_| strange("its signing key is none"))?,
            write_id: written.write_id,
            run: written.run,
            vantage: written.vantage,
            job_sha256: written.job_sha256,
            expires_at: written.expires_at,
            location,
        })
    }
}

/// What JSON's parser says, without the text that it saw.
pub(super) fn malformed(e: serde_json::Error) -> TicketError {
    let kind = match e.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a field is missing or wrong",
        _ => "it is no JSON",
    };
    TicketError::Malformed(format!("{kind}, line {} column {}", e.line(), e.column()))
}

fn strange(why: impl fmt::Display) -> TicketError {
    TicketError::Strange(why.to_string())
}

fn location(written: &Written) -> Result<Location, TicketError> {
    let Written {
        bucket,
        prefix,
        endpoint,
        ..
    } = written;
    let url = match prefix.as_str() {
        "" => format!("s3://{bucket}"),
        prefix => format!("s3://{bucket}/{prefix}"),
    };
    let url: BucketUrl = url.parse().map_err(|_| strange("it names no bucket"))?;
    if endpoint.len() > 300 || endpoint.chars().any(char::is_control) {
        return Err(strange("it names no endpoint"));
    }
    Ok(Location {
        bucket: url.bucket().to_owned(),
        prefix: url.prefix().to_owned(),
        endpoint: endpoint.clone(),
    })
}

/// One key with its URL, which must lead to that key.
fn door(
    key: &str,
    url: String,
    run: &RunId,
    vantage: &Vantage,
) -> Result<(Key, Secret), TicketError> {
    let named: RunKey = key
        .parse()
        .map_err(|_| strange("it names an object that is none of a run's"))?;
    if !Doors::may_open(&named, run, vantage) {
        return Err(strange(format!("{named} is not {vantage}'s")));
    }
    let leads_there = parse_url(&url)
        .is_some_and(|u| u.path().strip_suffix(key).is_some_and(|p| p.ends_with('/')));
    if !leads_there {
        return Err(strange(format!("its URL for {named} leads elsewhere")));
    }
    Ok((named.key(), Secret::new(url)))
}

/// A URL that a request can be sent to.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= URL_MAX)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::sample;

    pub(crate) fn ticket() -> Ticket {
        let (job, vantage) = (sample::job(), sample::vantage("a"));
        let signing_key = SigningKey::from_seed([7; 32]).unwrap();
        let doors = Doors::of(&job, &vantage, &signing_key.public());
        let whole = Doors::whole(&job.run, &vantage);
        let signed = |keys: std::collections::BTreeSet<RunKey>| {
            keys.into_iter()
                .map(|k| {
                    let url = format!("https://store.example/b/team/{k}?X-Amz-Signature=hunter2");
                    (k.key(), Secret::new(url))
                })
                .collect()
        };
        Ticket {
            write_id: WriteId::from_u64(1),
            run: job.run,
            vantage,
            job_sha256: sample::job_sha256(),
            expires_at: job.times.hard_deadline,
            signing_key,
            location: Location {
                bucket: "bucket".into(),
                prefix: "team".into(),
                endpoint: "https://store.example".into(),
            },
            urls: PresignedUrls {
                get: signed(doors.get),
                create: signed(doors.create),
                put: signed(doors.put),
                whole,
            },
            tokens: MintedTokens {
                tester: Secret::new("hunter3"),
                publishers: vec![Secret::new("hunter4")],
                subscribers: vec![Secret::new("hunter5")],
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_never_shown() {
        let ticket = ticket();
        let body = ticket.write().unwrap();
        assert_eq!(Ticket::read(&body), Ok(ticket.clone()));
        let shown = format!("{ticket:?}");
        let seed = ticket.signing_key.expose();
        assert!(
            !shown.contains("hunter") && !shown.contains(&seed),
            "{shown}"
        );
    }

    #[test]
    fn each_wrong_ticket_is_refused_and_nothing_of_it_shown() {
        let good: serde_json::Value = serde_json::from_slice(&ticket().write().unwrap()).unwrap();
        let run = &ticket().run;
        type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
        let live_b = format!("runs/{run}/live/b.json");
        let start = format!("runs/{run}/start.json");
        let changes: [(Change, &str); 11] = [
            (&|t| t["schema"] = 2.into(), "schema 2"),
            (&|t| t["vantage"] = "hunter 2".into(), "missing or wrong"),
            (&|t| t["signing_key"] = "hunter2".into(), "signing key"),
            (&|t| t["bucket"] = "hunter/2/..".into(), "no bucket"),
            (&|t| t["endpoint"] = "hunter2\n".into(), "no endpoint"),
            (&|t| t["run"] = "another".into(), "is not a's"),
            (
                &|t| t["put"][live_b.as_str()] = format!("https://x/{live_b}").into(),
                "is not a's",
            ),
            (
                &|t| t["get"][start.as_str()] = "https://x/hunter2".into(),
                "leads elsewhere",
            ),
            (
                &|t| t["get"][start.as_str()] = format!("file:///{start}").into(),
                "leads elsewhere",
            ),
            (
                &|t| t["get"]["hunter2"] = "https://x/hunter2".into(),
                "none of a run's",
            ),
            (
                &|t| t["publisher_tokens"] = "hunter2".into(),
                "missing or wrong",
            ),
        ];
        for (change, part) in changes {
            let mut wrong = good.clone();
            change(&mut wrong);
            let said = Ticket::read(wrong.to_string().as_bytes())
                .unwrap_err()
                .to_string();
            assert!(said.contains(part), "{said} lacks {part}");
            assert!(!said.contains("hunter"), "{said}");
        }
        let large = vec![b' '; usize::try_from(TICKET_MAX.0).unwrap() + 1];
        assert!(matches!(
            Ticket::read(&large),
            Err(TicketError::TooLarge(_))
        ));
        assert!(Ticket::read(b"{").is_err());
    }
}
