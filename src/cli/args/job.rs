//! What to do, by flags and a job file.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cost::Prices;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{JobSpec, Layout, Ramp, Span, Threshold, Timestamp, VantageSpec, VideoCodec};

/// The most bytes a job file may have.
const JOB_FILE_MAX: u64 = 1 << 20;

/// A job's flags. Each overrides its key in the job file. What some default to depends on the
/// command, which adds it to the help.
#[derive(Args, Debug)]
#[command(next_help_heading = "Job")]
pub struct JobArgs {
    /// Job file in JSON, with most of these flags as keys (README.md lists them); unknown keys are
    /// errors
    #[arg(long, value_name = "FILE")]
    pub job: Option<PathBuf>,

    /// The SFU, like wss://sfu.example.com
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Subscribers of each tier, per vantage
    #[arg(long, value_name = "TIERS", allow_hyphen_values = true)]
    pub ramp: Option<Ramp>,

    /// The ramp's numbers are totals, divided over the vantages
    #[arg(long)]
    pub ramp_total: bool,

    /// How long each tier is measured, in whole seconds up to 1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub duration: Option<Span>,

    /// How long each tier has to join before it is measured, in whole seconds up to 10m
    /// [default: 5s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub settle: Option<Span>,

    /// The room that all vantages share [default: one of its own per run]
    #[arg(long, value_name = "NAME")]
    pub room: Option<String>,

    /// Use a room that exists already; it is never deleted
    #[arg(long)]
    pub existing_room: bool,

    /// What subscribers take: speaker, 3x3, 4x4 or 5x5 [default: speaker]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,

    /// Video publishers per vantage, beside the subscribers [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub video_publishers: Option<u32>,

    /// Audio publishers per vantage; a publisher of both is one participant [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub audio_publishers: Option<u32>,

    /// Publish video in one layer instead of three
    #[arg(long)]
    pub no_simulcast: bool,

    /// How video is encoded: vp8 or h264 [default: vp8]
    #[arg(long, value_name = "CODEC")]
    pub video_codec: Option<VideoCodec>,

    /// What a tier must meet to hold, like loss<1% or rtt_p95<200ms; repeatable
    /// [default: connected>=99%, receiving>=99%, loss<1%, quality>=good,
    /// rtt_p95<baseline*2+100ms]
    #[arg(long, value_name = "CONDITION")]
    pub threshold: Vec<Threshold>,

    /// Recommended level as a share of the capacity, in percent [default: 70%]
    #[arg(long, value_name = "PERCENT", value_parser = percent, allow_negative_numbers = true)]
    pub headroom: Option<u32>,

    /// The most participants of the whole fleet at once [default: 1000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_participants: Option<u32>,

    /// Joins per second of each prober [default: 20]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub join_rate: Option<u32>,

    /// How wide the interval may be in which a clock's offset is known to lie, before its vantage
    /// is marked in the report and goes by the bucket's clock; from 1ms to 10s [default: 128ms]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub clock_width: Option<Span>,

    /// File with prices, as src/cost/prices.json has them [default: AWS's of 2024]
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,

    /// Refuse a run that is estimated to cost more, in the currency of the prices
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    pub max_cost: Option<f64>,

    /// How long to wait for all vantages, up to 24h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub timeout: Option<Span>,

    /// How long reports may come after the last window, up to 1h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub grace: Option<Span>,

    /// Measure over TCP from where UDP is closed, instead of taking no part from there
    #[arg(long)]
    pub allow_tcp: bool,

    /// Put more than 50 participants of a role on LiveKit Cloud: you have their agreement
    #[arg(long)]
    pub cloud_agreement: bool,

    /// Start although another run is live at the same SFU: the two measure each other
    #[arg(long)]
    pub beside_others: bool,
}

