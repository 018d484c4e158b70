//! `muster run --lambda`: the probers are functions, one in each region, called from here.

use std::collections::BTreeMap;

use super::args::FleetArgs;
use crate::aws::{Caller, FunctionName};
use crate::cost::Function;
use crate::error::Error;
use crate::function::{billed, call_probers, find_probers, must_fit};
use crate::job::{Job, JobSpec, RunId, Span, Vantage, VantageSpec};
use crate::secret::Secret;
use crate::ticket::Book;

/// How long functions are waited for, unless somebody says otherwise: they come within seconds.
const TIMEOUT: Span = Span::secs(60);

/// What infra/aws/prober.yaml deploys unless it is told otherwise.
const AS_DEPLOYED: Function = Function {
    memory_mib: 1_769,
    arm64: false,
};

/// Probers that are AWS Lambda functions.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Lambda")]
pub struct LambdaArgs {
    /// Regions of AWS, with commas: each one's prober function takes part as the region, by a
    /// ticket; --timeout is 1m then. As with --vantages, eu-west-1:2 calls two there
    #[arg(
        long,
        value_name = "REGIONS",
        value_delimiter = ',',
        conflicts_with_all = ["vantages", "expect"]
    )]
    lambda: Option<Vec<VantageSpec>>,

    /// The functions' name, the same in every region
    #[arg(
        long,
        value_name = "NAME",
        env = "MUSTER_PROBER_FUNCTION",
        default_value = "muster-prober"
    )]
    lambda_function: FunctionName,
}

impl LambdaArgs {
    /// Whether the probers are functions.
    pub fn wanted(&self) -> bool {
        self.lambda.is_some()
    }

    /// Who takes part: the regions, else who `fleet` says.
    pub fn fleet(&self, fleet: &FleetArgs) -> FleetArgs {
        FleetArgs {
            vantages: self.lambda.clone().or(fleet.vantages.clone()),
            expect: fleet.expect,
        }
    }

    /// `defaults` as they are for functions.
    pub fn over(&self, defaults: JobSpec) -> JobSpec {
        if !self.wanted() {
            return defaults;
        }
        JobSpec {
            timeout: Some(TIMEOUT),
            ..defaults
        }
    }

    /// `job` in its functions, and what calls them; nothing of that when there are none.
    ///
    /// # Errors
    /// When a region has none, one can't finish the job, they cost too much, or there are no AWS
    /// credentials.
    pub async fn functions(&self, job: Job) -> Result<(Job, Option<Functions>), Error> {
        if !self.wanted() {
            return Ok((job, None));
        }
        let functions = Functions {
            caller: Caller::from_env().await?,
            name: self.lambda_function.clone(),
        };
        let deployed = find_probers(&functions.caller, &functions.name, &job.fleet.named()).await?;
        must_fit(&job, job.created_at, &deployed)?;
        Ok((job.in_functions(billed(&deployed))?, Some(functions)))
    }

    /// `job` in functions as infra/aws deploys them, whether they are there or not.
    ///
    /// # Errors
    /// When they cost too much.
    pub fn planned(&self, job: Job) -> Result<Job, Error> {
        if !self.wanted() {
            return Ok(job);
        }
        let functions = job
            .fleet
            .named()
            .into_iter()
            .map(|slot| (slot, AS_DEPLOYED));
        Ok(job.in_functions(functions.collect())?)
    }
}

/// The functions of a run.
pub struct Functions {
    caller: Caller,
    name: FunctionName,
}

impl Functions {
    /// Hands each its ticket's URL.
    pub async fn call(&self, run: RunId, book: &Book) -> Result<(), Error> {
        let tickets: BTreeMap<Vantage, Secret> = book
            .urls()
            .filter_map(|(label, url)| Some((label.parse().ok()?, url.clone())))
            .collect();
        call_probers(&self.caller, &self.name, &run, &tickets).await
    }
}
