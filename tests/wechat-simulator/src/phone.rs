//! The payer's telephone: pages to look at orders and to pay them, and the page
//! behind `mweb_url` with all that WeChat refuses there. A script or an app
//! invokes a payment through `client`.

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::header::{REFERER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use url::Url;

use crate::beijing;
use crate::notify;
use crate::oauth::page;
use crate::pay::{Order, Wish};
use crate::state::Simulator;

/// In which a browser of the tests says the address it comes from: on one
/// machine all are 127.0.0.1. Without it the address is right.
const ADDRESS: HeaderName = HeaderName::from_static("x-payer-address");

/// How many orders the list shows.
const LATEST: usize = 50;

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage {
    rows: Vec<Row>,
}

struct Row {
    number: String,
    body: String,
    yuan: String,
    kind: &'static str,
    state: &'static str,
    at: String,
    open: bool,
}

#[derive(Template)]
#[template(path = "pay.html")]
struct PayPage {
    row: Row,
    redirect_url: String,
}

#[derive(Template)]
#[template(path = "done.html")]
struct DonePage {
    title: String,
    detail: String,
}

/// How a page names an order.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Handle {
    out_trade_no: Option<String>,
    prepay_id: Option<String>,
    code_url: Option<String>,
    package: Option<String>,
    redirect_url: Option<String>,
    /// `pay` or `cancel`, in the form only.
    action: Option<String>,
}

impl Handle {
    fn text(&self) -> &str {
        let given = [&self.code_url, &self.prepay_id, &self.out_trade_no];
        given
            .into_iter()
            .flatten()
            .map(|text| text.trim())
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }

    fn back(&self) -> Option<&str> {
        let usable = |text: &&str| {
            Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        self.redirect_url.as_deref().filter(usable)
    }
}

/// `GET /` and `GET /phone`
pub(crate) async fn list(State(simulator): State<Simulator>) -> Response {
    let world = simulator.world();
    let mut orders: Vec<&Order> = world.pay.orders().collect();
    orders.sort_by_key(|order| std::cmp::Reverse(order.created_ms));
    let now = world.now_ms();
    let rows = orders
        .into_iter()
        .take(LATEST)
        .map(|order| row(order, now))
        .collect();
    page(&ListPage { rows })
}

/// `GET /phone/pay`
pub(crate) async fn ask(
    State(simulator): State<Simulator>,
    Query(handle): Query<Handle>,
) -> Response {
    let world = simulator.world();
    match world.pay.find(handle.text()) {
        None => done(
            StatusCode::NOT_FOUND,
            "二维码已失效",
            "There is no such order.",
        ),
        Some(order) => page(&PayPage {
            row: row(order, world.now_ms()),
            redirect_url: handle.back().unwrap_or_default().to_owned(),
        }),
    }
}

/// `POST /phone/pay`
pub(crate) async fn decide(
    State(simulator): State<Simulator>,
    Form(handle): Form<Handle>,
) -> Response {
    let back = handle.back().map(Redirect::to);
    if handle.action.as_deref() == Some("cancel") {
        let page = || done(StatusCode::OK, "已取消", "Nothing was paid.");
        return back.map_or_else(page, Redirect::into_response);
    }
    match notify::pay(&simulator, handle.text(), Wish::default(), None, 1) {
        Err(error) => done(StatusCode::CONFLICT, "支付失败", &error.to_string()),
        Ok(receipt) => {
            let page = || done(StatusCode::OK, "支付成功", &receipt.transaction_id);
            back.map_or_else(page, Redirect::into_response)
        }
    }
}

/// Why the page of `mweb_url` does not open: WeChat's words, and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Objection {
    title: &'static str,
    detail: &'static str,
}

const fn objection(title: &'static str, detail: &'static str) -> Objection {
    Objection { title, detail }
}

const INSIDE: Objection = objection(
    "请在微信外打开订单",
    "WeChat's own browser does not open H5 payments.",
);
const NO_REFERER: Objection = objection(
    "商家参数格式有误，请联系商家解决",
    "The browser comes from nowhere: there is no Referer.",
);
const FOREIGN: Objection = objection(
    "商家存在未配置的参数，请联系商家解决",
    "The Referer, or redirect_url, is on no H5 payment domain of the merchant.",
);
const ELSEWHERE: Objection = objection(
    "网络环境未能通过安全验证，请稍后再试",
    "The payer's address is not the order's spbill_create_ip.",
);

/// `GET /cgi-bin/mmpayweb-bin/checkmweb`: the page of `mweb_url`.
pub(crate) async fn mweb(
    State(simulator): State<Simulator>,
    Query(handle): Query<Handle>,
    headers: HeaderMap,
) -> Response {
    let mut world = simulator.world();
    let now = world.now_ms();
    let known = world.pay.find(handle.text()).filter(|order| {
        let package = handle.package.as_deref().unwrap_or_default();
        let given = order.mweb_url.as_deref().unwrap_or_default();
        given.ends_with(&format!("&package={package}")) && order.mweb_until_ms > now
    });
    let Some(order) = known else {
        return done(
            StatusCode::BAD_REQUEST,
            "支付链接已过期",
            "The address is wrong or too old.",
        );
    };
    let domains = &world.settings.h5_domains;
    match check_visit(order, &headers, handle.redirect_url.as_deref(), domains) {
        Err(Objection { title, detail }) => {
            world.reject("/cgi-bin/mmpayweb-bin/checkmweb", title, detail);
            done(StatusCode::FORBIDDEN, title, detail)
        }
        Ok(()) => page(&PayPage {
            row: row(order, now),
            redirect_url: handle.back().unwrap_or_default().to_owned(),
        }),
    }
}

fn check_visit(
    order: &Order,
    headers: &HeaderMap,
    redirect_url: Option<&str>,
    domains: &[String],
) -> Result<(), Objection> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let registered = |address: &str| {
        let url = Url::parse(address).ok();
        url.is_some_and(|url| domains.iter().any(|domain| domain == url.authority()))
    };
    if text(USER_AGENT).is_some_and(|agent| agent.contains("MicroMessenger")) {
        return Err(INSIDE);
    }
    let referer = text(REFERER).filter(|referer| !referer.is_empty());
    if !registered(referer.ok_or(NO_REFERER)?) {
        return Err(FOREIGN);
    }
    let told = order.given("spbill_create_ip");
    if text(ADDRESS).is_some_and(|address| Some(address) != told) {
        return Err(ELSEWHERE);
    }
    match redirect_url {
        Some(address) if !registered(address) => Err(FOREIGN),
        _ => Ok(()),
    }
}

fn row(order: &Order, now: i64) -> Row {
    let expired = order.is_expired(now);
    Row {
        number: order.out_trade_no.clone(),
        body: order.given("body").unwrap_or_default().to_owned(),
        yuan: yuan(order.total_fee),
        kind: order.trade_type.name(),
        state: if expired && order.payment.is_none() {
            "EXPIRED"
        } else {
            order.state.name()
        },
        at: beijing::spaced(order.created_ms),
        open: order.is_open() && !expired,
    }
}

fn yuan(fen: i64) -> String {
    format!("¥{}.{:02}", fen / 100, fen % 100)
}

fn done(status: StatusCode, title: &str, detail: &str) -> Response {
    let page = page(&DonePage {
        title: title.to_owned(),
        detail: detail.to_owned(),
    });
    (status, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_yuan() {
        assert_eq!(yuan(1), "¥0.01");
        assert_eq!(yuan(123_450), "¥1234.50");
    }
}
