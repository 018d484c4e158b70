//! `muster report`: a run's combined report, as the finalizer wrote it.

use super::args::{BucketArgs, OutputArgs};
use super::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, SCHEMA_MAJOR};
use crate::rendezvous::RendezvousError;
use crate::rendezvous::keys::{self, Item, Revision, RunKey};
use crate::report::Combined;
use crate::store::{At, Listing, Store};

/// `muster report`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run [default: the newest one that has a combined report]
    #[arg(value_name = "RUN", env = "MUSTER_RUN")]
    run: Option<RunId>,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints the report.
pub async fn run(args: &Args) -> Result<Exit, Error> {
    output::check_writable(&args.output)?;
    let store = args.bucket.open().await?;
    let combined = match &args.run {
        Some(run) => of_run(&store, run).await?,
        None => newest(&store).await?,
    };
    output::report(&combined, &args.output)
}

/// All runs of the bucket, the newest first; at least one.
pub async fn runs(store: &dyn Store) -> Result<Vec<RunId>, Error> {
    let mut runs = keys::runs_of(&store.list(&keys::list_runs()).await?);
    runs.sort_unstable_by(|a, b| b.cmp(a));
    if runs.is_empty() {
        let place = place(store);
        return Err(RendezvousError::NoRuns { place }.into());
    }
    Ok(runs)
}

/// The run that was named, else the bucket's newest.
pub async fn named_or_newest(store: &dyn Store, named: Option<RunId>) -> Result<RunId, Error> {
    match named {
        Some(run) => Ok(run),
        // The list has at least one.
        None => Ok(runs(store).await?.swap_remove(0)),
    }
}

/// The newest revision of the newest run that has one.
async fn newest(store: &dyn Store) -> Result<Combined, Error> {
    let runs = runs(store).await?;
    for run in &runs {
        if let Some(revision) = newest_revision(store, run).await? {
            return read(store, run, revision).await;
        }
    }
    let text = format!(
        "none of the {} runs in {} has a combined report yet; `muster finalize RUN` makes one",
        runs.len(),
        place(store)
    );
    Err(Error::new(Exit::Incomplete, text))
}

/// The newest revision of `run`.
pub async fn of_run(store: &dyn Store, run: &RunId) -> Result<Combined, Error> {
    if let Some(revision) = newest_revision(store, run).await? {
        return read(store, run, revision).await;
    }
    let run = run.clone();
    let error = if store.list(&keys::list_run(&run)).await?.objects.is_empty() {
        let place = place(store);
        RendezvousError::NoSuchRun { run, place }
    } else {
        RendezvousError::NoReport { run }
    };
    Err(error.into())
}

pub fn place(store: &dyn Store) -> String {
    At::store(store.location()).to_string()
}

async fn newest_revision(store: &dyn Store, run: &RunId) -> Result<Option<Revision>, Error> {
    Ok(revision(&store.list(&keys::list_combined(run)).await?))
}

/// The newest revision of a combined report in a listing.
pub fn revision(listing: &Listing) -> Option<Revision> {
    let revisions =
        listing
            .objects
            .iter()
            .filter_map(|entry| match entry.key.parse::<RunKey>().ok()?.item {
                Item::Combined(revision) => Some(revision),
                _ => None,
            });
    revisions.max()
}

/// A revision of a run's combined report.
pub async fn read(store: &dyn Store, run: &RunId, revision: Revision) -> Result<Combined, Error> {
    let key = RunKey::new(run, Item::Combined(revision));
    let object = store.get(&key.key(), key.limit()).await?;
    let combined = serde_json::from_slice::<Combined>(&object.body)
        .map_err(|e| e.to_string())
        .and_then(|combined| match combined.schema {
            SCHEMA_MAJOR => Ok(combined),
            other => Err(format!(
                "it has schema {other}, this build reads {SCHEMA_MAJOR}"
            )),
        });
    combined.map_err(|why| Error::new(Exit::Incomplete, format!("{key} can't be read: {why}")))
}
