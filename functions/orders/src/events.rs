//! What an app is told, for it to read: its feed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use shared::domain::feed::position;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view;

use crate::Orders;

/// Of one page: what fits into an answer many times over.
const PAGE_MAX: i32 = 100;
/// Longer than any cursor.
const CURSOR_MAX_BYTES: usize = 64;

pub(crate) async fn list(
    State(state): State<Arc<Orders>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let fields = Fields::from_query(&query.unwrap_or_default())?;
    let Signed { app, fields } = Signed::fresh(fields, &state.registry, now).await?;
    fields.only(&["after", "limit"])?;
    if !app.feed {
        let rule = "has no feed; the operator can switch it on";
        return Err(Problem::param("app_id", rule));
    }
    let after = fields.text("after", CURSOR_MAX_BYTES)?;
    let after = after.map_or(Ok(0), |text| position(&app.app_id, text));
    let after = after.map_err(Problem::of_param("after"))?;
    let limit = fields.text("limit", 3)?.map_or(Ok(PAGE_MAX), str::parse);
    let limit = limit.ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    let limit = limit.ok_or_else(|| Problem::param("limit", "must be 1 to 100"))?;
    let page = state.feed.read(&app.app_id, after, limit, now).await?;
    Ok(Json(view::Events::of(&app.app_id, &page)).into_response())
}
