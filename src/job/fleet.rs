//! Who takes part: vantages, how many probers each has, what each is there for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::id::PROBERS_MAX;
use super::{JobError, Vantage};

/// The most slots of one run.
const SLOTS_MAX: u32 = 10_000;

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fleet {
    /// Exactly these slots: a vantage's label where it has one prober, else one for each.
    Vantages(BTreeSet<Vantage>),
    /// This many vantages of one prober each, whatever their labels.
    Expect(u32),
}

impl Fleet {
    /// How many probers take part.
    pub fn size(&self) -> u32 {
        match self {
            Fleet::Vantages(v) => u32::try_from(v.len()).unwrap_or(u32::MAX),
            Fleet::Expect(n) => *n,
        }
    }

    /// Whether a slot is one of the run's.
    pub fn admits(&self, slot: &Vantage) -> bool {
        match self {
            Fleet::Vantages(v) => v.contains(slot),
            Fleet::Expect(_) => slot.prober().is_none(),
        }
    }

    /// All slots, in order, where the job names them.
    pub fn named(&self) -> Vec<Vantage> {
        match self {
            Fleet::Vantages(slots) => slots.iter().cloned().collect(),
            Fleet::Expect(_) => vec![],
        }
    }

    /// The slots that a prober of this label may take, in their order: its own, or any of its
    /// vantage when it knows no more than that.
    pub fn slots(&self, label: &Vantage) -> Vec<Vantage> {
        match self {
            _ if self.admits(label) => vec![label.clone()],
            Fleet::Vantages(v) if label.prober().is_none() => {
                let mut slots: Vec<_> = v.iter().filter(|s| s.place() == *label).cloned().collect();
                slots.sort_by_key(Vantage::prober);
                slots
            }
            Fleet::Vantages(_) | Fleet::Expect(_) => vec![],
        }
    }

    /// How many probers the vantage of this label has.
    pub fn probers(&self, label: &Vantage) -> u32 {
        match self {
            Fleet::Vantages(v) => {
                let place = label.place_str();
                let own = v.iter().filter(|slot| slot.place_str() == place).count();
                u32::try_from(own.max(1)).unwrap_or(u32::MAX)
            }
            Fleet::Expect(_) => 1,
        }
    }
}

/// What a vantage's probers are there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VantageRole {
    /// They publish and subscribe.
    #[default]
    Both,
    /// They publish alone.
    Publish,
    /// They subscribe alone.
    Subscribe,
}

impl VantageRole {
    /// The name that flags and job files use.
    pub const fn name(self) -> &'static str {
        match self {
            VantageRole::Both => "both",
            VantageRole::Publish => "publish",
            VantageRole::Subscribe => "subscribe",
        }
    }

    /// Whether its vantage has publishers.
    pub const fn publishes(self) -> bool {
        matches!(self, VantageRole::Both | VantageRole::Publish)
    }

    /// Whether its vantage has subscribers.
    pub const fn subscribes(self) -> bool {
        matches!(self, VantageRole::Both | VantageRole::Subscribe)
    }
}

/// A vantage as flags and job files name it: `iad`, `iad:2` with two probers, `iad=subscribe`,
/// `iad:2=subscribe`. A job file may also say
/// `{"label": "iad", "probers": 2, "role": "subscribe"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VantageSpec {
    /// Its label.
    pub label: Vantage,
    /// How many probers it has.
    pub probers: u32,
    /// What they are there for.
    pub role: VantageRole,
}

/// Why a text names no vantage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VantageSpecError {
    /// Its label is none, or a slot's.
    #[error("{0}")]
    Label(String),
    /// A slot's label instead of a vantage's.
    #[error("`{0}` is one prober's slot; name the vantage and how many probers it has, like {place}:2", place = .0.place())]
    Slot(Vantage),
    /// Not a number of probers.
    #[error(
        "vantage `{label}` can't have `{probers}` probers; write 1 to {PROBERS_MAX}, like {label}:2"
    )]
    Probers {
        /// The vantage.
        label: Vantage,
        /// As written.
        probers: String,
    },
    /// Not a role.
    #[error(
        "vantage `{label}` can't have the role `{role}`; write publish, subscribe or both, like {label}=subscribe"
    )]
    Role {
        /// The vantage.
        label: Vantage,
        /// As written.
        role: String,
    },
}

