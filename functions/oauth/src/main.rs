//! Builds the clients of oauth and serves it.

use std::sync::Arc;

use oauth::{Hub, router};
use shared::account::AccountTokens;
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::aws::secrets::Merchant;
use shared::config::{self, Environment};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&Environment::read()?);
    let registry = Registry::new(&aws, config::required("REGISTRY_TABLE")?);
    let merchant = Merchant::new(aws, config::wechat()?);
    let hub = Arc::new(Hub {
        clock: Clock::System,
        tokens: AccountTokens::new(registry.clone(), merchant.clone()),
        registry,
        merchant,
        public_url: config::public_url()?,
        verify_codes: config::mp_verify_codes(),
    });
    let warming = Arc::clone(&hub);
    tokio::spawn(async move { warming.merchant.warm().await });
    lambda_http::run(router(hub)).await
}
