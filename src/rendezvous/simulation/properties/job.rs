//! What a job comes to that somebody wrote over the run's.

use super::ensure;
use crate::rendezvous::document;
use crate::rendezvous::keys::{Item, RunKey};
use crate::rendezvous::objects::Inputs;
use crate::rendezvous::simulation::world::World;
use crate::report::part::{ReportPart, TierPart};

/// Nobody loads by another job than the start's, whenever it was read, and no revision counts a
/// part of another than its own: the start and every part carry its SHA-256.
pub(super) fn nobody_loads_by_another_job_or_counts_its_parts(world: &World) -> Result<(), String> {
    if world.scenario.rewritten.is_none() {
        return Ok(());
    }
    let job = &world.scenario.job;
    for load in &world.history.loads {
        ensure(load.orders.job.digest == job.digest, || {
            format!("{} loads by a job that was changed", load.orders.claim)
        })?;
    }
    for (key, body) in world.bucket.all() {
        let Ok(key) = key.parse::<RunKey>() else {
            continue;
        };
        if !matches!(key.item, Item::Inputs(_)) {
            continue;
        }
        let inputs: Inputs = document::read(&key, body).map_err(|e| e.to_string())?;
        for part in inputs.parts.keys() {
            let measured_for = part.parse().ok().and_then(|part: RunKey| {
                let body = world.bucket.peek(&part.key())?.body;
                match part.item {
                    Item::Report(_) => {
                        let report: ReportPart = document::read(&part, &body).ok()?;
                        Some(report.job_sha256)
                    }
                    _ => Some(document::read::<TierPart>(&part, &body).ok()?.job_sha256),
                }
            });
            ensure(measured_for == Some(inputs.job.sha256), || {
                format!("{key} counts {part}, of the job {measured_for:?}")
            })?;
        }
    }
    Ok(())
}
