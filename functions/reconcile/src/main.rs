//! Builds the clients of reconcile and serves its queue.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::{Hub, reconcile};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::aws::secrets::Merchant;
use shared::batch;
use shared::config::{self, Environment};
use shared::settle::Settler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = &Arc::new(Hub {
        clock: Clock::System,
        settler: Settler {
            ledger: Ledger::new(&aws, config::required("LEDGER_TABLE")?),
            first: Queue::new(&aws, config::required("DELIVER_FIRST_QUEUE_URL")?),
            grace_seconds: config::grace_seconds()?,
        },
        merchant: Merchant::new(aws, config::wechat()?),
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(batch::each(event.payload, |bell| reconcile(Arc::clone(hub), bell)).await)
    }))
    .await
}
