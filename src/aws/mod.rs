//! What muster asks of AWS beside S3: what a function has, to invoke it, to schedule it, to take
//! a role. Every request is signed (SigV4); none says a secret.

mod error;
mod lambda;
mod request;
mod scheduler;
mod sts;

pub use error::AwsError;
pub use lambda::{Deployed, FunctionName};
pub use request::Caller;
pub use scheduler::{NAME_MAX, OneTime, Scheduled};
pub use sts::RoleSession;
