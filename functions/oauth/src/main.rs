//! Builds the clients of oauth and serves it.

use std::sync::Arc;

use oauth::{Oauth, router};
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config;
use shared::flows::token_cache::TokenCache;
use shared::wechat::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let registry = Registry::new(&aws, config::registry_table()?);
    let accounts = Accounts::new(&aws, registry.clone(), config::accounts()?, Http::new()?);
    accounts.warm_up();
    let state = Oauth {
        clock: Clock::System,
        tokens: TokenCache::new(registry.clone(), accounts.clone()),
        registry,
        accounts,
        public_url: config::public_url()?,
        verify_codes: config::mp_verify_codes(),
    };
    lambda_http::run(router(Arc::new(state))).await
}
