//! The payer's pages: `GET /pay` is the second handshake (the parameters are
//! verified again, against the stored order), shows a QR code on a desktop, opens
//! the bridge inside WeChat and goes on to WeChat from a phone's other browser;
//! `GET /pay/status` tells the page when the payment is in.

mod page;
mod reader;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::domain::app::App;
use shared::domain::merchant::{AccountId, Need};
use shared::domain::order::{Attempt, Curious, Order, Payer, Status, TradeType};
use shared::domain::time::Timestamp;
use shared::flows::addresses::{is_back, mweb_url, pay_url, return_url};
use shared::flows::ask::Asking;
use shared::flows::checkout::{Checkout, Prepared};
use shared::flows::login;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view::PayStatus;
use shared::http::{client_ip, guarded};

use page::Page;
use reader::Reader;

/// What the function works with.
#[derive(Debug)]
pub struct Cashier {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The apps, and the tickets of WeChat users who come back.
    pub registry: Registry,
    /// Where orders are.
    pub ledger: Ledger,
    /// How an order gets to WeChat.
    pub checkout: Checkout,
    /// How WeChat is asked whether it is paid.
    pub asking: Asking,
    /// The hub's own address.
    pub public_url: String,
    /// Where the proxy in front says who called it.
    pub payer_address_header: Option<HeaderName>,
}

/// The routes that template.yaml sends here.
pub fn router(state: Arc<Cashier>) -> Router {
    let routes = Router::new()
        .route("/pay", get(pay))
        .route("/pay/status", get(status))
        .with_state(state);
    guarded(routes)
}

