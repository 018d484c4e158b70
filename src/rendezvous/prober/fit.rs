//! Whether a prober can take part in a job at all, before anything is tried.

use std::time::Duration;

use super::Settings;
use crate::clock::Estimate;
use crate::job::{Job, Span, Timestamp};
use crate::load::Place;

/// From the hard deadline on: a report is made and stored in that time.
const REPORT_ALLOWANCE: Duration = Duration::from_secs(10);

/// Why not, if it can't: a process that ends before the job does, or more participants than its
/// function takes.
pub(super) fn unfit(
    job: &Job,
    settings: &Settings,
    bucket: &Estimate,
    now: Timestamp,
) -> Option<String> {
    let last = bucket.assumed(now).latest_local(job.times.hard_deadline);
    let needed = last.saturating_since(now) + REPORT_ALLOWANCE;
    if let Some(end) = settings.must_end_by
        && now + needed > end
    {
        return Some(format!(
            "the job may take {} from now, and this function ends in {}; lower --timeout, the ramp or --duration, or give the function more time",
            seconds(needed),
            seconds(end.saturating_since(now))
        ));
    }
    let wanted = {
        let (subscribers, publishers) = job.peak(Place::planned(job, &settings.vantage));
        u64::from(subscribers) + u64::from(publishers)
    };
    let function = settings.function?;
    (wanted > u64::from(function.participants_max)).then(|| {
        format!(
            "the job asks for {wanted} participants here, and a function of this size takes {}; give it more memory, or lower the ramp",
            function.participants_max
        )
    })
}

fn seconds(span: Duration) -> Span {
    Span::secs(span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost;
    use crate::job::{JobSpec, sample};
    use crate::rendezvous::prober::Function;
    use crate::rendezvous::sample::settings;

    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    /// Baseline and one tier of 10, with a publisher: a load of 35 s in 65 s.
    fn job() -> Job {
        let spec = JobSpec {
            vantages: Some(vec!["iad".parse().unwrap()]),
            ramp: Some("10".parse().unwrap()),
            duration: Some(Span::secs(10)),
            settle: Some(Span::secs(5)),
            start_at: Some(T0 + Duration::from_secs(30)),
            ..JobSpec::default()
        };
        sample::job(spec, T0)
    }

    fn said(ends_in_s: Option<u64>, participants_max: Option<u32>) -> Option<String> {
        let settings = Settings {
            must_end_by: ends_in_s.map(|s| T0 + Duration::from_secs(s)),
            function: participants_max.map(|participants_max| Function {
                arrived: T0,
                init: None,
                participants_max,
                billed: cost::Function {
                    memory_mib: 64,
                    arm64: false,
                },
            }),
            ..settings()
        };
        unfit(&job(), &settings, &Estimate::unknown(), T0)
    }

    #[test]
    fn a_job_must_fit_into_the_functions_time_and_size() {
        assert_eq!(said(None, None), None);
        assert_eq!(said(Some(80), Some(11)), None);
        let short = said(Some(79), Some(11)).unwrap();
        assert!(
            short.contains("1m 20s") && short.contains("1m 19s"),
            "{short}"
        );
        let small = said(Some(80), Some(10)).unwrap();
        assert!(small.contains("11 participants"), "{small}");
    }
}
