//! The addresses the hub's server calls: notify, return, and the one a
//! followed redirect would reach.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, RawQuery, State};
use axum::response::Response;

use crate::behaviour::{self, Address};
use crate::book::Arrival;
use crate::clock;
use crate::pages;
use crate::shop::Shop;
use crate::signature::Refusal;

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
