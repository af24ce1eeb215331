//! `GET /v1/orders/{order_no}`: an order as its app may see it, with every
//! delivery and every attempt at it. It refuses to know how orders move.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::checkout::pay_url;
use shared::domain::app::App;
use shared::domain::delivery::{Attempt, Delivery, Status};
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::order::{Anomaly, Order};
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The apps.
    pub registry: Registry,
    /// The orders.
    pub ledger: Ledger,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/v1/orders/{order_no}", get(show))
        .with_state(hub)
}

async fn show(
    State(hub): State<Arc<Hub>>,
    Path(order_no): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let fields =
        Fields::from_query(&query.unwrap_or_default())?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &hub.registry, hub.clock.now()).await?;
    signed.fields.only(&["order_no"])?;
    let order_no = OrderNo::parse(&order_no).map_err(|rule| Problem::param("order_no", rule.0))?;
    let key = OrderKey {
        app_id: signed.app.app_id.clone(),
        order_no,
    };
    let (order, deliveries) = hub
        .ledger
        .order_with_deliveries(&key)
        .await?
        .ok_or(Problem::OrderNotFound)?;
    let pay_url =
        pay_url(&hub.public_url, &order, &signed.app).map_err(|_| Problem::Unavailable)?;
    Ok(Json(view(&order, &deliveries, (&signed.app, pay_url))))
}

fn view(order: &Order, deliveries: &[Delivery], (app, pay_url): (&App, String)) -> Value {
    let payment = order.payment.as_ref();
    let prepay = order
        .attempts
        .last()
        .and_then(|attempt| attempt.prepay.as_ref());
    json!({
        "app_id": app.app_id,
        "order_no": order.order_no,
        "trade_no": order.trade_no().to_string(),
        "status": order.status,
        "version": order.request.version,
        "trade_type": order.attempts.last().map(|attempt| attempt.trade_type),
        "total_fee": order.request.total_fee,
        "refunded_fee": order.refunded,
        "body": order.request.body,
        "attach": order.request.attach,
        "created_at": order.created_at.rfc3339(),
        "expires_at": order.expires_at.rfc3339(),
        "pay_url": order.status.is_open().then_some(pay_url),
        "code_url": prepay.filter(|_| order.status.is_open()).and_then(|p| p.code_url.as_ref()),
        "transaction_id": payment.map(|paid| &paid.transaction_id),
        "cash_fee": payment.map(|paid| paid.cash_fee),
        "openid": payment.and_then(|paid| paid.openid.as_ref()),
        "paid_at": payment.map(|paid| paid.paid_at.rfc3339()),
        "anomalies": order.anomalies.iter().map(anomaly).collect::<Vec<_>>(),
        "deliveries": deliveries.iter().map(delivery).collect::<Vec<_>>(),
    })
}

fn anomaly(anomaly: &Anomaly) -> Value {
    json!({
        "kind": anomaly.kind,
        "transaction_id": anomaly.payment.transaction_id,
        "total_fee": anomaly.payment.total_fee,
        "seen_at": anomaly.seen_at.rfc3339(),
    })
}

fn delivery(delivery: &Delivery) -> Value {
    let pending = delivery.status == Status::Pending;
    json!({
        "event": delivery.event,
        "event_id": delivery.event_id,
        "status": delivery.status,
        "step": delivery.step,
        "next_due": pending.then(|| delivery.due.rfc3339()),
        "attempts": delivery.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "step": attempt.step,
        "address": attempt.address,
        "at": attempt.at.rfc3339(),
        "latency_ms": attempt.latency_ms,
        "http_status": attempt.http_status,
        "answer": attempt.answer,
    })
}
