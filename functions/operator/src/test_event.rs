//! A test event to an address of an app's: what was sent, what came back, and what
//! the app's developer should look at.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::ambient::random_hex;
use shared::domain::app::check_address;
use shared::domain::delivery::Message;
use shared::domain::signature::Params;
use shared::flows::test_event::{self, Tested, Tried};
use shared::http::problem::Problem;

use crate::OperatorApi;
use crate::app::parsed;
use crate::body::Sent;
use crate::door::Caller;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    address: String,
    reason: Option<String>,
}

/// `Tried` in openapi.yaml.
#[derive(Serialize)]
struct Shown {
    /// The query's, of a GET.
    #[serde(skip_serializing_if = "Params::is_empty")]
    params: Params,
    /// Those that prove a POST.
    #[serde(skip_serializing_if = "Params::is_empty")]
    headers: Params,
    /// What was posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    http_status: Option<u16>,
    answer: String,
    latency_ms: u32,
    verdict: String,
}

fn shown(tried: Tried) -> Shown {
    let (params, headers, body) = match tried.sent {
        Message::Query(params) => (params, Params::new(), None),
        Message::Webhook(webhook) => {
            let headers = Params::from([
                ("webhook-id".to_owned(), webhook.id),
                ("webhook-timestamp".to_owned(), webhook.timestamp),
                ("webhook-signature".to_owned(), webhook.signature),
            ]);
            (Params::new(), headers, Some(webhook.body))
        }
    };
    Shown {
        params,
        headers,
        body,
        http_status: tried.http_status,
        answer: tried.answer,
        latency_ms: u32::try_from(tried.latency.as_millis()).unwrap_or(u32::MAX),
        verdict: tried.verdict,
    }
}

pub(crate) async fn send(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
    Sent(asked): Sent<Asked>,
) -> Result<Response, Problem> {
    let app = state.apps.read(&parsed(&app_id)?).await?;
    // An operator may try an address before it is one of the app's.
    let allowed = match caller.apps {
        None => check_address(&asked.address, app.allow_http),
        Some(_) => app.check_page(&asked.address),
    };
    allowed.map_err(Problem::of_param("address"))?;
    let (actor, now) = (caller.because(asked.reason)?, state.clock.now());
    let entry = actor.entry("app.test_event", app_id, now, &random_hex());
    let entry = entry.between(&json!({}), &json!({"address": asked.address}));
    state.audit.announce(&entry).await?;
    let Tested { signed, forged } =
        test_event::test(&state.caller, &app, &asked.address, now).await;
    let answer = json!({"signed": shown(signed), "forged": forged.map(shown)});
    Ok(Json(answer).into_response())
}
