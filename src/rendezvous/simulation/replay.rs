//! A finalizer on a bucket as it stands, without anything in between.

use std::collections::VecDeque;

use super::bucket::{Answer, Call, SimBucket};
use super::process::{Exchange, Then};
use crate::clock::Sample;
use crate::job::{RunId, Timestamp};
use crate::rendezvous::RendezvousError;
use crate::rendezvous::finalizer::{Event, Finalizer, Finished, Settings, WHOLE_MAX};

/// What a single call at `now` makes of a run.
pub(super) fn finalize(
    mut bucket: SimBucket,
    run: &RunId,
    mut now: Timestamp,
) -> Result<Finished, RendezvousError> {
    let settings = Settings {
        run: run.clone(),
        wait: false,
        whole_max: WHOLE_MAX,
        place: "sim".into(),
        seed: 0xf17a1,
    };
    let mut machine = Finalizer::new(settings, now);
    let date = Sample::date(now, now.as_micros().div_euclid(1_000_000), now);
    let mut asked: VecDeque<_> = machine.handle(now, Event::Clock(date)).into();
    loop {
        if let Some(end) = machine.end() {
            return end.clone();
        }
        let Some(request) = asked.pop_front() else {
            now = machine.wake_at().unwrap();
            asked.extend(machine.handle(now, Event::Wake));
            continue;
        };
        let mut then = Exchange::begin(request);
        let reply = loop {
            then = match then {
                Then::Call(exchange, call) => {
                    let answer: Answer = bucket.answer(now, Call::clone(&call), false);
                    exchange.answered(answer)
                }
                Then::Wait(exchange, _, next) => exchange.next(*next),
                Then::Done(reply, _) => break reply,
            };
        };
        asked.extend(machine.handle(now, Event::Replied(reply)));
    }
}
