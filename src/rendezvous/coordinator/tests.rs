//! What a coordinator does when it is told to end at an awkward moment.

use super::*;
use crate::job::JobSpec;
use crate::rendezvous::sample::{T0, job, object};

fn coordinator() -> Coordinator {
    let spec = JobSpec {
        start_at: Some(T0 + Duration::from_secs(600)),
        ..JobSpec::default()
    };
    let settings = Settings {
        detach: true,
        seed: 1,
    };
    Coordinator::new(job(spec), settings, T0)
}

/// The items that it creates, with their bodies.
fn creates(actions: Vec<Action>) -> Vec<(RunKey, bytes::Bytes)> {
    let created = actions.into_iter().filter_map(|action| match action {
        Action::Ask(Request::Create(key, body)) => Some((key, body)),
        _ => None,
    });
    created.collect()
}

fn mine(key: RunKey) -> Event {
    Event::Replied(Reply::Created(key, Ok(Settled::Mine)))
}

#[test]
fn an_abort_while_the_start_is_written_is_carried_out() {
    for aborted in [false, true] {
        let mut machine = coordinator();
        let (job, _) = creates(machine.handle(T0, Event::Wake)).remove(0);
        let (start, body) = creates(machine.handle(T0, mine(job))).remove(0);
        assert_eq!(start.item, Item::Start);
        if aborted {
            assert_eq!(machine.handle(T0, Event::Abort("enough".into())), []);
        }
        machine.handle(T0, mine(start.clone()));
        let reply = Reply::Read(start, Ok(object(body)));
        let created = creates(machine.handle(T0, Event::Replied(reply)));
        if aborted {
            assert_eq!(machine.end(), None);
            assert!(created.iter().any(|(key, _)| key.item == Item::Abort));
        } else {
            assert!(matches!(machine.end(), Some(End::Detached(_))));
        }
    }
}
