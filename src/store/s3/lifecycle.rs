//! A bucket's lifecycle rule, by which the store itself removes what is old.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, TransitionDefaultMinimumObjectSize,
};

use super::{S3Store, answer};
use crate::store::{At, Op, StoreError};

impl S3Store {
    /// Has the store delete what lies below `folder` once it is `days` old. The rule takes the
    /// place of the one that an earlier call made for this folder; others stay.
    ///
    /// # Errors
    /// When the store has no lifecycle rules, or these credentials may not set them.
    pub async fn expire(&self, folder: &str, days: u32) -> Result<(), StoreError> {
        let prefix = self.name(folder);
        let at = || At::prefix(&self.location, folder);
        let id = format!("muster {prefix}");
        let (mut rules, smallest) = self.lifecycle_rules(folder).await?;
        rules.retain(|rule| rule.id() != Some(&id));
        let rule = LifecycleRule::builder()
            .id(id)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .status(ExpirationStatus::Enabled)
            .expiration(
                LifecycleExpiration::builder()
                    .days(i32::try_from(days).unwrap_or(i32::MAX))
                    .build(),
            );
        let unfit = |e: aws_sdk_s3::error::BuildError| StoreError::Other {
            at: at(),
            why: e.to_string(),
        };
        rules.push(rule.build().map_err(unfit)?);
        let all = BucketLifecycleConfiguration::builder().set_rules(Some(rules));
        self.client
            .put_bucket_lifecycle_configuration()
            .bucket(&self.location.bucket)
            .lifecycle_configuration(all.build().map_err(unfit)?)
            .set_transition_default_minimum_object_size(smallest)
            .send()
            .await
            .map(drop)
            .map_err(|e| answer::error(e, at(), Op::Put))
    }

    /// The rules that there are, with the one setting beside them.
    async fn lifecycle_rules(
        &self,
        folder: &str,
    ) -> Result<
        (
            Vec<LifecycleRule>,
            Option<TransitionDefaultMinimumObjectSize>,
        ),
        StoreError,
    > {
        let answer = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(&self.location.bucket)
            .send()
            .await;
        match answer {
            Ok(all) => Ok((
                all.rules.unwrap_or_default(),
                all.transition_default_minimum_object_size,
            )),
            Err(e) if e.code() == Some("NoSuchLifecycleConfiguration") => Ok((Vec::new(), None)),
            Err(e) => Err(answer::error(
                e,
                At::prefix(&self.location, folder),
                Op::Get,
            )),
        }
    }
}
