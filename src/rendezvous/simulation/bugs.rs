//! That each planted bug is caught, and that each property catches one: none holds whatever the
//! code does.

use std::collections::BTreeSet;

use super::properties;
use super::scenario::{Forgery, Kind, Scenario};
use super::tests::{run, timed};
use super::world::World;
use crate::planted::Bug;

/// Within how many seeds a planted bug must be caught.
const CAUGHT_WITHIN: u64 = 1_000;

const FORGED: &str = "a_forged_body_changes_the_rejections_alone";

/// The properties that a bug breaks.
fn broken_by(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::AnyClaimLoads => &[
            "no_identity_is_live_twice",
            "no_tier_has_two_accepted_bodies",
        ],
        Bug::SlotNotConfirmed => &["only_the_claim_that_the_roster_names_loads"],
        Bug::SlotByClaimAlone => &["no_identity_is_live_twice"],
        Bug::StartNotConfirmed | Bug::JoinsAtOnce => {
            &["nobody_joins_before_the_settle_period_of_a_valid_start"]
        }
        Bug::LateStartCounts => &["all_who_read_the_start_decide_alike"],
        Bug::AbortUnheeded | Bug::OldCheckCounts => &["an_abort_ends_the_load"],
        Bug::RewritingUnheeded => &["who_waits_leaves_within_ten_seconds_of_an_abort"],
        Bug::UnknownIsAbsent | Bug::LeaseByHeartbeatAlone | Bug::LeaseBeginsAnew => {
            &["a_silent_bucket_ends_the_load"]
        }
        Bug::FollowsTheWallClock => &["no_load_after_the_hard_deadline"],
        Bug::StandsStillInSuspends | Bug::DateIsExact => &["the_true_offset_lies_in_the_interval"],
        Bug::NobodyIsMarked => &["who_meets_another_clock_is_marked"],
        Bug::LateShiftsWindows => &["windows_open_together", "no_prober_shifts_a_window"],
        Bug::ExistsIsTheirs | Bug::ExistsIsMine => &["each_create_settles_finally"],
        Bug::CountsWhatIsThere => &["a_revision_is_made_of_what_was_frozen"],
        Bug::SaysWhoMadeIt => &["a_revision_is_the_same_bytes_whoever_makes_it"],
        Bug::RevisionOverwritten => &["what_was_written_once_never_changes"],
        Bug::LatePartIgnored => &[
            "each_part_counts_once_or_is_listed_with_its_reason",
            "each_slot_is_one_thing",
        ],
        Bug::LostDoesNotCount => &["each_part_counts_once_or_is_listed_with_its_reason"],
        Bug::OutsideCounts => &["nothing_from_outside_a_window_counts"],
        Bug::WaitsForAll => &["a_trigger_after_the_end_is_enough"],
        Bug::OpenForEver => &["the_state_is_terminal_by_deadline_plus_grace"],
        Bug::LeavesTheRoom => &["no_owned_room_outlives_its_timeouts"],
        Bug::DeletesAnyRoom | Bug::DeletesTooSoon => {
            &["only_an_empty_room_of_the_runs_own_is_deleted"]
        }
        Bug::TakesCopies
        | Bug::TakesReplays
        | Bug::TakesEarlierClaims
        | Bug::TakesAnySignature
        | Bug::TakesAnySize
        | Bug::ReadsAnySchema
        | Bug::RejectsInSilence => &[FORGED],
        Bug::TicketNotNeeded => &["a_slot_with_a_ticket_is_its_holder_s"],
        Bug::EagerPolling => &["a_prober_asks_little"],
        Bug::RetriesAtOnce => &["a_fleet_asks_little_in_any_second"],
        Bug::ListsForEachPart => &["a_trigger_reads_each_object_once"],
        Bug::StartsAtOnce => &["a_calm_run_is_measured_whole"],
        Bug::TriesForEver => &["every_world_ends"],
        Bug::MissingIsNoMatter => &["taking_parts_away_makes_no_pass"],
    }
}

/// The kind of body that a bug lets through: where it is planted there is no other.
fn let_through_by(bug: Bug) -> Option<Forgery> {
    match bug {
        Bug::TakesCopies => Some(Forgery::Copied),
        Bug::TakesReplays => Some(Forgery::Replayed),
        Bug::TakesEarlierClaims => Some(Forgery::EarlierClaim),
        Bug::TakesAnySignature => Some(Forgery::WronglySigned),
        Bug::TakesAnySize => Some(Forgery::TooLarge),
        Bug::ReadsAnySchema => Some(Forgery::TooNew),
        Bug::RejectsInSilence => Some(Forgery::Strange),
        _ => None,
    }
}

/// The kind of world that a bug shows in; the others of the thousand seeds need not be run.
fn shows_in(bug: Bug) -> Option<Kind> {
    match bug {
        Bug::AnyClaimLoads | Bug::SlotByClaimAlone => Some(Kind::Torn),
        Bug::AbortUnheeded | Bug::OldCheckCounts | Bug::RewritingUnheeded => Some(Kind::Aborted),
        Bug::UnknownIsAbsent | Bug::LeaseByHeartbeatAlone | Bug::LeaseBeginsAnew => {
            Some(Kind::Dark)
        }
        Bug::NobodyIsMarked => Some(Kind::Calm),
        _ => None,
    }
}

fn world_of(seed: u64, bug: Bug) -> Scenario {
    let mut scenario = Scenario::of(seed);
    if let Some(forgery) = let_through_by(bug) {
        scenario.forgeries.retain(|(_, one)| *one == forgery);
    }
    scenario
}

#[test]
fn each_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        for property in broken_by(bug) {
            let world = |seed| world_of(seed, bug);
            let shows = |kind: Kind| shows_in(bug).is_none_or(|in_these| in_these == kind);
            let seeds = (0..CAUGHT_WITHIN).filter(|seed| shows(Kind::of(*seed)));
            let judge = |world: &World| properties::breaks(world, property);
            let (summary, took) =
                timed(|| run(&seeds.collect::<Vec<_>>(), &world, Some(bug), &judge));
            match summary.broken {
                Some((seed, ..)) => {
                    println!("{bug:?}: caught by {property} at seed {seed}, in {took:.1?}");
                }
                None => missed.push((bug, property)),
            }
        }
    }
    assert!(
        missed.is_empty(),
        "not caught within {CAUGHT_WITHIN} seeds: {missed:?}"
    );
}

#[test]
fn each_property_catches_a_bug() {
    let catch: BTreeSet<&str> = Bug::ALL
        .iter()
        .flat_map(|bug| broken_by(*bug))
        .copied()
        .collect();
    let all: BTreeSet<&str> = properties::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(catch, all);
}
