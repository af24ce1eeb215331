//! Builds the clients of the operators' API and serves it.

use std::sync::Arc;

use operator::{OperatorApi, router};
use shared::ambient::Clock;
use shared::aws::audit::Audit;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::sdk_config;
use shared::callback::Caller;
use shared::config;
use shared::flows::apps::Apps;
use shared::flows::ask::Asking;
use shared::flows::redelivery::Redelivery;
use shared::flows::refunds::Refunds;
use shared::flows::second_person::RefundDesk;
use shared::flows::settle::Settler;
use shared::flows::sign_in::SignIn;
use shared::flows::staff::Staff;
use shared::wechat::Http;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::telemetry::init();
    let aws = sdk_config(&config::aws()?);
    let registry = Registry::new(&aws, config::registry_table()?);
    let audit = Audit::new(&aws, config::audit_table()?);
    let ledger = Ledger::new(&aws, config::ledger_table()?);
    let settings = config::merchants()?;
    let first_merchant = settings.first.as_ref();
    let first_merchant = first_merchant.map(|first| first.merchant.mch_id.clone());
    let merchants = Merchants::new(
        &aws,
        Clock::System,
        registry.clone(),
        settings,
        Http::new()?,
    );
    let settler = Settler {
        ledger: ledger.clone(),
        registry: registry.clone(),
        deliver_first: Queue::new(&aws, config::deliver_first_queue_url()?),
        grace_seconds: config::grace_seconds()?,
    };
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
            first_merchant,
        },
        redelivery: Redelivery {
            ledger,
            audit: audit.clone(),
        },
        asking: Asking {
            settler: settler.clone(),
            merchants: merchants.clone(),
        },
        reconcile: Queue::new(&aws, config::reconcile_queue_url()?),
        refund_desk: RefundDesk {
            refunds: Refunds { settler, merchants },
            registry: registry.clone(),
            audit: audit.clone(),
            notify_url: config::notify_url()?,
            confirm_above: config::refund_confirm_above()?,
        },
        caller: Caller::new(config::callback_networks()?)?,
        public_url: config::public_url()?,
        registry,
        audit,
        address_header: config::payer_address_header()?,
    };
    lambda_http::run(router(Arc::new(state))).await
}
