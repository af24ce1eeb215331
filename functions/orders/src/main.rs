//! Builds the clients of orders and serves it.

use std::sync::Arc;

use orders::{Hub, router};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config::{self, Environment};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        registry: Registry::new(&aws, config::required("REGISTRY_TABLE")?),
        reconcile: Queue::new(&aws, config::required("RECONCILE_QUEUE_URL")?),
        ledger: Ledger::new(&aws, config::required("LEDGER_TABLE")?),
        public_url: config::public_url()?,
    });
    lambda_http::run(router(hub)).await
}
