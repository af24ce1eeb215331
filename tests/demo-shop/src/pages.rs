//! The pages a person sees: the catalogue, the way to the till, the return.
//!
//! Nothing here decides that an order is paid: the browser is asked for nothing
//! but the order's number, the hub for its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::book::{self, text};
use crate::shop::{HubError, Reply, Shop};
use crate::signature::Refusal;

const ORDERS_SHOWN: usize = 20;

struct Product {
    id: &'static str,
    emoji: &'static str,
    title: &'static str,
    fen: i64,
}

impl Product {
    fn price(&self) -> String {
        yuan(self.fen)
    }
}

const PRODUCTS: [Product; 3] = [
    Product {
        id: "tea",
        emoji: "🍵",
        title: "Dragon Well tea",
        fen: 1,
    },
    Product {
        id: "bun",
        emoji: "🥟",
        title: "Pork dumplings",
        fen: 1880,
    },
    Product {
        id: "cup",
        emoji: "🫖",
        title: "Clay teapot",
        fen: 26_800,
    },
];

#[derive(Template)]
#[template(path = "catalogue.html")]
struct CataloguePage {
    products: [Product; 3],
    orders: Vec<OrderLine>,
}

struct OrderLine {
    order_no: String,
    title: String,
    price: String,
    paid: bool,
    closed: Option<String>,
}

#[derive(Template)]
#[template(path = "returned.html")]
struct ReturnedPage<'a> {
    order_no: &'a str,
    trade_no: &'a str,
    status: &'a str,
    price: String,
    paid: bool,
    told: bool,
    receipt: String,
    /// The state may still change by itself, so the page reloads itself.
    open: bool,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    detail: &'a str,
    code: &'a str,
}

/// GET /: what is for sale, and the latest orders.
pub(crate) async fn catalogue(State(shop): State<Arc<Shop>>) -> Response {
    let orders = shop.book().recent_orders(ORDERS_SHOWN);
    let orders = orders.into_iter().map(|order| OrderLine {
        price: yuan(order.total_fee.unwrap_or_default()),
        order_no: order.order_no,
        title: order.title,
        paid: order.paid,
        closed: order.closed,
    });
    page(
        StatusCode::OK,
        &CataloguePage {
            products: PRODUCTS,
            orders: orders.collect(),
        },
    )
}

/// The form behind a Buy button.
#[derive(Deserialize)]
pub(crate) struct Purchase {
    product: String,
}

/// POST /buy: an order at the hub, then to the hub's till.
pub(crate) async fn buy(State(shop): State<Arc<Shop>>, Form(purchase): Form<Purchase>) -> Response {
    let Some(product) = PRODUCTS
        .iter()
        .find(|product| product.id == purchase.product)
    else {
        return problem(StatusCode::NOT_FOUND, "We do not sell that", "", "");
    };
    let fields = Map::from_iter([
        ("total_fee".to_owned(), Value::from(product.fen)),
        ("body".to_owned(), Value::from(product.title)),
        ("attach".to_owned(), Value::from(product.id)),
    ]);
    match shop.place(fields).await {
        Ok(placed) => to_the_till(&placed.reply),
        Err(error) => hub_problem(&error),
    }
}

fn to_the_till(reply: &Reply) -> Response {
    let pay_url = reply.text("pay_url");
    if reply.is_success() && (pay_url.starts_with("https://") || pay_url.starts_with("http://")) {
        return Redirect::to(pay_url).into_response();
    }
    refused(reply)
}

/// GET /return by the payer's browser. A stale address is shown all the same:
/// the page reloads itself, people reload it too, and the hub is asked anyway.
pub(crate) async fn returned(
    shop: &Shop,
    params: &BTreeMap<String, String>,
    verdict: Result<(), Refusal>,
) -> Response {
    let order_no = text(params, "order_no");
    let is_number = order_no.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !matches!(verdict, Ok(()) | Err(Refusal::Stale)) || order_no.is_empty() || !is_number {
        let detail = "This address was not made by the payment hub. Nothing was changed.";
        return problem(
            StatusCode::BAD_REQUEST,
            "We do not know this address",
            detail,
            "",
        );
    }
    let reply = match shop.look_up(text(params, "app_id"), order_no).await {
        Ok(reply) if reply.is_success() => reply,
        Ok(reply) => return refused(&reply),
        Err(error) => return hub_problem(&error),
    };
    let status = reply.text("status");
    let told = shop
        .book()
        .find_order(&book::key(params))
        .is_some_and(|order| order.paid);
    let paid = status.eq_ignore_ascii_case("paid");
    let unpaid = ["created", "paying"]
        .iter()
        .any(|word| status.eq_ignore_ascii_case(word));
    let fen = reply.body.get("total_fee").and_then(Value::as_i64);
    page(
        StatusCode::OK,
        &ReturnedPage {
            order_no,
            trade_no: reply.text("trade_no"),
            status,
            price: fen.map(yuan).unwrap_or_default(),
            paid,
            told,
            receipt: receipt(&reply.body),
            open: unpaid || (paid && !told),
        },
    )
}

/// What the payer paid, and how, in a line; nothing before.
fn receipt(order: &Value) -> String {
    let fen = |name: &str| order.pointer(name).and_then(Value::as_i64);
    let Some(cash) = fen("/cash_fee") else {
        return String::new();
    };
    let mut line = yuan(cash);
    let bank = order.pointer("/receipt/bank_type").and_then(Value::as_str);
    if let Some(bank) = bank {
        line += &format!(" from {bank}");
    }
    if let Some(coupons) = fen("/receipt/coupon_fee") {
        line += &format!(", {} by coupons", yuan(coupons));
    }
    if let Some(at) = order.get("paid_at").and_then(Value::as_str) {
        line += &format!(", at {at}");
    }
    line
}

pub(crate) fn refused(reply: &Reply) -> Response {
    let title = match reply.text("title") {
        "" => "The payment hub refused",
        title => title,
    };
    problem(
        StatusCode::BAD_GATEWAY,
        title,
        reply.text("detail"),
        reply.text("code"),
    )
}

pub(crate) fn hub_problem(error: &HubError) -> Response {
    problem(
        StatusCode::BAD_GATEWAY,
        "The payment hub cannot be reached",
        &error.to_string(),
        "",
    )
}

pub(crate) fn problem(status: StatusCode, title: &str, detail: &str, code: &str) -> Response {
    page(
        status,
        &ProblemPage {
            title,
            detail,
            code,
        },
    )
}

pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Fen as a person reads them.
fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}¥{}.{:02}", fen / 100, fen % 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{receipt, yuan};

    #[test]
    fn a_receipt_says_what_the_payer_paid_and_how() {
        let at = "2026-09-21T14:14:08Z";
        let known = json!({"bank_type": "CFT", "coupon_fee": 99});
        for (order, line) in [
            (json!({"cash_fee": null}), ""),
            (
                json!({"cash_fee": 100, "paid_at": at, "receipt": null}),
                "¥1.00, at 2026-09-21T14:14:08Z",
            ),
            (
                json!({"cash_fee": 100, "paid_at": at, "receipt": known}),
                "¥1.00 from CFT, ¥0.99 by coupons, at 2026-09-21T14:14:08Z",
            ),
        ] {
            assert_eq!(receipt(&order), line);
        }
    }

    #[test]
    fn fen_are_shown_as_yuan() {
        for (fen, shown) in [(0, "¥0.00"), (1, "¥0.01"), (1880, "¥18.80"), (-5, "-¥0.05")] {
            assert_eq!(yuan(fen), shown);
        }
    }
}
