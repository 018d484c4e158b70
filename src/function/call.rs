//! Handing each region's prober its event.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use crate::aws::{AwsError, Caller, FunctionName};
use crate::error::Error;
use crate::exit::Exit;
use crate::job::{RunId, Vantage};
use crate::secret::Secret;

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
    let failed: Vec<AwsError> = join_all(calls)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let text = format!(
        "some probers of run `{run}` can't be called: {}",
        words.join("; ")
    );
    Err(Error::new(Exit::Unreachable, text))
}
