//! The bugs, and which one is planted in this thread.

use std::cell::Cell;

/// A mistake that one could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Any claim of a vantage that takes part loads.
    AnyClaimLoads,
    /// Where the roster names no claim, it isn't looked whose the slot became.
    SlotNotConfirmed,
    /// The start isn't read again before the load.
    StartNotConfirmed,
    /// A start that was stored too late counts.
    LateStartCounts,
    /// Joins begin when the start is known, not in its settle period.
    JoinsAtOnce,
    /// An abort is read and not heeded.
    AbortUnheeded,
    /// That its heartbeat was rewritten tells a prober nothing.
    RewritingUnheeded,
    /// A prober that was stopped goes on by the check that it made before.
    OldCheckCounts,
    /// An answer that says nothing counts as "no abort".
    UnknownIsAbsent,
    /// Only heartbeats keep a lease: a bucket that takes them and refuses reads goes unnoticed.
    LeaseByHeartbeatAlone,
    /// A lease begins with the load, whenever the last heartbeat was.
    LeaseBeginsAnew,
    /// Local time is read from the wall clock.
    FollowsTheWallClock,
    /// Local time is read from a clock that stands still in suspends.
    StandsStillInSuspends,
    /// A `Date` is taken for exact.
    DateIsExact,
    /// Who does not agree with the others on the SFU's clock isn't marked.
    NobodyIsMarked,
    /// A late prober moves its windows instead of joining at the current tier.
    LateShiftsWindows,
    /// A create that answers "exists" counts as another's without a look.
    ExistsIsTheirs,
    /// A create that answers "exists" counts as one's own without a look.
    ExistsIsMine,
    /// The combined report counts what is there now, not what was frozen.
    CountsWhatIsThere,
    /// A revision is written over.
    RevisionOverwritten,
    /// What comes after the first revision is passed over.
    LatePartIgnored,
    /// The tiers of a prober that died before its report don't count.
    LostDoesNotCount,
    /// The end waits for every slot, however long.
    WaitsForAll,
    /// A room that existed before the run is deleted.
    DeletesAnyRoom,
    /// The room is deleted when the start is fixed.
    DeletesTooSoon,
    /// A part counts wherever it stands.
    TakesCopies,
    /// A part of another run counts, if it stands in this one's place.
    TakesReplays,
    /// A part counts whichever claim to its slot it comes from.
    TakesEarlierClaims,
    /// A part counts whoever signed it.
    TakesAnySignature,
    /// A part that nobody signed counts.
    TakesUnsigned,
    /// An object is read however large it is.
    TakesAnySize,
    /// A newer schema is read like one's own.
    ReadsAnySchema,
    /// What doesn't count isn't listed.
    RejectsInSilence,
    /// The wait for the start never slows down.
    EagerPolling,
    /// A tier that a vantage never measured is passed over.
    MissingIsNoMatter,
    /// Who has no ticket takes a slot that is given by ticket.
    TicketNotNeeded,
    /// Whose the slot became is told by its claim, which all who share a ticket share.
    SlotByClaimAlone,
    /// The combined report says who made it.
    SaysWhoMadeIt,
    /// A finalizer lists again for each object that it reads.
    ListsForEachPart,
    /// What failed is asked again at once.
    RetriesAtOnce,
    /// A start leaves those who wait for it no time to read it.
    StartsAtOnce,
    /// What was measured beyond a window counts.
    OutsideCounts,
    /// A prober never gives its report up.
    TriesForEver,
    /// A run that nobody started in time stays open.
    OpenForEver,
    /// A start counts for a job that it was not decided on.
    ChangedJobStarts,
    /// A vantage's row is silent on those of its probers that did not measure.
    LostProberIsForgotten,
    /// The room is left behind.
    LeavesTheRoom,
}

impl Bug {
    /// All of them.
    pub(crate) const ALL: [Bug; 47] = [
        Bug::AnyClaimLoads,
        Bug::SlotNotConfirmed,
        Bug::StartNotConfirmed,
        Bug::LateStartCounts,
        Bug::JoinsAtOnce,
        Bug::AbortUnheeded,
        Bug::RewritingUnheeded,
        Bug::OldCheckCounts,
        Bug::UnknownIsAbsent,
        Bug::LeaseByHeartbeatAlone,
        Bug::LeaseBeginsAnew,
        Bug::FollowsTheWallClock,
        Bug::StandsStillInSuspends,
        Bug::DateIsExact,
        Bug::NobodyIsMarked,
        Bug::LateShiftsWindows,
        Bug::ExistsIsTheirs,
        Bug::ExistsIsMine,
        Bug::CountsWhatIsThere,
        Bug::RevisionOverwritten,
        Bug::LatePartIgnored,
        Bug::LostDoesNotCount,
        Bug::WaitsForAll,
        Bug::DeletesAnyRoom,
        Bug::DeletesTooSoon,
        Bug::TakesCopies,
        Bug::TakesReplays,
        Bug::TakesEarlierClaims,
        Bug::TakesAnySignature,
        Bug::TakesUnsigned,
        Bug::TakesAnySize,
        Bug::ReadsAnySchema,
        Bug::RejectsInSilence,
        Bug::EagerPolling,
        Bug::MissingIsNoMatter,
        Bug::TicketNotNeeded,
        Bug::SlotByClaimAlone,
        Bug::SaysWhoMadeIt,
        Bug::ListsForEachPart,
        Bug::RetriesAtOnce,
        Bug::StartsAtOnce,
        Bug::OutsideCounts,
        Bug::TriesForEver,
        Bug::OpenForEver,
        Bug::ChangedJobStarts,
        Bug::LostProberIsForgotten,
        Bug::LeavesTheRoom,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread, or digs up what was planted.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
