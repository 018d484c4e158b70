//! What a run costs, at prices that one file has: estimated before it, measured after it.

mod estimate;
mod prices;

pub use estimate::{DATAGRAM_OVERHEAD, invocations, media_rates, used};
pub use prices::{Prices, PricesError};

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A gigabyte as it is billed.
const GB: f64 = 1e9;

/// A function that a prober runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Whether it runs on arm64 instead of `x86_64`.
    pub arm64: bool,
}

/// Memory times time of functions, in GiB-seconds, which AWS bills as GB-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GbSeconds {
    /// Of those on `x86_64`.
    pub x86_64: f64,
    /// Of those on arm64.
    pub arm64: f64,
}

impl GbSeconds {
    /// Adds a function that ran for so long.
    pub fn add(&mut self, function: Function, time: Duration) {
        let gb_seconds = f64::from(function.memory_mib) / 1_024.0 * time.as_secs_f64();
        match function.arm64 {
            true => self.arm64 += gb_seconds,
            false => self.x86_64 += gb_seconds,
        }
    }
}

/// What a run uses of what is paid for. What is not known is absent: it is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// What the probers' functions take; absent when it was not counted, or probers run elsewhere,
    /// whose price muster does not know.
    pub functions: Option<GbSeconds>,
    /// Requests that start a function.
    pub invocations: u64,
    /// Requests to the bucket that write or list.
    pub bucket_writes: Option<u64>,
    /// Requests to the bucket that read.
    pub bucket_reads: Option<u64>,
    /// Bytes that leave the probers.
    pub prober_egress_bytes: u64,
    /// Bytes that leave the SFU.
    pub sfu_egress_bytes: u64,
}

/// A bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    /// Of all figures.
    pub currency: String,
    /// The day that the prices are of.
    pub as_of: String,
    /// Memory times time of the probers' functions, in GB-seconds; absent when it was not counted,
    /// or probers ran elsewhere.
    pub gb_seconds: Option<f64>,
    /// For functions, their requests included.
    pub functions: Option<f64>,
    /// For requests to the bucket; absent when they were not counted.
    pub bucket: Option<f64>,
    /// For what leaves the probers.
    pub prober_egress: f64,
    /// For what leaves the SFU.
    pub sfu_egress: f64,
    /// All of these that are known.
    pub total: f64,
}

/// What was used, at these prices.
pub fn bill(prices: &Prices, used: &Used) -> Bill {
    #[expect(
        clippy::cast_precision_loss,
        reason = "money is not counted to the byte"
    )]
    let times = |n: u64, price: f64| n as f64 * price;
    let functions = used.functions.map(|of| {
        of.x86_64 * prices.gb_second_x86_64
            + of.arm64 * prices.gb_second_arm64
            + times(used.invocations, prices.invocation)
    });
    let bucket = used.bucket_writes.zip(used.bucket_reads);
    let bucket = bucket.map(|(writes, reads)| {
        times(writes, prices.bucket_write) + times(reads, prices.bucket_read)
    });
    let prober_egress = times(used.prober_egress_bytes, prices.prober_egress_gb) / GB;
    let sfu_egress = times(used.sfu_egress_bytes, prices.sfu_egress_gb) / GB;
    Bill {
        currency: prices.currency.clone(),
        as_of: prices.as_of.clone(),
        gb_seconds: used.functions.map(|of| of.x86_64 + of.arm64),
        functions,
        bucket,
        prober_egress,
        sfu_egress,
        total: functions.unwrap_or(0.0) + bucket.unwrap_or(0.0) + prober_egress + sfu_egress,
    }
}

impl Bill {
    /// The bill in a line (`0.42 USD: SFU egress 0.40, …`).
    pub fn text(&self) -> String {
        let money = |amount: f64| match amount {
            a if a >= 0.01 => format!("{a:.2}"),
            a if a >= 0.000_1 => format!("{a:.4}"),
            0.0 => "0".to_owned(),
            _ => "below 0.0001".to_owned(),
        };
        let known = |amount: Option<f64>, what: &str, otherwise: &str| match amount {
            Some(amount) => format!("{what} {}", money(amount)),
            None => format!("{what} {otherwise}"),
        };
        let parts = [
            known(Some(self.sfu_egress), "SFU egress", ""),
            known(Some(self.prober_egress), "prober egress", ""),
            known(self.bucket, "bucket", "not counted"),
            known(self.functions, "functions", "not counted"),
        ];
        format!(
            "{} {} at the prices of {}: {}",
            money(self.total),
            self.currency,
            self.as_of,
            parts.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_its_price() {
        let prices = Prices::default();
        let mut functions = GbSeconds::default();
        for (arm64, s) in [(true, 1_000), (false, 500)] {
            let memory_mib = 2_048;
            functions.add(Function { memory_mib, arm64 }, Duration::from_secs(s));
        }
        let bill = bill(
            &prices,
            &Used {
                functions: Some(functions),
                invocations: 5,
                bucket_writes: Some(1_000),
                bucket_reads: Some(10_000),
                prober_egress_bytes: 1_000_000_000,
                sfu_egress_bytes: 100_000_000_000,
            },
        );
        assert_eq!(bill.gb_seconds, Some(3_000.0));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(
            bill.functions.unwrap(),
            2_000.0 * 0.000_013_333_4 + 1_000.0 * 0.000_016_666_7 + 0.000_001
        ));
        assert!(near(bill.bucket.unwrap(), 0.005 + 0.004));
        assert!(near(bill.prober_egress, 0.09) && near(bill.sfu_egress, 9.0));
        assert!(
            near(bill.total, bill.functions.unwrap() + 0.009 + 9.09),
            "{bill:?}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_free() {
        let bill = bill(&Prices::default(), &Used::default());
        assert_eq!(
            (bill.functions, bill.bucket, bill.gb_seconds),
            (None, None, None)
        );
        let text = bill.text();
        assert!(
            text.contains("bucket not counted, functions not counted"),
            "{text}"
        );
    }
}
