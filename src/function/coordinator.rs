//! The coordinator function: one event, one run. It schedules the run's end before it writes the
//! run's begin, and calls the probers last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::event::CoordinatorEvent;
use super::{Invocation, billed, call_probers, find_probers, must_fit};
use crate::aws::{Caller, FunctionName, OneTime};
use crate::cli::coordinate::{Coordination, coordinate as write_and_start};
use crate::cli::{BucketArgs, bucket_clock, edge, guards, plan, progress};
use crate::clock;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Fleet, Job, JobSpec, Origin, Span, Vantage};
use crate::rendezvous::drive::{Bucket, abort, read_job};
use crate::rendezvous::keys::{Item, RunKey};
use crate::rooms::{Keys, Rooms};
use crate::store::{Op, S3Store, Store as _, UrlSigner};
use crate::ticket::{EXTRA, issue};

/// How long the role is taken that signs the tickets' URLs: the most for a role that another
/// role takes, and longer than any run of functions.
const SESSION: Duration = Duration::from_secs(3_600);

/// Where the coordinator finds the other functions, as the core stack's template sets it.
struct Deployment {
    /// `MUSTER_PROBER_FUNCTION`: the probers' name, in every region.
    prober: FunctionName,
    /// `MUSTER_FINALIZER_ARN`
    finalizer_arn: String,
    /// `MUSTER_SCHEDULE_GROUP`
    schedule_group: String,
    /// `MUSTER_SCHEDULE_ROLE_ARN`
    schedule_role_arn: String,
    /// `MUSTER_TICKET_ROLE_ARN`: signs the tickets' URLs, for nothing says how long the function's
    /// own credentials are good; without it they are taken for what they say.
    ticket_role_arn: Option<String>,
    /// `AWS_REGION`: this function's own.
    region: String,
}

/// Begins the run that an event asks for, or joins it when the event came before.
///
/// # Errors
/// When the event, its job or the environment is wrong, or bucket, SFU or AWS can't be reached.
/// What was written by then stays, and the same event again goes on from there; but a run whose
/// probers can't all be called is aborted.
pub async fn coordinate(event: Value, invocation: &Invocation) -> Result<Value, Error> {
    let event = CoordinatorEvent::read(event)?;
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let deployment = Deployment::from_env(env)?;
    let keys = Keys::from_env(env)?;
    invocation.within(begin(event, deployment, keys)).await
}

