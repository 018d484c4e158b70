//! What happens in a run, as events for whoever shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::objects::{FunctionStart, Live, Start};
use crate::job::{ClaimId, RunId, Timestamp, Vantage};
use crate::participant::Transport;

/// What a coordinator sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The job is in the bucket: probers can find it.
    JobWritten {
        /// The run.
        run: RunId,
        /// Its vantages have tickets.
        tickets: bool,
    },
    /// Somebody took a slot.
    Claimed {
        /// The slot.
        vantage: Vantage,
        /// By which claim.
        claim: ClaimId,
    },
    /// A prober has tried its path and waits for the start.
    Ready {
        /// Its label.
        vantage: Vantage,
        /// How its media travel; `None` when it didn't say.
        transport: Option<Transport>,
        /// How many are ready, this one included.
        ready: u32,
        /// How many are expected.
        expected: u32,
    },
    /// A prober that is a function says how fast it was there.
    FunctionStarted {
        /// Its label.
        vantage: Vantage,
        /// What it measured.
        start: FunctionStart,
    },
    /// A prober has tried its path and can't take part.
    Unfit {
        /// Its label.
        vantage: Vantage,
        /// Why not.
        reason: String,
    },
    /// The builds of the probers that take part, as far as they were waited for.
    Builds {
        /// muster's version and revision, and whose it is.
        builds: BTreeMap<String, Vec<Vantage>>,
    },
    /// The start is decided, and the job's vantages don't all take part.
    StartsWithout {
        /// Whose probers said that they can't.
        unfit: Vec<Vantage>,
        /// From which none was ready in time.
        absent: Vec<Vantage>,
    },
    /// The start is decided.
    Started {
        /// The decision.
        start: Box<Start>,
        /// The first settle period's begin, in local time.
        local: Timestamp,
    },
    /// A fresh heartbeat.
    Live {
        /// What it says.
        live: Box<Live>,
    },
    /// No fresh heartbeat for a lease: it no longer holds up the end.
    Stale {
        /// The silent vantage.
        vantage: Vantage,
        /// For how long.
        silent: Duration,
    },
    /// A vantage's report is in the bucket.
    Reported {
        /// Its label.
        vantage: Vantage,
    },
    /// Somebody pulled the kill switch.
    Aborted {
        /// In their words.
        reason: String,
    },
    /// All is in that will be waited for.
    Finalizing,
    /// The bucket does not do what it is asked, for now.
    Trouble {
        /// In its words.
        what: String,
    },
}

/// What a prober does.
#[derive(Clone, Debug, PartialEq)]
pub enum ProberProgress {
    /// It found its run.
    Found {
        /// The run.
        run: RunId,
    },
    /// The slot is its own.
    Claimed {
        /// By this claim.
        claim: ClaimId,
    },
    /// The path works, and the bucket says so.
    Ready,
    /// The start is decided, and names it.
    Started {
        /// Its first settle period's begin, in local time.
        local: Timestamp,
        /// How many tiers it measures.
        tiers: u32,
    },
    /// A tier is in the bucket.
    Measured {
        /// Which.
        tier: u32,
    },
    /// The load stops.
    Stopping {
        /// Why.
        reason: String,
    },
    /// The report is in the bucket.
    Reported,
    /// The bucket does not do what it is asked, for now.
    Trouble {
        /// In its words.
        what: String,
    },
}
