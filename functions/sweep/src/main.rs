//! Builds the clients of sweep and runs it on schedule.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::config::{self, Environment};
use sweep::{Hub, sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let queue = |name| Ok::<_, config::Invalid>(Queue::new(&aws, config::required(name)?));
    let hub = &Hub {
        clock: Clock::System,
        ledger: Ledger::new(&aws, config::required("LEDGER_TABLE")?),
        first: queue("DELIVER_FIRST_QUEUE_URL")?,
        retry: queue("DELIVER_RETRY_QUEUE_URL")?,
        reconcile: queue("RECONCILE_QUEUE_URL")?,
        grace_seconds: config::grace_seconds()?,
    };
    lambda_runtime::run(service_fn(|_: LambdaEvent<Value>| async move {
        sweep(hub).await.map(drop).map_err(Error::from)
    }))
    .await
}
