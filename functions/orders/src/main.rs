//! Builds the clients of orders and serves it.

use std::sync::Arc;

use orders::{Orders, router};
use shared::ambient::Clock;
use shared::aws::feed::Feed;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config;
use shared::flows::ask::Asking;
use shared::flows::notified::Notified;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
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
        registry: registry.clone(),
        deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
        grace_seconds: config::grace_seconds()?,
    };
    let state = Orders {
        clock: Clock::System,
        asking: Asking {
            settler: settler.clone(),
            merchants: merchants.clone(),
        },
        notified: Notified {
            ledger: ledger.clone(),
            settler: settler.clone(),
            confirm: config::confirm_notifications(),
        },
        refunds: Refunds { settler, merchants },
        ledger,
        registry,
        feed: Feed::new(&aws, config::feed_table()?),
        notify_url: config::notify_url()?,
        reconcile: Queue::new(&aws, config::reconcile_queue_url()?),
        public_url: config::public_url()?,
    };
    lambda_http::run(router(Arc::new(state))).await
}
