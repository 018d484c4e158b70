//! Histograms, series, host samples. Histograms merge without losing a count.

mod hdr;
mod histogram;
mod signed;

pub use histogram::{Distribution, Histogram};
pub use signed::SignedHistogram;
