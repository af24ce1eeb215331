//! WeChat's one callback domain, shared by many apps: their users' log-ins and
//! the JS-SDK signatures of their pages. The cashier's log-ins come back here
//! too, and here WeChat checks whose the domain is.

mod jssdk;
mod login;
mod mini_program;
mod page;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::registry::Registry;
use shared::domain::app::App;
use shared::domain::merchant::{AccountId, Need};
use shared::flows::token_cache::TokenCache;
use shared::http::guarded;
use shared::http::problem::Problem;

/// What the function works with.
#[derive(Debug)]
pub struct Oauth {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The apps, and the states, codes and tickets of their users.
    pub registry: Registry,
    /// The accounts that ask the users.
    pub accounts: Accounts,
    /// For JS-SDK signatures.
    pub tokens: TokenCache,
    /// The hub's own address.
    pub public_url: String,
    /// What WeChat asks for to see whose the domain is.
    pub verify_codes: Vec<String>,
}

impl Oauth {
    /// The account through which this app learns who somebody is.
    async fn account(&self, app: &App, need: Need) -> Result<AccountId, Problem> {
        let account = self.accounts.choose(app, need, None).await?;
        account.ok_or(Problem::AccountMissing)
    }
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
        .route("/v1/miniprogram/session", post(mini_program::session))
        .route("/v1/jssdk/config", get(jssdk::config))
        .route("/wechat/server", get(server::check).merge(messages))
        .route("/{file}", get(server::domain_file))
        .with_state(state);
    guarded(routes)
}
