//! The smallest honest third party of the hub: a shop that sells three things,
//! believes only what is signed, and can be told to answer badly.
//!
//! It owns its own implementation of the hub's signature and never uses the
//! hub's code: were the two to share one function, two equal bugs would cancel
//! out and no test could see them. A test that plays an app signs with this
//! implementation, and may run the shop inside its own process.

mod app;
mod behaviour;
mod book;
mod callback;
mod clock;
mod control;
mod login;
mod notification;
mod pages;
mod shop;
mod signature;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use crate::app::{App, Fields, texts};
pub use crate::behaviour::{Mode, Reach, Rule};
pub use crate::book::Told;
pub use crate::shop::Shop;
pub use crate::signature::sign;

/// Who the shop is and which hub it uses.
#[derive(Debug)]
pub struct Config {
    /// The shop's public base address; the addresses it gives the hub start with
    /// it. A trailing slash is ignored, here and in `hub_url`.
    pub public_url: String,
    /// The hub's base address.
    pub hub_url: String,
    /// The app the shop sells as.
    pub app: App,
}

/// The whole shop: pages, callback addresses and the control side.
pub fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(pages::catalogue))
        .route("/buy", post(pages::buy))
        .route("/login", get(login::begin))
        .route("/logged-in", get(login::finish))
        .route(
            "/notify",
            get(callback::notified).post(notification::received),
        )
        .route("/notify/{app_id}", post(notification::received))
        .route("/return", get(callback::returned))
        .route("/redirected", get(callback::redirected))
        .nest("/_control", control::router())
        .with_state(shop)
}
