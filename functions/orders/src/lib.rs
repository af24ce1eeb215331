//! An order in its app's hands: `GET /v1/orders/{order_no}` shows it with every
//! delivery and every attempt at it, `POST .../close` gives it up, and
//! `.../refunds` gives money back. It refuses to know how WeChat does it.

mod refund;
mod view;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::ambient::Clock;
use shared::aws::ledger::Saved;
use shared::aws::queue::Queue;
use shared::checkout::pay_url;
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::order::Order;
use shared::domain::time::Timestamp;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::refunds::Refunds;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The orders, and how money goes back.
    pub refunds: Refunds,
    /// Where WeChat reports refunds.
    pub notify_url: String,
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
        .route("/v1/orders/{order_no}/refunds", post(refund::create))
        .route(
            "/v1/orders/{order_no}/refunds/{refund_no}",
            get(refund::show),
        )
        .with_state(hub)
}

async fn show(
    State(hub): State<Arc<Hub>>,
    Path(order_no): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let fields =
        Fields::from_query(&query.unwrap_or_default())?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &hub.refunds.settler.registry, hub.clock.now()).await?;
    signed.fields.only(&["order_no"])?;
    let key = key(&signed, &order_no)?;
    let ledger = &hub.refunds.settler.ledger;
    let partition = ledger.partition(&key).await?;
    let partition = partition.ok_or(Problem::OrderNotFound)?;
    let pay_url = pay_url(&hub.public_url, &partition.order, &signed.app)
        .map_err(|_| Problem::Unavailable)?;
    Ok(Json(view::order(&partition, pay_url)))
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
    let signed = Signed::fresh(fields, &hub.refunds.settler.registry, now).await?;
    signed.fields.only(&["order_no"])?;
    let key = key(&signed, &order_no)?;
    let order = hub.refunds.settler.ledger.order(&key).await?;
    let order = order.ok_or(Problem::OrderNotFound)?;
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
        match hub.refunds.settler.ledger.save(&mut order).await? {
            Saved::Changed(row) => order = *row,
            Saved::Done => {
                hub.reconcile.ring_for(&order, now).await;
                return Ok((order, is_closed));
            }
        }
    }
    Err(Problem::Unavailable)
}

fn key(signed: &Signed, order_no: &str) -> Result<OrderKey, Problem> {
    Ok(OrderKey {
        app_id: signed.app.app_id.clone(),
        order_no: OrderNo::parse(order_no).map_err(|rule| Problem::param("order_no", rule.0))?,
    })
}
