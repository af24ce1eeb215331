//! Builds the clients of reconcile and serves its queue.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::{Reconcile, reconcile};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::batch;
use shared::config;
use shared::flows::ask::Asking;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let ledger = Ledger::new(&aws, config::ledger_table()?);
    let registry = Registry::new(&aws, config::registry_table()?);
    let merchants = Merchants::new(
        &aws,
        Clock::System,
        registry.clone(),
        config::merchants()?,
        Http::new()?,
    );
    let settler = Settler {
        ledger: ledger.clone(),
        registry,
        deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
        grace_seconds: config::grace_seconds()?,
    };
    let state = &Arc::new(Reconcile {
        clock: Clock::System,
        ledger,
        refunds: Refunds {
            settler: settler.clone(),
            merchants: merchants.clone(),
        },
        asking: Asking { settler, merchants },
        notify_url: config::notify_url()?,
        reconcile: Queue::new(&aws, config::reconcile_queue_url()?),
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, Error>(batch::each(event.payload, |bell| reconcile(Arc::clone(state), bell)).await)
    }))
    .await
}
