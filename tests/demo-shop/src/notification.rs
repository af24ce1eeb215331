//! WeChat's own notification of an order of version 1.0. The shop has no key to
//! verify it with: it passes the bytes on to the hub, and believes the hub.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::book::OrderKey;
use crate::callback;
use crate::shop::{Reply, Shop};

/// To the byte: WeChat repeats after anything else.
const SUCCESS: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
                       <return_msg><![CDATA[OK]]></return_msg></xml>";
const FAIL: &str = "<xml><return_code><![CDATA[FAIL]]></return_code>\
                    <return_msg><![CDATA[ERROR]]></return_msg></xml>";

/// What WeChat signs version 3's notifications with, and their parameters at the hub.
pub(crate) const PROOF: [(&str, &str); 4] = [
    ("wechatpay-timestamp", "wechatpay_timestamp"),
    ("wechatpay-nonce", "wechatpay_nonce"),
    ("wechatpay-serial", "wechatpay_serial"),
    ("wechatpay-signature", "wechatpay_signature"),
];

/// POST /notify, or /notify/{app_id} for a shop with several apps: WeChat comes, or
/// somebody who pretends to be it. The hub's webhooks come here, too.
pub(crate) async fn received(
    State(shop): State<Arc<Shop>>,
    named: Option<Path<String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.contains_key("webhook-id") {
        return callback::webhook(&shop, &headers, &body).await;
    }
    let named = named.as_ref().map(|Path(app_id)| app_id.as_str());
    let app_id = named.or_else(|| app_id(&body));
    let app_id = app_id.unwrap_or(&shop.config.app.id);
    let reply = shop.verify_notification(app_id, &headers, &body).await;
    let is_taken = match &reply {
        Ok(reply) if reply.is_success() => {
            shop.take_payment(app_id, reply);
            true
        }
        Ok(_) | Err(_) => false,
    };
    // Whoever is refused, or gets no answer, comes again. Version 3 goes by the
    // status.
    let is_v3 = headers.contains_key("wechatpay-signature");
    match (is_v3, is_taken) {
        (true, true) => StatusCode::NO_CONTENT.into_response(),
        (true, false) => StatusCode::BAD_REQUEST.into_response(),
        (false, true) => ([(header::CONTENT_TYPE, "text/xml")], SUCCESS).into_response(),
        (false, false) => ([(header::CONTENT_TYPE, "text/xml")], FAIL).into_response(),
    }
}

/// The app that the notification says it is for: nothing is verified yet, it
/// only says in whose name the hub is asked. A shop with one app needs no such
/// thing.
fn app_id(body: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(body)
        .ok()?
        .split_once("<out_trade_no>")?;
    rest.strip_prefix("<![CDATA[").unwrap_or(rest).get(..16)
}

impl Shop {
    /// What counts is what the hub says of its order, not what the notification
    /// says: a payment that does not fit is on its way back.
    fn take_payment(&self, app_id: &str, reply: &Reply) {
        let key = OrderKey {
            app_id: app_id.to_owned(),
            order_no: reply.text("order_no").to_owned(),
        };
        let fen = reply
            .body
            .get("total_fee")
            .and_then(serde_json::Value::as_i64);
        if reply.text("status") == "paid" {
            self.book().pay(key, fen);
        }
    }
}
