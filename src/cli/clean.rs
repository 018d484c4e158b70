//! `muster clean`: removes old runs, and what they left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::args::{BucketArgs, KeysArgs};
use super::glance::Onlooker;
use super::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Span, Timestamp, sfu_url};
use crate::rendezvous::keys::{self, Item, RUNS, RunKey};
use crate::rendezvous::status::Status;
use crate::rooms::{Room, Rooms};
use crate::store::{Key, S3Store, Store};

/// How many deletions are under way at a time.
const AT_ONCE: usize = 16;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// `muster clean`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Remove runs that are over and whose newest object is older than this [default: 30d]
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30d",
        hide_default_value = true
    )]
    older_than: Span,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete the rooms as well that runs of this bucket left at the SFU of --url
    #[arg(long, requires = "url")]
    rooms: bool,

    /// The SFU, for --rooms
    #[arg(long, value_name = "URL", env = "LIVEKIT_URL")]
    url: Option<String>,

    /// Have the store itself remove runs after so many days, by a lifecycle rule of the bucket
    #[arg(long, value_name = "TIME")]
    expire_after: Option<Span>,
    #[command(flatten)]
    keys: KeysArgs,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Removes what is old; prints a line for each thing removed.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let days = args.expire_after.map(whole_days).transpose()?;
    let onlooker = Onlooker::new(args.bucket.open().await?);
    // Before the runs: a room's run is then among them, however new.
    let rooms = match args.rooms {
        true => Some(Found::look(&args).await?),
        false => None,
    };
    let runs = keys::runs_of(&onlooker.store.list(&keys::list_runs()).await?);
    let statuses = onlooker.look_at(&runs).await?;
    let statuses: BTreeMap<RunId, Status> =
        statuses.into_iter().map(|s| (s.run.clone(), s)).collect();
    let now = onlooker.now();
    // First the rooms: which are a run's is told by its job.
    if let Some(rooms) = rooms {
        rooms.clean(&statuses, now, args.dry_run).await?;
    }
    let (mut removed, mut live, mut young) = (0, 0, 0);
    for (run, status) in &statuses {
        match kept(status, args.older_than.0, now) {
            Some(Kept::Live) => {
                live += 1;
                continue;
            }
            Some(Kept::Young) => {
                young += 1;
                continue;
            }
            None => removed += 1,
        }
        let objects = status.objects;
        if args.dry_run {
            output::print(&format!("run {run} would be removed ({objects} objects)"))?;
        } else {
            remove(&onlooker.store, run).await?;
            output::print(&format!("removed run {run} ({objects} objects)"))?;
        }
    }
    let would = if args.dry_run { " would be" } else { "" };
    tracing::info!(
        "{removed} runs{would} removed; kept: {young} that changed within {}, {live} whose probers may still put on load",
        args.older_than
    );
    if let Some(days) = days {
        expire(&args, &onlooker.store, days).await?;
    }
    Ok(Exit::Passed)
}

/// Why a run is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Its probers may still put on load.
    Live,
    /// Something of it changed not long ago.
    Young,
}

/// Why a run is not removed, if nothing may have changed of it for `age`.
fn kept(status: &Status, age: Duration, now: Timestamp) -> Option<Kept> {
    if status.job.is_some() && !status.load_is_over(now) {
        return Some(Kept::Live);
    }
    let old = |touched| now.saturating_since(touched) > age;
    (!status.touched.is_some_and(old)).then_some(Kept::Young)
}

/// Removes all objects of a run, its job last: a run that is half removed is still one.
async fn remove(store: &S3Store, run: &RunId) -> Result<(), Error> {
    let job = RunKey::new(run, Item::Job).key();
    let listing = store.list(&keys::list_run(run)).await?;
    let others = listing
        .objects
        .iter()
        .filter_map(|o| o.key.parse::<Key>().ok());
    let others: Vec<Key> = others.filter(|key| *key != job).collect();
    for some in others.chunks(AT_ONCE) {
        let mut under_way = Vec::new();
        for key in some {
            under_way.push(store.delete(key));
        }
        try_join_all(under_way).await?;
    }
    Ok(store.delete(&job).await?)
}

/// The rooms at an SFU.
struct Found {
    rooms: Rooms,
    all: Vec<Room>,
}

impl Found {
    async fn look(args: &Args) -> Result<Found, Error> {
        let url = sfu_url(args.url.clone())?;
        let rooms = Rooms::new(&url, &args.keys.keys()?);
        let all = rooms.list().await?;
        Ok(Found { rooms, all })
    }

    /// Deletes those of runs of this bucket that are over.
    async fn clean(
        self,
        statuses: &BTreeMap<RunId, Status>,
        now: Timestamp,
        dry_run: bool,
    ) -> Result<(), Error> {
        for room in self.all {
            let Some(run) = room.run else {
                continue;
            };
            let name = room.name;
            let line = match statuses.get(&run) {
                None => format!("room {name} stays: its run {run} is not in this bucket"),
                Some(status) if !status.load_is_over(now) => {
                    let until = status.load_until().map_or_else(
                        || "as its job can't be read".to_owned(),
                        |until| format!("until {until}"),
                    );
                    format!("room {name} stays: probers of its run {run} may put on load, {until}")
                }
                Some(_) if dry_run => format!("room {name} of run {run} would be deleted"),
                Some(_) => {
                    self.rooms.delete(&name, &run).await?;
                    format!("deleted room {name} of run {run}")
                }
            };
            output::print(&line)?;
        }
        Ok(())
    }
}

async fn expire(args: &Args, store: &S3Store, days: u32) -> Result<(), Error> {
    if args.dry_run {
        return output::print(&format!("the bucket would remove runs after {days} days"));
    }
    store.expire(RUNS, days).await.map_err(|e| {
        let text = format!("no lifecycle rule was set: {e}");
        Error::new(Error::from(e).exit(), text)
    })?;
    output::print(&format!("the bucket removes runs after {days} days"))
}

/// Lifecycle rules count days (S3's `Expiration`).
fn whole_days(span: Span) -> Result<u32, Error> {
    let seconds = span.0.as_secs();
    let whole = span.0.subsec_nanos() == 0 && seconds.is_multiple_of(DAY.as_secs());
    let days = u32::try_from(seconds / DAY.as_secs()).ok();
    match days.filter(|days| whole && (1..=3_650).contains(days)) {
        Some(days) => Ok(days),
        None => Err(Error::new(
            Exit::BadConfiguration,
            format!("--expire-after is {span}; it can be 1d to 3650d, in whole days"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_whole_days() {
        let days = |text: &str| whole_days(text.parse().unwrap()).ok();
        assert_eq!(days("30d"), Some(30));
        assert_eq!(days("48h"), Some(2));
        for none in ["12h", "25h", "0s", "1d 1ms", "20000d"] {
            assert_eq!(days(none), None, "{none}");
        }
    }
}
