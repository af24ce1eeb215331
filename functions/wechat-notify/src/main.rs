//! Builds the clients of wechat-notify and serves it.

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::sdk_config;
use shared::config::{self, Environment};
use shared::refunds::Refunds;
use wechat_notify::{Hub, router};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        refunds: Refunds::new(aws)?,
        confirm: config::confirm_notifications(),
    });
    let warming = Arc::clone(&hub);
    tokio::spawn(async move { warming.refunds.merchant.warm().await });
    lambda_http::run(router(hub)).await
}