impl JobArgs {
    /// What the flags say, over what the job file says, over `defaults`.
    pub fn spec(&self, defaults: JobSpec) -> Result<JobSpec, Error> {
        let file = match &self.job {
            Some(path) => read(path)?,
            None => JobSpec::default(),
        };
        let mut flags = self.flags();
        flags.prices = self.prices.as_deref().map(prices).transpose()?;
        Ok(defaults.overridden_by(file).overridden_by(flags))
    }

    fn flags(&self) -> JobSpec {
        JobSpec {
            url: self.url.clone(),
            room: self.room.clone(),
            existing_room: self.existing_room.then_some(true),
            ramp: self.ramp.clone(),
            ramp_total: self.ramp_total.then_some(true),
            duration: self.duration,
            settle: self.settle,
            layout: self.layout,
            video_publishers: self.video_publishers,
            audio_publishers: self.audio_publishers,
            simulcast: self.no_simulcast.then_some(false),
            video_codec: self.video_codec,
            allow_tcp: self.allow_tcp.then_some(true),
            thresholds: (!self.threshold.is_empty()).then(|| self.threshold.clone()),
            headroom_percent: self.headroom,
            max_participants: self.max_participants,
            join_rate: self.join_rate,
            max_cost: self.max_cost,
            clock_width: self.clock_width,
            timeout: self.timeout,
            grace: self.grace,
            ..JobSpec::default()
        }
    }
}

/// Who takes part.
#[derive(Args, Debug)]
#[command(next_help_heading = "Job")]
pub struct FleetArgs {
    /// Vantages that take part, with commas, like iad,sjc,lhr; iad:2 has two probers, and
    /// iad=publish or iad:2=subscribe does that alone
    #[arg(long, value_name = "VANTAGES", value_delimiter = ',')]
    pub vantages: Option<Vec<VantageSpec>>,

    /// How many vantages take part, whatever their labels
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub expect: Option<u32>,
}

impl FleetArgs {
    /// `spec` with these vantages. Either flag replaces both keys of a job file.
    pub fn over(&self, spec: JobSpec) -> JobSpec {
        if self.vantages.is_none() && self.expect.is_none() {
            return spec;
        }
        JobSpec {
            vantages: self.vantages.clone(),
            expect: self.expect,
            ..spec
        }
    }
}

/// A start that is fixed when the job is written.
#[derive(Args, Debug)]
#[command(next_help_heading = "Job")]
pub struct StartArgs {
    /// Start this long after the job is written, without waiting for slots
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "start_at"
    )]
    pub start_in: Option<Span>,

    /// Start at this time (RFC 3339), without waiting for slots
    #[arg(long, value_name = "TIME")]
    pub start_at: Option<Timestamp>,
}

impl StartArgs {
    /// `spec` with this start, for a job that is written at `now`.
    pub fn over(&self, spec: JobSpec, now: Timestamp) -> JobSpec {
        let at = self.start_in.map(|d| now + d.0).or(self.start_at);
        JobSpec {
            start_at: at.or(spec.start_at),
            ..spec
        }
    }
}

fn read(path: &Path) -> Result<JobSpec, Error> {
    let fail = |why: String| {
        let text = format!("--job {}: {why}", path.display());
        Error::new(Exit::BadConfiguration, text)
    };
    let size = path.metadata().map_err(|e| fail(e.to_string()))?.len();
    if size > JOB_FILE_MAX {
        return Err(fail(format!(
            "{size} bytes are no job; the limit is {JOB_FILE_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| fail(e.to_string()))
}

fn prices(path: &Path) -> Result<Prices, Error> {
    let read = || {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        Prices::read(&text).map_err(|e| e.to_string())
    };
    read().map_err(|why| {
        let text = format!("--prices {}: {why}", path.display());
        Error::new(Exit::BadConfiguration, text)
    })
}

fn percent(text: &str) -> Result<u32, String> {
    text.trim_end_matches('%')
        .parse()
        .ok()
        .filter(|p| (1..=100).contains(p))
        .ok_or_else(|| "write a percentage from 1% to 100%".to_owned())
}
