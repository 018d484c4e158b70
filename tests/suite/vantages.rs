//! Several probers at a vantage, and vantages of one role: whole runs with real media.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::exit::Exit;
use muster::job::Vantage;
use muster::load::Verdict;
use muster::rendezvous::keys::{RunKey, list_runs, runs_of};
use muster::report::combined::{Combined, RunVerdict, SlotState};
use muster::store::{List, S3Store, Store};

use crate::fixtures::fleet::Ended;
use crate::fixtures::meeting::Meeting;
use crate::fixtures::skip::skip;

/// Two probers at iad share its subscribers, fra publishes for them.
const JOB: [&str; 14] = [
    "--vantages",
    "iad:2=subscribe,fra=publish",
    "--ramp",
    "2,5",
    "--duration",
    "4s",
    "--settle",
    "2s",
    "--grace",
    "10s",
    "--timeout",
    "3m",
    "--format",
    "json",
];

#[tokio::test(flavor = "multi_thread")]
async fn probers_that_know_their_vantage_alone_share_its_load() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let coordinator = fleet.coordinator(&JOB);
    let probe = |name| fleet.start(name, &["probe", "--vantage", "iad"]);
    let alike = ["first", "second"].map(probe);
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    for slot in ["iad_0", "iad_1"] {
        wait_for(&store, &format!("/slots/{slot}.0.json")).await;
    }
    let third = probe("third")
        .ended(Duration::from_secs(30))
        .expect(Exit::SlotTaken);
    assert!(
        third.stderr.contains("more probers, like iad:2"),
        "{}",
        third.stderr
    );

    let fra = fleet.prober("fra");
    let ended = coordinator.ended(Duration::from_secs(120));
    let mut said: Vec<String> = alike
        .into_iter()
        .chain([fra])
        .map(|prober| {
            prober
                .ended(Duration::from_secs(30))
                .expect(Exit::Passed)
                .stdout
        })
        .map(|text| text.split(" of run").next().unwrap_or_default().to_owned())
        .collect();
    said.sort();
    let all = ["fra", "iad/0", "iad/1"].map(|slot| format!("{slot} measured tiers 0, 1, 2"));
    assert_eq!(said, all);
    rolled_up(&ended, &ended.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slots_ticket_has_what_its_role_needs_and_no_more() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("book.json");
    let path = file.to_str().expect("a plain path");
    let mut args = JOB.to_vec();
    args.extend(["--ticket-book", path]);
    let coordinator = fleet.coordinator(&args);
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    let book = book(&file);
    assert_eq!(book.keys().collect::<Vec<_>>(), ["fra", "iad/0", "iad/1"]);
    // Publishers join each of three tiers anew if they must; of 1, 2 and 5 subscribers the
    // first has 1, 1 and 3.
    for (slot, publishers, subscribers) in [("fra", 3, 0), ("iad_0", 0, 5), ("iad_1", 0, 3)] {
        let ticket = ticket(&store, slot).await;
        let tokens = |name: &str| ticket[name].as_array().map(Vec::len);
        assert_eq!(tokens("publisher_tokens"), Some(publishers), "{slot}");
        assert_eq!(tokens("subscriber_tokens"), Some(subscribers), "{slot}");
    }

    let bare = fleet.bare();
    let by_book = |name, index| {
        let env = [("MUSTER_VANTAGE", "iad"), ("MUSTER_INDEX", index)];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned()));
        bare.start_with(name, &["probe", "--ticket-file", path], &env)
    };
    let fra = fleet.bare().with("MUSTER_TICKET", &book["fra"]);
    let probers = [
        by_book("zero", "0"),
        by_book("one", "1"),
        fra.start("fra", &["probe", "--vantage", "fra"]),
    ];
    let ended = coordinator.ended(Duration::from_secs(120));
    for prober in probers {
        prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
    }
    rolled_up(&ended, &ended.report());
}

