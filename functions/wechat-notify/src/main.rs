//! Builds the clients of wechat-notify and serves it.

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::sdk_config;
use shared::aws::secrets::Merchant;
use shared::config::{self, Environment};
use shared::settle::Settler;
use wechat_notify::{Hub, router};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        settler: Settler {
            ledger: Ledger::new(&aws, config::required("LEDGER_TABLE")?),
            first: Queue::new(&aws, config::required("DELIVER_FIRST_QUEUE_URL")?),
            grace_seconds: config::grace_seconds()?,
        },
        merchant: Merchant::new(aws, config::wechat()?),
        confirm: config::confirm_notifications(),
    });
    let warming = Arc::clone(&hub);
    tokio::spawn(async move { warming.merchant.warm().await });
    lambda_http::run(router(hub)).await
}
