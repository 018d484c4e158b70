//! Each region's prober: whether it is there, and handing it its event.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::json;

use crate::aws::{AwsError, Caller, Deployed, FunctionName};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Vantage};
use crate::secret::Secret;

/// What the function of each of these slots has, which is its region's.
///
/// # Errors
/// When there is none in some region, or Lambda doesn't say; it names each.
pub async fn find_probers(
    caller: &Caller,
    prober: &FunctionName,
    slots: &[Vantage],
) -> Result<BTreeMap<Vantage, Deployed>, Error> {
    let regions: BTreeSet<Vantage> = slots.iter().map(Vantage::place).collect();
    let asked = regions.into_iter().map(|region| async move {
        let deployed = caller.deployed(&region, prober).await?;
        Ok((region, deployed))
    });
    let found = all(join_all(asked).await, "some probers are not there")?;
    let found: BTreeMap<Vantage, Deployed> = found.into_iter().collect();
    let of = |slot: &Vantage| Some((slot.clone(), *found.get(&slot.place())?));
    Ok(slots.iter().filter_map(of).collect())
}

/// Gives each region's prober the URL of its ticket: events are logged, so never the ticket
/// itself. All that can be had are called, whatever the others do.
///
/// # Errors
/// When some could not be called; it names each.
pub async fn call_probers(
    caller: &Caller,
    prober: &FunctionName,
    run: &RunId,
    tickets: &BTreeMap<Vantage, Secret>,
) -> Result<(), Error> {
    // A region with several probers has its function called once for each.
    let calls = tickets.iter().map(|(region, url)| async move {
        let event = json!({"ticket": url.expose()});
        caller.invoke(&region.place(), prober, event).await
    });
    let what = format!("run `{run}` can't go on without all of its probers");
    all(join_all(calls).await, &what).map(drop)
}

/// What all answered, or what went wrong with each that failed.
fn all<T>(answers: Vec<Result<T, AwsError>>, what: &str) -> Result<Vec<T>, Error> {
    let mut good = Vec::new();
    let mut failed = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() {
        return Ok(good);
    }
    let text = format!("{what}: {}", failed.join("; "));
    Err(Error::new(Exit::Unreachable, text))
}
