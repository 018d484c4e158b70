//! What one prober measured, what all together say, what that decides.

pub mod part;
