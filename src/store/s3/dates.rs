//! What the store's clock said, beside what the local one said.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::clock::Sample;
use crate::job::Timestamp;
use crate::store::Now;

/// The latest readings of a store's clock, from the `Date` of each of its answers; the oldest are
/// dropped first. Clones share them.
#[derive(Clone)]
pub struct DateSamples {
    now: Now,
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

/// An interval gets no narrower by more samples than this.
const MAX_SAMPLES: usize = 1024;

impl DateSamples {
    pub(super) fn new(now: Now) -> Self {
        DateSamples {
            now,
            samples: Arc::default(),
        }
    }

    /// Takes what has come in since the last call.
    pub fn take(&self) -> Vec<Sample> {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.drain(..).collect()
    }

    /// What has come in since the last call of [`DateSamples::take`], which stays.
    pub fn latest(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().collect()
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

impl fmt::Debug for DateSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DateSamples")
    }
}

#[derive(Debug)]
struct Sent(Timestamp);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

/// Each attempt of each request is one sample, a refused one as well.
impl Intercept for DateSamples {
    fn name(&self) -> &'static str {
        "DateSamples"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Sent((self.now)()));
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let received = (self.now)();
        let date = context
            .response()
            .headers()
            .get("date")
            .and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok());
        if let (Some(Sent(sent)), Some(date)) = (bag.load::<Sent>(), date) {
            self.add(Sample::date(*sent, date.secs(), received));
        }
        Ok(())
    }
}
