//! The control side, by which a test or a demo drives the shop. JSON in, JSON
//! out; a change without a result answers 204, a body that is not understood
//! 400, 415 or 422. It asks for no password: the shop listens on loopback.
//!
//! - `POST /_control/orders` `{order_no?, total_fee?, trade_type?, openid?,
//!   attach?, body?, version?, expires_in?, app_id?, notify_url?, return_url?}`
//!   signs and sends a create to the hub and gives `{order_no, status, body}`
//!   back, `status` and `body` being the hub's. Absent fields: a random
//!   `order_no`, `total_fee` 1, `body` "Demo order", the configured `app_id`,
//!   the shop's own addresses, the time, a random `nonce`. Other flat fields
//!   (`auth_code`, `client_ip`, even `timestamp` or `sign`) are sent as given,
//!   and a null field is left out. 400 for an unknown app or a nested value,
//!   502 when the hub does not answer.
//! - `POST /_control/apps` `{app_id, app_secret}`: the shop verifies this app's
//!   callbacks too and may order in its name.
//! - `POST /_control/behaviour` `{order_no?, app_id?, address?, mode, times?,
//!   delay_ms?}`: how verified callbacks are answered. `address` is `notify`,
//!   `return` or, by default, `both` (which then share `times`). `mode` is `success`,
//!   `fail`, `http_500`, `slow` (`delay_ms`, by default 3000, then success),
//!   `hang`, `redirect`, `huge` or `drop`. After `times` answers the rule
//!   answers `success`; absent means for ever. The most specific rule wins:
//!   order, then app, then global; of equal ones the youngest. With `fail` and
//!   `http_500` the shop did not take the message; with every other mode it
//!   did, and only the answer is spoilt.
//! - `DELETE /_control/behaviour` forgets all rules.
//! - `GET /_control/callbacks?order_no=&app_id=` lists the server's calls in
//!   order of arrival: `[{at_ms, address, verified, params, answered,
//!   refused?, webhook?}]`, the latter with headers and body of a POST. `address` is `notify`, `return`, or `redirected` for a caller
//!   that followed a redirect. `answered` is a mode. `refused` is
//!   `repeated_parameter`, `unknown_app`, `bad_signature`, `stale` or
//!   `wrong_amount`; the last one is verified all the same. The payer's
//!   browser is not listed.
//! - `GET /_control/orders/{order_no}?app_id=` gives `{paid, closed,
//!   callbacks, distinct_event_ids}`; all callbacks count, event ids of verified ones.
//!   Never 404, so that it can be polled.
//! - `POST /_control/clock` `{offset_seconds}` sets the shop's clock ahead of
//!   the machine's (`at_ms` excepted), for tests that move the hub's.
//! - `POST /_control/reset` forgets everything but the configuration.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App as Known;
use crate::behaviour::Rule;
use crate::book::{Callback, OrderSummary};
use crate::shop::{HubError, Shop};

/// The routes, without their prefix.
pub(crate) fn router() -> Router<Arc<Shop>> {
    Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{order_no}", get(show_order))
        .route("/apps", post(learn_app))
        .route("/behaviour", post(set_behaviour).delete(clear_behaviour))
        .route("/callbacks", get(list_callbacks))
        .route("/clock", post(set_clock))
        .route("/reset", post(reset))
}

async fn place_order(
    State(shop): State<Arc<Shop>>,
    Json(fields): Json<Map<String, Value>>,
) -> Response {
    match shop.place(fields).await {
        Ok(placed) => Json(json!({
            "order_no": placed.order_no,
            "status": placed.reply.status,
            "body": placed.reply.body,
        }))
        .into_response(),
        Err(error) => {
            let status = match error {
                HubError::UnknownApp(_) | HubError::NotFlat(_) => StatusCode::BAD_REQUEST,
                HubError::NoRandomness(_) => StatusCode::INTERNAL_SERVER_ERROR,
                HubError::NoAnswer(_) | HubError::NoAddress => StatusCode::BAD_GATEWAY,
            };
            (status, Json(json!({ "error": error.to_string() }))).into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    app_id: Option<String>,
    order_no: Option<String>,
}

impl Filter {
    fn app_id(&self) -> Option<&str> {
        self.app_id.as_deref().filter(|text| !text.is_empty())
    }

    fn order_no(&self) -> Option<&str> {
        self.order_no.as_deref().filter(|text| !text.is_empty())
    }
}

async fn show_order(
    State(shop): State<Arc<Shop>>,
    Path(order_no): Path<String>,
    Query(filter): Query<Filter>,
) -> Json<OrderSummary> {
    Json(shop.book().summary(filter.app_id(), &order_no))
}

async fn list_callbacks(
    State(shop): State<Arc<Shop>>,
    Query(filter): Query<Filter>,
) -> Json<Vec<Callback>> {
    let book = shop.book();
    Json(
        book.callbacks(filter.app_id(), filter.order_no())
            .cloned()
            .collect(),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    app_id: String,
    app_secret: String,
}

async fn learn_app(State(shop): State<Arc<Shop>>, Json(app): Json<App>) -> StatusCode {
    shop.learn(Known {
        id: app.app_id,
        secret: app.app_secret,
    });
    StatusCode::NO_CONTENT
}

async fn set_behaviour(State(shop): State<Arc<Shop>>, Json(rule): Json<Rule>) -> StatusCode {
    shop.behave(rule);
    StatusCode::NO_CONTENT
}

async fn clear_behaviour(State(shop): State<Arc<Shop>>) -> StatusCode {
    shop.behave_well();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSetting {
    offset_seconds: i64,
}

async fn set_clock(State(shop): State<Arc<Shop>>, Json(setting): Json<ClockSetting>) -> StatusCode {
    shop.clock.set_offset(setting.offset_seconds);
    StatusCode::NO_CONTENT
}

async fn reset(State(shop): State<Arc<Shop>>) -> StatusCode {
    shop.reset();
    StatusCode::NO_CONTENT
}