/// What the combined report must say of [`JOB`] when all went well.
fn rolled_up(ended: &Ended, report: &Combined) {
    let busy = report.tiers.iter().any(|t| !t.suspect.is_empty());
    // A machine that was busy with something else is said to have been, and no more.
    let exit = if busy { ended.code } else { Some(0) };
    assert_eq!(ended.code, exit, "{:?}\n{}", report.reasons, ended.stderr);
    assert_ne!(report.verdict, RunVerdict::Failed, "{:?}", report.reasons);
    let slots: Vec<_> = report
        .vantages
        .iter()
        .map(|s| (s.vantage.as_ref().map(ToString::to_string), s.state))
        .collect();
    let complete = |slot: &str| (Some(slot.to_owned()), SlotState::Complete);
    assert_eq!(slots, ["fra", "iad/0", "iad/1"].map(complete));

    for (tier, shares) in report.tiers.iter().zip([[1, 0], [1, 1], [3, 2]]) {
        let n = tier.tier;
        assert_eq!((tier.vantages, tier.probers), (2, Some(3)), "tier {n}");
        let [fra, iad] = &tier.rows[..] else {
            panic!("tier {n} has other rows: {:?}", tier.rows)
        };
        assert_eq!([fra, iad].map(|row| row.vantage.as_str()), ["fra", "iad"]);
        assert_eq!(fra.figures.requested.publishers, 1);
        assert_eq!(fra.figures.requested.subscribers, 0);
        assert_eq!(
            fra.figures.loss_percent, None,
            "who takes nothing loses nothing"
        );
        assert!(fra.figures.sent.packets > 0 && fra.figures.packets.received == 0);

        assert_eq!(iad.figures.requested.publishers, 0);
        assert_eq!(
            iad.figures.requested.subscribers,
            shares.iter().sum::<u32>()
        );
        let each: Vec<u32> = iad
            .probers
            .iter()
            .map(|row| row.figures.requested.subscribers)
            .collect();
        assert_eq!(each, shares, "tier {n}");

        let parts: u64 = iad
            .probers
            .iter()
            .map(|row| row.figures.packets.received)
            .sum();
        assert!(parts > 0 && parts == iad.figures.packets.received);
        let samples =
            |row: &muster::report::combined::VantageRow| row.figures.rtt_ms.map_or(0, |d| d.count);
        assert_eq!(iad.probers.iter().map(samples).sum::<u64>(), samples(iad));

        let matrix: Vec<String> = tier
            .flows
            .iter()
            .map(|flow| format!("{} to {}", flow.from, flow.to))
            .collect();
        assert_eq!(matrix, ["fra to iad"], "tier {n}");
        assert!(tier.flows[0].latency.ms.is_some());
    }
}

