//! `muster finalize`: combine whatever has arrived.

use super::args::{BucketArgs, OutputArgs};
use super::{edge, output, report};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::RunId;
use crate::rendezvous::drive::{Bucket, run_finalizer};

/// `muster finalize`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run [default: the newest]
    #[arg(value_name = "RUN", env = "MUSTER_RUN")]
    run: Option<RunId>,

    /// Wait until the run is over, instead of failing when it is not
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes the combined report, or a further revision when more has come since; prints it.
pub async fn run(args: Args) -> Result<Exit, Error> {
    output::check_writable(&args.output)?;
    let store = args.bucket.open().await?;
    let run = report::named_or_newest(&store, args.run).await?;
    let bucket = Bucket::from(store);
    let finished = run_finalizer(&bucket, run, args.wait, edge::random()).await?;
    output::report(&finished.combined, &args.output)
}
