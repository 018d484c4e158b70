//! Renderings of what is reported: each shows what it says, and adds nothing.

mod json;
mod runs;
pub(crate) mod table;
mod text;

pub use json::json;
pub use runs::{runs, state};
pub use text::text;
