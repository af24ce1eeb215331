//! `GET /oauth/callback`: WeChat sends the user's browser here, the one domain
//! it knows. The code is exchanged once and the browser sent on. It refuses to
//! know what happens there.

mod jssdk;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use shared::account::AccountTokens;
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::http::problem::Problem;
use shared::http::request::Fields;
use shared::login;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// States and tickets.
    pub registry: Registry,
    /// The official account.
    pub merchant: Merchant,
    /// Its tokens.
    pub tokens: AccountTokens,
    /// The hub's own address.
    pub public_url: String,
}

/// The routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/oauth/callback", get(callback))
        .route("/v1/jssdk/config", get(jssdk::config))
        .with_state(hub)
}

async fn callback(
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match come_back(&hub, &query.unwrap_or_default(), &headers).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(problem) => {
            tracing::warn!(%problem, "a login failed");
            page(&problem)
        }
    }
}

async fn come_back(hub: &Hub, query: &str, headers: &HeaderMap) -> Result<String, Problem> {
    let now = hub.clock.now();
    let fields = Fields::from_query(query)?;
    let state = fields.required("state", 128)?;
    let browser = cookie(headers, login::COOKIE).unwrap_or_default();
    let purpose = login::resume(&hub.registry, (state, browser), now)
        .await?
        .map_err(|refused| Problem::param("state", refused.0))?;
    let code = fields.required("code", 512)?;
    let user = hub.merchant.wechat().await?.exchange_code(code).await?;
    if user.is_snapshot {
        return Err(Problem::param(
            "openid",
            "is a virtual account's, which cannot pay",
        ));
    }
    login::finish(&hub.registry, &hub.public_url, (&purpose, user), now).await
}

/// A cookie's value; browsers send all of them in one header.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Nothing of the request is repeated on the page.
fn page(problem: &Problem) -> Response {
    let (status, code) = problem.identity();
    let status = match status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>WeChat</title>\
         <p>登录未完成，请返回重新打开。</p>\
         <p>The login was not completed. Please go back and open the page again.</p>\
         <p><small>{code}</small></p>"
    );
    (status, [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response()
}