/// Two probers at iad share its subscribers, until one of them is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_vantage_that_loses_one_of_its_probers_says_so_and_the_other_goes_on() {
    let Some(meeting) = Meeting::start().await else {
        skip!("livekit-server or Go");
    };
    let Meeting {
        fleet, settings, ..
    } = &meeting;
    let args = "--vantages iad:2=subscribe,fra=publish --ramp 2,4 --settle 2s --duration 4s \
                --grace 5s --timeout 2m --threshold connected>=1% --format json";
    let coordinator = fleet.coordinator(&args.split_whitespace().collect::<Vec<_>>());
    let survivors = ["iad/0", "fra"]
        .map(|slot| fleet.start(&slot.replace('/', "_"), &["probe", "--vantage", slot]));
    let mut victim = fleet.start("iad_1", &["probe", "--vantage", "iad/1"]);
    let store = S3Store::connect(settings.clone(), Arc::new(muster::clock::now))
        .await
        .expect("the bucket opens");
    wait_for(&store, "/tiers/iad_1/1.json").await;
    victim.child.kill().expect("the prober runs");

    let ended = coordinator.ended(Duration::from_secs(120));
    let ended = ended.expect(Exit::Incomplete);
    let report = ended.report();
    // What each was doing meanwhile.
    for slot in ["fra", "iad/0", "iad/1"] {
        let live =
            |line: &str| line.contains(&format!("{slot}: tier ")) && line.contains(" connected, ");
        assert!(ended.stderr.lines().any(live), "{slot}:\n{}", ended.stderr);
    }
    for prober in survivors {
        prober.ended(Duration::from_secs(30)).expect(Exit::Passed);
    }
    let slots: Vec<_> = report
        .vantages
        .iter()
        .map(|s| (s.vantage.as_ref().map(ToString::to_string), s.state))
        .collect();
    let is = |slot: &str, state| (Some(slot.to_owned()), state);
    let states = [
        is("fra", SlotState::Complete),
        is("iad/0", SlotState::Complete),
        is("iad/1", SlotState::Dropped),
    ];
    assert_eq!(slots, states);
    let dropped: Vec<_> = report.dropped.iter().map(|d| &d.tiers[..]).collect();
    assert_eq!(dropped, [[0, 1]], "what it measured before counts");

    // By tier: who asked for how many, and who is missing.
    let shares: [(&[u32], &[&str]); 3] = [(&[1, 0], &[]), (&[1, 1], &[]), (&[2], &["iad/1"])];
    for (tier, (shares, missing)) in report.tiers.iter().zip(shares) {
        let n = tier.tier;
        let mut rows = tier.rows.iter();
        let iad = rows.find(|row| row.vantage.as_str() == "iad");
        let iad = iad.expect("it measured all");
        let each = iad
            .probers
            .iter()
            .map(|row| row.figures.requested.subscribers);
        assert_eq!(each.collect::<Vec<_>>(), shares, "tier {n}");
        let lost: Vec<&str> = iad.missing.iter().map(Vantage::as_str).collect();
        assert_eq!(lost, missing, "tier {n}");
        // Nobody takes over what the missing one should have.
        let all = iad.figures.requested.subscribers;
        assert_eq!(all, shares.iter().sum::<u32>(), "tier {n}");
        assert_eq!(
            iad.probers[0].figures.connected_percent,
            Some(100.0),
            "tier {n}"
        );
    }
    let last = &report.tiers[2];
    assert_eq!(last.verdict, Verdict::Unknown, "{:?}", last.reasons);
    assert_eq!(last.reasons[0], "measured by 2 of 3 probers, not by iad/1");
    let shown = fleet.start("report", &["report"]);
    let shown = shown
        .ended(Duration::from_secs(20))
        .expect(Exit::Incomplete);
    let words: Vec<&str> = shown.stdout.split_whitespace().collect();
    let text = words.join(" ");
    for says in [
        "iad: 1 of 2 complete, dropped iad/1",
        "iad/1: measured tiers 0 to 1, then sent no report",
    ] {
        assert!(text.contains(says), "no {says:?}:\n{}", shown.stdout);
    }
}

/// The book, once the coordinator has written it.
fn book(path: &Path) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return serde_json::from_str(&text).expect("a book");
        }
        assert!(Instant::now() < deadline, "no book came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn ticket(store: &dyn Store, slot: &str) -> serde_json::Value {
    let listing = store.list(&list_runs()).await.expect("the bucket lists");
    let run = &runs_of(&listing)[0];
    let key: RunKey = format!("runs/{run}/tickets/{slot}.json")
        .parse()
        .expect("a key");
    let object = store.get(&key.key(), key.limit()).await.expect("a ticket");
    serde_json::from_slice(&object.body).expect("JSON")
}

async fn wait_for(store: &dyn Store, end: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let all = store.list(&List::all("runs/")).await.expect("lists");
        if all.objects.iter().any(|o| o.key.ends_with(end)) {
            return;
        }
        assert!(Instant::now() < deadline, "{end} did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
