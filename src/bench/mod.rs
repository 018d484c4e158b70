//! What muster's own participants cost, beside LiveKit's load tester and a bare loop.
//!
//! Each contender is a process of its own, so that its CPU time is its alone; all meet the same
//! server and the same publishers, one after the other, in several rounds.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`density`] | the comparison: what a packet and a participant cost |
//! | [`bounds`] | what the comparison is held to |
//! | [`contest`] | how each contender is run, and what is read off it |
//! | [`rounds`] | what several rounds of a contender make together |
//! | [`window`] | what lies between two readings of a process |
//! | [`joins`] | many joins in a short time |
//! | [`capacity`] | many participants for long |
//! | [`finalize`] | combining the parts of many vantages |
//! | [`flat`] | whether a series of readings is flat |
//! | [`stage`] | a server of their own, and the conditions |
//! | [`participants`] | muster's participants, as a process of their own |
//! | [`lk`] | LiveKit's load tester |
//! | [`child`] | how a contender's process is started and what it tells |
//! | [`usage`] | what the kernel says of a process |
//! | [`sfu`] | what the server says it sent |
//! | [`table`] | the result, as text |

pub mod bounds;
pub mod capacity;
pub mod child;
pub mod contest;
pub mod density;
pub mod finalize;
pub mod flat;
pub mod joins;
pub mod lk;
pub mod participants;
pub mod rounds;
pub mod sfu;
pub mod stage;
pub mod table;
pub mod usage;
pub mod window;
