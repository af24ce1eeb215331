//! What apps were told in vain: listed, and sent again one by one or in batches. What
//! was kept for an app that is paused no more is woken.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::ambient::random_hex;
use shared::aws::ledger::{Listed, sort_key};
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::time::Timestamp;
use shared::flows::pausing;
use shared::flows::redelivery::Batch;
use shared::http::problem::{OperatorProblem, Problem};

use crate::OperatorApi;
use crate::app::parsed;
use crate::body::{Sent, page_size, query, time};
use crate::door::Caller;

/// As many as one request sends again: each is a transaction of its own.
const BATCH_MAX: i32 = 25;
/// Longer than any event and subject.
const NAME_MAX_BYTES: usize = 200;

/// An exhausted delivery: `ExhaustedDelivery` in openapi.yaml.
#[derive(Serialize)]
struct Shown<'a> {
    order_no: &'a str,
    event: &'a str,
    subject: Option<&'a str>,
    exhausted_at: Option<String>,
}

/// A page of them: `ExhaustedDeliveries`.
#[derive(Serialize)]
struct Deliveries<'a> {
    deliveries: Vec<Shown<'a>>,
    next: Option<String>,
}

pub(crate) async fn list(
    State(state): State<Arc<OperatorApi>>,
    Path(app_id): Path<String>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let app = state.apps.read(&parsed(&app_id)?).await?;
    let asked = query(given.as_deref(), &["limit", "since", "cursor"])?;
    let (limit, now) = (page_size(&asked)?, state.clock.now());
    let since = asked.text("since", 40)?.map(|text| time("since", text));
    let since = since.transpose()?.unwrap_or_default();
    let after = asked.text("cursor", 300)?;
    let found = state
        .ledger()
        .exhausted(&app.app_id, since, now, after, limit)
        .await?;
    let deliveries = found.listed.iter().map(shown).collect();
    let next = found.next;
    Ok(Json(Deliveries { deliveries, next }).into_response())
}

fn shown(listed: &Listed) -> Shown<'_> {
    let (event, subject) = listed.event();
    Shown {
        order_no: listed.order_no(),
        event,
        subject,
        exhausted_at: listed.exhausted_at.map(Timestamp::rfc3339),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resend {
    order_no: String,
    event: String,
    subject: Option<String>,
    reason: Option<String>,
}

pub(crate) async fn resend(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
    Sent(asked): Sent<Resend>,
) -> Result<Response, Problem> {
    let order_no = OrderNo::parse(&asked.order_no).map_err(Problem::of_param("order_no"))?;
    let key = OrderKey {
        app_id: parsed(&app_id)?,
        order_no,
    };
    let sk = sort_key(&asked.event, asked.subject.as_deref());
    if sk.len() > NAME_MAX_BYTES {
        return Err(Problem::param("event", "is too long"));
    }
    let actor = caller.because(asked.reason)?;
    let sent = state.redelivery.one(&key, &sk, &actor, state.clock.now());
    match sent.await? {
        true => Ok(StatusCode::ACCEPTED.into_response()),
        false => Err(OperatorProblem::DeliveryNotExhausted.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResendAll {
    since: String,
    limit: Option<i32>,
    per_second: Option<i64>,
    cursor: Option<String>,
    reason: Option<String>,
}

/// What became of a batch: `Resent` in openapi.yaml.
#[derive(Serialize)]
struct Resent {
    resent: u32,
    left: u32,
    next: Option<String>,
}

pub(crate) async fn resend_all(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
    Sent(asked): Sent<ResendAll>,
) -> Result<Response, Problem> {
    let since = time("since", &asked.since)?;
    let (limit, per_second) = (asked.limit.unwrap_or(BATCH_MAX), pace(asked.per_second)?);
    if !(1..=BATCH_MAX).contains(&limit) {
        return Err(Problem::param("limit", "must be 1 to 25"));
    }
    let app = state.apps.read(&parsed(&app_id)?).await?;
    let batch = Batch {
        app_id: app.app_id,
        since,
        after: asked.cursor,
        limit,
        per_second,
    };
    let actor = caller.because(asked.reason)?;
    let sent = state.redelivery.batch(&batch, &actor, state.clock.now());
    let sent = sent.await?;
    Ok(Json(Resent {
        resent: sent.resent,
        left: sent.left,
        next: sent.next,
    })
    .into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wake {
    per_second: Option<i64>,
    cursor: Option<String>,
    reason: Option<String>,
}

/// What became of a batch: `Woken` in openapi.yaml.
#[derive(Serialize)]
struct Woken {
    woken: u32,
    next: Option<String>,
}

pub(crate) async fn wake(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
    Sent(asked): Sent<Wake>,
) -> Result<Response, Problem> {
    let per_second = pace(asked.per_second)?;
    let app = state.apps.read(&parsed(&app_id)?).await?;
    let (actor, now) = (caller.because(asked.reason)?, state.clock.now());
    let entry = actor.entry("delivery.wake", app_id, now, &random_hex());
    state.audit.announce(&entry).await?;
    let after = asked.cursor.as_deref();
    let batch = pausing::wake(state.ledger(), &app.app_id, after, per_second, now);
    let pausing::Woken { woken, next } = batch.await?;
    Ok(Json(Woken { woken, next }).into_response())
}

fn pace(per_second: Option<i64>) -> Result<i64, Problem> {
    let per_second = per_second.unwrap_or(5);
    match (1..=100).contains(&per_second) {
        true => Ok(per_second),
        false => Err(Problem::param("per_second", "must be 1 to 100")),
    }
}
