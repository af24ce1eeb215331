//! Builds the clients of cashier and serves it.

use std::sync::Arc;

use cashier::{Hub, router};
use shared::account::AccountTokens;
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::aws::secrets::Merchant;
use shared::checkout::Checkout;
use shared::config::{self, Environment};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let registry = Registry::new(&aws, config::required("REGISTRY_TABLE")?);
    let merchant = Merchant::new(aws.clone(), config::wechat()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        registry: registry.clone(),
        checkout: Checkout {
            ledger: Ledger::new(&aws, config::required("LEDGER_TABLE")?),
            tokens: AccountTokens::new(registry, merchant.clone()),
            merchant,
            notify_url: config::required("NOTIFY_URL")?,
        },
        public_url: config::public_url()?,
    });
    let warming = Arc::clone(&hub);
    tokio::spawn(async move { warming.checkout.merchant.warm().await });
    lambda_http::run(router(hub)).await
}
