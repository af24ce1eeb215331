//! Builds the clients of sweep and runs it on schedule.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::config;
use sweep::{Sweep, sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let state = &Sweep {
        clock: Clock::System,
        ledger: Ledger::new(&aws, config::ledger_table()?),
        deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
        deliver_retry: Queue::new(&aws, config::deliver_retry_queue_url()?),
        reconcile: Queue::new(&aws, config::reconcile_queue_url()?),
        grace_seconds: config::grace_seconds()?,
    };
    lambda_runtime::run(service_fn(|_: LambdaEvent<Value>| async move {
        sweep(state).await.map(drop).map_err(Error::from)
    }))
    .await
}
