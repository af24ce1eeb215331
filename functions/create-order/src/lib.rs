//! `POST /v1/orders`: stores an app's order, idempotent on (app_id, order_no),
//! and opens its payment at WeChat when the app has said how it is paid.

mod micropay;
mod request;

use micropay::Scan;
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
use shared::aws::accounts::Named;
use shared::aws::ledger::{Created, Ledger};
use shared::aws::registry::Registry;
use shared::domain::app::App;
use shared::domain::merchant::Need;
use shared::domain::order::{Attempt, Order, Payer, Request, TradeType};
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
    let method = method(&request, &signed.app);
    let mut order = Order::new(key, request, random_hex(), now);
    order.merchant = Some(state.checkout.merchants.payee(&signed.app)?);
    if let Some(code) = auth_code {
        let scan = Scan {
            code,
            client_ip: payer.ip,
        };
        return micropay::charge(&state, &signed.app, order, &scan, now).await;
    }
    // The attempt is stored with the order: one write instead of two.
    let opened = open(
        &state,
        &signed.app,
        &mut order,
        method.map(|way| (way, &payer)),
        now,
    );
    if let Err(problem) = opened.await {
        // What the app may not any more changes nothing of what it has.
        let known = known(&state, &order).await?.ok_or(problem)?;
        let current = known
            .attempts
            .last()
            .filter(|_| known.check_open(now).is_ok());
        let placed = placed(&state, &known, current, &signed.app, now).await?;
        return Ok((StatusCode::OK, Json(placed)).into_response());
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
            let prepared = checkout.prepare(order, &signed.app, trade_type, &payer, now);
            let prepared = prepared.await?;
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

/// Opens the first attempt at a new order, if it is known how it is paid.
async fn open(
    state: &CreateOrder,
    app: &App,
    order: &mut Order,
    way: Option<(TradeType, &Payer)>,
    now: Timestamp,
) -> Result<(), Problem> {
    admit(state, app, order).await?;
    if let Some((trade_type, payer)) = way {
        let channel = state.checkout.channel(order, app, trade_type).await?;
        order.open_attempt(trade_type, payer.clone(), channel, now)?;
    }
    Ok(())
}

/// The same order, if it was placed before.
async fn known(state: &CreateOrder, order: &Order) -> Result<Option<Order>, Problem> {
    let known = state.ledger.order(&order.key()).await?;
    Ok(known.filter(|known| known.request.is_same(&order.request)))
}

/// Whether the app may place this order now.
async fn admit(state: &CreateOrder, app: &App, order: &Order) -> Result<(), Problem> {
    check_account(state, app, &order.request).await?;
    state.checkout.admitting(order).await?;
    Ok(())
}

/// An account that the order names is the app's, and WeChat takes such payments
/// through it. The page that decides how it is paid is an official account's.
async fn check_account(state: &CreateOrder, app: &App, request: &Request) -> Result<(), Problem> {
    const NAME: &str = "account";
    let Some(account) = &request.account else {
        return Ok(());
    };
    let need = request.trade_type.map_or(Need::OfficialAccount, Need::Pay);
    match state.checkout.accounts.check(app, account, need).await? {
        Named::Serves => Ok(()),
        Named::Unsuited => Err(Problem::param(NAME, "is not paid through in this way")),
        Named::Foreign => Err(Problem::param(NAME, "is not one of the app's")),
    }
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
        let wechat = state.checkout.merchants.of(order).await?;
        match attempt.trade_type {
            TradeType::App | TradeType::Genprepay => {
                placed.app_params = wechat.app_params(attempt, prepay, now)?;
            }
            TradeType::Jsapi => {
                placed.bridge_params = Some(wechat.bridge_params(attempt, prepay, now)?);
            }
            TradeType::Native | TradeType::Mweb | TradeType::Micropay => {}
        }
    }
    placed.pay_url = Some(pay_url);
    Ok(placed)
}
