//! Who changed what, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::aws::audit::Period;
use shared::domain::audit::{Entry, Month};
use shared::domain::id::AppId;
use shared::http::problem::Problem;

use crate::OperatorApi;
use crate::body::{page_size, query, time};

const DAY_SECONDS: i64 = 86_400;

/// A page of the trail: `Trail` in openapi.yaml.
#[derive(Serialize)]
struct Trail<'a> {
    entries: Vec<Shown<'a>>,
    next: Option<String>,
}

/// One change: `TrailEntry`.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    at: String,
    who: &'a str,
    through: &'a str,
    from: &'a str,
    action: &'a str,
    subject: &'a str,
    reason: &'a str,
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
}

pub(crate) async fn list(
    State(state): State<Arc<OperatorApi>>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let asked = query(given.as_deref(), &["limit", "since", "app_id", "cursor"])?;
    let (limit, now) = (page_size(&asked)?, state.clock.now());
    let since = asked.text("since", 40)?.map(|text| time("since", text));
    let since = since.transpose()?;
    let app_id = asked.text("app_id", 16)?.map(AppId::parse).transpose();
    let app_id = app_id.map_err(Problem::of_param("app_id"))?;
    let cursor = asked.text("cursor", 64)?.map(str::to_owned);
    let before = cursor.unwrap_or_else(|| Entry::id_ahead_of(now));
    Month::of_entry(&before).map_err(Problem::of_param("cursor"))?;
    let period = Period {
        since: since.unwrap_or(now.plus_seconds(-31 * DAY_SECONDS)),
        before,
    };
    let limit = usize::try_from(limit).unwrap_or_default();
    let found = state.audit.page(&period, app_id.as_ref(), limit).await?;
    let entries = found.entries.iter().map(shown).collect();
    let next = found.next;
    Ok(Json(Trail { entries, next }).into_response())
}

fn shown(entry: &Entry) -> Shown<'_> {
    Shown {
        id: &entry.id,
        at: entry.at.rfc3339(),
        who: &entry.who,
        through: &entry.through,
        from: &entry.from,
        action: &entry.action,
        subject: &entry.subject,
        reason: &entry.reason,
        before: &entry.before,
        after: &entry.after,
    }
}
