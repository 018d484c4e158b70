//! What muster asks of AWS beside S3: to invoke a function, to schedule one. Every request is
//! signed (SigV4); none says a secret.

mod error;
mod lambda;
mod request;
mod scheduler;

pub use error::AwsError;
pub use lambda::FunctionName;
pub use request::Caller;
pub use scheduler::{NAME_MAX, OneTime, Scheduled};
