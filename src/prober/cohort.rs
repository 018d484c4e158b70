//! Who must join or leave to reach a tier's headcount: pure.

use super::identity::Role;
use crate::report::part::Headcount;

/// A participant that is in the room or on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Its number, never used twice within a role.
    pub n: u32,
    /// What it is there for.
    pub role: Role,
    /// Among publishers, which of the vantage's publishers it is.
    pub place: u32,
}

/// What changes from one tier to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Roles and places to fill, publishers first.
    pub join: Vec<(Role, u32)>,
    /// Subscribers that leave, the latest first.
    pub leave: Vec<u32>,
}

/// From those alive to what a tier asks for. Who failed before is replaced here, and only here:
/// within a tier nobody is.
pub fn change(alive: &[Alive], want: Headcount) -> Change {
    let publishers = (0..want.publishers)
        .filter(|place| {
            !alive
                .iter()
                .any(|a| a.role == Role::Publisher && a.place == *place)
        })
        .map(|place| (Role::Publisher, place));
    let mut subscribers: Vec<u32> = alive
        .iter()
        .filter(|a| a.role == Role::Subscriber)
        .map(|a| a.n)
        .collect();
    subscribers.sort_unstable();
    let have = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
    let leave = subscribers
        .iter()
        .rev()
        .take(have.saturating_sub(want.subscribers) as usize)
        .copied()
        .collect();
    let join = publishers
        .chain((have..want.subscribers).map(|place| (Role::Subscriber, place)))
        .collect();
    Change { join, leave }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(role: Role, n: u32) -> Alive {
        Alive { n, role, place: n }
    }

    #[test]
    fn publishers_come_first_and_stay() {
        let want = Headcount {
            publishers: 2,
            subscribers: 2,
        };
        let first = change(&[], want);
        assert_eq!(
            first.join,
            [
                (Role::Publisher, 0),
                (Role::Publisher, 1),
                (Role::Subscriber, 0),
                (Role::Subscriber, 1)
            ]
        );
        let now = [
            alive(Role::Publisher, 0),
            alive(Role::Publisher, 1),
            alive(Role::Subscriber, 0),
        ];
        assert_eq!(change(&now, want).join, [(Role::Subscriber, 1)]);
    }

    #[test]
    fn a_smaller_tier_lets_the_latest_go() {
        let now: Vec<Alive> = (0..5).map(|n| alive(Role::Subscriber, n)).collect();
        let want = Headcount {
            publishers: 0,
            subscribers: 2,
        };
        let c = change(&now, want);
        assert_eq!((c.join.len(), c.leave), (0, vec![4, 3, 2]));
    }
}
