//! The addresses the hub's server calls: notify, return, and the one a
//! followed redirect would reach. An app that wants webhooks is called by POST.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::texts;
use crate::behaviour::{self, Address, Mode};
use crate::book::Arrival;
use crate::clock;
use crate::pages;
use crate::shop::Shop;
use crate::signature::{Refusal, Webhook};

/// The query as it came: a list, because a map would hide a repeated name.
pub(crate) type Pairs = Query<Vec<(String, String)>>;

/// GET /notify: the hub's server comes, and only it.
pub(crate) async fn notified(
    State(shop): State<Arc<Shop>>,
    RawQuery(raw): RawQuery,
    Query(pairs): Pairs,
) -> Response {
    let answer = shop.book_callback(Address::Notify, pairs);
    behaviour::give(answer, shop.elsewhere(raw)).await
}

/// GET /return: the hub's server comes with an `event`, the browser without.
pub(crate) async fn returned(
    State(shop): State<Arc<Shop>>,
    RawQuery(raw): RawQuery,
    Query(pairs): Pairs,
) -> Response {
    if !pairs.iter().any(|(name, _)| name == "event") {
        let (params, verdict) = shop.judge(pairs);
        return pages::returned(&shop, &params, verdict).await;
    }
    let answer = shop.book_callback(Address::Return, pairs);
    behaviour::give(answer, shop.elsewhere(raw)).await
}

/// GET /redirected: only a caller that follows redirects gets here. No rule
/// covers this address, so it hears the `success` it should not have heard.
pub(crate) async fn redirected(
    State(shop): State<Arc<Shop>>,
    RawQuery(raw): RawQuery,
    Query(pairs): Pairs,
) -> Response {
    let answer = shop.book_callback(Address::Redirected, pairs);
    behaviour::give(answer, shop.elsewhere(raw)).await
}

/// A webhook at any of these addresses. It is answered by the status alone: what the
/// shop does not take is no 2xx.
pub(crate) async fn webhook(shop: &Shop, headers: &HeaderMap, body: &[u8]) -> Response {
    let (at_ms, at) = (clock::real_ms(), Instant::now());
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let webhook = Webhook {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8_lossy(body).into_owned(),
    };
    let params = told(&webhook);
    let verdict = shop.verify_webhook(&params, &webhook);
    let answer = shop.book().take(Arrival {
        at_ms,
        at,
        address: Address::Notify,
        params,
        verdict,
        webhook: Some(webhook),
    });
    match answer.mode {
        Mode::Success => StatusCode::NO_CONTENT.into_response(),
        Mode::Fail => StatusCode::BAD_REQUEST.into_response(),
        _ => behaviour::give(answer, shop.elsewhere(None)).await,
    }
}

/// What it says, as a query would. Nothing of it is verified yet.
fn told(webhook: &Webhook) -> BTreeMap<String, String> {
    let body: Value = serde_json::from_str(&webhook.body).unwrap_or_default();
    let data = body.get("data").and_then(Value::as_object);
    let mut params = data.map(texts).unwrap_or_default();
    let event = body.get("type").and_then(Value::as_str).unwrap_or_default();
    params.insert("event".to_owned(), event.to_owned());
    params.insert("event_id".to_owned(), webhook.id.clone());
    params
}

impl Shop {
    fn book_callback(&self, address: Address, pairs: Vec<(String, String)>) -> behaviour::Answer {
        let (at_ms, at) = (clock::real_ms(), Instant::now());
        let (params, verdict) = self.judge(pairs);
        self.book().take(Arrival {
            at_ms,
            at,
            address,
            params,
            verdict,
            webhook: None,
        })
    }

    fn judge(
        &self,
        pairs: Vec<(String, String)>,
    ) -> (BTreeMap<String, String>, Result<(), Refusal>) {
        let given = pairs.len();
        let params: BTreeMap<String, String> = pairs.into_iter().collect();
        let verdict = if params.len() == given {
            self.verify(&params)
        } else {
            Err(Refusal::RepeatedParameter)
        };
        (params, verdict)
    }

    fn elsewhere(&self, raw: Option<String>) -> String {
        format!(
            "{}/redirected?{}",
            self.config.public_url,
            raw.unwrap_or_default()
        )
    }
}
