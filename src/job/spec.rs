//! The raw form of a job, as a file or the flags give it: everything optional, unknown keys refused.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::cost::Prices;

use super::{Layout, Ramp, Span, Threshold, Timestamp, VantageSpec, VideoCodec};

/// What a user asks for, before defaults and checks. Flags override the file's keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobSpec {
    /// The SFU's URL (`wss://…`).
    pub url: Option<String>,
    /// The room that all vantages share; made up per run when absent.
    pub room: Option<String>,
    /// Use a room that exists already. Such a room is never deleted.
    pub existing_room: Option<bool>,
    /// The vantages that take part, each with its probers and its role.
    pub vantages: Option<Vec<VantageSpec>>,
    /// How many vantages take part, whatever their labels.
    pub expect: Option<u32>,
    /// Subscribers of each tier.
    pub ramp: Option<Ramp>,
    /// The ramp's numbers are totals over all vantages.
    pub ramp_total: Option<bool>,
    /// How long each tier is measured.
    pub duration: Option<Span>,
    /// How long each tier has to join before it is measured.
    pub settle: Option<Span>,
    /// What subscribers take.
    pub layout: Option<Layout>,
    /// Video publishers per vantage.
    pub video_publishers: Option<u32>,
    /// Audio publishers per vantage.
    pub audio_publishers: Option<u32>,
    /// Publish three simulcast layers.
    pub simulcast: Option<bool>,
    /// How video is encoded.
    pub video_codec: Option<VideoCodec>,
    /// Measure over TCP from where UDP is closed.
    pub allow_tcp: Option<bool>,
    /// What decides whether a tier held.
    #[serde(alias = "threshold")]
    pub thresholds: Option<Vec<Threshold>>,
    /// Recommended level as a percentage of the capacity. A file may say `70` or `"70%"`.
    #[serde(alias = "headroom", deserialize_with = "percent")]
    pub headroom_percent: Option<u32>,
    /// The most participants of the whole fleet.
    pub max_participants: Option<u32>,
    /// Joins per second and prober.
    pub join_rate: Option<u32>,
    /// How wide a clock's interval may be before its vantage is marked.
    pub clock_width: Option<Span>,
    /// What things cost; muster's own list when it is absent.
    pub prices: Option<Prices>,
    /// The most that the run may be estimated to cost, in the currency of the prices.
    pub max_cost: Option<f64>,
    /// How long to wait for the slots.
    pub timeout: Option<Span>,
    /// How long after the last window reports may come.
    pub grace: Option<Span>,
    /// A start that is fixed when the job is written.
    pub start_at: Option<Timestamp>,
}

impl JobSpec {
    /// This spec, with every key that `over` sets taken from `over`.
    pub fn overridden_by(self, over: JobSpec) -> JobSpec {
        JobSpec {
            url: over.url.or(self.url),
            room: over.room.or(self.room),
            existing_room: over.existing_room.or(self.existing_room),
            vantages: over.vantages.or(self.vantages),
            expect: over.expect.or(self.expect),
            ramp: over.ramp.or(self.ramp),
            ramp_total: over.ramp_total.or(self.ramp_total),
            duration: over.duration.or(self.duration),
            settle: over.settle.or(self.settle),
            layout: over.layout.or(self.layout),
            video_publishers: over.video_publishers.or(self.video_publishers),
            audio_publishers: over.audio_publishers.or(self.audio_publishers),
            simulcast: over.simulcast.or(self.simulcast),
            video_codec: over.video_codec.or(self.video_codec),
            allow_tcp: over.allow_tcp.or(self.allow_tcp),
            thresholds: over.thresholds.or(self.thresholds),
            headroom_percent: over.headroom_percent.or(self.headroom_percent),
            max_participants: over.max_participants.or(self.max_participants),
            join_rate: over.join_rate.or(self.join_rate),
            clock_width: over.clock_width.or(self.clock_width),
            prices: over.prices.or(self.prices),
            max_cost: over.max_cost.or(self.max_cost),
            timeout: over.timeout.or(self.timeout),
            grace: over.grace.or(self.grace),
            start_at: over.start_at.or(self.start_at),
        }
    }
}

/// A percentage as a number or as the flag has it.
fn percent<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
        Other(serde_json::Value),
    }
    let wrong = |text: String| {
        let text = format!("headroom {text} is no percentage; write 70 or \"70%\"");
        Err(de::Error::custom(text))
    };
    match Option::<Written>::deserialize(d)? {
        None => Ok(None),
        Some(Written::Number(number)) => Ok(Some(number)),
        Some(Written::Text(text)) => match text.strip_suffix('%').unwrap_or(&text).parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => wrong(format!("`{text}`")),
        },
        Some(Written::Other(value)) => wrong(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_say_it_as_the_flags_do() {
        let read = |text: &str| serde_json::from_str::<JobSpec>(text).map_err(|e| e.to_string());
        let plain = r#"{"ramp": [10, 25], "thresholds": ["loss<1%"], "headroom_percent": 80}"#;
        let flags = r#"{"ramp": "10,25", "threshold": ["loss<1%"], "headroom": "80%"}"#;
        assert_eq!(read(flags), read(plain));
        assert_eq!(read(plain).unwrap().headroom_percent, Some(80));
        for (wrong, says) in [
            (r#"{"headroom": "most"}"#, "`most`"),
            (r#"{"headroom": -1}"#, "-1"),
            (r#"{"ramp": "10,,5"}"#, "like 10,25,50"),
            (r#"{"ramp": [10, -1]}"#, "tier 2 of ramp `10,-1` is `-1`"),
            (r#"{"ramp": 10}"#, "[10, 25, 50]"),
            (r#"{"threshold": [], "thresholds": []}"#, "duplicate"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
