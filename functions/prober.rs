//! The prober as a Lambda function: an event is a run to take part in.

mod runtime;

use muster::exit::Exit;

fn main() -> Exit {
    runtime::serve(
        |event, invocation| async move { muster::function::probe(event, &invocation).await },
    )
}
