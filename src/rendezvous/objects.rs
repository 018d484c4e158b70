//! The documents that a run leaves in the bucket, beside the job and the parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::clock::ReferenceClock;
use crate::clock::{OffsetAt, OffsetInterval, Reading};
use crate::job::{ClaimId, Digest, RunId, Timestamp, Vantage, WriteId};
use crate::load::TierPlan;
use crate::participant::Transport;
use crate::report::combined::{OtherRequests, Rejection};
use crate::signature::PublicKey;
use crate::store::RequestCounts;

/// `slots/{vantage}.{k}.json`: a prober's claim, before anything else is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The slot's label.
    pub vantage: Vantage,
    /// The claim.
    pub claim: ClaimId,
    /// The public half of the key that signs its parts: the ticket's, or one of its own.
    pub public_key: PublicKey,
    /// muster's version and revision.
    pub build: String,
}

/// `ready/{claim}.json`: what a prober found out before the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The slot's label.
    pub vantage: Vantage,
    /// The claim.
    pub claim: ClaimId,
    /// muster's version and revision.
    pub build: String,
    /// The SFU's clock minus the prober's; absent when not measured.
    pub sfu_offset: Option<OffsetInterval>,
    /// The node whose clock that is; empty when unknown.
    pub sfu_node: String,
    /// The bucket's clock minus the prober's; absent when not measured.
    pub bucket_offset: Option<OffsetInterval>,
    /// When the prober must have ended (a function's deadline), by its own clock.
    pub must_end_by: Option<Timestamp>,
    /// How its media travel; absent when they don't, or when nobody said.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// Why it can't take part, if it can't.
    #[serde(default)]
    pub unfit: Option<String>,
    /// How the function came up that it runs in, if it runs in one.
    #[serde(default)]
    pub function: Option<FunctionStart>,
}

/// How fast a function was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionStart {
    /// From the start of its process until it could take events, in milliseconds; absent when it
    /// had served an event before.
    pub init_ms: Option<u64>,
    /// From the event's arrival to this document, in milliseconds: the path's test included.
    pub ready_ms: u64,
}

impl Ready {
    /// Both clocks as it read them.
    pub fn reading(&self) -> Reading {
        Reading {
            sfu: self.sfu_offset,
            node: self.sfu_node.clone(),
            bucket: self.bucket_offset,
        }
    }
}

/// One slot of a started run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// The only claim that may put on load here; absent when the start was fixed before the
    /// slots were taken, and then the slot's first claim is the one.
    pub claim: Option<ClaimId>,
    /// The key that signs its parts. Absent when the start was fixed before the slots were taken
    /// by probers without a ticket, and then the first claim's is the one.
    pub public_key: Option<PublicKey>,
    /// The vantage's place in the division of totals.
    pub index: u32,
}

/// A run's one start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Who takes part. Empty when the start was fixed before the labels were known: then whoever
    /// the job's fleet admits.
    pub roster: BTreeMap<Vantage, RosterEntry>,
    /// The first settle period begins here, on the reference clock.
    pub start_at: Timestamp,
    /// Every tier's absolute times.
    pub tiers: Vec<TierPlan>,
    /// The clock that all these times are on.
    pub reference: ReferenceClock,
    /// The reference clock minus the bucket's, as known at a time of the bucket's clock: by it
    /// the windows are found with the bucket's clock alone. Absent for the bucket's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<OffsetAt>,
    /// Whose measure of the reference clock can't be relied upon, and why: they go by the
    /// bucket's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marked: BTreeMap<Vantage, String>,
    /// What was asked of the bucket by the coordinator, if it leaves the run to itself with this
    /// start, which is counted with reading it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<RequestCounts>,
}

/// `start.json`: the one start decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartDocument {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// The digest of the job that was decided on.
    pub job_sha256: Digest,
    /// What was decided.
    #[serde(flatten)]
    pub decision: Decision,
}

/// Start or cancel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// The run takes place.
    Start(Start),
    /// It does not.
    Cancel {
        /// Why, in words.
        reason: String,
    },
}

/// `live/{vantage}.json`: a prober's heartbeat, overwritten every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Major version of the schema.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// The slot's label.
    pub vantage: Vantage,
    /// The claim.
    pub claim: ClaimId,
    /// Counts up.
    pub sequence: u64,
    /// What it is doing, in words (`waiting`, `tier 2`, `finished`).
    pub phase: String,
    /// Participants connected now, publishers included.
    pub connected: u32,
    /// Packets received so far.
    pub packets_received: u64,
    /// Participants that have failed so far.
    pub failures: u64,
    /// When the prober's own heartbeat was stored, by the bucket's clock, if this is not it: who
    /// stopped the run wrote it over that, and changed nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_at: Option<Timestamp>,
}

/// `abort.json`: the kill switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// Who asked, in words.
    pub reason: String,
}

/// `inputs.{r}.json`: what revision r of the combined report counts. Together with the job, the
/// start and the parts that it names, it decides every byte of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Major version of the schema.
    pub schema: u32,
    /// Tells this write from another.
    pub write_id: WriteId,
    /// The run.
    pub run: RunId,
    /// Which revision, from 1.
    pub revision: u32,
    /// The job.
    pub job: Frozen,
    /// The start decision, if there was one.
    pub start: Option<Frozen>,
    /// Why the run was cancelled, if it was.
    pub cancelled: Option<String>,
    /// Why it was aborted, if it was.
    pub aborted: Option<String>,
    /// Each object that counts, by key.
    pub parts: BTreeMap<String, Frozen>,
    /// Each object that doesn't, with its reason.
    pub rejected: Vec<Rejection>,
    /// What else was known of each vantage.
    pub vantages: BTreeMap<Vantage, VantageSeen>,
    /// What was asked of the bucket, apart from the probers.
    #[serde(default)]
    pub requests: OtherRequests,
}

/// An object's bytes, by their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Of the body.
    pub sha256: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What the bucket says of a vantage beside its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VantageSeen {
    /// The claim that counts.
    pub claim: Option<ClaimId>,
    /// It became ready.
    pub ready: bool,
    /// When its last heartbeat was stored, by the bucket's clock.
    pub last_heartbeat: Option<Timestamp>,
    /// What it was doing then, or why it could not take part.
    pub last_phase: Option<String>,
    /// muster's version and revision there, if its report doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}
