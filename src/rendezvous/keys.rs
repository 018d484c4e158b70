//! Every key of a run: one type builds and reads them all.

use std::fmt;
use std::str::FromStr;

use crate::job::{ClaimId, RunId, Vantage, number};
use crate::store::{ByteLimit, Key, List, Listing};

/// One object of a run, by what it is. Its text is the object's key,
/// `runs/{run}/…`, below the store's prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The run.
    pub run: RunId,
    /// Which of its objects.
    pub item: Item,
}

/// An object of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// What to do.
    Job,
    /// What admits a vantage's prober.
    Ticket(Vantage),
    /// The `k`-th claim to a slot.
    Slot(Vantage, u32),
    /// What a claim's prober found out before the start.
    Ready(ClaimId),
    /// The one start decision.
    Start,
    /// A heartbeat.
    Live(Vantage),
    /// One tier of one vantage.
    Tier(Vantage, u32),
    /// A vantage's finished report.
    Report(Vantage),
    /// A prober's log.
    Log(Vantage),
    /// The kill switch.
    Abort,
    /// What revision `r` counts.
    Inputs(Revision),
    /// Revision `r` of the combined report.
    Combined(Revision),
    /// The same for people.
    Page(Revision),
}

/// A revision of the combined report, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u32);

impl Revision {
    /// The first one, whose combined report is named `combined.json`.
    pub const FIRST: Revision = Revision(1);

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Revision(self.0.saturating_add(1))
    }
}

/// Below this all runs are.
pub const RUNS: &str = "runs/";

/// A ticket has a few hundred bytes for each participant and each object.
pub const TICKET_MAX: ByteLimit = ByteLimit::mib(8);

impl RunKey {
    /// An object of a run.
    pub fn new(run: &RunId, item: Item) -> Self {
        RunKey {
            run: run.clone(),
            item,
        }
    }

    /// As the store takes it.
    pub fn key(&self) -> Key {
        Key::by_construction(self.to_string())
    }

    /// The most bytes that a reader of this object takes: far above what muster writes.
    pub const fn limit(&self) -> ByteLimit {
        match self.item {
            Item::Job => ByteLimit::mib(1),
            Item::Ticket(_) => TICKET_MAX,
            Item::Slot(..) | Item::Ready(_) | Item::Live(_) | Item::Abort => ByteLimit::kib(64),
            // About 150 bytes for each of 10,000 vantages.
            Item::Start => ByteLimit::mib(8),
            Item::Tier(..) => ByteLimit::mib(8),
            Item::Report(_) | Item::Log(_) => ByteLimit::mib(64),
            Item::Inputs(_) | Item::Combined(_) | Item::Page(_) => ByteLimit::mib(256),
        }
    }
}

/// The folders of a run that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    /// Claims.
    Slots,
    /// What claims found out.
    Ready,
    /// Heartbeats.
    Live,
    /// Tiers.
    Tiers,
    /// Reports.
    Reports,
}

impl Folder {
    const fn name(self) -> &'static str {
        match self {
            Folder::Slots => "slots",
            Folder::Ready => "ready",
            Folder::Live => "live",
            Folder::Tiers => "tiers",
            Folder::Reports => "reports",
        }
    }

    /// Everything in it.
    pub fn list(self, run: &RunId) -> List {
        List::all(format!("{RUNS}{run}/{}/", self.name()))
    }

    /// What in it is one slot's ([`Folder::Tiers`] has a folder for each instead).
    pub fn list_of(self, run: &RunId, vantage: &Vantage) -> List {
        List::all(format!("{RUNS}{run}/{}/{}.", self.name(), vantage.name()))
    }

    /// What in it is of any of a vantage's several slots.
    pub fn list_of_slots(self, run: &RunId, vantage: &Vantage) -> List {
        List::all(format!(
            "{RUNS}{run}/{}/{}",
            self.name(),
            vantage.slots_prefix()
        ))
    }
}

/// Everything of a run.
pub fn list_run(run: &RunId) -> List {
    List::all(format!("{RUNS}{run}/"))
}

