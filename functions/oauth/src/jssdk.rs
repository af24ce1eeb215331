//! `GET /v1/jssdk/config`: lets a page of an app use WeChat's JS-SDK, which
//! wants it signed by the account that owns the domain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use shared::domain::merchant::Need;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::wechat::official_account::jssdk::page_config;

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
    let account = state.account(&app, Need::OfficialAccount).await?;
    let ticket = state.tokens.ticket(&account, now).await?;
    Ok(Json(page_config(&account, &ticket, url, now)).into_response())
}
