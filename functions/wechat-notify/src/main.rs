//! Builds the clients of wechat-notify and serves it.

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config;
use shared::flows::notified::Notified;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::Http;
use wechat_notify::{WechatNotify, router};

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
    merchants.warm_up();
    let settler = Settler {
        ledger: ledger.clone(),
        registry,
        deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
        grace_seconds: config::grace_seconds()?,
    };
    let state = WechatNotify {
        clock: Clock::System,
        refunds: Refunds {
            settler: settler.clone(),
            merchants: merchants.clone(),
        },
        notified: Notified {
            ledger: ledger.clone(),
            settler,
            confirm: config::confirm_notifications(),
        },
        ledger,
        merchants,
    };
    lambda_http::run(router(Arc::new(state))).await
}
