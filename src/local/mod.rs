//! The parts of a run on one machine: what it started, it stops.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bucket`] | an S3 bucket in memory, served on loopback |
//! | [`cache`] | where built tools are kept |
//! | [`go_tool`] | a server built from its Go module |
//! | [`livekit_server`] | a real livekit-server on loopback |
//! | [`process`] | a child that never outlives its owner |

pub mod bucket;
pub mod cache;
pub mod go_tool;
pub mod livekit_server;
pub mod process;

pub use bucket::EmbeddedBucket;
pub use go_tool::{GoTool, GoToolError};
pub use livekit_server::{LIVEKIT_SERVER, LivekitServer, LivekitServerError};
pub use process::Process;
