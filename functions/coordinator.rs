//! The coordinator as a Lambda function: an event is a job.

mod runtime;

use muster::exit::Exit;

fn main() -> Exit {
    runtime::serve(|event, invocation| async move {
        muster::function::coordinate(event, &invocation).await
    })
}
