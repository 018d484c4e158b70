//! What a run may not do by accident.

use crate::job::Job;

/// The most participants of a role that LiveKit Cloud takes without an agreement; LiveKit's own
/// load tester has the same limit.
pub const CLOUD_MAX_PER_ROLE: u64 = 50;

/// A load test that LiveKit Cloud forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is LiveKit Cloud, which forbids load tests without its agreement: this run has {wanted} {role} in total, at most {CLOUD_MAX_PER_ROLE} may be tried; lower the ramp, or say --cloud-agreement if you have theirs"
)]
pub struct CloudRefusal {
    host: String,
    role: &'static str,
    wanted: u64,
}

/// Refuses a LiveKit Cloud host beyond [`CLOUD_MAX_PER_ROLE`] of a role over the whole fleet.
pub fn cloud(job: &Job, agreement: bool) -> Result<(), CloudRefusal> {
    let Some(host) = cloud_host(&job.url) else {
        return Ok(());
    };
    let publishers = job.publishers();
    let subscribers = job.peak_participants().saturating_sub(publishers);
    let over = [("publishers", publishers), ("subscribers", subscribers)]
        .into_iter()
        .find(|(_, wanted)| *wanted > CLOUD_MAX_PER_ROLE);
    match over {
        Some((role, wanted)) if !agreement => Err(CloudRefusal { host, role, wanted }),
        _ => Ok(()),
    }
}

/// The host of `url` when it is LiveKit Cloud's.
fn cloud_host(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    host.ends_with(".livekit.cloud").then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobSpec, Timestamp, sample};

    fn job(url: &str, ramp: &str, expect: u32) -> Job {
        let spec = JobSpec {
            url: Some(url.into()),
            expect: Some(expect),
            ramp: Some(ramp.parse().unwrap()),
            ..JobSpec::default()
        };
        sample::job(spec, Timestamp::from_micros(0))
    }

    #[test]
    fn the_fleet_total_counts() {
        let cloud_url = "wss://shop-1a2b.livekit.cloud";
        for (url, ramp, expect, refused) in [
            (cloud_url, "16", 3, None),
            (cloud_url, "17", 3, Some("51 subscribers")),
            (cloud_url, "1", 51, Some("51 publishers")),
            (
                "wss://SHOP.LiveKit.Cloud:443/",
                "51",
                1,
                Some("51 subscribers"),
            ),
            ("wss://livekit.cloud.example.com", "17", 3, None),
            ("wss://notlivekit.cloud", "17", 3, None),
        ] {
            let job = job(url, ramp, expect);
            let answer = cloud(&job, false).map_err(|e| e.to_string());
            match refused {
                None => assert_eq!(answer, Ok(()), "{url} {ramp} x {expect}"),
                Some(part) => assert!(
                    answer.as_ref().is_err_and(|e| e.contains(part)),
                    "{url} {ramp} x {expect}: {answer:?}"
                ),
            }
            assert_eq!(cloud(&job, true), Ok(()));
        }
    }
}
