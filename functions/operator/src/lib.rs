//! The operators' API, `/v1/operator/...`: what a person must do to a hub, by a
//! browser in which they are logged in or by a machine's key. Each route names the
//! action that the caller's role must allow; `door` asks for it before the handler.

mod app;
mod body;
mod delivery;
mod door;
mod enrolment;
mod order;
mod pass;
mod session;
mod staff;
mod test_event;
mod trail;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post};
use shared::ambient::Clock;
use shared::aws::audit::Audit;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::callback::Caller;
use shared::domain::operator::Action;
use shared::flows::apps::{Apps, Change};
use shared::flows::ask::Asking;
use shared::flows::redelivery::Redelivery;
use shared::flows::second_person::RefundDesk;
use shared::flows::sign_in::SignIn;
use shared::flows::staff::{Change as Turn, Staff};
use shared::http::guarded;

/// What the function works with.
#[derive(Debug)]
pub struct OperatorApi {
    /// Where the time comes from.
    pub clock: Clock,
    /// Who may get in.
    pub registry: Registry,
    /// Who did what.
    pub audit: Audit,
    /// How operators get in.
    pub sign_in: SignIn,
    /// How machines get keys.
    pub staff: Staff,
    /// How apps are looked after.
    pub apps: Apps,
    /// How they are told again.
    pub redelivery: Redelivery,
    /// How WeChat is asked about an order.
    pub asking: Asking,
    /// Where WeChat is asked about an order later.
    pub reconcile: Queue,
    /// How people give money back.
    pub refund_desk: RefundDesk,
    /// How an app is called for a test.
    pub caller: Caller,
    /// The hub's own address.
    pub public_url: String,
    /// In which header a proxy says who called it.
    pub address_header: Option<HeaderName>,
}

impl OperatorApi {
    fn ledger(&self) -> &Ledger {
        &self.redelivery.ledger
    }
}

/// The routes that template.yaml sends here.
pub fn router(state: Arc<OperatorApi>) -> Router {
    let open = Router::new()
        .route("/v1/operator/session", post(session::begin))
        .route("/v1/operator/link-session", post(session::begin_with_link))
        .route("/v1/operator/enrolment", post(enrolment::finish))
        .route("/v1/operator/enrolment/codes", post(enrolment::offer));
    let held = |action: Action, handler: MethodRouter<Arc<OperatorApi>>| {
        handler.route_layer(from_fn_with_state((Arc::clone(&state), action), door::pass))
    };
    let own = |handler| held(Action::OwnSession, handler);
    let see_staff = |handler| held(Action::ReadStaff, handler);
    let manage_staff = |handler| held(Action::ManageStaff, handler);
    let see_links = |handler| held(Action::ReadLinks, handler);
    let manage_links = |handler| held(Action::ManageLinks, handler);
    let change_app = |handler| held(Action::ChangeApps, handler);
    let simply = |change| change_app(app::simply(change));
    let resend = |handler| held(Action::Resend, handler);
    let read_order = |handler| held(Action::ReadOrders, handler);
    let refund = |handler| held(Action::Refund, handler);
    let person = "/v1/operator/operators/{name}";
    let app = "/v1/operator/apps/{app_id}";
    let order = "/v1/operator/orders/{app_id}/{order_no}";
    let waiting = "/v1/operator/confirmations/{id}";
    let deliveries = format!("{app}/deliveries");
    let routes = open
        .route("/v1/operator/session", own(get(session::show)))
        .route("/v1/operator/session", own(delete(session::end)))
        .route(
            "/v1/operator/password",
            held(Action::OwnPassword, post(session::change_password)),
        )
        .route("/v1/operator/operators", see_staff(get(staff::list)))
        .route(person, see_staff(get(staff::show)))
        .route(person, manage_staff(delete(staff::remove)))
        .route(
            &format!("{person}/disable"),
            manage_staff(staff::change(Turn::Disable)),
        )
        .route(
            &format!("{person}/enable"),
            manage_staff(staff::change(Turn::Enable)),
        )
        .route("/v1/operator/api-keys", see_staff(get(pass::list_keys)))
        .route(
            "/v1/operator/api-keys",
            manage_staff(post(pass::create_key)),
        )
        .route("/v1/operator/api-keys/{id}", see_staff(get(pass::show_key)))
        .route(
            "/v1/operator/api-keys/{id}",
            manage_staff(delete(pass::revoke_key)),
        )
        .route("/v1/operator/owner-links", see_links(get(pass::list_links)))
        .route(
            "/v1/operator/owner-links",
            manage_links(post(pass::create_link)),
        )
        .route(
            "/v1/operator/owner-links/{id}",
            see_links(get(pass::show_link)),
        )
        .route(
            "/v1/operator/owner-links/{id}",
            manage_links(delete(pass::revoke_link)),
        )
        .route("/v1/operator/apps", held(Action::ListApps, get(app::list)))
        .route(
            "/v1/operator/apps",
            held(Action::RegisterApps, post(app::create)),
        )
        .route(app, held(Action::ReadApps, get(app::show)))
        .route(app, change_app(patch(app::edit)))
        .route(&format!("{app}/disable"), simply(Change::Disable))
        .route(&format!("{app}/enable"), simply(Change::Enable))
        .route(&format!("{app}/pause"), simply(Change::Pause))
        .route(&format!("{app}/resume"), simply(Change::Resume))
        .route(&format!("{app}/test-event"), resend(post(test_event::send)))
        .route(
            &format!("{deliveries}/wake"),
            change_app(post(delivery::wake)),
        )
        .route(&format!("{app}/annotate"), change_app(post(app::annotate)))
        .route(
            &format!("{app}/rotate"),
            held(Action::IssueSecrets, post(app::rotate)),
        )
        .route(
            &deliveries,
            held(Action::ReadDeliveries, get(delivery::list)),
        )
        .route(
            &format!("{deliveries}/resend"),
            resend(post(delivery::resend)),
        )
        .route(
            &format!("{deliveries}/resend-all"),
            resend(post(delivery::resend_all)),
        )
        .route(
            "/v1/operator/orders",
            held(Action::FindOrders, get(order::find)),
        )
        .route(order, read_order(get(order::show)))
        .route(
            &format!("{order}/query"),
            held(Action::QueryOrders, post(order::ask)),
        )
        .route(
            &format!("{order}/close"),
            held(Action::CloseOrders, post(order::close)),
        )
        .route(&format!("{order}/refunds"), refund(post(order::give_back)))
        .route(waiting, held(Action::ReadWaiting, get(order::show_waiting)))
        .route(waiting, refund(delete(order::reject)))
        .route(
            &format!("{waiting}/confirm"),
            held(Action::ConfirmRefunds, post(order::confirm)),
        )
        .route(
            "/v1/operator/audit",
            held(Action::ReadTrail, get(trail::list)),
        );
    guarded(routes.with_state(state))
}
