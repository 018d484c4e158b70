//! `muster iam`: the least policies of each role, for those who use standing credentials.

use serde_json::{Map, Value, json};

use super::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::Vantage;
use crate::rendezvous::rights;
use crate::store::BucketUrl;

/// `muster iam`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The bucket, like s3://name or s3://name/prefix
    #[arg(long, value_name = "URL", env = "MUSTER_BUCKET")]
    bucket: BucketUrl,

    /// The labels of the vantages; each gets a policy of its own
    #[arg(long, value_name = "LABELS", value_delimiter = ',', required = true)]
    vantages: Vec<Vantage>,
}

/// Prints a JSON object: `coordinator`, `finalizer`, and below `probers` one for each vantage.
pub fn run(args: &Args) -> Result<Exit, Error> {
    let probers: Map<String, Value> = args
        .vantages
        .iter()
        .map(|v| (v.to_string(), rights::prober(&args.bucket, v)))
        .collect();
    let all = json!({
        "coordinator": rights::coordinator(&args.bucket),
        "finalizer": rights::finalizer(&args.bucket),
        "probers": probers,
    });
    let text = serde_json::to_string_pretty(&all)
        .map_err(|e| Error::new(Exit::Internal, format!("cannot write the policies: {e}")))?;
    output::print(&text)?;
    Ok(Exit::Passed)
}
