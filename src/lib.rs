//! `muster` asks one question of a LiveKit SFU: does it hold up when clients from several
//! regions join at once, and where does it break?
//!
//! Decisions are pure: `now` is an argument, nothing inside reads a clock, draws a random
//! number or does I/O. A thin async edge carries them out.
//!
//! | module | its one invariant |
//! | --- | --- |
//! | [`job`] | a `Job` that exists is valid |
//! | [`load`] | a ramp is a pure function of the job and the roster; shares sum to the whole |
//! | [`clock`] | the true offset lies inside the stated interval |
//! | [`store`] | only a definite answer is an answer; the rest is unknown |
//! | [`rendezvous`] | only a claim that the roster names may put on load |
//! | [`ticket`] | a ticket opens its own vantage's objects, and nothing else |
//! | [`rooms`] | a run deletes no room but its own |
//! | [`participant`] | every packet that arrived is accounted for |
//! | [`prober`] | load ends by the hard deadline, whatever the bucket says |
//! | [`measure`] | histograms merge without losing a count |
//! | [`report`] | fail is final, pass needs a complete tier, the rest is unknown |
//! | [`cost`] | what is not known is not free |
//! | [`render`] | a rendering shows what the report says, and adds nothing |
//! | [`local`] | what it started, it stops |
//! | [`bench`](mod@bench) | a figure was measured, or it says why not |
//! | [`cli`] | every failure has one line and one exit code |
//! | [`error`] | an error gets its exit code in one place |
//! | [`exit`] | an exit code never changes its meaning |
//! | [`secret`] | what no log, report or error may show |
//! | [`signature`] | what does not match its bytes, its place and its claim is nobody's |
//! | [`aws`] | no request says a secret |
//! | [`function`] | a function takes on no load that it can't finish |

#[macro_use]
mod planted;

pub mod aws;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod cost;
pub mod error;
pub mod exit;
pub mod function;
pub mod job;
pub mod load;
pub mod local;
pub mod measure;
pub mod participant;
pub mod prober;
pub mod render;
pub mod rendezvous;
pub mod report;
pub mod rooms;
pub mod secret;
pub mod signature;
pub mod store;
pub mod ticket;
