//! Builds the clients of deliver and serves its queues.

use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsEvent;
use deliver::{Deliver, deliver};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::ambient::Clock;
use shared::aws::feed::Feed;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::batch;
use shared::callback::Caller;
use shared::config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let state = &Arc::new(Deliver {
        clock: Clock::System,
        registry: Registry::new(&aws, config::registry_table()?),
        ledger: Ledger::new(&aws, config::ledger_table()?),
        feed: Feed::new(&aws, config::feed_table()?),
        deliver_retry: Queue::new(&aws, config::deliver_retry_queue_url()?),
        caller: Caller::new(config::callback_networks()?)?,
        breaker: Mutex::default(),
        schedule: config::schedule()?,
        grace_seconds: config::grace_seconds()?,
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(batch::each(event.payload, |bell| deliver(Arc::clone(state), bell)).await)
    }))
    .await
}