impl From<Vantage> for VantageSpec {
    /// One prober that publishes and subscribes.
    fn from(label: Vantage) -> Self {
        VantageSpec {
            label,
            probers: 1,
            role: VantageRole::Both,
        }
    }
}

impl VantageSpec {
    fn new(
        label: &str,
        probers: Option<&str>,
        role: Option<&str>,
    ) -> Result<Self, VantageSpecError> {
        let parsed: Result<Vantage, _> = label.parse();
        let label = parsed.map_err(|e| VantageSpecError::Label(e.to_string()))?;
        if label.prober().is_some() {
            return Err(VantageSpecError::Slot(label));
        }
        let mut spec = VantageSpec::from(label);
        if let Some(text) = probers {
            let probers = text.parse().ok();
            let probers = probers.filter(|n| (1..=PROBERS_MAX).contains(n));
            spec.probers = probers.ok_or_else(|| VantageSpecError::Probers {
                label: spec.label.clone(),
                probers: text.to_owned(),
            })?;
        }
        if let Some(text) = role {
            let roles = [
                VantageRole::Both,
                VantageRole::Publish,
                VantageRole::Subscribe,
            ];
            let role = roles.into_iter().find(|role| role.name() == text);
            spec.role = role.ok_or_else(|| VantageSpecError::Role {
                label: spec.label.clone(),
                role: text.to_owned(),
            })?;
        }
        Ok(spec)
    }
}

impl FromStr for VantageSpec {
    type Err = VantageSpecError;

    fn from_str(text: &str) -> Result<Self, VantageSpecError> {
        let (rest, role) = match text.split_once('=') {
            Some((rest, role)) => (rest, Some(role)),
            None => (text, None),
        };
        let (label, probers) = match rest.split_once(':') {
            Some((label, probers)) => (label, Some(probers)),
            None => (rest, None),
        };
        VantageSpec::new(label, probers, role)
    }
}

impl fmt::Display for VantageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.label.fmt(f)?;
        if self.probers != 1 {
            write!(f, ":{}", self.probers)?;
        }
        match self.role {
            VantageRole::Both => Ok(()),
            role => write!(f, "={}", role.name()),
        }
    }
}

impl Serialize for VantageSpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VantageSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            label: String,
            probers: Option<serde_json::Value>,
            role: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a vantage is a text like \"iad\" or \"iad:2=subscribe\", or an object with `label`, and perhaps `probers` and `role`"
        )]
        enum Written {
            Text(String),
            Fields(Fields),
        }
        let spec = match Written::deserialize(d)? {
            Written::Text(text) => text.parse(),
            Written::Fields(Fields {
                label,
                probers,
                role,
            }) => {
                let probers = probers.map(|n| n.to_string());
                VantageSpec::new(&label, probers.as_deref(), role.as_deref())
            }
        };
        spec.map_err(de::Error::custom)
    }
}

