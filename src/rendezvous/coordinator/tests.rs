//! What a coordinator does when it is told to end at an awkward moment.

use super::*;
use crate::job::ClaimId;
use crate::job::JobSpec;
use crate::rendezvous::objects::Abort;
use crate::rendezvous::sample::{T0, absent, job, object};
use crate::store::{Listing, RequestCounts};

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

#[test]
fn who_leaves_the_run_to_itself_says_what_it_asked() {
    let so_far = RequestCounts {
        reads: 4,
        creates: 2,
        ..RequestCounts::default()
    };
    // With the start, and reading it back.
    let all = RequestCounts {
        reads: 5,
        creates: 3,
        ..RequestCounts::default()
    };
    for (detach, asked) in [(true, Some(all)), (false, None)] {
        let mut machine = coordinator();
        machine.settings.detach = detach;
        let (job, _) = creates(machine.handle(T0, Event::Wake)).remove(0);
        machine.count(so_far);
        let (start, body) = creates(machine.handle(T0, mine(job))).remove(0);
        let document: StartDocument = document::read(&start, &body).unwrap();
        let Decision::Start(start) = document.decision else {
            panic!("{:?}", document.decision);
        };
        assert_eq!(start.asked, asked, "{detach}");
    }
}

#[test]
fn what_a_newer_prober_found_out_is_said_once_to_be_unreadable() {
    let run = job(JobSpec::default()).run.clone();
    let settings = Settings {
        detach: false,
        seed: 1,
    };
    let mut machine = Coordinator::new(job(JobSpec::default()), settings, T0);
    let (key, _) = creates(machine.handle(T0, Event::Wake)).remove(0);
    machine.handle(T0, mine(key));
    let claim = ClaimId::new(&"iad".parse().unwrap(), 0, 7);
    let ready = RunKey::new(&run, Item::Ready(claim));
    let listing = Listing {
        objects: vec![crate::store::Entry {
            key: ready.to_string(),
            size: 1,
            last_modified: T0,
        }],
        ..Listing::default()
    };
    let listed = || Event::Replied(Reply::Listed(list_run(&run), Ok(listing.clone())));
    let asked = machine.handle(T0, listed());
    assert!(asked.contains(&Action::Ask(Request::Read(ready.clone()))));
    let body = bytes::Bytes::from_static(br#"{"schema": 2, "verdict": "ready"}"#);
    let told = machine.handle(
        T0,
        Event::Replied(Reply::Read(ready.clone(), Ok(object(body)))),
    );
    let unfit = told.iter().find_map(|action| match action {
        Action::Tell(Progress::Unfit { vantage, reason }) => Some(format!("{vantage}: {reason}")),
        _ => None,
    });
    let unfit = unfit.unwrap();
    assert!(
        unfit.starts_with("iad: ") && unfit.contains("has schema 2"),
        "{unfit}"
    );
    assert!(
        !machine
            .handle(T0, listed())
            .contains(&Action::Ask(Request::Read(ready)))
    );
}

#[test]
fn who_waits_is_told_why_the_run_was_aborted() {
    for readable in [true, false] {
        let run = job(JobSpec::default()).run.clone();
        let settings = Settings {
            detach: false,
            seed: 1,
        };
        let mut machine = Coordinator::new(job(JobSpec::default()), settings, T0);
        let (key, _) = creates(machine.handle(T0, Event::Wake)).remove(0);
        machine.handle(T0, mine(key));
        let abort = RunKey::new(&run, Item::Abort);
        let listing = Listing {
            objects: vec![crate::store::Entry {
                key: abort.to_string(),
                size: 1,
                last_modified: T0,
            }],
            ..Listing::default()
        };
        let listed = Event::Replied(Reply::Listed(list_run(&run), Ok(listing)));
        let asked = machine.handle(T0, listed);
        assert_eq!(asked, [Action::Ask(Request::Read(abort.clone()))]);
        let document = Abort {
            schema: SCHEMA_MAJOR,
            write_id: write_id(1, 1),
            run,
            reason: "fire drill".to_owned(),
        };
        let body = document::write(&document).unwrap();
        let answer = if readable { Ok(object(body)) } else { absent() };
        let decided = machine.handle(T0, Event::Replied(Reply::Read(abort, answer)));
        let decided = if readable {
            decided
        } else {
            assert_eq!(creates(decided), []);
            machine.handle(T0 + GATHER_LAST, Event::Wake)
        };
        let (start, body) = creates(decided).remove(0);
        let document: StartDocument = document::read(&start, &body).unwrap();
        let Decision::Cancel { reason } = document.decision else {
            panic!("{:?}", document.decision);
        };
        let expected = if readable {
            "fire drill"
        } else {
            "can't be read"
        };
        assert!(reason.contains(expected), "{reason}");
    }
}