async fn begin(event: CoordinatorEvent, to: Deployment, keys: Keys) -> Result<Value, Error> {
    let bucket = BucketArgs::from_env()?;
    let store = bucket.open().await?;
    let named = Some(event.run.clone());
    let meets = Bucket::from(store.clone());
    let origin = edge::origin(named.clone());
    let origin = bucket_clock::by_bucket(meets.store(), store.dates(), origin, named).await?;
    let now = origin.now;
    // The same event is the same run: a job that is there counts, with its times and tickets.
    let before = read_job(meets.store(), &event.run).await?;
    let is_new = before.is_none();
    let job = match before {
        Some(job) => job,
        None => {
            let spec = plan::defaults().overridden_by(event.spec);
            resolve(spec, event.start_in, origin)?
        }
    };
    let regions = regions(&job)?;
    guards::cloud(&job, false)?;
    let caller = Caller::from_env().await?;
    // A region without its function ends the run before it begins.
    let deployed = find_probers(&caller, &to.prober, &regions).await?;
    must_fit(&job, now, &deployed)?;
    let job = match is_new {
        true => job.in_functions(billed(&deployed))?,
        false => job,
    };
    caller.schedule(&to.region, &to.end_of(&job)).await?;

    let signer = to.signer(&caller, &bucket, &store).await?;
    let (job, tickets) = if is_new {
        let by = (&signer, store.location());
        let issued = issue(job, by, &keys, edge::ticket_seed).await?;
        (issued.job.document, issued.tickets)
    } else {
        (job, BTreeMap::new())
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (_abort, aborted) = watch::channel(false);
    let coordination = Coordination {
        rooms: Rooms::new(&job.url, &keys),
        keys,
        job: job.clone(),
        tickets,
        bucket: meets.clone(),
        detach: true,
        beside_others: false,
    };
    let mut ended = std::pin::pin!(write_and_start(coordination, tell, aborted));
    let mut shown = progress::Shown::default();
    loop {
        tokio::select! {
            biased;
            Some(progress) = told.recv() => shown.show(&progress),
            ended = &mut ended => {
                ended?;
                break;
            }
        }
    }
    let until = job.times.hard_deadline + job.times.grace.0;
    let life = until.saturating_since(now) + EXTRA;
    let mut urls = BTreeMap::new();
    for region in &regions {
        let ticket = RunKey::new(&job.run, Item::Ticket(region.clone())).key();
        let url = signer.sign(Op::Get, &ticket, now, life).await?;
        urls.insert(region.clone(), url);
    }
    if let Err(error) = call_probers(&caller, &to.prober, &job.run, &urls).await {
        // The start is written: those that were called would load without the others.
        abort(meets.store(), &job.run, &error.to_string(), edge::random()).await?;
        return Err(error);
    }
    Ok(json!({
        "run": job.run,
        "start_at": job.times.start_at,
        "ends_by": until,
        "vantages": regions,
    }))
}

/// The job of a new run, with a fixed start.
fn resolve(spec: JobSpec, start_in: Span, origin: Origin) -> Result<Job, Error> {
    let start_at = spec.start_at.unwrap_or(origin.now + start_in.0);
    let spec = JobSpec {
        start_at: Some(start_at),
        ..spec
    };
    Ok(Job::resolve(spec, origin)?)
}

/// Whom to call: the slots of the job's vantages, each of which is a region.
fn regions(job: &Job) -> Result<Vec<Vantage>, Error> {
    match &job.fleet {
        Fleet::Vantages(labels) => Ok(labels.iter().cloned().collect()),
        Fleet::Expect(_) => Err(Error::new(
            Exit::BadConfiguration,
            "the event's job has `expect`; name the regions of its probers as `vantages`",
        )),
    }
}

impl Deployment {
    fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Deployment, Error> {
        let var = |name: &str| {
            env(name).ok_or_else(|| {
                let text = format!("{name} is not set; infra/aws/core.yaml sets it");
                Error::new(Exit::BadConfiguration, text)
            })
        };
        Ok(Deployment {
            prober: var("MUSTER_PROBER_FUNCTION")?.parse::<FunctionName>()?,
            finalizer_arn: var("MUSTER_FINALIZER_ARN")?,
            schedule_group: var("MUSTER_SCHEDULE_GROUP")?,
            schedule_role_arn: var("MUSTER_SCHEDULE_ROLE_ARN")?,
            ticket_role_arn: env("MUSTER_TICKET_ROLE_ARN"),
            region: var("AWS_REGION")?,
        })
    }

    /// What signs the tickets' URLs.
    async fn signer(
        &self,
        caller: &Caller,
        bucket: &BucketArgs,
        store: &S3Store,
    ) -> Result<UrlSigner, Error> {
        let Some(role_arn) = &self.ticket_role_arn else {
            return Ok(store.signer().await?);
        };
        let session = caller
            .assume(&self.region, role_arn, "muster-tickets", SESSION)
            .await?;
        let mut settings = bucket.settings()?;
        settings.credentials = Some(session.credentials);
        settings.region.get_or_insert_with(|| self.region.clone());
        let store = S3Store::connect(settings, Arc::new(clock::now)).await?;
        Ok(store.signer().await?.session_until(Some(session.ends)))
    }

    /// The run's end: nobody waits for a report any longer. Its name has the time as well, so
    /// that a second try with another time adds a schedule instead of keeping one that is early.
    fn end_of(&self, job: &Job) -> OneTime {
        let at = job.times.hard_deadline + job.times.grace.0;
        OneTime {
            name: format!("{}.{}", job.run, at.as_micros() / 1_000_000),
            group: self.schedule_group.clone(),
            at,
            target_arn: self.finalizer_arn.clone(),
            role_arn: self.schedule_role_arn.clone(),
            event: json!({"run": job.run}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Timestamp, WriteId};

    const T0: Timestamp = Timestamp::from_micros(1_795_331_619_000_000);

    fn job(run: &str, spec: JobSpec) -> Job {
        let origin = Origin {
            run: run.parse().unwrap(),
            write_id: WriteId::from_u64(1),
            now: T0,
        };
        let spec = JobSpec {
            url: Some("ws://sfu".into()),
            vantages: Some(vec!["eu-west-1".parse().unwrap()]),
            ramp: spec.ramp.or("10,25,50".parse().ok()),
            ..spec
        };
        resolve(spec, Span::secs(60), origin).unwrap()
    }

    #[test]
    fn the_end_is_scheduled_under_a_name_that_aws_takes() {
        let vars = |name: &str| Some(format!("{}-x", name.to_lowercase().replace('_', "-")));
        let to = Deployment::from_env(vars).unwrap();
        let longest = "r".repeat(52);
        let once = to.end_of(&job(&longest, JobSpec::default()));
        assert!(once.name.len() <= crate::aws::NAME_MAX, "{}", once.name);
        // 60 s to the start, tiers of 25 s, 10 s to leave, 30 s of grace.
        assert_eq!(once.at, T0 + Duration::from_secs(60 + 4 * 25 + 10 + 30));
        assert!(once.name.ends_with(".1795331819"), "{}", once.name);
        assert_eq!(once.event, json!({"run": longest}));
        let error = Deployment::from_env(|_| None).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("MUSTER_PROBER_FUNCTION"));
    }
}
