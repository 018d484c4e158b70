//! The machines in a simulated world: many seeds, and what must hold in each.
//!
//! A world draws everything from one seed: who takes part, whose clock is how wrong, what befalls
//! each request, who dies or is stopped and when. What must hold is in [`properties`], a check
//! for each. A seed that fails is printed; `MUSTER_SEED=n cargo test simulation` replays it
//! alone, with its trace. `MUSTER_SEEDS` sets how many seeds there are.

mod bucket;
mod bugs;
mod clock;
mod dice;
mod fleet;
mod forge;
mod history;
mod memory;
mod process;
mod properties;
mod queue;
mod replay;
mod scenario;
mod sfu;
mod tests;
mod ticket;
mod world;

pub(in crate::rendezvous) use memory::{remembered, written};
