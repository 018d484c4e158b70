//! Why a rendezvous did not come about, with what to do.

use std::time::Duration;

use crate::job::{Fleet, RunId, Span, Timestamp, Vantage};
use crate::store::StoreError;

/// What stopped a coordinator, a prober, a finalizer or a reader.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RendezvousError {
    /// The bucket did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// No job under this id.
    #[error(
        "there is no run `{run}` in {place}; `muster run` prints the id of the run that it starts"
    )]
    NoSuchRun {
        /// As asked for.
        run: RunId,
        /// The bucket.
        place: String,
    },

    /// No run at all.
    #[error("there is no run in {place} yet; start one with `muster run`")]
    NoRuns {
        /// The bucket.
        place: String,
    },

    /// A prober without a run's id found none in time.
    #[error(
        "no run in {place} accepted vantage `{vantage}` within {}; start one with `muster run`, name one with --run, or raise --timeout", Span(*waited)
    )]
    NoOpenRun {
        /// The bucket.
        place: String,
        /// The prober's label.
        vantage: Vantage,
        /// How long it looked.
        waited: Duration,
    },

    /// The run takes no more probers.
    #[error("run `{run}` took probers until {until} by the bucket's clock; start another one")]
    NotAccepting {
        /// The run.
        run: RunId,
        /// The job's `accept_until`.
        until: Timestamp,
    },

    /// The job names its vantages, and this is none of them.
    #[error(
        "vantage `{vantage}` takes no part in run `{run}`, which takes {}; correct --vantage",
        words(fleet)
    )]
    NotInFleet {
        /// The run.
        run: RunId,
        /// The prober's label.
        vantage: Vantage,
        /// Who may.
        fleet: Fleet,
    },

    /// The job gave a ticket for this vantage, and this prober has another key.
    #[error(
        "vantage `{vantage}` takes part in run `{run}` by its ticket alone; give it with MUSTER_TICKET or --ticket-file, or take another label"
    )]
    NeedsTicket {
        /// The run.
        run: RunId,
        /// The prober's label.
        vantage: Vantage,
    },

    /// The job is not the one that the ticket was made for.
    #[error(
        "job.json of run `{run}` is not the one that this ticket was made for: it was changed, or the ticket is another run's; ask for a new one"
    )]
    JobChanged {
        /// The run.
        run: RunId,
    },

    /// The job takes so many vantages, and has them.
    #[error(
        "run `{run}` has its {expect} vantages, and `{vantage}` is none of them; raise --expect next time"
    )]
    FleetFull {
        /// The run.
        run: RunId,
        /// The prober's label.
        vantage: Vantage,
        /// How many the job takes.
        expect: u32,
    },

    /// Another process holds the slot, or all of the vantage's are held.
    #[error(
        "the slot of vantage `{vantage}` in run `{run}` is taken by another prober; each needs a slot of its own: set --vantage or MUSTER_VANTAGE, or give the vantage more probers, like {place}:2", place = vantage.place()
    )]
    SlotTaken {
        /// The run.
        run: RunId,
        /// The label that both have.
        vantage: Vantage,
    },

    /// The path to the SFU failed its test, so nothing was promised.
    #[error("vantage `{vantage}` can't take part in run `{run}`: {why}")]
    SelfTest {
        /// The run.
        run: RunId,
        /// The prober's label.
        vantage: Vantage,
        /// The participant's failure, with its remedy.
        why: String,
    },

    /// The start never came within the prober's own timeout.
    #[error("run `{run}` did not start within {}; is its coordinator still there? Raise --timeout to wait longer", Span(*waited))]
    NeverStarted {
        /// The run.
        run: RunId,
        /// How long the prober waited.
        waited: Duration,
    },

    /// The run was cancelled before its start.
    #[error("run `{run}` was cancelled: {reason}")]
    Cancelled {
        /// The run.
        run: RunId,
        /// In the words of who cancelled it.
        reason: String,
    },

    /// The run was aborted before this prober knew of a start.
    #[error("run `{run}` was aborted: {reason}")]
    Aborted {
        /// The run.
        run: RunId,
        /// In the words of who aborted it.
        reason: String,
    },

    /// The roster was made up without it.
    #[error(
        "run `{run}` started without vantage `{vantage}`, which became ready too late or was not heard of; start probers earlier, or raise --timeout of `muster run`"
    )]
    StartedWithout {
        /// The run.
        run: RunId,
        /// The prober's label.
        vantage: Vantage,
    },

    /// The roster was made up without it, as its prober had said that it can't take part.
    #[error(
        "run `{run}` started without vantage `{vantage}`, whose prober had said that it can't take part: {why}. What is corrected since then counts for the next run"
    )]
    Declined {
        /// The run.
        run: RunId,
        /// The slot's label.
        vantage: Vantage,
        /// In the words of that prober.
        why: String,
    },

    /// Stopped by its user before there was anything to report.
    #[error("stopped before the start{}", of_run(run.as_ref()))]
    Interrupted {
        /// The run, if one was found.
        run: Option<RunId>,
    },

    /// The wait for the slots ended and nobody was there.
    #[error("nobody took a slot of run `{run}` within {}; start the probers (`muster probe --run {run}`), or raise --timeout", Span(*waited))]
    NobodyCame {
        /// The run.
        run: RunId,
        /// `--timeout`
        waited: Duration,
    },

    /// Probers came, and none could take part.
    #[error("none of the probers of run `{run}` can take part: {}", reasons.join("; "))]
    NobodyReady {
        /// The run.
        run: RunId,
        /// What each said, with its label.
        reasons: Vec<String>,
    },

    /// A document that is none of muster's, or broken.
    #[error("{key} can't be read as muster's: {why}")]
    Malformed {
        /// The object.
        key: String,
        /// What is wrong with it.
        why: String,
    },

    /// A document of a newer muster.
    #[error("{key} has schema {schema}, and this muster reads {ours}; update it", ours = crate::job::SCHEMA_MAJOR)]
    TooNew {
        /// The object.
        key: String,
        /// Its major version.
        schema: u32,
    },

    /// A job that asks for what this build doesn't know of.
    #[error(
        "run `{run}` needs {needs} of its probers, which this muster ({ours}) knows nothing of; update it", ours = env!("CARGO_PKG_VERSION")
    )]
    NeedsNewer {
        /// The run.
        run: RunId,
        /// What it doesn't know.
        needs: String,
    },

    /// Too early to freeze what counts.
    #[error(
        "run `{run}` is not over: reports may come until {until} by the bucket's clock; call again then"
    )]
    StillRunning {
        /// The run.
        run: RunId,
        /// The last window's end plus the grace.
        until: Timestamp,
    },

    /// No start yet, and the time for it hasn't passed.
    #[error("run `{run}` has not started yet; it may until {until} by the bucket's clock")]
    NotStarted {
        /// The run.
        run: RunId,
        /// The job's `start_by`.
        until: Timestamp,
    },

    /// Nobody has finalized the run.
    #[error(
        "run `{run}` has no combined report yet; `muster finalize {run}` makes one when the run is over"
    )]
    NoReport {
        /// The run.
        run: RunId,
    },

    /// A report that could not be placed before the end of the run.
    #[error("the report of vantage `{vantage}` could not be stored: {why}")]
    ReportLost {
        /// The prober's label.
        vantage: Vantage,
        /// The last error.
        why: String,
    },

    /// A part of muster broke.
    #[error("muster has a defect: {0}")]
    Internal(String),
}

impl RendezvousError {
    /// Whether another build of muster could do it.
    pub const fn is_skew(&self) -> bool {
        matches!(
            self,
            RendezvousError::TooNew { .. } | RendezvousError::NeedsNewer { .. }
        )
    }
}

fn of_run(run: Option<&RunId>) -> String {
    run.map(|run| format!(" of run `{run}`"))
        .unwrap_or_default()
}

fn words(fleet: &Fleet) -> String {
    match fleet {
        Fleet::Vantages(slots) => {
            let labels: Vec<&str> = slots.iter().map(Vantage::as_str).collect();
            labels.join(", ")
        }
        Fleet::Expect(_) => "one prober of each vantage, by a label without a number".to_owned(),
    }
}
