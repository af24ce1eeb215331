//! Builds the clients of create-order and serves it.

use std::sync::Arc;

use create_order::{CreateOrder, Till, router};
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config;
use shared::flows::checkout::Checkout;
use shared::flows::settle::Settler;
use shared::flows::token_cache::TokenCache;
use shared::wechat::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let ledger = Ledger::new(&aws, config::ledger_table()?);
    let registry = Registry::new(&aws, config::registry_table()?);
    let http = Http::new()?;
    let merchants = Merchants::new(
        &aws,
        Clock::System,
        registry.clone(),
        config::merchants()?,
        http.clone(),
    );
    merchants.warm_up();
    // Keys are read only if an app's old client needs a token that nobody has cached.
    let accounts = Accounts::new(&aws, registry.clone(), config::accounts()?, http);
    let reconcile = Queue::new(&aws, config::reconcile_queue_url()?);
    let state = CreateOrder {
        clock: Clock::System,
        checkout: Checkout {
            ledger: ledger.clone(),
            tokens: Some(TokenCache::new(registry.clone(), accounts.clone())),
            merchants,
            accounts,
            notify_url: config::notify_url()?,
            reconcile: reconcile.clone(),
        },
        till: Till {
            prefixes: config::auth_code_prefixes()?,
            timing: config::micropay_timing()?,
            settler: Settler {
                ledger: ledger.clone(),
                registry: registry.clone(),
                deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
                grace_seconds: config::grace_seconds()?,
            },
            reconcile,
        },
        ledger,
        registry,
        public_url: config::public_url()?,
        payer_address_header: config::payer_address_header()?,
    };
    lambda_http::run(router(Arc::new(state))).await
}
