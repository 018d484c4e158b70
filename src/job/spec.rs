//! The raw form of a job, as a file or the flags give it: everything optional, unknown keys refused.

use serde::{Deserialize, Serialize};

use super::{Layout, Ramp, Span, Threshold, Timestamp, Vantage};

/// What a user asks for, before defaults and checks. Flags override the file's keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobSpec {
    /// The SFU's URL (`wss://…`).
    pub url: Option<String>,
    /// The room that all vantages share; made up per run when absent.
    pub room: Option<String>,
    /// Use a room that exists already. Such a room is never deleted.
    pub existing_room: Option<bool>,
    /// The vantages that take part, by label.
    pub vantages: Option<Vec<Vantage>>,
    /// How many vantages take part, whatever their labels.
    pub expect: Option<u32>,
    /// Subscribers of each tier.
    pub ramp: Option<Ramp>,
    /// The ramp's numbers are totals over all vantages.
    pub ramp_total: Option<bool>,
    /// How long each tier is measured.
    pub duration: Option<Span>,
    /// How long each tier has to join before it is measured.
    pub settle: Option<Span>,
    /// What subscribers take.
    pub layout: Option<Layout>,
    /// Video publishers per vantage.
    pub video_publishers: Option<u32>,
    /// Audio publishers per vantage.
    pub audio_publishers: Option<u32>,
    /// Publish three simulcast layers.
    pub simulcast: Option<bool>,
    /// What decides whether a tier held.
    pub thresholds: Option<Vec<Threshold>>,
    /// Recommended level as a percentage of the capacity.
    pub headroom_percent: Option<u32>,
    /// The most participants of the whole fleet.
    pub max_participants: Option<u32>,
    /// Joins per second and prober.
    pub join_rate: Option<u32>,
    /// How long to wait for the slots.
    pub timeout: Option<Span>,
    /// How long after the last window reports may come.
    pub grace: Option<Span>,
    /// A start that is fixed when the job is written.
    pub start_at: Option<Timestamp>,
}

impl JobSpec {
    /// This spec, with every key that `over` sets taken from `over`.
    pub fn overridden_by(self, over: JobSpec) -> JobSpec {
        JobSpec {
            url: over.url.or(self.url),
            room: over.room.or(self.room),
            existing_room: over.existing_room.or(self.existing_room),
            vantages: over.vantages.or(self.vantages),
            expect: over.expect.or(self.expect),
            ramp: over.ramp.or(self.ramp),
            ramp_total: over.ramp_total.or(self.ramp_total),
            duration: over.duration.or(self.duration),
            settle: over.settle.or(self.settle),
            layout: over.layout.or(self.layout),
            video_publishers: over.video_publishers.or(self.video_publishers),
            audio_publishers: over.audio_publishers.or(self.audio_publishers),
            simulcast: over.simulcast.or(self.simulcast),
            thresholds: over.thresholds.or(self.thresholds),
            headroom_percent: over.headroom_percent.or(self.headroom_percent),
            max_participants: over.max_participants.or(self.max_participants),
            join_rate: over.join_rate.or(self.join_rate),
            timeout: over.timeout.or(self.timeout),
            grace: over.grace.or(self.grace),
            start_at: over.start_at.or(self.start_at),
        }
    }
}
