//! The only place that touches AWS: the tables, the queues, the secrets. What a
//! row or a message leads to is the flows' and the functions' matter.

pub mod accounts;
pub mod audit;
pub mod feed;
pub mod https;
mod item;
pub mod ledger;
pub mod merchants;
pub mod queue;
pub mod registry;
pub mod secrets;

use std::error::Error as StdError;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;

use crate::config;
use crate::error::causes;

/// AWS did not do what it was asked, or nobody knows whether it did: the write
/// may have come through. Whatever was owed before is still owed. The cause is
/// for the log.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {cause}")]
pub struct Failure {
    operation: &'static str,
    cause: Box<dyn StdError + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
#[error("others kept changing the row")]
struct Contended;

impl Failure {
    /// Others kept changing the row.
    pub(crate) fn contended(operation: &'static str) -> Self {
        Self {
            operation,
            cause: Box::new(Contended),
        }
    }

    /// Whether AWS is well, and others kept changing the row.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.cause.is::<Contended>()
    }

    /// A row that others hold on to is not there.
    pub(crate) fn vanished(what: &'static str) -> Self {
        Self {
            operation: "read a row",
            cause: format!("the {what} has vanished").into(),
        }
    }

    fn of<E: StdError + Send + Sync + 'static>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self {
            operation,
            cause: causes(&error).into(),
        }
    }
}

/// The SDK's settings in a function: credentials and region from the
/// environment, as Lambda gives them, without the chain of providers and the
/// sign-in clients that come with it. The SDK has no time-outs of its own.
#[must_use]
pub fn sdk_config(aws: &config::Aws) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(aws.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(
            EnvironmentVariableCredentialsProvider::new(),
        ))
        .http_client(https::client())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_millis(1500))
                .operation_timeout(Duration::from_millis(4000))
                .build(),
        );
    if let Some(url) = &aws.endpoint_url {
        config = config.endpoint_url(url);
    }
    config.build()
}

/// The SDK's settings for an operator at a terminal: every way of signing in
/// that the AWS command line has.
pub async fn sdk_config_for_people() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(https::client_for_people())
        .load()
        .await
}
