//! `muster bench finalize`.

use std::path::PathBuf;

use super::{finding, line, measured};
use crate::bench::finalize::{self, Finalized, Run, Setup, server};
use crate::cli::args::BucketArgs;
use crate::cli::{edge, output};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::RunId;
use crate::render::table::{paragraph, table};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many vantages, with commas: a run for each, one after the other
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "10,100,1000,10000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    vantages: Vec<u32>,

    /// Tiers of each vantage, beside the baseline
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    tiers: u32,

    /// The MinIO to start [default: the one on PATH, else one that is built into the cache]
    #[arg(long, value_name = "PATH")]
    minio: Option<PathBuf>,

    /// Write the result to this file as JSON as well
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// What the hidden process takes.
#[derive(clap::Args, Debug)]
pub struct ProcessArgs {
    run: RunId,
    #[command(flatten)]
    bucket: BucketArgs,
}

/// Finalizes made-up runs, and says what that took.
pub async fn run(args: Args) -> Result<Exit, Error> {
    output::check_path(args.json.as_deref())?;
    let cache = super::cache()?;
    let say = |line: String| tracing::info!("{line}");
    let minio = server::find(args.minio.as_deref(), &cache, say)
        .await
        .map_err(|why| Error::new(Exit::BadConfiguration, why))?;
    let setup = Setup {
        minio,
        vantages: args.vantages,
        tiers: args.tiers,
    };
    let say = |step: &str| tracing::info!("{step}");
    let finalized = measured(finalize::measure(&setup, say)).await?;
    output::print(&text(&finalized))?;
    if let Some(path) = &args.json {
        output::keep(path, &line(&finalized)?)?;
    }
    Ok(finding(&finalized.findings))
}

/// Is the process that is measured.
pub async fn process(args: ProcessArgs) -> Result<(), Error> {
    let store = args.bucket.open().await?;
    let told = finalize::finalizer(store, args.run, edge::random()).await?;
    output::print(&line(&told)?)
}

fn text(finalized: &Finalized) -> String {
    let head = |cells: [&str; 8]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![
        head([
            "Vantages",
            "parts",
            "time",
            "CPU",
            "peak",
            "requests",
            "combined",
            "per vantage",
        ]),
        head(["", "MB", "s", "s", "MB", "", "MB", "ms"]),
    ];
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    rows.extend(finalized.runs.iter().map(|run: &Run| {
        vec![
            run.vantages.to_string(),
            mb(run.bytes),
            format!("{:.2}", run.told.seconds),
            format!("{:.2}", run.told.cpu_seconds),
            mb(run.told.peak_bytes),
            run.told.requests.beside_heartbeats().to_string(),
            mb(run.told.combined_bytes),
            format!("{:.2}", run.us_per_vantage() / 1e3),
        ]
    }));
    let mut out = table(&rows);
    out.push('\n');
    let is_bound = |run: &Run| run.vantages == finalize::BOUND_AT && finalized.tiers >= 20;
    let bounds = match finalized.runs.iter().any(is_bound) {
        true => "within 5 s and 200 MB for 1,000 vantages of 20 tiers",
        false => {
            "time and memory have a bound at 1,000 vantages of 20 tiers, which were not asked for"
        }
    };
    let growth = match finalize::compared(&finalized.runs).count() {
        0 => "whether it grows linearly shows from two runs of 100 vantages or more",
        _ => "linear",
    };
    super::verdict(
        &finalized.findings,
        &format!("{bounds}; {growth}"),
        &mut out,
    );
    let c = &finalized.conditions;
    let build = if c.release {
        "release build"
    } else {
        "debug build: figures of CPU and memory mean nothing"
    };
    let minio = c.minio.as_deref().unwrap_or("MinIO of unknown version");
    let load = c.load_before.map_or_else(String::new, |load| {
        format!(", load average {load:.1} before it began")
    });
    let text = format!(
        "muster {} ({build}), {minio}; {} processors for both, on loopback{load}. Each vantage \
         measured {} tiers and the baseline; one in a hundred has no report, so that its tiers \
         are read. All was written to the disk before the time began.",
        c.muster, c.processors, finalized.tiers
    );
    out.push_str(&paragraph("Conditions: ", 12, &text));
    out
}
