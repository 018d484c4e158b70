//! Who a participant is: unique over vantages, tiers and retries.

use crate::job::{RunId, Vantage};
use crate::report::flow::Publisher;

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

/// The LiveKit identity of a slot's `n`-th participant of a role. `n` is never used twice, so
/// that a retry doesn't evict a session that the server still believes in.
pub fn identity(run: &RunId, vantage: &Vantage, role: Role, n: u32) -> String {
    format!("{run}.{}.{}{n}", vantage.name(), role.letter())
}

/// Who publishes under an identity, by what [`identity`] makes of them.
pub fn publisher(run: &RunId, identity: &str) -> Publisher {
    let rest = identity.strip_prefix(run.as_str());
    let parts = rest.and_then(|rest| rest.strip_prefix('.')?.split_once('.'));
    parts
        .filter(|(_, role)| role.starts_with(Role::Publisher.letter()))
        .and_then(|(vantage, _)| Vantage::from_name(vantage))
        .map_or(Publisher::Other, Publisher::Vantage)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_its_vantage() {
        let run: RunId = "20261122-071339-4f9c2a".parse().unwrap();
        let vantage: Vantage = "eu-west-1".parse().unwrap();
        for vantage in [vantage.clone(), "eu-west-1/2".parse().unwrap()] {
            let named = |role| publisher(&run, &identity(&run, &vantage, role, 3));
            assert_eq!(named(Role::Publisher), Publisher::Vantage(vantage.clone()));
            assert_eq!(named(Role::Subscriber), Publisher::Other);
        }
        let another: RunId = "another".parse().unwrap();
        let foreign = identity(&another, &vantage, Role::Publisher, 0);
        for foreign in [foreign.as_str(), "alice", "", "20261122-071339-4f9c2a.p0"] {
            assert_eq!(publisher(&run, foreign), Publisher::Other);
        }
    }
}
