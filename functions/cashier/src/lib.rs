//! The payer's pages: `GET /pay` is the second handshake (the parameters are
//! verified again, against the stored order), shows a QR code on a desktop and
//! opens the bridge inside WeChat; `GET /pay/status` tells the page when the
//! payment is in. It refuses to know how payments are confirmed.

mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use page::{Page, Reader};
use serde_json::json;
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::checkout::{BACK, Checkout, Payer, mweb_address, pay_url, return_url};
use shared::domain::app::App;
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::order::{Order, Status, TradeType};
use shared::domain::time::Timestamp;
use shared::http::client_ip;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::login;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The apps, and the tickets of WeChat users who come back.
    pub registry: Registry,
    /// The orders, and WeChat.
    pub checkout: Checkout,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/pay", get(pay))
        .route("/pay/status", get(status))
        .with_state(hub)
}

async fn pay(
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let reader = Reader::of(&headers);
    let visit = Visit {
        query: query.unwrap_or_default(),
        ip: client_ip(&extensions),
        reader,
    };
    match show(&hub, visit).await {
        Ok(response) => response,
        Err(problem) => Page::Problem(&problem).response(reader),
    }
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

/// A browser at the pay address.
struct Visit {
    query: String,
    ip: std::net::IpAddr,
    reader: Reader,
}

async fn show(hub: &Hub, visit: Visit) -> Result<Response, Problem> {
    let now = hub.clock.now();
    // The ticket is ours, added after the login; the rest is what the app signed.
    let (query, ticket) = login::split_ticket(&visit.query);
    let (order, app) = handshake(hub, &query).await?;
    if order.check_open(now).is_err() {
        return closed(&order, (&app, now), visit.reader);
    }
    let asked = order.request.trade_type;
    match asked {
        Some(TradeType::Micropay) => {
            return Ok(Page::AtTill { order: &order }.response(visit.reader));
        }
        // What the payer's phone holds already must not be replaced from here.
        Some(TradeType::App) => return Ok(Page::InApp { order: &order }.response(visit.reader)),
        _ => {}
    }
    let trade_type = asked.unwrap_or_else(|| visit.reader.browser.trade_type());
    let mut payer = Payer {
        openid: order.request.openid.clone(),
        ip: order.request.client_ip.unwrap_or(visit.ip),
    };
    if trade_type == TradeType::Jsapi {
        if !visit.reader.is_in_wechat() {
            let address =
                pay_url(&hub.public_url, &order, &app).map_err(|_| Problem::Unavailable)?;
            return Ok(Page::OpenInWechat {
                order: &order,
                address: &address,
            }
            .response(visit.reader));
        }
        if payer.openid.is_none() {
            payer.openid = match ticket {
                Some(ticket) => login::redeem(&hub.registry, &ticket, now).await?,
                None => None,
            };
        }
        if payer.openid.is_none() {
            return log_in(hub, query, now).await;
        }
    }
    let order = hub.checkout.prepare(order, trade_type, &payer, now).await?;
    // Another way or another payer may have been first.
    let attempt = order.attempts.last().ok_or(Problem::Unavailable)?;
    let prepay = attempt.prepay.as_ref().ok_or(Problem::Unavailable)?;
    let page = match attempt.trade_type {
        TradeType::Native => Page::Scan {
            order: &order,
            code_url: prepay.code_url.as_deref().ok_or(Problem::Unavailable)?,
        },
        TradeType::Mweb => {
            let pay_url =
                pay_url(&hub.public_url, &order, &app).map_err(|_| Problem::Unavailable)?;
            let mweb_url = prepay.mweb_url.as_deref().ok_or(Problem::Unavailable)?;
            let address = mweb_address(mweb_url, &pay_url).map_err(|_| Problem::Unavailable)?;
            // Back from WeChat, paid or not: the payer decides, not we.
            if !visit.query.contains(BACK) {
                return Ok(Redirect::to(&address).into_response());
            }
            Page::OpenWechat {
                order: &order,
                address,
            }
        }
        TradeType::Jsapi if trade_type == TradeType::Jsapi && attempt.openid == payer.openid => {
            let wechat = hub.checkout.merchant.wechat().await?;
            let bridge = wechat.bridge_params(&prepay.prepay_id, now);
            Page::Bridge {
                order: &order,
                bridge,
            }
        }
        TradeType::Jsapi => Page::Busy { order: &order },
        TradeType::App | TradeType::Genprepay => Page::InApp { order: &order },
        TradeType::Micropay => Page::AtTill { order: &order },
    };
    Ok(page.response(visit.reader))
}

/// The second handshake: signed by the app, and true to the stored order.
async fn handshake(hub: &Hub, query: &str) -> Result<(Order, App), Problem> {
    let fields = Fields::from_query(query)?.retain(&PAY_PARAMS);
    let Signed { app, fields } = Signed::lasting(fields, &hub.registry).await?;
    let order_no = OrderNo::parse(fields.required("order_no", 64)?)
        .map_err(|rule| Problem::param("order_no", rule.0))?;
    let key = OrderKey {
        app_id: app.app_id.clone(),
        order_no,
    };
    let order = hub
        .checkout
        .ledger
        .order(&key)
        .await?
        .ok_or(Problem::OrderNotFound)?;
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
    fields.required("total_fee", 16)?;
    for (name, stored) in &stored {
        let given = fields.text(name, 4096)?;
        if given.is_some() && given != stored.as_deref() {
            return Err(Problem::param(*name, "is not the order's"));
        }
    }
    Ok((order, app))
}

fn closed(
    order: &Order,
    (app, now): (&App, Timestamp),
    reader: Reader,
) -> Result<Response, Problem> {
    let back = return_url(order, app, now).map_err(|_| Problem::Unavailable)?;
    let page = match order.status {
        Status::Paid | Status::PartlyRefunded | Status::Refunded => Page::Paid {
            order,
            return_url: &back,
        },
        Status::Created | Status::Paying | Status::Closed | Status::Failed => Page::Closed {
            order,
            return_url: &back,
        },
    };
    Ok(page.response(reader))
}

/// Sends the browser to WeChat for the openid; it comes back to this address
/// with a ticket.
async fn log_in(hub: &Hub, query: String, now: Timestamp) -> Result<Response, Problem> {
    let wechat = hub.checkout.merchant.wechat().await?;
    let purpose = login::Purpose::PayQuery(query);
    let started = login::start(&hub.registry, (&wechat, &hub.public_url), purpose, now).await?;
    let mut response = Redirect::to(started.authorize_url.as_str()).into_response();
    let cookie = HeaderValue::from_str(&started.cookie).map_err(|_| Problem::Unavailable)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Where the payment stands, for the page that waits.
async fn status(
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let query = query.unwrap_or_default();
    let (query, _) = login::split_ticket(&query);
    let (order, app) = handshake(&hub, &query).await?;
    let waiting = order.check_open(now).is_ok();
    let back = return_url(&order, &app, now).map_err(|_| Problem::Unavailable)?;
    let body = json!({
        "status": order.status,
        "return_url": (!waiting).then_some(back),
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((StatusCode::OK, headers, body.to_string()).into_response())
}
