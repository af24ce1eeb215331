//! `POST /v1/orders`: stores an app's order, idempotent on (app_id, order_no),
//! and opens its payment at WeChat when the app has said how it is paid. It
//! refuses to know what the payer sees.

mod request;
mod scan;

pub use scan::Till;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, extract::DefaultBodyLimit};
use serde_json::{Value, json};
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::Created;
use shared::aws::registry::Registry;
use shared::checkout::{Checkout, Payer, mweb_address, pay_url};
use shared::domain::app::App;
use shared::domain::order::{Order, Request, TradeType};
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
    /// For payments by code.
    pub till: Till,
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
    let (key, request, auth_code) = request::read(&signed, &hub.till.prefixes)?;
    let payer = Payer {
        openid: request.openid.clone(),
        ip: request.client_ip.unwrap_or_else(|| client_ip(&extensions)),
    };
    if let Some(code) = auth_code {
        return scan::charge(&hub, (key, request), (&code, payer.ip), now).await;
    }
    let method = method(&request, &signed.app);

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
    Ok((status, reply(&hub, &order, &signed.app, now).await?).into_response())
}

/// How the order is paid, when enough is known to ask WeChat now; the cashier
/// page finds out the rest.
fn method(request: &Request, app: &App) -> Option<TradeType> {
    let asked = match request.trade_type? {
        TradeType::App if app.genprepay => TradeType::Genprepay,
        asked => asked,
    };
    let known = match asked {
        TradeType::Native | TradeType::App | TradeType::Genprepay => true,
        TradeType::Jsapi => request.openid.is_some(),
        // WeChat compares it with the address the payer comes from.
        TradeType::Mweb => request.client_ip.is_some(),
        TradeType::Micropay => false,
    };
    known.then_some(asked)
}

async fn reply(
    hub: &Hub,
    order: &Order,
    app: &App,
    now: Timestamp,
) -> Result<Json<Value>, Problem> {
    let pay_url = pay_url(&hub.public_url, order, app).map_err(|_| Problem::Unavailable)?;
    // Once it cannot be paid any more, nobody shall be shown how.
    let open = order.check_open(now).is_ok();
    let attempt = order.attempts.last().filter(|_| open);
    let prepay = attempt.and_then(|attempt| attempt.prepay.as_ref());
    let merchant = &hub.checkout.merchant;
    let app_params = match (attempt.map(|attempt| attempt.trade_type), prepay) {
        (Some(TradeType::App), Some(prepay)) => {
            Some(merchant.wechat().await?.app_params(&prepay.prepay_id, now))
        }
        (Some(TradeType::Genprepay), Some(prepay)) => {
            let wechat = merchant.wechat().await?;
            Some(wechat.genprepay_params(&prepay.prepay_id, now)?)
        }
        _ => None,
    };
    let mweb_url = prepay.and_then(|prepay| prepay.mweb_url.as_deref());
    let mut body = json!({
        "app_id": order.app_id,
        "order_no": order.order_no,
        "trade_no": order.trade_no().to_string(),
        "status": order.status,
        "total_fee": order.request.total_fee,
        "expires_at": order.expires_at.rfc3339(),
        "code_url": prepay.and_then(|prepay| prepay.code_url.as_ref()),
        "mweb_url": mweb_url.and_then(|mweb_url| mweb_address(mweb_url, &pay_url).ok()),
        "app_params": app_params,
        "pay_url": pay_url,
    });
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(Json(body))
}
