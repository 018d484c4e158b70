//! Renderings of the combined report: each shows what it says, and adds nothing.

mod json;

pub use json::json;