async fn pay(
    State(state): State<Arc<Cashier>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let visit = Visit {
        query: query.unwrap_or_default(),
        ip: client_ip(&extensions, &headers, state.payer_address_header.as_ref()),
        reader: Reader::of(&headers),
        now: state.clock.now(),
    };
    match show(&state, &visit).await {
        Ok(response) => response,
        Err(problem) => {
            problem.log();
            Page::Problem(&problem).response(None, visit.reader)
        }
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

    fn is_back(&self) -> bool {
        is_back(&self.query)
    }
}

async fn show(state: &Cashier, visit: &Visit) -> Result<Response, Problem> {
    // The ticket is ours, added after the login; the rest is what the app signed.
    let (query, ticket) = login::split_ticket(&visit.query);
    let (order, app) = handshake(state, &query, visit.now).await?;
    tracing::info!(order = %order.key(), in_wechat = visit.reader.is_in_wechat(),
        is_back = visit.is_back(), "pay page opened");
    if order.check_open(visit.now).is_err() {
        // Who paid at the last moment is not told that it was too late.
        let order = look_again(state, &visit.query, order, visit.now).await?;
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
    match trade_type {
        // WeChat opens its page for phones at this address only, and never
        // inside WeChat.
        TradeType::Mweb if visit.reader.is_in_wechat() => {
            return visit.page(&Page::OpenInBrowser, &order);
        }
        TradeType::Mweb => payer.ip = visit.ip,
        TradeType::Jsapi if !visit.reader.is_in_wechat() => {
            let address = pay_url(&state.public_url, &order, &app)?;
            return visit.page(&Page::OpenInWechat { address: &address }, &order);
        }
        TradeType::Jsapi => {
            if let (None, Some(ticket)) = (&payer.openid, ticket) {
                payer.openid = login::redeem_ticket(&state.registry, &ticket, visit.now).await?;
            }
            if payer.openid.is_none() {
                return match account(state, &order, &app).await? {
                    Some(account) => log_in(state, &account, query, visit.now).await,
                    None => visit.page(&Page::InApp, &order),
                };
            }
        }
        TradeType::Native | TradeType::App | TradeType::Genprepay | TradeType::Micropay => {}
    }
    let checkout = &state.checkout;
    let Prepared { order, attempt } = checkout
        .prepare(order, &app, trade_type, &payer, visit.now)
        .await?;
    offer(state, visit, &order, &attempt, &app).await
}

/// The attempt, as it is paid in this browser.
async fn offer(
    state: &Cashier,
    visit: &Visit,
    order: &Order,
    attempt: &Attempt,
    app: &App,
) -> Result<Response, Problem> {
    let prepay = attempt.prepay.as_ref().ok_or(Problem::Unavailable)?;
    match attempt.trade_type {
        TradeType::Native => {
            let code_url = prepay.code_url.as_deref().ok_or(Problem::Unavailable)?;
            visit.page(&Page::Scan { code_url }, order)
        }
        TradeType::Mweb => {
            let pay_url = pay_url(&state.public_url, order, app)?;
            let wechats = prepay.mweb_url.as_deref().ok_or(Problem::Unavailable)?;
            let address = &mweb_url(wechats, &pay_url)?;
            // Back from WeChat, paid or not: the payer decides, not we.
            let page = match visit.is_back() {
                true => Page::OpenWechat { address },
                false => Page::GoToWechat { address },
            };
            visit.page(&page, order)
        }
        TradeType::Jsapi => {
            let wechat = state.checkout.merchants.of(order).await?;
            let params = wechat.bridge_params(attempt, prepay, visit.now)?;
            visit.page(&Page::Bridge { params }, order)
        }
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

/// Through which official account the payer's openid is learned; none for an order
/// that is paid in a mini program, which has openids of its own.
async fn account(state: &Cashier, order: &Order, app: &App) -> Result<Option<AccountId>, Problem> {
    let checkout = &state.checkout;
    let account = checkout.account(order, app, Need::OfficialAccount).await?;
    match (account, &order.request.account) {
        (None, None) => Err(Problem::AccountMissing),
        (account, _) => Ok(account),
    }
}

/// Sends the browser to WeChat for the openid; it comes back to this address
/// with a ticket.
async fn log_in(
    state: &Cashier,
    account: &AccountId,
    query: String,
    now: Timestamp,
) -> Result<Response, Problem> {
    let entrance = login::Entrance {
        open_base: &state.checkout.accounts.hosts().open,
        account,
        public_url: &state.public_url,
    };
    let purpose = login::Purpose::PayQuery(query);
    let started = login::start(&state.registry, entrance, purpose, now).await?;
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
    let (order, app) = handshake(&state, &query, now).await?;
    let order = look_again(&state, &query, order, now).await?;
    let is_over = order.check_open(now).is_err();
    let return_url = return_url(&order, &app, now)?;
    let status = PayStatus {
        status: order.status,
        return_url: is_over.then_some(return_url),
    };
    Ok(Json(status).into_response())
}

/// The order, after WeChat was asked about it if the payer is back from there:
/// a notification may be late, or lost.
async fn look_again(
    state: &Cashier,
    query: &str,
    order: Order,
    now: Timestamp,
) -> Result<Order, Problem> {
    match is_back(query) {
        true => Ok(state
            .asking
            .ask_out_of_turn(order, Curious::Page, now)
            .await?),
        false => Ok(order),
    }
}

/// What a pay address is signed over. WeChat and others append parameters of
/// their own when a link is shared.
const PAY_PARAMS: [&str; 8] = [
    "app_id",
    "order_no",
    "total_fee",
    "trade_type",
    "version",
    "timestamp",
    "nonce",
    "sign",
];

/// What must not be signed into one. The payer holds the address and its
/// signature, and the signed text joins raw values by `&`: a text of the payer's
/// among them could be cut into another order of the app's.
const ORDER_PARAMS: [&str; 13] = [
    "body",
    "attach",
    "device_info",
    "detail",
    "goods_tag",
    "limit_pay",
    "store_id",
    "store_name",
    "store_area_code",
    "store_address",
    "notify_url",
    "return_url",
    "openid",
];

/// The second handshake: signed by the app, and true to the stored order.
async fn handshake(state: &Cashier, query: &str, now: Timestamp) -> Result<(Order, App), Problem> {
    let fields = Fields::from_query(query)?;
    fields.without(&ORDER_PARAMS, "does not belong into a pay address")?;
    let fields = fields.retain(&PAY_PARAMS);
    let signed = Signed::lasting(fields, &state.registry, now).await?;
    let key = signed.order_key(signed.fields.required("order_no", 64)?)?;
    let order = state.ledger.order(&key).await?;
    let order = order.ok_or(Problem::OrderNotFound)?;
    let request = &order.request;
    let stored = [
        ("total_fee", Some(request.total_fee.to_string())),
        (
            "trade_type",
            request.trade_type.map(|kind| kind.as_str().to_owned()),
        ),
        ("version", Some(request.version.as_str().to_owned())),
    ];
    signed.fields.required("total_fee", 16)?;
    for (name, stored) in &stored {
        let given = signed.fields.text(name, 16)?;
        if given.is_some() && given != stored.as_deref() {
            return Err(Problem::param(*name, "is not the order's"));
        }
    }
    Ok((order, signed.app))
}
