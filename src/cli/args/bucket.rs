//! Where the run meets.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::clock;
use crate::error::Error;
use crate::exit::Exit;
use crate::store::{BucketUrl, Endpoint, S3Settings, S3Store};

/// Where the run meets. Credentials come from AWS's standard chain (`AWS_ACCESS_KEY_ID` and so
/// on), never from an argument.
#[derive(Args, Debug)]
#[command(next_help_heading = "Bucket")]
pub struct BucketArgs {
    /// The bucket, like s3://name or s3://name/prefix
    #[arg(long, value_name = "URL", env = "MUSTER_BUCKET")]
    pub bucket: Option<BucketUrl>,

    /// Its endpoint, for a store other than AWS S3 [default: AWS_ENDPOINT_URL, else AWS S3 in
    /// AWS_REGION]
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_S3")]
    pub endpoint: Option<Endpoint>,

    /// Its region [default: AWS_REGION or the profile's]
    #[arg(long, value_name = "NAME", env = "MUSTER_BUCKET_REGION")]
    pub bucket_region: Option<String>,

    /// PEM file of a CA to trust for the endpoint, beside the system's
    #[arg(long, value_name = "FILE", env = "AWS_CA_BUNDLE")]
    pub bucket_ca_file: Option<PathBuf>,
}

impl BucketArgs {
    /// What the environment alone says.
    ///
    /// # Errors
    /// When one of its variables can't be read.
    pub fn from_env() -> Result<BucketArgs, Error> {
        #[derive(clap::Parser)]
        struct Environment {
            #[command(flatten)]
            bucket: BucketArgs,
        }
        <Environment as clap::Parser>::try_parse_from(["muster"])
            .map(|environment| environment.bucket)
            .map_err(|e| {
                let text = e.to_string();
                let first = text.lines().next().unwrap_or_default();
                Error::new(Exit::BadConfiguration, first.trim_start_matches("error: "))
            })
    }

    /// How to reach the bucket.
    pub fn settings(&self) -> Result<S3Settings, Error> {
        let Some(bucket) = self.bucket.clone() else {
            return Err(Error::new(
                Exit::BadConfiguration,
                "no bucket is named; give --bucket s3://name/prefix or set MUSTER_BUCKET",
            ));
        };
        Ok(S3Settings {
            endpoint: self.endpoint.clone(),
            region: self.bucket_region.clone(),
            ca_file: self.bucket_ca_file.clone(),
            ..S3Settings::new(bucket)
        })
    }

    /// The bucket. Nothing is sent yet.
    pub async fn open(&self) -> Result<S3Store, Error> {
        open(self.settings()?).await
    }
}

/// The bucket that `settings` lead to. Nothing is sent yet.
pub async fn open(settings: S3Settings) -> Result<S3Store, Error> {
    Ok(S3Store::connect(settings, Arc::new(clock::now)).await?)
}
