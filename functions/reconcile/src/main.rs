//! Builds the clients of reconcile and serves its queue.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::{Hub, reconcile};
use shared::ambient::Clock;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::batch;
use shared::config::{self, Environment};
use shared::refunds::Refunds;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = &Arc::new(Hub {
        clock: Clock::System,
        again: Queue::new(&aws, config::required("RECONCILE_QUEUE_URL")?),
        refunds: Refunds::new(aws)?,
        notify_url: config::required("NOTIFY_URL")?,
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(batch::each(event.payload, |bell| reconcile(Arc::clone(hub), bell)).await)
    }))
    .await
}
