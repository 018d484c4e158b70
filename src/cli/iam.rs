//! `muster iam`: the least policies of each role, for those who use standing credentials.

use serde_json::{Map, Value, json};

use super::output;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::VantageSpec;
use crate::rendezvous::rights;
use crate::store::BucketUrl;

/// `muster iam`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The bucket, like s3://name or s3://name/prefix
    #[arg(long, value_name = "URL", env = "MUSTER_BUCKET")]
    bucket: BucketUrl,

    /// The vantages, with commas, like iad:2,sjc with two probers at iad; each gets a policy of its
    /// own
    #[arg(long, value_name = "VANTAGES", value_delimiter = ',', required = true)]
    vantages: Vec<VantageSpec>,
}

/// Prints a JSON object: `coordinator`, `finalizer`, and below `probers` one for each vantage, which
/// opens all of its slots, and one for each slot where it has several.
pub fn run(args: &Args) -> Result<Exit, Error> {
    let probers: Map<String, Value> = args
        .vantages
        .iter()
        .flat_map(|spec| {
            let slots = spec.label.slots(spec.probers);
            let several = slots.len() > 1;
            let all = (spec.label.to_string(), rights::prober(&args.bucket, &slots));
            let each = slots.into_iter().filter(move |_| several).map(|slot| {
                let policy = rights::prober(&args.bucket, std::slice::from_ref(&slot));
                (slot.to_string(), policy)
            });
            std::iter::once(all).chain(each).collect::<Vec<_>>()
        })
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
