//! An order in its app's hands: `GET /v1/orders/{order_no}` shows it with every
//! delivery and every attempt at it, `POST .../query` asks WeChat first,
//! `POST .../close` gives it up, `.../refunds` gives money back, and `.../retry`
//! hurries that. `GET /v1/events` is all of its events, one after the other.
//! `POST /v1/notifications/verify` takes what WeChat told an app of version 1.0.

mod events;
mod notification;
mod refund;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use shared::ambient::Clock;
use shared::aws::feed::Feed;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::domain::app::App;
use shared::domain::id::OrderKey;
use shared::domain::order::{Closure, Order};
use shared::domain::time::Timestamp;
use shared::flows::addresses::pay_url;
use shared::flows::ask::Asking;
use shared::flows::notified::Notified;
use shared::flows::query::query_now;
use shared::flows::refunds::Refunds;
use shared::http::guarded;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view;

/// What the function works with.
#[derive(Debug)]
pub struct Orders {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// Who may ask, and with which secret.
    pub registry: Registry,
    /// The orders and their refunds.
    pub ledger: Ledger,
    /// What apps read instead of being called.
    pub feed: Feed,
    /// How WeChat is asked about an order.
    pub asking: Asking,
    /// How a payment that WeChat told an app of is taken.
    pub notified: Notified,
    /// How money goes back.
    pub refunds: Refunds,
    /// Where WeChat reports refunds.
    pub notify_url: String,
    /// Where WeChat is asked about an order.
    pub reconcile: Queue,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes that template.yaml sends here.
pub fn router(state: Arc<Orders>) -> Router {
    let routes = Router::new()
        .route("/v1/orders/{order_no}", get(show))
        .route("/v1/orders/{order_no}/query", post(query))
        .route("/v1/orders/{order_no}/close", post(close))
        .route("/v1/orders/{order_no}/refunds", post(refund::create))
        .route(
            "/v1/orders/{order_no}/refunds/{refund_no}",
            get(refund::show),
        )
        .route(
            "/v1/orders/{order_no}/refunds/{refund_no}/retry",
            post(refund::retry),
        )
        .route("/v1/events", get(events::list))
        .route("/v1/notifications/verify", post(notification::verify))
        .with_state(state);
    guarded(routes)
}

impl Orders {
    /// The sender of a POST that says what it does, by `action`, and to what, by
    /// its path. It has no other parameter: signed for one thing, it does no other.
    async fn asked(
        &self,
        action: &'static str,
        path: &[(&'static str, &str)],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Signed, Problem> {
        let mut fields = Fields::from_json(body)?;
        for (name, value) in path {
            fields = fields.with_path(name, (*value).to_owned())?;
        }
        let signed = Signed::fresh(fields, &self.registry, now).await?;
        let names = path.iter().map(|(name, _)| *name);
        let known: Vec<&str> = names.chain(["action"]).collect();
        signed.fields.only(&known)?;
        signed.fields.demand_action(action)?;
        Ok(signed)
    }

    async fn order(&self, key: &OrderKey) -> Result<Order, Problem> {
        let order = self.ledger.order(key).await?;
        order.ok_or(Problem::OrderNotFound)
    }
}

async fn show(
    State(state): State<Arc<Orders>>,
    Path(order_no): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let fields =
        Fields::from_query(&query.unwrap_or_default())?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &state.registry, state.clock.now()).await?;
    signed.fields.only(&["order_no"])?;
    shown(&state, &signed.order_key(&order_no)?, &signed.app).await
}

/// The order with all that belongs to it, as it is in the ledger now.
async fn shown(state: &Orders, key: &OrderKey, app: &App) -> Result<Response, Problem> {
    let partition = state.ledger.partition(key).await?;
    let partition = partition.ok_or(Problem::OrderNotFound)?;
    let pay_url = pay_url(&state.public_url, &partition.order, app)?;
    Ok(Json(view::Order::of(&partition, pay_url)).into_response())
}

/// An app whose client comes back from WeChat wants to know at once.
async fn query(
    State(state): State<Arc<Orders>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let path = [("order_no", order_no.as_str())];
    let signed = state.asked("query", &path, &body, now).await?;
    let key = signed.order_key(&order_no)?;
    let order = state.order(&key).await?;
    query_now(&state.asking, &state.refunds, order, now).await?;
    shown(&state, &key, &signed.app).await
}

async fn close(
    State(state): State<Arc<Orders>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let path = [("order_no", order_no.as_str())];
    let signed = state.asked("close", &path, &body, now).await?;
    let key = signed.order_key(&order_no)?;
    let order = state.order(&key).await?;
    let given_up = state.asking.give_up(order, &state.reconcile, now).await?;
    let status = match given_up.closure {
        Closure::Closed | Closure::Repeated => StatusCode::OK,
        Closure::Pending => StatusCode::ACCEPTED,
    };
    Ok((status, Json(view::ClosedOrder::of(&given_up.order))).into_response())
}
