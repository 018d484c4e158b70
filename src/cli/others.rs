//! Other runs against the same SFU: two at once measure each other.

use url::Url;

use super::glance::glimpses;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Job, RunId};
use crate::rendezvous::keys::{list_runs, runs_of};
use crate::rendezvous::status::{State, Status};
use crate::rooms::Rooms;
use crate::store::Store;

/// How many of the newest runs are looked at.
const NEWEST: usize = 20;

/// Refuses a run while another one is live at the same SFU: by the bucket that they share, or by a
/// room of it that somebody is in. Two that begin in the same moment may not see each other.
///
/// # Errors
/// When there is such a run, or the bucket or the SFU doesn't answer.
pub async fn refuse(store: &dyn Store, rooms: &Rooms, job: &Job) -> Result<(), Error> {
    let mut runs = runs_of(&store.list(&list_runs()).await?);
    runs.retain(|run| *run != job.run);
    runs.drain(..runs.len().saturating_sub(NEWEST));
    let seen = glimpses(store, &runs).await?;
    // The job's times are on the bucket's clock.
    let statuses = runs.iter().zip(&seen);
    let statuses = statuses.map(|(run, seen)| Status::of(run, seen, job.created_at));
    if let Some(other) = statuses.into_iter().find(|status| is_rival(status, job)) {
        let run = &other.run;
        return Err(refusal(job, &format!("run {run} of this bucket"), run));
    }
    for room in rooms.list().await? {
        if let Some(run) = room.run.filter(|run| *run != job.run)
            && room.participants > 0
            && !runs.contains(&run)
        {
            let who = format!("run {run} of another bucket, in room {}", room.name);
            return Err(refusal(job, &who, &run));
        }
    }
    Ok(())
}

fn refusal(job: &Job, who: &str, run: &RunId) -> Error {
    let text = format!(
        "{who} is live at {}: two at once measure each other; wait for its end (`muster watch {run}`), stop it (`muster abort {run}`), or say --beside-others",
        job.url
    );
    Error::new(Exit::BadConfiguration, text)
}

/// Whether a run puts load on the SFU of `job`, or is about to.
fn is_rival(other: &Status, job: &Job) -> bool {
    let live = matches!(
        other.state,
        State::Open | State::Starting | State::Running { .. } | State::Collecting
    );
    let host = |job: &Job| {
        let url = Url::parse(&job.url).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    live && other.job.as_ref().is_some_and(|o| host(o) == host(job))
}
