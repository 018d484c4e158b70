//! `muster bench density`.

use std::path::PathBuf;
use std::time::Duration;

use super::span::span;
use super::{SERVER_HELP, finding, line, measured, server};
use crate::bench::bounds::verdict;
use crate::bench::density::{self, Setup};
use crate::bench::{lk, table};
use crate::cli::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::render::table::paragraph;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Subscribers of each contender
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    subscribers: u32,

    /// Publishers, each of audio and of video in three layers; each number makes a comparison of
    /// its own
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2,5", value_parser = clap::value_parser!(u32).range(1..=100))]
    publishers: Vec<u32>,

    /// How often all is measured, every other time backwards
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long each contender is measured in a round: a multiple of 5s, as the server renews its count
    /// of packets that often
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = duration)]
    duration: Duration,

    /// Joins per second that each contender is asked for
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    join_rate: u32,

    #[arg(long, value_name = "PATH", help = SERVER_HELP)]
    livekit_server: Option<PathBuf>,

    /// Write the result to this file as JSON as well
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// Between two renewals of what livekit-server tells of its packets.
const RENEWED: u64 = 5;

fn duration(text: &str) -> Result<Duration, String> {
    let span = span(text, RENEWED)?;
    if span.subsec_nanos() == 0 && span.as_secs().is_multiple_of(RENEWED) {
        return Ok(span);
    }
    Err(format!(
        "it is a multiple of {RENEWED}s: the server renews its count of packets that often"
    ))
}

/// Measures all contenders, and says which bounds were kept.
pub async fn run(args: Args) -> Result<Exit, Error> {
    output::check_path(args.json.as_deref())?;
    let mut publishers = args.publishers;
    publishers.sort_unstable();
    publishers.dedup();
    if let Some(lk) = lk::find() {
        lk::check(&lk).await?;
    }
    let setup = Setup {
        livekit_server: server(args.livekit_server.as_deref()).await?,
        publishers,
        subscribers: args.subscribers,
        rounds: args.rounds,
        duration: args.duration,
        join_rate: args.join_rate,
    };
    let say = |step: &str| tracing::info!("measuring: {step}");
    let density = measured(density::measure(&setup, say)).await?;
    let mut text = table::text(&density);
    text.push('\n');
    text.push_str(&verdict(&density.bounds));
    text.push_str(&paragraph("Conditions: ", 12, &table::conditions(&density)));
    output::print(&text)?;
    if let Some(path) = &args.json {
        output::keep(path, &line(&density)?)?;
    }
    Ok(match finding(&density.findings) {
        Exit::Passed if !density.is_complete() => Exit::Incomplete,
        exit => exit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_count_is_read_only_where_it_is_fresh() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["0s", "3s", "12s", "10500ms"] {
            assert!(duration(wrong).unwrap_err().contains("5s"), "{wrong}");
        }
    }
}
