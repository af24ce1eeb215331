//! `POST /v1/orders`: stores an app's order, idempotent on (app_id, order_no),
//! and opens its payment at WeChat when the app has said how it is paid. It
//! refuses to know what the payer sees.

mod request;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, extract::DefaultBodyLimit};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::Created;
use shared::aws::registry::Registry;
use shared::checkout::{Checkout, Payer, pay_url};
use shared::domain::app::App;
use shared::domain::order::{Order, TradeType};
use shared::domain::time::Timestamp;
use shared::http::client_ip;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The apps.
    pub registry: Registry,
    /// The orders, and WeChat.
    pub checkout: Checkout,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/v1/orders", post(create))
        // `Fields` has the limit, and its own words for it.
        .layer(DefaultBodyLimit::disable())
        .with_state(hub)
}

async fn create(
    State(hub): State<Arc<Hub>>,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let signed = Signed::fresh(Fields::from_json(&body)?, &hub.registry, now).await?;
    let (key, request) = request::read(&signed)?;
    let payer = Payer {
        openid: request.openid.clone(),
        ip: request.client_ip.unwrap_or_else(|| client_ip(&extensions)),
    };
    let method = method(request.trade_type, &payer);

    // The attempt is stored with the order: one write instead of two.
    let mut order = Order::new(key, request, random_hex(), now);
    if let Some(trade_type) = method {
        order.open_attempt(trade_type, (payer.openid.clone(), payer.ip), now)?;
    }
    let (order, status) = match hub.checkout.ledger.create(&order).await? {
        Created::New => (order, StatusCode::CREATED),
        Created::Exists(known) if known.request == order.request => (*known, StatusCode::OK),
        Created::Exists(_) => return Err(Problem::OrderConflict),
    };
    let order = match method {
        Some(trade_type) if order.check_open(now).is_ok() => {
            hub.checkout.prepare(order, trade_type, &payer, now).await?
        }
        _ => order,
    };
    Ok((status, reply(&hub, &order, &signed.app, now)?).into_response())
}

/// How the order is paid, when enough is known to ask WeChat now; the cashier
/// page finds out the rest.
fn method(asked: Option<TradeType>, payer: &Payer) -> Option<TradeType> {
    asked.filter(|asked| *asked != TradeType::Jsapi || payer.openid.is_some())
}

fn reply(
    hub: &Hub,
    order: &Order,
    app: &App,
    now: Timestamp,
) -> Result<Json<serde_json::Value>, Problem> {
    let pay_url = pay_url(&hub.public_url, order, app).map_err(|_| Problem::Unavailable)?;
    let mut body = json!({
        "app_id": order.app_id,
        "order_no": order.order_no,
        "trade_no": order.trade_no().to_string(),
        "status": order.status,
        "total_fee": order.request.total_fee,
        "expires_at": order.expires_at.rfc3339(),
        "pay_url": pay_url,
    });
    // Once it cannot be paid any more, nobody shall show the code.
    let live = order
        .attempts
        .last()
        .filter(|_| order.check_open(now).is_ok());
    let prepay = live.and_then(|attempt| attempt.prepay.as_ref());
    if let (Some(code_url), Some(body)) = (
        prepay.and_then(|prepay| prepay.code_url.as_ref()),
        body.as_object_mut(),
    ) {
        body.insert("code_url".to_owned(), json!(code_url));
    }
    Ok(Json(body))
}
