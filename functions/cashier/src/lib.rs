//! The payer's pages: `GET /pay` is the second handshake (the parameters are
//! verified again, against the stored order), shows a QR code on a desktop and
//! opens the bridge inside WeChat; `GET /pay/status` tells the page when the
//! payment is in.

mod page;
mod reader;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::domain::app::App;
use shared::domain::order::{Order, Payer, Status, TradeType};
use shared::domain::time::Timestamp;
use shared::flows::addresses::{BACK, mweb_url, pay_url, return_url};
use shared::flows::checkout::Checkout;
use shared::flows::login;
use shared::http::client_ip;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view::PayStatus;

use page::Page;
use reader::Reader;

/// What the function works with.
#[derive(Debug)]
pub struct Cashier {
    /// Read once for each request or doorbell; tests move it by hand.
    pub clock: Clock,
    /// The apps, and the tickets of WeChat users who come back.
    pub registry: Registry,
    /// Where orders are.
    pub ledger: Ledger,
    /// Who is paid.
    pub merchant: Merchant,
    /// How an order gets to WeChat.
    pub checkout: Checkout,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes that template.yaml sends here.
pub fn router(state: Arc<Cashier>) -> Router {
    Router::new()
        .route("/pay", get(pay))
        .route("/pay/status", get(status))
        .with_state(state)
}

async fn pay(
    State(state): State<Arc<Cashier>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let visit = Visit {
        query: query.unwrap_or_default(),
        ip: client_ip(&extensions),
        reader: Reader::of(&headers),
        now: state.clock.now(),
    };
    match show(&state, &visit).await {
        Ok(response) => response,
        Err(problem) => Page::Problem(&problem).response(None, visit.reader),
    }
}

/// A browser at the pay address.
struct Visit {
    query: String,
    ip: IpAddr,
    reader: Reader,
    now: Timestamp,
}

impl Visit {
    fn page(&self, page: &Page<'_>, order: &Order) -> Result<Response, Problem> {
        Ok(page.response(Some(order), self.reader))
    }
}

async fn show(state: &Cashier, visit: &Visit) -> Result<Response, Problem> {
    // The ticket is ours, added after the login; the rest is what the app signed.
    let (query, ticket) = login::split_ticket(&visit.query);
    let (order, app) = handshake(state, &query).await?;
    if order.check_open(visit.now).is_err() {
        return ended(&order, &app, visit);
    }
    let asked = order.request.trade_type;
    match asked {
        Some(TradeType::Micropay) => return visit.page(&Page::AtTill, &order),
        // What the payer's phone holds already must not be replaced from here.
        Some(TradeType::App) => return visit.page(&Page::InApp, &order),
        _ => {}
    }
    let trade_type = asked.unwrap_or_else(|| visit.reader.browser.trade_type());
    let mut payer = Payer {
        openid: order.request.openid.clone(),
        ip: order.request.client_ip.unwrap_or(visit.ip),
    };
    if trade_type == TradeType::Jsapi {
        if !visit.reader.is_in_wechat() {
            let address = pay_url(&state.public_url, &order, &app)?;
            return visit.page(&Page::OpenInWechat { address: &address }, &order);
        }
        if let (None, Some(ticket)) = (&payer.openid, ticket) {
            payer.openid = login::redeem_ticket(&state.registry, &ticket, visit.now).await?;
        }
        if payer.openid.is_none() {
            return log_in(state, query, visit.now).await;
        }
    }
    let prepared = state
        .checkout
        .prepare(order, trade_type, &payer, visit.now)
        .await?;
    // Another way or another payer may have been first.
    let attempt = prepared.attempts.last().ok_or(Problem::Unavailable)?;
    let is_theirs = attempt.trade_type == trade_type && attempt.openid == payer.openid;
    offer(state, visit, &prepared, &app, is_theirs).await
}

/// The current attempt, as it can be paid in this browser.
async fn offer(
    state: &Cashier,
    visit: &Visit,
    order: &Order,
    app: &App,
    is_theirs: bool,
) -> Result<Response, Problem> {
    let attempt = order.attempts.last().ok_or(Problem::Unavailable)?;
    let prepay = attempt.prepay.as_ref().ok_or(Problem::Unavailable)?;
    match attempt.trade_type {
        TradeType::Native => {
            let code_url = prepay.code_url.as_deref().ok_or(Problem::Unavailable)?;
            visit.page(&Page::Scan { code_url }, order)
        }
        TradeType::Mweb => {
            let pay_url = pay_url(&state.public_url, order, app)?;
            let wechats = prepay.mweb_url.as_deref().ok_or(Problem::Unavailable)?;
            let address = mweb_url(wechats, &pay_url)?;
            // Back from WeChat, paid or not: the payer decides, not we.
            if !visit.query.contains(BACK) {
                return Ok(Redirect::to(&address).into_response());
            }
            visit.page(&Page::OpenWechat { address: &address }, order)
        }
        TradeType::Jsapi if is_theirs => {
            let wechat = state.merchant.wechat().await?;
            let params = wechat.bridge_params(&prepay.prepay_id, visit.now);
            visit.page(&Page::Bridge { params }, order)
        }
        TradeType::Jsapi => visit.page(&Page::Busy, order),
        TradeType::App | TradeType::Genprepay => visit.page(&Page::InApp, order),
        TradeType::Micropay => visit.page(&Page::AtTill, order),
    }
}

fn ended(order: &Order, app: &App, visit: &Visit) -> Result<Response, Problem> {
    let return_url = &return_url(order, app, visit.now)?;
    let page = match order.status {
        Status::Paid | Status::PartlyRefunded | Status::Refunded => Page::Paid { return_url },
        Status::Created | Status::Paying | Status::Closed | Status::Failed => {
            Page::Closed { return_url }
        }
    };
    visit.page(&page, order)
}

/// Sends the browser to WeChat for the openid; it comes back to this address
/// with a ticket.
async fn log_in(state: &Cashier, query: String, now: Timestamp) -> Result<Response, Problem> {
    let wechat = state.merchant.wechat().await?;
    let purpose = login::Purpose::PayQuery(query);
    let started = login::start(&state.registry, &wechat, &state.public_url, purpose, now).await?;
    let mut response = Redirect::to(started.authorize_url.as_str()).into_response();
    let cookie = HeaderValue::from_str(&started.cookie).map_err(|_| Problem::Unavailable)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Where the payment stands, for the page that waits.
async fn status(
    State(state): State<Arc<Cashier>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let (query, _) = login::split_ticket(&query.unwrap_or_default());
    let (order, app) = handshake(&state, &query).await?;
    let is_over = order.check_open(now).is_err();
    let return_url = return_url(&order, &app, now)?;
    let status = PayStatus {
        status: order.status,
        return_url: is_over.then_some(return_url),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(status)).into_response())
}

/// What an app may sign into a pay address. WeChat and others append
/// parameters of their own when a link is shared.
const PAY_PARAMS: [&str; 13] = [
    "app_id",
    "order_no",
    "total_fee",
    "body",
    "attach",
    "notify_url",
    "return_url",
    "trade_type",
    "version",
    "openid",
    "timestamp",
    "nonce",
    "sign",
];

/// The second handshake: signed by the app, and true to the stored order.
async fn handshake(state: &Cashier, query: &str) -> Result<(Order, App), Problem> {
    let fields = Fields::from_query(query)?.retain(&PAY_PARAMS);
    let signed = Signed::lasting(fields, &state.registry).await?;
    let key = signed.order_key(signed.fields.required("order_no", 64)?)?;
    let order = state.ledger.order(&key).await?;
    let order = order.ok_or(Problem::OrderNotFound)?;
    let request = &order.request;
    let stored = [
        ("total_fee", Some(request.total_fee.to_string())),
        ("body", Some(request.body.clone())),
        ("attach", request.attach.clone()),
        ("notify_url", Some(request.notify_url.clone())),
        ("return_url", Some(request.return_url.clone())),
        (
            "trade_type",
            request.trade_type.map(|kind| kind.as_str().to_owned()),
        ),
        ("version", Some(request.version.as_str().to_owned())),
        ("openid", request.openid.clone()),
    ];
    signed.fields.required("total_fee", 16)?;
    for (name, stored) in &stored {
        let given = signed.fields.text(name, 4096)?;
        if given.is_some() && given != stored.as_deref() {
            return Err(Problem::param(*name, "is not the order's"));
        }
    }
    Ok((order, signed.app))
}
