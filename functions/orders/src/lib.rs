//! An order in its app's hands: `GET /v1/orders/{order_no}` shows it with every
//! delivery and every attempt at it, `POST .../close` gives it up. It refuses to
//! know how WeChat closes it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::ambient::Clock;
use shared::aws::ledger::{Ledger, ORDER, Saved};
use shared::aws::queue::{Doorbell, Queue};
use shared::aws::registry::Registry;
use shared::checkout::pay_url;
use shared::domain::app::App;
use shared::domain::delivery::{Attempt, Delivery, Status, delay_seconds};
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::order::{Anomaly, Order};
use shared::domain::time::Timestamp;
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
    /// Where WeChat is asked about an order.
    pub reconcile: Queue,
    /// The hub's own address.
    pub public_url: String,
}

/// Others may change the order this often while it is given up.
const ROUNDS: u32 = 5;

/// The routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/v1/orders/{order_no}", get(show))
        .route("/v1/orders/{order_no}/close", post(close))
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
    let key = key(&signed, &order_no)?;
    let (order, deliveries) = hub
        .ledger
        .order_with_deliveries(&key)
        .await?
        .ok_or(Problem::OrderNotFound)?;
    let pay_url =
        pay_url(&hub.public_url, &order, &signed.app).map_err(|_| Problem::Unavailable)?;
    Ok(Json(view(&order, &deliveries, (&signed.app, pay_url))))
}

/// Nobody is asked to pay any more at once. WeChat does not close an order in
/// its first five minutes, so closing it is a question for later.
async fn close(
    State(hub): State<Arc<Hub>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let fields = Fields::from_json(&body)?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &hub.registry, now).await?;
    signed.fields.only(&["order_no"])?;
    let key = key(&signed, &order_no)?;
    let order = hub
        .ledger
        .order(&key)
        .await?
        .ok_or(Problem::OrderNotFound)?;
    let (order, is_closed) = give_up(&hub, order, now).await?;
    let status = match is_closed {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let body = json!({
        "app_id": order.app_id,
        "order_no": order.order_no,
        "status": order.status,
        "closes_at": order.due.map(Timestamp::rfc3339),
    });
    Ok((status, Json(body)).into_response())
}

async fn give_up(hub: &Hub, mut order: Order, now: Timestamp) -> Result<(Order, bool), Problem> {
    for _ in 0..ROUNDS {
        let is_closed = order.give_up(now)?;
        match hub.ledger.save(&mut order).await? {
            Saved::Changed(row) => order = *row,
            Saved::Done => {
                if let Some(due) = order.due {
                    ring(hub, &order, (due, now)).await;
                }
                return Ok((order, is_closed));
            }
        }
    }
    Err(Problem::Unavailable)
}

/// The row is awake: a bell that does not ring delays it, no more.
async fn ring(hub: &Hub, order: &Order, (due, now): (Timestamp, Timestamp)) {
    let Some(delay) = delay_seconds(due, now) else {
        return;
    };
    let doorbell = Doorbell::new(&order.key(), ORDER, order.step);
    if let Err(failure) = hub.reconcile.ring(&doorbell, delay).await {
        tracing::warn!(order = %order.key(), %failure, "the doorbell did not ring, the sweeper will");
    }
}

fn key(signed: &Signed, order_no: &str) -> Result<OrderKey, Problem> {
    Ok(OrderKey {
        app_id: signed.app.app_id.clone(),
        order_no: OrderNo::parse(order_no).map_err(|rule| Problem::param("order_no", rule.0))?,
    })
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
