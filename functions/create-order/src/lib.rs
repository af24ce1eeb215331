//! `POST /v1/orders`: stores an app's order, idempotent on (app_id, order_no),
//! and opens its payment at WeChat when the app has said how it is paid.

mod micropay;
mod request;

pub use micropay::Till;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, extract::DefaultBodyLimit};
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::{Created, Ledger};
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::domain::app::App;
use shared::domain::order::{Attempt, Order, Payer, Prepay, Request, TradeType};
use shared::domain::signature::Params;
use shared::domain::time::Timestamp;
use shared::flows::addresses::{mweb_url, pay_url};
use shared::flows::checkout::Checkout;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view::PlacedOrder;
use shared::http::{client_ip, guarded};

use request::NewOrder;

/// What the function works with.
#[derive(Debug)]
pub struct CreateOrder {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// Who may ask, and with which secret.
    pub registry: Registry,
    /// Where orders are.
    pub ledger: Ledger,
    /// Who is paid.
    pub merchant: Merchant,
    /// How an order gets to WeChat.
    pub checkout: Checkout,
    /// The hub's own address.
    pub public_url: String,
    /// Where the proxy in front says who called it.
    pub payer_address_header: Option<HeaderName>,
    /// For payments by code.
    pub till: Till,
}

/// The routes that template.yaml sends here.
pub fn router(state: Arc<CreateOrder>) -> Router {
    let routes = Router::new()
        .route("/v1/orders", post(create))
        // `Fields` has the limit, and its own words for it.
        .layer(DefaultBodyLimit::disable())
        .with_state(state);
    guarded(routes)
}

async fn create(
    State(state): State<Arc<CreateOrder>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let signed = Signed::fresh(Fields::from_json(&body)?, &state.registry, now).await?;
    let NewOrder {
        key,
        request,
        auth_code,
    } = request::read(&signed, &state.till.prefixes)?;
    let caller = || client_ip(&extensions, &headers, state.payer_address_header.as_ref());
    let payer = Payer {
        openid: request.openid.clone(),
        ip: request.client_ip.unwrap_or_else(caller),
    };
    if let Some(code) = auth_code {
        let order = Order::new(key, request, random_hex(), now);
        return micropay::charge(&state, order, &code, payer.ip, now).await;
    }
    let method = method(&request, &signed.app);

    // The attempt is stored with the order: one write instead of two.
    let mut order = Order::new(key, request, random_hex(), now);
    if let Some(trade_type) = method {
        let api_version = state.merchant.api_version();
        order.open_attempt(trade_type, payer.clone(), api_version, now)?;
    }
    let (order, status) = match state.ledger.create(&order).await? {
        Created::New => {
            tracing::info!(order = %order.key(), "order created");
            (order, StatusCode::CREATED)
        }
        Created::Exists(known) if known.request.is_same(&order.request) => (*known, StatusCode::OK),
        Created::Exists(_) => return Err(Problem::OrderConflict),
    };
    let (order, attempt) = match method {
        Some(trade_type) if order.check_open(now).is_ok() => {
            let checkout = &state.checkout;
            let prepared = checkout.prepare(order, trade_type, &payer, now).await?;
            (prepared.order, Some(prepared.attempt))
        }
        _ => {
            let current = order.attempts.last().cloned();
            (order, current)
        }
    };
    let attempt = attempt.filter(|_| order.check_open(now).is_ok());
    let placed = placed(&state, &order, attempt.as_ref(), &signed.app, now).await?;
    Ok((status, Json(placed)).into_response())
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

/// The order and how it is paid, if it still can be.
async fn placed<'a>(
    state: &CreateOrder,
    order: &'a Order,
    attempt: Option<&'a Attempt>,
    app: &App,
    now: Timestamp,
) -> Result<PlacedOrder<'a>, Problem> {
    let pay_url = pay_url(&state.public_url, order, app)?;
    let mut placed = PlacedOrder::of(order);
    if let Some(attempt) = attempt
        && let Some(prepay) = &attempt.prepay
    {
        placed.code_url = prepay.code_url.as_deref();
        let address = prepay.mweb_url.as_deref();
        placed.mweb_url = address.and_then(|address| mweb_url(address, &pay_url).ok());
        placed.app_params = app_params(state, attempt, prepay, now).await?;
    }
    placed.pay_url = Some(pay_url);
    Ok(placed)
}

/// What the merchant's app opens WeChat with, in its flow.
async fn app_params(
    state: &CreateOrder,
    attempt: &Attempt,
    prepay: &Prepay,
    now: Timestamp,
) -> Result<Option<Params>, Problem> {
    match attempt.trade_type {
        TradeType::App | TradeType::Genprepay => {
            let wechat = state.merchant.wechat().await?;
            Ok(wechat.app_params(attempt, prepay, now)?)
        }
        TradeType::Native | TradeType::Jsapi | TradeType::Mweb | TradeType::Micropay => Ok(None),
    }
}
