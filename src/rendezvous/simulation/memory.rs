//! What a thread's world has written and parsed: its processes read the same bodies over and over,
//! and in an unoptimised build that would be most of the time.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::job::Digest;

struct Memory {
    parsed: HashMap<(TypeId, Digest), Rc<dyn Any>, BuildHasherDefault<FirstBytes>>,
    /// What was written counts as parsed.
    writes: bool,
}

/// Digests are spread as they are.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// Begins to remember, or to remember anew: what was parsed, and if `writes` what was written.
pub(super) fn remember(writes: bool) {
    let parsed = HashMap::default();
    MEMORY.set(Some(Memory { parsed, writes }));
}

/// This body is to be parsed, whoever wrote it.
pub(super) fn forget<T: 'static>(body: &[u8]) {
    MEMORY.with_borrow_mut(|memory| {
        if let Some(memory) = memory {
            memory.parsed.remove(&(TypeId::of::<T>(), Digest::of(body)));
        }
    });
}

/// A document was written as this body.
pub(in crate::rendezvous) fn written<T: Clone + 'static>(body: &[u8], document: &T) {
    MEMORY.with_borrow_mut(|memory| {
        if let Some(memory) = memory.as_mut().filter(|m| m.writes) {
            let key = (TypeId::of::<T>(), Digest::of(body));
            memory.parsed.insert(key, Rc::new(document.clone()));
        }
    });
}

/// What `parse` makes of a body, perhaps from memory. Failures are not remembered, and nothing is
/// outside of a simulation.
pub(in crate::rendezvous) fn remembered<T: Clone + 'static, E>(
    body: &[u8],
    parse: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !MEMORY.with_borrow(Option::is_some) {
        return parse();
    }
    let key = (TypeId::of::<T>(), Digest::of(body));
    let known = MEMORY.with_borrow(|m| m.as_ref()?.parsed.get(&key).cloned());
    if let Some(known) = known.as_ref().and_then(|k| k.downcast_ref::<T>()) {
        return Ok(known.clone());
    }
    let parsed = parse()?;
    MEMORY.with_borrow_mut(|memory| {
        if let Some(memory) = memory {
            memory.parsed.insert(key, Rc::new(parsed.clone()));
        }
    });
    Ok(parsed)
}
