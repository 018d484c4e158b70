//! Histograms, series, host samples. Histograms merge without losing a count.

mod histogram;

pub use histogram::{Distribution, Histogram};
