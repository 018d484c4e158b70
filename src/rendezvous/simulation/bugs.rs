//! That each planted bug is caught, and that each property catches one: none holds whatever the
//! code does.

use std::collections::BTreeSet;

use super::forge::{Forgery, Guise};
use super::properties;
use super::scenario::{Kind, Scenario};
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
        | Bug::TakesUnsigned
        | Bug::TakesAnySize
        | Bug::ReadsAnySchema
        | Bug::RejectsInSilence => &[FORGED],
        Bug::TicketNotNeeded => &["a_slot_with_a_ticket_is_its_holder_s"],
        Bug::EagerPolling => &["a_prober_asks_little"],
        Bug::RetriesAtOnce => &["a_fleet_asks_little_in_any_second"],
        Bug::ListsForEachPart => &["a_trigger_reads_each_object_once"],
        Bug::StartsAtOnce => &["a_calm_run_is_measured_whole"],
        Bug::TriesForEver => &["every_world_ends"],
        Bug::ChangedJobStarts => &["nobody_loads_by_another_job_or_counts_its_parts"],
        Bug::LostProberIsForgotten => &["a_vantage_is_all_of_its_probers"],
        Bug::MissingIsNoMatter => &["taking_parts_away_makes_no_pass"],
    }
}

/// The bodies that a bug lets through: where it is planted there is none but one of these, and it
/// must be caught by each.
fn let_through_by(bug: Bug) -> &'static [(Forgery, Guise)] {
    use Forgery::{
        AnothersKey, Copied, EarlierClaim, Replayed, Strange, TooLarge, TooNew, Unsigned,
        WronglySigned,
    };
    use Guise::{Report, Tier};
    match bug {
        Bug::TakesCopies => &[(Copied, Tier), (Copied, Report)],
        Bug::TakesReplays => &[(Replayed, Tier), (Replayed, Report)],
        Bug::TakesEarlierClaims => &[(EarlierClaim, Tier), (EarlierClaim, Report)],
        Bug::TakesAnySignature => &[
            (WronglySigned, Tier),
            (WronglySigned, Report),
            (AnothersKey, Tier),
            (AnothersKey, Report),
        ],
        Bug::TakesUnsigned => &[(Unsigned, Tier), (Unsigned, Report)],
        Bug::TakesAnySize => &[(TooLarge, Tier), (TooLarge, Report)],
        Bug::ReadsAnySchema => &[(TooNew, Tier), (TooNew, Report)],
        Bug::RejectsInSilence => &[(Strange, Tier)],
        _ => &[],
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
        Bug::ChangedJobStarts => Some(Kind::Rewritten),
        _ => None,
    }
}

/// The world of a seed, of whose forgeries only this one is made.
fn world_of(seed: u64, only: Option<(Forgery, Guise)>) -> Scenario {
    let mut scenario = Scenario::of(seed);
    if let Some((forgery, guise)) = only {
        scenario.forgeries.retain(|(_, one, _)| *one == forgery);
        for (_, _, passes_for) in &mut scenario.forgeries {
            *passes_for = guise;
        }
    }
    scenario
}

/// Runs the worlds that a bug may show in until one breaks this property; says whether one does.
fn is_caught(bug: Bug, property: &str, only: Option<(Forgery, Guise)>) -> bool {
    let shows = |seed: &u64| {
        shows_in(bug).is_none_or(|kind| kind == Kind::of(*seed))
            && (only.is_none() || !Scenario::of(*seed).forgeries.is_empty())
    };
    let seeds: Vec<u64> = (0..CAUGHT_WITHIN).filter(shows).collect();
    let world = |seed| world_of(seed, only);
    let judge = |world: &World| properties::breaks(world, property);
    let (summary, took) = timed(|| run(&seeds, &world, Some(bug), &judge));
    if let Some((seed, ..)) = summary.broken {
        let by = only.map_or(String::new(), |only| format!(" by {only:?}"));
        println!("{bug:?}{by}: caught by {property} at seed {seed}, in {took:.1?}");
    }
    summary.broken.is_some()
}

#[test]
fn each_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let forgeries = let_through_by(bug).iter().copied().map(Some);
        let worlds: Vec<_> = forgeries.collect();
        let worlds = if worlds.is_empty() {
            vec![None]
        } else {
            worlds
        };
        for property in broken_by(bug) {
            for only in &worlds {
                if !is_caught(bug, property, *only) {
                    missed.push((bug, property, *only));
                }
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
