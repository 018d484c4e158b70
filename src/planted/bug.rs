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
    /// A body counts wherever it stands and whoever signed it.
    TakesCopies,
    /// A newer schema is read like one's own.
    ReadsAnySchema,
    /// What doesn't count isn't listed.
    RejectsInSilence,
    /// The wait for the start never slows down.
    EagerPolling,
    /// A tier that a vantage never measured is passed over.
    MissingIsNoMatter,
}

impl Bug {
    /// All of them.
    pub(crate) const ALL: [Bug; 29] = [
        Bug::AnyClaimLoads,
        Bug::SlotNotConfirmed,
        Bug::StartNotConfirmed,
        Bug::LateStartCounts,
        Bug::JoinsAtOnce,
        Bug::AbortUnheeded,
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
        Bug::ReadsAnySchema,
        Bug::RejectsInSilence,
        Bug::EagerPolling,
        Bug::MissingIsNoMatter,
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
