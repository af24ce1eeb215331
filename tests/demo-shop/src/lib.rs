//! The smallest honest third party of the hub: a shop that sells three things,
//! believes only what is signed, and can be told to answer badly.
//!
//! It owns its own implementation of the hub's signature. It refuses to know
//! the hub's code: were the two to share one function, two equal bugs would
//! cancel out and no test could see them.

mod behaviour;
mod book;
mod callback;
mod clock;
mod control;
mod login;
mod pages;
mod shop;
mod signature;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::shop::Shop;
pub use crate::signature::sign;

/// Who the shop is and which hub it uses.
///
/// Deliberately without `Debug`: it holds the secret.
pub struct Config {
    /// The shop's public base address; the addresses it gives the hub start with
    /// it. A trailing slash is ignored, here and in `hub_url`.
    pub public_url: String,
    /// The hub's base address.
    pub hub_url: String,
    /// The app the shop sells as, 16 characters.
    pub app_id: String,
    /// The secret the app shares with the hub, 32 characters.
    pub app_secret: String,
}

/// The whole shop: pages, callback addresses and the control side.
///
/// All state lives in the router, so each call gives an independent shop.
///
/// # Panics
/// When no HTTP client can be built, which shows at start or never.
pub fn router(config: Config) -> Router {
    Router::new()
        .route("/", get(pages::catalogue))
        .route("/buy", post(pages::buy))
        .route("/login", get(login::begin))
        .route("/logged-in", get(login::finish))
        .route("/notify", get(callback::notified))
        .route("/return", get(callback::returned))
        .route("/redirected", get(callback::redirected))
        .nest("/_control", control::router())
        .with_state(Arc::new(Shop::new(config)))
}
