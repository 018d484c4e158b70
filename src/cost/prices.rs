//! Prices, as data.

use serde::{Deserialize, Serialize};

/// What a unit of each thing costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of all prices (`USD`).
    pub currency: String,
    /// The day that they are of.
    pub as_of: String,
    /// Where they are from.
    pub source: String,
    /// A second of a function with 1 GiB of memory on `x86_64`.
    pub gb_second_x86_64: f64,
    /// The same on arm64.
    pub gb_second_arm64: f64,
    /// A call of a function.
    pub invocation: f64,
    /// A request to the bucket that writes or lists.
    pub bucket_write: f64,
    /// A request to the bucket that reads.
    pub bucket_read: f64,
    /// 10⁹ bytes from a prober.
    pub prober_egress_gb: f64,
    /// 10⁹ bytes from the SFU.
    pub sfu_egress_gb: f64,
}

/// The prices that muster comes with.
const BUILT_IN: &str = include_str!("prices.json");

/// Why a text is no list of prices.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// Not the JSON that it should be.
    #[error("{0}; take src/cost/prices.json as a pattern")]
    Json(#[from] serde_json::Error),
    /// A price that nobody has.
    #[error("`{0}` is no price; write a number from 0 on")]
    Price(&'static str),
}

impl Prices {
    /// Reads a list of prices; all of them must be there.
    ///
    /// # Errors
    /// [`PricesError`].
    pub fn read(text: &str) -> Result<Prices, PricesError> {
        let prices: Prices = serde_json::from_str(text)?;
        let all = [
            ("gb_second_x86_64", prices.gb_second_x86_64),
            ("gb_second_arm64", prices.gb_second_arm64),
            ("invocation", prices.invocation),
            ("bucket_write", prices.bucket_write),
            ("bucket_read", prices.bucket_read),
            ("prober_egress_gb", prices.prober_egress_gb),
            ("sfu_egress_gb", prices.sfu_egress_gb),
        ];
        match all
            .into_iter()
            .find(|(_, price)| !(0.0..1e6).contains(price))
        {
            Some((name, _)) => Err(PricesError::Price(name)),
            None => Ok(prices),
        }
    }
}

impl Default for Prices {
    /// Those that muster comes with.
    #[expect(
        clippy::expect_used,
        reason = "built in; prices of nothing would be no answer"
    )]
    fn default() -> Self {
        Prices::read(BUILT_IN).expect("a test reads them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_prices_are_some() {
        let prices = Prices::read(BUILT_IN).unwrap();
        assert_eq!(prices, Prices::default());
        assert!(prices.sfu_egress_gb > 0.0);
    }

    #[test]
    fn a_wrong_price_is_named() {
        let wrong = BUILT_IN.replace("\"bucket_read\": 0.0000004", "\"bucket_read\": -1");
        let error = Prices::read(&wrong).unwrap_err().to_string();
        assert!(error.contains("`bucket_read`"), "{error}");
        assert!(Prices::read(&BUILT_IN.replace("currency", "money")).is_err());
    }
}
