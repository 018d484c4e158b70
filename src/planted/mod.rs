//! Bugs planted on purpose, to see that the simulation of the rendezvous catches them. Only the
//! build of the unit tests has them: everywhere else [`planted!`] is `false`.

#[cfg(test)]
mod bug;

#[cfg(test)]
pub(crate) use bug::{Bug, is, plant};

/// Whether this bug is planted.
#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}

/// Whether this bug is planted: never.
#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}
