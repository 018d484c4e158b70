//! The finalizer as a Lambda function: an event is a report that has come, or a run's end.

mod runtime;

use muster::exit::Exit;

fn main() -> Exit {
    runtime::serve(|event, invocation| async move {
        muster::function::finalize(event, &invocation).await
    })
}
