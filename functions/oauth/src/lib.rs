//! WeChat's one callback domain, shared by many apps: their users' log-ins and
//! the JS-SDK signatures of their pages. The cashier's log-ins come back here
//! too, and WeChat checks here whose the domain is. It refuses to know what users do once they are logged in.

mod jssdk;
mod login;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use shared::account::AccountTokens;
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The apps, and the states, codes and tickets of their users.
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
        .route("/oauth/authorize", get(login::authorize))
        .route("/oauth/callback", get(login::callback))
        .route("/v1/oauth/token", post(login::token))
        .route("/v1/jssdk/config", get(jssdk::config))
        .with_state(hub)
}