/// What of a run is in no folder, and its folders.
pub fn list_folders(run: &RunId) -> List {
    List::folder(format!("{RUNS}{run}/"))
}

/// All revisions of a run's combined report.
pub fn list_combined(run: &RunId) -> List {
    List::all(format!("{RUNS}{run}/combined."))
}

/// All runs, as folders.
pub fn list_runs() -> List {
    List::folder(RUNS)
}

/// The runs whose folders a listing of [`list_runs`] found, in its order.
pub fn runs_of(listing: &Listing) -> Vec<RunId> {
    let run = |folder: &String| folder.strip_prefix(RUNS)?.strip_suffix('/')?.parse().ok();
    listing.prefixes.iter().filter_map(run).collect()
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(RUNS)?;
        f.write_str(self.run.as_str())?;
        f.write_str("/")?;
        match &self.item {
            Item::Job => f.write_str("job.json"),
            Item::Ticket(v) => write!(f, "tickets/{}.json", v.name()),
            Item::Slot(v, k) => write!(f, "slots/{}.{k}.json", v.name()),
            Item::Ready(claim) => write!(f, "ready/{claim}.json"),
            Item::Start => f.write_str("start.json"),
            Item::Live(v) => write!(f, "live/{}.json", v.name()),
            Item::Tier(v, n) => write!(f, "tiers/{}/{n}.json", v.name()),
            Item::Report(v) => write!(f, "reports/{}.report.json", v.name()),
            Item::Log(v) => write!(f, "logs/{}.jsonl.gz", v.name()),
            Item::Abort => f.write_str("abort.json"),
            Item::Inputs(r) => write!(f, "inputs.{}.json", r.0),
            Item::Combined(Revision::FIRST) => f.write_str("combined.json"),
            Item::Combined(r) => write!(f, "combined.{}.json", r.0),
            Item::Page(Revision::FIRST) => f.write_str("report.html"),
            Item::Page(r) => write!(f, "report.{}.html", r.0),
        }
    }
}

/// A key that is none of a run's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no object of a run")]
pub struct RunKeyError(String);

impl FromStr for RunKey {
    type Err = RunKeyError;

    fn from_str(text: &str) -> Result<Self, RunKeyError> {
        parse(text).ok_or_else(|| RunKeyError(text.chars().take(200).collect()))
    }
}

/// Each key has one spelling: what would be written differently (`inputs.01.json`) is none.
fn parse(text: &str) -> Option<RunKey> {
    let (run, rest) = text.strip_prefix(RUNS)?.split_once('/')?;
    let item = match rest.split_once('/') {
        None => top_level(rest)?,
        Some(("tickets", name)) => Item::Ticket(slot(name.strip_suffix(".json")?)?),
        Some(("slots", name)) => {
            let (vantage, k) = name.strip_suffix(".json")?.rsplit_once('.')?;
            Item::Slot(slot(vantage)?, number(k)?)
        }
        Some(("ready", name)) => Item::Ready(name.strip_suffix(".json")?.parse().ok()?),
        Some(("live", name)) => Item::Live(slot(name.strip_suffix(".json")?)?),
        Some(("tiers", name)) => {
            let (vantage, n) = name.strip_suffix(".json")?.split_once('/')?;
            Item::Tier(slot(vantage)?, number(n)?)
        }
        Some(("reports", name)) => Item::Report(slot(name.strip_suffix(".report.json")?)?),
        Some(("logs", name)) => Item::Log(slot(name.strip_suffix(".jsonl.gz")?)?),
        Some(_) => return None,
    };
    Some(RunKey {
        run: run.parse().ok()?,
        item,
    })
}

/// The slot of this name.
fn slot(name: &str) -> Option<Vantage> {
    Vantage::from_name(name)
}

