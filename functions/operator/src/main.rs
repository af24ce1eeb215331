//! Builds the clients of the operators' API and serves it.

use std::sync::Arc;

use operator::{OperatorApi, router};
use shared::ambient::Clock;
use shared::aws::audit::Audit;
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::config;
use shared::flows::apps::Apps;
use shared::flows::redelivery::Redelivery;
use shared::flows::sign_in::SignIn;
use shared::flows::staff::Staff;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let registry = Registry::new(&aws, config::registry_table()?);
    let audit = Audit::new(&aws, config::audit_table()?);
    let state = OperatorApi {
        clock: Clock::System,
        sign_in: SignIn {
            registry: registry.clone(),
            audit: audit.clone(),
            hub: config::public_host()?,
        },
        staff: Staff {
            registry: registry.clone(),
            audit: audit.clone(),
        },
        apps: Apps {
            registry: registry.clone(),
            audit: audit.clone(),
            first_merchant: config::merchants()?
                .first
                .map(|first| first.merchant.mch_id),
        },
        redelivery: Redelivery {
            ledger: Ledger::new(&aws, config::ledger_table()?),
            audit: audit.clone(),
        },
        registry,
        audit,
        address_header: config::payer_address_header()?,
    };
    lambda_http::run(router(Arc::new(state))).await
}
