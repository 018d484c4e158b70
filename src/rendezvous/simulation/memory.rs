//! What a thread's world has parsed: its processes read the same bodies over and over, and in an
//! unoptimised build that would be most of the time.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::job::Digest;

type Parsed = HashMap<(TypeId, Digest), Rc<dyn Any>>;

thread_local! {
    static PARSED: RefCell<Option<Parsed>> = const { RefCell::new(None) };
}

/// Begins to remember, or to remember anew.
pub(super) fn remember() {
    PARSED.set(Some(Parsed::new()));
}

/// What `parse` makes of a body, perhaps from memory. Failures are not remembered, and nothing is
/// outside of a simulation.
pub(in crate::rendezvous) fn remembered<T: Clone + 'static, E>(
    body: &[u8],
    parse: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !PARSED.with_borrow(Option::is_some) {
        return parse();
    }
    let key = (TypeId::of::<T>(), Digest::of(body));
    let known = PARSED.with_borrow(|p| p.as_ref()?.get(&key).cloned());
    if let Some(known) = known.as_ref().and_then(|k| k.downcast_ref::<T>()) {
        return Ok(known.clone());
    }
    let parsed = parse()?;
    PARSED.with_borrow_mut(|p| {
        if let Some(p) = p {
            p.insert(key, Rc::new(parsed.clone()));
        }
    });
    Ok(parsed)
}
