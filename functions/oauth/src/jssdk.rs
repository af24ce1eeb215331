//! `GET /v1/jssdk/config`: lets a page of an app use WeChat's JS-SDK, which
//! wants it signed by the account that owns the domain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};

use crate::Oauth;

pub(crate) async fn config(
    State(state): State<Arc<Oauth>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let fields = Fields::from_query(&query.unwrap_or_default())?;
    let Signed { app, fields } = Signed::fresh(fields, &state.registry, now).await?;
    fields.only(&["url"])?;
    let url = fields.required("url", 1024)?;
    app.check_page(url).map_err(Problem::of_param("url"))?;
    let ticket = state.tokens.ticket(now).await?;
    let config = state.account.account().page_config(&ticket, url, now);
    Ok(Json(config).into_response())
}