/// The fleet and the roles that are not [`VantageRole::Both`], by what a spec names.
///
/// # Errors
/// When nobody is named, somebody twice, too many, or a number that contradicts the names.
pub(super) fn fleet(
    named: Option<Vec<VantageSpec>>,
    expect: Option<u32>,
) -> Result<(Fleet, BTreeMap<Vantage, VantageRole>), JobError> {
    let range = |what, value: u64| JobError::Range {
        what,
        value: value.to_string(),
        range: "1 to 10000",
    };
    match (named, expect) {
        (Some(named), expect) if !named.is_empty() => {
            let (mut slots, mut roles) = (BTreeSet::new(), BTreeMap::new());
            let mut labels = BTreeSet::new();
            let wanted: u64 = named.iter().map(|spec| u64::from(spec.probers)).sum();
            if wanted > u64::from(SLOTS_MAX) {
                return Err(range("the number of probers", wanted));
            }
            for spec in named {
                if !labels.insert(spec.label.clone()) {
                    return Err(JobError::VantageTwice(spec.label));
                }
                slots.extend(spec.label.slots(spec.probers));
                if spec.role != VantageRole::Both {
                    roles.insert(spec.label, spec.role);
                }
            }
            match expect {
                Some(n) if usize::try_from(n).ok() != Some(labels.len()) => {
                    Err(JobError::FleetContradicts {
                        expect: n,
                        named: labels.len(),
                    })
                }
                _ => Ok((Fleet::Vantages(slots), roles)),
            }
        }
        (_, Some(n)) if (1..=SLOTS_MAX).contains(&n) => Ok((Fleet::Expect(n), BTreeMap::new())),
        (_, Some(n)) => Err(range("expect", n.into())),
        _ => Err(JobError::NoFleet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> VantageSpec {
        text.parse().unwrap()
    }

    #[test]
    fn a_vantage_is_named_with_its_probers_and_its_role() {
        for (text, json) in [
            ("iad", r#"{"label": "iad"}"#),
            ("iad:2", r#"{"label": "iad", "probers": 2}"#),
            ("iad=publish", r#"{"label": "iad", "role": "publish"}"#),
            (
                "iad:2=subscribe",
                r#"{"label": "iad", "probers": 2, "role": "subscribe"}"#,
            ),
        ] {
            assert_eq!(spec(text).to_string(), text);
            assert_eq!(
                serde_json::from_str::<VantageSpec>(json).unwrap(),
                spec(text)
            );
            let written = serde_json::to_string(&spec(text)).unwrap();
            assert_eq!(
                serde_json::from_str::<VantageSpec>(&written).unwrap(),
                spec(text)
            );
        }
        assert_eq!(spec("iad:1=both"), spec("iad"));
        for (text, says) in [
            (
                "iad/1",
                "name the vantage and how many probers it has, like iad:2",
            ),
            ("iad:0", "can't have `0` probers"),
            ("iad:1001", "1 to 1000"),
            ("iad:", "can't have `` probers"),
            ("iad=watch", "can't have the role `watch`"),
            ("iad=subscribe:2", "can't have the role `subscribe:2`"),
            ("IAD", "not a vantage label"),
        ] {
            let error = text.parse::<VantageSpec>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (json, says) in [
            (
                r#"{"label": "iad", "probers": -1}"#,
                "can't have `-1` probers",
            ),
            (
                r#"{"label": "iad", "probers": "2"}"#,
                r#"can't have `"2"` probers"#,
            ),
            (r#"{"probers": 2}"#, "a vantage is a text"),
            (r#"{"label": "iad", "size": 2}"#, "a vantage is a text"),
            ("7", "a vantage is a text"),
        ] {
            let error = serde_json::from_str::<VantageSpec>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn each_prober_has_a_slot() {
        let named = ["iad:2", "sjc", "fra:11=publish"].map(spec).to_vec();
        let (fleet, roles) = fleet(Some(named), None).unwrap();
        assert_eq!(fleet.size(), 2 + 1 + 11);
        assert_eq!(
            roles,
            [("fra".parse().unwrap(), VantageRole::Publish)].into()
        );
        let slots = |label: &str| {
            let slots = fleet.slots(&label.parse().unwrap());
            slots.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(slots("iad"), ["iad/0", "iad/1"]);
        assert_eq!(slots("iad/1"), ["iad/1"]);
        assert_eq!(slots("sjc"), ["sjc"]);
        assert_eq!(
            slots("fra").last().unwrap(),
            "fra/10",
            "by number, not by letter"
        );
        for none in ["iad/2", "sjc/0", "ia", "lhr"] {
            assert!(slots(none).is_empty(), "{none}");
        }
        let probers = |label: &str| fleet.probers(&label.parse().unwrap());
        assert_eq!(
            [probers("iad/1"), probers("sjc"), probers("fra")],
            [2, 1, 11]
        );
        let open = Fleet::Expect(2);
        assert_eq!(open.slots(&"sjc".parse().unwrap()).len(), 1);
        assert!(open.slots(&"sjc/0".parse().unwrap()).is_empty());
    }

    #[test]
    fn who_is_named_twice_or_too_often_is_refused() {
        let wrong = |named: &[&str], expect| {
            let named = named.iter().map(|text| spec(text)).collect();
            fleet(Some(named), expect).unwrap_err().to_string()
        };
        assert!(wrong(&["iad", "iad:2"], None).contains("`iad` is named twice"));
        let many: Vec<String> = (0..11).map(|i| format!("v{i}:1000")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(wrong(&many, None).contains("11000"));
        assert!(wrong(&["iad:2"], Some(2)).contains("contradicts"));
    }
}
