//! Who a participant is: unique over vantages, tiers and retries.

use crate::job::{RunId, Vantage};

/// What a participant is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Publishes, takes nothing.
    Publisher,
    /// Takes what the layout shows.
    Subscriber,
    /// Joins before the start to try the path, hidden from the others.
    Tester,
}

impl Role {
    const fn letter(self) -> char {
        match self {
            Role::Publisher => 'p',
            Role::Subscriber => 's',
            Role::Tester => 't',
        }
    }
}

/// The LiveKit identity of a vantage's `n`-th participant of a role. `n` is never used twice, so
/// that a retry doesn't evict a session that the server still believes in.
pub fn identity(run: &RunId, vantage: &Vantage, role: Role, n: u32) -> String {
    format!("{run}.{vantage}.{}{n}", role.letter())
}

/// Which publisher a frame comes from, for the stamp in it: FNV-1a of vantage and `n`.
pub fn source(vantage: &Vantage, n: u32) -> u32 {
    vantage
        .as_str()
        .bytes()
        .chain([0])
        .chain(n.to_be_bytes())
        .fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
}