fn top_level(name: &str) -> Option<Item> {
    let revision = |r: &str| number(r).filter(|r| *r > 0).map(Revision);
    let later = |r: &str| revision(r).filter(|r| *r != Revision::FIRST);
    Some(match name {
        "job.json" => Item::Job,
        "start.json" => Item::Start,
        "abort.json" => Item::Abort,
        "combined.json" => Item::Combined(Revision::FIRST),
        "report.html" => Item::Page(Revision::FIRST),
        _ => match name.split_once('.')? {
            ("inputs", rest) => Item::Inputs(revision(rest.strip_suffix(".json")?)?),
            ("combined", rest) => Item::Combined(later(rest.strip_suffix(".json")?)?),
            ("report", rest) => Item::Page(later(rest.strip_suffix(".html")?)?),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items() -> impl Strategy<Value = Item> {
        let vantage = || {
            "[a-z0-9][a-z0-9-]{0,39}(/(0|[1-9][0-9]{0,2}))?"
                .prop_map(|v| v.parse::<Vantage>().unwrap())
        };
        let revision = || (1u32..=u32::MAX).prop_map(Revision);
        prop_oneof![
            Just(Item::Job),
            vantage().prop_map(Item::Ticket),
            (vantage(), any::<u32>()).prop_map(|(v, k)| Item::Slot(v, k)),
            (vantage(), any::<u32>(), any::<u64>())
                .prop_map(|(v, k, n)| Item::Ready(ClaimId::new(&v, k, n))),
            Just(Item::Start),
            vantage().prop_map(Item::Live),
            (vantage(), any::<u32>()).prop_map(|(v, n)| Item::Tier(v, n)),
            vantage().prop_map(Item::Report),
            vantage().prop_map(Item::Log),
            Just(Item::Abort),
            revision().prop_map(Item::Inputs),
            revision().prop_map(Item::Combined),
            revision().prop_map(Item::Page),
        ]
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(run in "[a-z0-9][a-z0-9-]{0,63}", item in items()) {
            let key = RunKey::new(&run.parse().unwrap(), item);
            prop_assert_eq!(key.to_string().parse::<RunKey>(), Ok(key.clone()));
            prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key.key()));
        }

        #[test]
        fn what_is_read_is_built_back(text in "runs/[a-z0-9-]{1,3}/(slots|ready|tiers|live|reports|inputs|combined|report|logs|tickets)[/.][a-z0-9./_+-]{0,12}(json|html|gz)?") {
            if let Ok(key) = text.parse::<RunKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn a_slot_is_no_folder_and_no_other_s_prefix() {
        let run = "r".parse().unwrap();
        let key = |label: &str, item: fn(Vantage) -> Item| {
            RunKey::new(&run, item(label.parse().unwrap())).to_string()
        };
        assert_eq!(key("iad/1", Item::Live), "runs/r/live/iad_1.json");
        assert_eq!(
            key("iad/1", |v| Item::Tier(v, 2)),
            "runs/r/tiers/iad_1/2.json"
        );
        let iad: Vantage = "iad".parse().unwrap();
        let mine = Folder::Slots
            .list_of(&run, &"iad/1".parse().unwrap())
            .prefix;
        let all = Folder::Slots.list_of_slots(&run, &iad).prefix;
        for (label, in_all, is_mine) in [
            ("iad/1", true, true),
            ("iad/10", true, false),
            ("iad", false, false),
            ("iad-1", false, false),
        ] {
            let key = key(label, |v| Item::Slot(v, 0));
            assert_eq!(key.starts_with(&all), in_all, "{key}");
            assert_eq!(key.starts_with(&mine), is_mine, "{key}");
        }
    }

    #[test]
    fn each_key_has_one_spelling() {
        for text in [
            "runs/r/inputs.0.json",
            "runs/r/inputs.01.json",
            "runs/r/inputs.+1.json",
            "runs/r/combined.1.json",
            "runs/r/slots/iad.json",
            "runs/r/slots/iad.00.json",
            "runs/r/ready/iad.0.json",
            "runs/r/ready/iad.+0.0123456789ab.json",
            "runs/r/ready/iad.0.0123456789AB.json",
            "runs/r/tiers/iad/../1.json",
            "runs/r/live/iad/1.json",
            "runs/r/live/iad_01.json",
            "runs/r/tiers/iad/1/0.json",
            "runs/r/job.json/",
            "runs//job.json",
            "job.json",
        ] {
            assert!(text.parse::<RunKey>().is_err(), "{text}");
        }
    }
}
