//! "Log in with WeChat": the way to the hub and back. The state is the browser's
//! cookie, so nobody can be logged in as somebody else by a link. Who is logged
//! in is shown on the page and not kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use crate::book::text;
use crate::clock;
use crate::pages::{hub_problem, page, problem, refused};
use crate::shop::{HubError, Shop};

const COOKIE: &str = "shop_login";

#[derive(Template)]
#[template(path = "logged_in.html")]
struct LoggedInPage {
    nickname: String,
    openid: String,
    snapshot: bool,
}

/// GET /login: sends the browser to the hub with a state of its own.
pub(crate) async fn begin(State(shop): State<Arc<Shop>>) -> Response {
    let address = clock::nonce().map_err(HubError::NoRandomness);
    let address = address.and_then(|state| Ok((shop.authorize_url(&state)?, state)));
    match address {
        Ok((address, state)) => {
            let cookie =
                format!("{COOKIE}={state}; Path=/logged-in; Max-Age=900; HttpOnly; SameSite=Lax");
            ([(header::SET_COOKIE, cookie)], Redirect::to(&address)).into_response()
        }
        Err(error) => hub_problem(&error),
    }
}

/// GET /logged-in, where the hub sends the browser: with a code, with the signed
/// profile, or with an error.
pub(crate) async fn finish(
    State(shop): State<Arc<Shop>>,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let params: BTreeMap<String, String> = pairs.iter().cloned().collect();
    let state = text(&params, "state");
    if params.len() != pairs.len() || state.is_empty() || cookie(&headers) != Some(state) {
        let detail = "This log-in was not begun in this browser.";
        return problem(StatusCode::BAD_REQUEST, "Please log in again", detail, "");
    }
    if params.contains_key("error") {
        let detail = "You are not logged in.";
        return problem(StatusCode::OK, "No log-in", detail, text(&params, "error"));
    }
    if text(&params, "purpose") == "login" {
        if shop.verify(&params).is_err() {
            let detail = "This address was not made by the hub.";
            return problem(StatusCode::BAD_REQUEST, "Please log in again", detail, "");
        }
        return welcome(|name| text(&params, name).to_owned());
    }
    match shop.exchange(text(&params, "code")).await {
        Ok(reply) if reply.is_success() => welcome(|name| match reply.body.get(name) {
            Some(Value::String(text)) => text.clone(),
            other => other.map(Value::to_string).unwrap_or_default(),
        }),
        Ok(reply) => refused(&reply),
        Err(error) => hub_problem(&error),
    }
}

fn welcome(field: impl Fn(&str) -> String) -> Response {
    let view = LoggedInPage {
        nickname: field("nickname"),
        openid: field("openid"),
        snapshot: field("is_snapshot") == "true",
    };
    page(StatusCode::OK, &view)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}
