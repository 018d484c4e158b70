//! Whether an abort ends the wait, and how often it is asked for.

use super::*;
use crate::job::JobSpec;
use crate::load::schedule;
use crate::rendezvous::objects::Abort;
use crate::rendezvous::objects::ReferenceClock;
use crate::rendezvous::roster::entries;
use crate::rendezvous::sample::{T0, absent, job, object, settings};

/// Waits for a start in ten minutes, as the start says.
fn seated() -> Wait {
    let job = job(JobSpec {
        start_at: Some(T0 + Duration::from_secs(600)),
        ..JobSpec::default()
    });
    let settings = settings();
    let claim = ClaimId::new(&settings.vantage, 0, 1);
    let start_at = job.times.start_at.unwrap();
    let document = StartDocument {
        schema: SCHEMA_MAJOR,
        write_id: WriteId::from_u64(2),
        run: job.run.clone(),
        job_sha256: job.digest,
        decision: Decision::Start(Start {
            roster: entries([(settings.vantage.clone(), (None, None))].into()),
            start_at,
            tiers: schedule(&job, start_at),
            reference: ReferenceClock::Bucket,
            offset: None,
            marked: [].into(),
            asked: None,
        }),
    };
    let key = RunKey::new(&job.run, Item::Start);
    let mut wait = Wait::new(job, claim, &settings, WriteId::from_u64(1), T0, T0);
    let body = document::write(&document).unwrap();
    let reply = Reply::Read(key, Ok(object(body)));
    hear(&mut wait, T0, reply);
    assert!(wait.seat.is_some());
    wait
}

fn hear(wait: &mut Wait, now: Timestamp, reply: Reply) -> Heard {
    wait.replied(now, reply, &Clocks::default(), &mut VecDeque::new())
}

/// Whether it asks for an abort.
fn asks(wait: &mut Wait, now: Timestamp) -> bool {
    let (unknown, mut out) = (Clocks::default(), VecDeque::new());
    wait.act(now, &unknown, &mut out);
    out.iter()
        .any(|action| matches!(action, Action::Ask(Request::Read(key)) if key.item == Item::Abort))
}

#[test]
fn an_abort_ends_the_wait_for_a_fixed_start() {
    let mut wait = seated();
    let key = || RunKey::new(&"r1".parse().unwrap(), Item::Abort);
    let (mut now, mut asked) = (T0, 0);
    while now < T0 + Duration::from_secs(300) {
        if asks(&mut wait, now) {
            asked += 1;
            let heard = hear(&mut wait, now, Reply::Read(key(), absent()));
            assert!(matches!(heard, Heard::Nothing), "{heard:?}");
        }
        now = now + Duration::from_secs(1);
    }
    assert!((8..=12).contains(&asked), "{asked} questions");
    while !asks(&mut wait, now) {
        now = now + Duration::from_secs(1);
    }
    assert!(now < T0 + Duration::from_secs(330));
    let abort = Abort {
        schema: SCHEMA_MAJOR,
        write_id: WriteId::from_u64(3),
        run: "r1".parse().unwrap(),
        reason: "enough".into(),
    };
    let reply = Reply::Read(key(), Ok(object(document::write(&abort).unwrap())));
    match hear(&mut wait, now, reply) {
        Heard::Load(begin) => assert_eq!(begin.aborted.as_deref(), Some("enough")),
        heard => panic!("{heard:?}"),
    }
}
