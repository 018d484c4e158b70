//! Why a spec is no job.

use super::document::START_LEAD;
use super::{Span, Timestamp, Vantage};

/// Why a spec is no job.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    /// No SFU named.
    #[error("no SFU is named; give --url wss://… or set LIVEKIT_URL")]
    NoUrl,
    /// Not a URL that LiveKit clients use.
    #[error("`{0}` is not an SFU's URL; write ws://host:port or wss://host")]
    Url(String),
    /// Neither vantages nor a number of them.
    #[error("who takes part is not said; give --vantages iad,sjc,lhr or --expect 3")]
    NoFleet,
    /// Both, and they differ.
    #[error("--expect {expect} contradicts the {named} labels of --vantages; give one of both")]
    FleetContradicts {
        /// `--expect`
        expect: u32,
        /// Labels named.
        named: usize,
    },
    /// A label twice.
    #[error("vantage `{0}` is named twice; labels are unique within a run")]
    VantageTwice(Vantage),
    /// A number out of its range.
    #[error("{what} is {value}; it can be {range}")]
    Range {
        /// The key or flag.
        what: &'static str,
        /// As given.
        value: String,
        /// What is possible.
        range: &'static str,
    },
    /// A total that doesn't reach every vantage.
    #[error(
        "tier of {total} subscribers in total leaves some of {vantages} vantages that subscribe without one; raise it or drop --ramp-total"
    )]
    TotalTooSmall {
        /// The tier.
        total: u32,
        /// How many vantages share it.
        vantages: u32,
    },
    /// No vantage publishes.
    #[error(
        "every vantage has the role subscribe, so nobody publishes; give one of them publish or both, or --existing-room where others do"
    )]
    NobodyPublishes,
    /// No vantage subscribes.
    #[error(
        "every vantage has the role publish, so nobody subscribes; give one of them subscribe or both"
    )]
    NobodySubscribes,
    /// More participants than allowed.
    #[error(
        "the fleet would put on {wanted} participants and --max-participants is {max}; lower the ramp or raise the limit"
    )]
    TooMany {
        /// Subscribers of the largest tier plus publishers, over all vantages.
        wanted: u64,
        /// The limit.
        max: u32,
    },
    /// More money than allowed.
    #[error("the run would cost about {estimate}; --max-cost is {max}: lower the load or raise it")]
    TooDear {
        /// The bill.
        estimate: String,
        /// `--max-cost`
        max: String,
    },
    /// A start in the past.
    #[error("the start at {0} has passed; give a time at least {min_s} s ahead", min_s = START_LEAD.as_secs())]
    StartPassed(Timestamp),
    /// Shares can't be told before the labels are known.
    #[error(
        "--ramp-total with a fixed start needs the labels: give --vantages instead of --expect"
    )]
    SharesUnknown,
    /// Joins take longer than the settle period.
    #[error(
        "a tier adds up to {joins} participants at one prober, which takes {needed} at --join-rate {rate}, with a second to connect; --settle is {settle}: raise one of both"
    )]
    SettleTooShort {
        /// The most joins of a tier at one prober.
        joins: u32,
        /// How long they take, until the last is connected.
        needed: Span,
        /// `--join-rate`
        rate: u32,
        /// `--settle`
        settle: Span,
    },
}
