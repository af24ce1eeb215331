//! WeChat's one callback domain, shared by many apps: their users' log-ins and
//! the JS-SDK signatures of their pages. The cashier's log-ins come back here
//! too, and here WeChat checks whose the domain is.

mod jssdk;
mod login;
mod page;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::secrets::OfficialAccount;
use shared::flows::token_cache::TokenCache;
use shared::http::guarded;

/// What the function works with.
#[derive(Debug)]
pub struct Oauth {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The apps, and the states, codes and tickets of their users.
    pub registry: Registry,
    /// The official account that asks the users.
    pub account: OfficialAccount,
    /// For JS-SDK signatures.
    pub tokens: TokenCache,
    /// The hub's own address.
    pub public_url: String,
    /// What WeChat asks for to see whose the domain is.
    pub verify_codes: Vec<String>,
}

/// No message of WeChat's comes near this.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// The routes that template.yaml sends here.
pub fn router(state: Arc<Oauth>) -> Router {
    let messages = post(server::message).layer(DefaultBodyLimit::max(MESSAGE_MAX_BYTES));
    let routes = Router::new()
        .route("/oauth/authorize", get(login::authorize))
        .route("/oauth/callback", get(login::callback))
        .route("/v1/oauth/token", post(login::token))
        .route("/v1/jssdk/config", get(jssdk::config))
        .route("/wechat/server", get(server::check).merge(messages))
        .route("/{file}", get(server::domain_file))
        .with_state(state);
    guarded(routes)
}
