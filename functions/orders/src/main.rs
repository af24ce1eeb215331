//! Builds the clients of orders and serves it.

use std::sync::Arc;

use orders::{Hub, router};
use shared::ambient::Clock;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::config::{self, Environment};
use shared::refunds::Refunds;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        reconcile: Queue::new(&aws, config::required("RECONCILE_QUEUE_URL")?),
        refunds: Refunds::new(aws)?,
        notify_url: config::required("NOTIFY_URL")?,
        public_url: config::public_url()?,
    });
    lambda_http::run(router(hub)).await
}
