//! What must hold in every world: one named check for each property, asked when the world has
//! ended.

mod bucket;
mod budget;
pub(super) mod end;
mod forged;
mod job;
mod load;
mod report;
mod time;

use super::history::Load;
use super::world::World;
use crate::job::Timestamp;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::{Decision, Start, StartDocument};
use crate::rendezvous::simulation::scenario::BEGIN;

/// Says what is wrong, if something is.
type Check = fn(&World) -> Result<(), String>;

macro_rules! properties {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// All of them, by name.
        pub(super) const ALL: &[(&str, Check)] = &[$((stringify!($name), $module::$name)),*];
    };
}

properties![
    load::only_the_claim_that_the_roster_names_loads,
    load::no_identity_is_live_twice,
    load::nobody_joins_before_the_settle_period_of_a_valid_start,
    load::all_who_read_the_start_decide_alike,
    time::an_abort_ends_the_load,
    time::who_waits_leaves_within_ten_seconds_of_an_abort,
    time::a_silent_bucket_ends_the_load,
    time::no_load_after_the_hard_deadline,
    time::the_true_offset_lies_in_the_interval,
    time::who_meets_another_clock_is_marked,
    time::windows_open_together,
    time::no_prober_shifts_a_window,
    bucket::each_create_settles_finally,
    bucket::no_tier_has_two_accepted_bodies,
    bucket::what_was_written_once_never_changes,
    report::a_revision_is_the_same_bytes_whoever_makes_it,
    report::a_revision_is_made_of_what_was_frozen,
    report::each_part_counts_once_or_is_listed_with_its_reason,
    report::each_slot_is_one_thing,
    report::a_vantage_is_all_of_its_probers,
    report::nothing_from_outside_a_window_counts,
    report::taking_parts_away_makes_no_pass,
    forged::a_forged_body_changes_the_rejections_alone,
    forged::a_slot_with_a_ticket_is_its_holder_s,
    job::nobody_loads_by_another_job_or_counts_its_parts,
    report::a_calm_run_is_measured_whole,
    load::only_an_empty_room_of_the_runs_own_is_deleted,
    budget::a_prober_asks_little,
    budget::a_fleet_asks_little_in_any_second,
    budget::a_trigger_reads_each_object_once,
    end::every_world_ends,
    end::the_state_is_terminal_by_deadline_plus_grace,
    end::a_trigger_after_the_end_is_enough,
    end::no_owned_room_outlives_its_timeouts,
];

/// The first property that this world breaks, with what happened.
pub(super) fn broken(world: &World) -> Option<(&'static str, String)> {
    ALL.iter()
        .find_map(|(name, check)| Some((*name, check(world).err()?)))
}

/// This property, with what happened, if this world breaks it.
pub(super) fn breaks(world: &World, property: &str) -> Option<(&'static str, String)> {
    let (name, check) = ALL.iter().find(|(name, _)| *name == property)?;
    Some((*name, check(world).err()?))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The valid start that stands in the bucket.
pub(super) fn start(world: &World) -> Option<Start> {
    let job = &world.scenario.job;
    let key = RunKey::new(&job.run, Item::Start);
    let object = world.bucket.peek(&key.key())?;
    let document: StartDocument = document::read(&key, &object.body).ok()?;
    let in_time = object.last_modified <= job.times.start_by;
    match document.decision {
        Decision::Start(start) if in_time && document.job_sha256 == job.digest => Some(start),
        Decision::Start(_) | Decision::Cancel { .. } => None,
    }
}

/// When a load was on: not while its process was stopped.
fn on(world: &World, load: &Load) -> Vec<(Timestamp, Timestamp)> {
    let to = load.to.unwrap_or(world.now);
    let stopped = world.processes[load.process].casting.clock.stopped;
    let pieces = match stopped {
        None => vec![(load.from, to)],
        Some((a, b)) => vec![
            (load.from, to.min(BEGIN + a)),
            (load.from.max(BEGIN + b), to),
        ],
    };
    pieces.into_iter().filter(|(from, to)| from < to).collect()
}
