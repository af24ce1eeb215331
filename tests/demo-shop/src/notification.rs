//! WeChat's own notification of an order of version 1.0. The shop has no key to
//! verify it with: it passes the bytes on to the hub, and believes the hub.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::book::OrderKey;
use crate::shop::{Reply, Shop};

/// To the byte: WeChat repeats after anything else.
const SUCCESS: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
                       <return_msg><![CDATA[OK]]></return_msg></xml>";
const FAIL: &str = "<xml><return_code><![CDATA[FAIL]]></return_code>\
                    <return_msg><![CDATA[ERROR]]></return_msg></xml>";

/// POST /notify: WeChat comes, or somebody who pretends to be it.
pub(crate) async fn received(State(shop): State<Arc<Shop>>, body: Bytes) -> Response {
    let app_id = app_id(&body).unwrap_or(&shop.config.app.id);
    // Whoever gets no answer, or FAIL, comes again.
    let answer = match shop.verify_notification(app_id, &body).await {
        Ok(reply) if reply.is_success() => {
            shop.take_payment(app_id, &reply);
            SUCCESS
        }
        Ok(_) | Err(_) => FAIL,
    };
    ([(header::CONTENT_TYPE, "text/xml")], answer).into_response()
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
