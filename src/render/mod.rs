//! Renderings of the combined report: each shows what it says, and adds nothing.

mod json;
pub(crate) mod table;
mod text;

pub use json::json;
pub use text::text;
