//! Whether the functions of a run can do its job: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LONGEST, Size};
use crate::aws::Deployed;
use crate::cost::Function;
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{Job, Span, Timestamp, Vantage};

/// For a function's start, and for its report after the load.
const AROUND_LOAD: Duration = Duration::from_secs(15);

/// Refuses a job that takes longer than one of its functions may run, or has more participants
/// than one takes.
pub(crate) fn must_fit(
    job: &Job,
    now: Timestamp,
    functions: &BTreeMap<Vantage, Deployed>,
) -> Result<(), Error> {
    let needed = job.times.hard_deadline.saturating_since(now) + AROUND_LOAD;
    let wanted = job.peak_participants_per_prober();
    for (region, deployed) in functions {
        let most = Size::of(deployed.function.memory_mib).participants_max();
        let has = deployed.timeout.min(LONGEST);
        let text = if needed > has {
            format!(
                "the run takes {} from now, and the function in {region} has {}; start it sooner, lower the ramp or the duration, or give the function more (15m at most)",
                Span::secs(needed.as_secs()),
                Span(has)
            )
        } else if wanted > u64::from(most) {
            format!(
                "the job asks for {wanted} participants of one prober, and the function in {region} takes {most}; lower the ramp, name more regions or more probers in each, or give the function more memory"
            )
        } else {
            continue;
        };
        return Err(Error::new(Exit::BadConfiguration, text));
    }
    Ok(())
}

/// What is paid for of each.
pub(crate) fn billed(functions: &BTreeMap<Vantage, Deployed>) -> BTreeMap<Vantage, Function> {
    let each = functions.iter();
    each.map(|(region, deployed)| (region.clone(), deployed.function))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, sample};

    const T0: Timestamp = Timestamp::from_micros(1_795_331_619_000_000);

    fn said(memory_mib: u32, timeout_s: u64, spec: JobSpec) -> Result<(), String> {
        let region: Vantage = "eu-west-1".parse().unwrap();
        let spec = JobSpec {
            vantages: Some(vec![region.clone().into()]),
            ramp: spec.ramp.or("10,25,50".parse().ok()),
            start_at: spec.start_at.or(Some(T0 + Duration::from_secs(60))),
            ..spec
        };
        let job = sample::job(spec, T0);
        let deployed = Deployed {
            function: Function {
                memory_mib,
                arm64: false,
            },
            timeout: Duration::from_secs(timeout_s),
        };
        must_fit(&job, T0, &[(region, deployed)].into()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_a_function_can_not_finish_is_refused() {
        // 60 s to the start, four tiers of 25 s, 10 s to leave, 15 s around.
        assert_eq!(said(1_769, 185, JobSpec::default()), Ok(()));
        let short = said(1_769, 184, JobSpec::default()).unwrap_err();
        assert!(
            short.contains("3m 5s") && short.contains("in eu-west-1 has 3m 4s"),
            "{short}"
        );
        let late = JobSpec {
            start_at: Some(T0 + LONGEST),
            ..JobSpec::default()
        };
        // Whatever it is said to have.
        assert!(said(1_769, 3_600, late).unwrap_err().contains("has 15m"));
    }

    #[test]
    fn what_a_function_can_not_hold_is_refused() {
        // 50 subscribers and a publisher.
        assert_eq!(said(512, 900, JobSpec::default()), Ok(()));
        let small = said(256, 900, JobSpec::default()).unwrap_err();
        assert!(
            small.contains("51 participants") && small.contains("in eu-west-1 takes 43"),
            "{small}"
        );
    }
}
