//! `muster bench capacity`.

use std::mem;
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;

use super::span::span;
use super::{SERVER_HELP, finding, line, measured, server};
use crate::bench::capacity::{self, Capacity, Moment, Setup, WARM_UP, duration_min};
use crate::cli::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::prober::descriptors;
use crate::render::table::paragraph;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Participants in one process, publishers included
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    participants: u32,

    /// Rooms; each has one publisher of audio, and the rest take it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,

    /// Joins per second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    join_rate: u32,

    /// How long they stay, after half a minute to warm up
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = length)]
    duration: Duration,

    /// Time between two readings
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = interval)]
    interval: Duration,

    #[arg(long, value_name = "PATH", help = SERVER_HELP)]
    livekit_server: Option<PathBuf>,

    /// Write the result to this file as JSON as well
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

fn interval(text: &str) -> Result<Duration, String> {
    span(text, 1)
}

/// How long is too short depends on the interval.
fn length(text: &str) -> Result<Duration, String> {
    span(text, 0)
}

impl Args {
    /// Fails on what can't be had, before anything starts.
    fn check(&self) -> Result<(), Error> {
        if self.rooms >= self.participants {
            let text = format!(
                "--rooms {} leaves nobody of --participants {} to receive: each room's first one \
                 publishes; make it fewer rooms",
                self.rooms, self.participants
            );
            return Err(Error::new(Exit::BadConfiguration, text));
        }
        let least = duration_min(self.interval);
        if self.duration < least {
            let text = format!(
                "--duration {} has too few readings at --interval {}: make it {} at least, or read more \
                 often",
                format_duration(self.duration),
                format_duration(self.interval),
                format_duration(least)
            );
            return Err(Error::new(Exit::BadConfiguration, text));
        }
        let (rooms, all) = (u64::from(self.rooms), u64::from(self.participants));
        descriptors::provide(all - rooms, rooms)?;
        output::check_path(self.json.as_deref())
    }
}

/// Lets them join and stay, and says whether the process was flat.
pub async fn run(args: Args) -> Result<Exit, Error> {
    args.check()?;
    let setup = Setup {
        livekit_server: server(args.livekit_server.as_deref()).await?,
        participants: args.participants,
        rooms: args.rooms,
        join_rate: args.join_rate,
        duration: args.duration,
        interval: args.interval,
    };
    let say = |step: &str| tracing::info!("{step}");
    let mut shown = Ok(());
    // The heads come with the first row: a bench that can't begin prints no table.
    let mut heads = heads() + "\n";
    let show = |moment: &Moment| {
        if shown.is_ok() {
            shown = output::print(&(mem::take(&mut heads) + &row(moment)));
        }
    };
    let capacity = measured(capacity::measure(&setup, say, show)).await?;
    shown?;
    output::print(&text(&capacity))?;
    if let Some(path) = &args.json {
        output::keep(path, &line(&capacity)?)?;
    }
    Ok(finding(&capacity.findings))
}

/// Columns with their widths: lines come one by one, for minutes.
const COLUMNS: [(&str, usize); 9] = [
    ("s", 6),
    ("connected", 9),
    ("MB", 7),
    ("files", 6),
    ("threads", 7),
    ("tasks", 6),
    ("packets/s", 9),
    ("loss %", 6),
    ("CPU %", 6),
];

fn columns(cells: [String; 9]) -> String {
    let mut line = String::new();
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        line.push_str(&format!("{cell:>width$}  "));
    }
    line.trim_end().to_owned()
}

fn heads() -> String {
    columns(COLUMNS.map(|(head, _)| head.to_owned()))
}

fn row(m: &Moment) -> String {
    columns([
        format!("{:.0}", m.at_s),
        m.connected.to_string(),
        format!("{:.1}", m.resident_bytes as f64 / 1e6),
        m.descriptors.to_string(),
        m.threads.to_string(),
        m.tasks.to_string(),
        format!("{:.0}", m.packets_per_second),
        m.lost_percent
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent:.3}")),
        format!("{:.1}", m.cpu_percent),
    ])
}

fn text(capacity: &Capacity) -> String {
    let mut out = String::from("\n");
    for (cause, n) in &capacity.failures {
        out.push_str(&format!("{n} joins failed: {cause}\n"));
    }
    for growth in &capacity.growths {
        out.push_str(&paragraph("", 0, &growth.text()));
    }
    out.push('\n');
    super::verdict(&capacity.findings, "flat, and all were there", &mut out);
    let load = format!(
        "{} participants in one process over {} rooms, one of each room publishing 2.5 packets a \
         second of audio; readings from {} s after the last join. {} Packets are those sent and \
         those received. CPU is in percent of one processor, of the participants' process alone.",
        capacity.participants,
        capacity.rooms,
        WARM_UP.as_secs(),
        capacity.conditions.text(),
    );
    out.push_str(&paragraph("Conditions: ", 12, &load));
    out
}
