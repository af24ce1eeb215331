//! An honest WeChat for tests: Pay v2 and APIv3, official accounts, mini programs
//! and apps, and a payer's telephone, with a control side under `/_control` (see
//! `control`). Here is the map of addresses. The order book and its rules
//! ([`pay`], and [`v3`] as its second face) need no server and serve the
//! simulation as well. The code under test is not used: this crate has signatures
//! of its own, because two equal bugs would cancel out.
//!
//! Everything is served on one plain port. With a TLS port beside it, what is
//! under `/secapi/` is done only for clients that show the merchant's
//! certificate there, and refused in WeChat's words elsewhere.

mod beijing;
mod client;
mod config;
mod control;
mod errcode;
mod faults;
mod forge;
mod genprepay;
mod ids;
mod known;
mod merchants;
mod notices;
mod notify;
mod oauth;
pub mod pay;
mod phone;
mod session;
mod settings;
pub mod sign;
mod state;
pub mod tls;
mod token;
mod users;
mod v2;
pub mod v3;
pub mod xml;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};

pub use config::Config;
pub use forge::Flaw;
pub use merchants::{Account, Console, Directory, Kind, Merchant, Signs, Unfit};
pub use pay::ACCEPTED;

use state::Simulator;

/// Why the simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// Somebody of its files cannot be known.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The HTTP client.
    #[error("the client for notifications cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// The whole simulator with a memory of its own, to be served on any port.
/// `config.url` (or `config.port`) must be the address it is reached under.
///
/// # Errors
/// When a file that `config` names is wrong, or the HTTP client for
/// notifications cannot be built.
pub fn router(config: Config) -> Result<Router, CannotStart> {
    // A provider that is already installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let simulator = Simulator::new(config)?;
    let holders_only = from_fn_with_state(simulator.clone(), tls::demand);
    let router = merchant()
        .merge(merchant_v3())
        .merge(merchant_with_certificate().route_layer(holders_only))
        .merge(account())
        .merge(telephone())
        .merge(control_side())
        .layer(from_fn_with_state(simulator.clone(), faults::inject))
        .with_state(simulator);
    Ok(router)
}

fn merchant() -> Router<Simulator> {
    Router::new()
        .route("/pay/unifiedorder", v2())
        .route("/pay/orderquery", v2())
        .route("/pay/closeorder", v2())
        .route("/pay/refundquery", v2())
        .route("/pay/micropay", v2())
        .route("/pay/genprepay", post(genprepay::genprepay))
}

fn merchant_v3() -> Router<Simulator> {
    let transactions = "/v3/pay/transactions";
    let path = |rest: &str| format!("{transactions}/{rest}");
    Router::new()
        .route(&path("jsapi"), any(v3::http::call))
        .route(&path("native"), any(v3::http::call))
        .route(&path("app"), any(v3::http::call))
        .route(&path("h5"), any(v3::http::call))
        .route(&path("codepay"), any(v3::http::call))
        .route(&path("id/{transaction_id}"), any(v3::http::call))
        .route(&path("out-trade-no/{out_trade_no}"), any(v3::http::call))
        .route(
            &path("out-trade-no/{out_trade_no}/close"),
            any(v3::http::call),
        )
        .route(
            &path("out-trade-no/{out_trade_no}/reverse"),
            any(v3::http::call),
        )
        .route("/v3/refund/domestic/refunds", any(v3::http::call))
        .route(
            "/v3/refund/domestic/refunds/{out_refund_no}",
            any(v3::http::call),
        )
        .route("/v3/certificates", any(v3::http::call))
        .route("/v3/{*rest}", any(v3::http::call))
}

fn merchant_with_certificate() -> Router<Simulator> {
    Router::new()
        .route("/secapi/pay/refund", v2())
        .route("/secapi/pay/reverse", v2())
}

fn v2() -> MethodRouter<Simulator> {
    post(v2::call).fallback(post_only)
}

fn account() -> Router<Simulator> {
    Router::new()
        .route("/connect/oauth2/authorize", get(oauth::authorize))
        .route("/sns/oauth2/access_token", get(oauth::access_token))
        .route("/sns/oauth2/refresh_token", get(oauth::refresh_token))
        .route("/sns/userinfo", get(oauth::userinfo))
        .route("/sns/jscode2session", get(session::js_code_to_session))
        .route("/cgi-bin/stable_token", post(token::stable_token))
        .route("/cgi-bin/token", get(token::plain_token))
        .route("/cgi-bin/ticket/getticket", get(token::ticket))
}

fn telephone() -> Router<Simulator> {
    Router::new()
        .route("/", get(phone::list))
        .route("/phone", get(phone::list))
        .route("/phone/pay", get(phone::ask).post(phone::decide))
        .route(
            "/phone/jsapi",
            post(client::jsapi).options(client::preflight),
        )
        .route("/phone/app", post(client::app).options(client::preflight))
        .route("/phone/bridge.js", get(client::bridge))
        .route("/cgi-bin/mmpayweb-bin/checkmweb", get(phone::mweb))
}

fn control_side() -> Router<Simulator> {
    Router::new()
        .route("/_control/orders", get(control::orders))
        .route("/_control/orders/{out_trade_no}", get(control::order))
        .route("/_control/pay", post(control::pay))
        .route("/_control/notify", post(notices::notify))
        .route("/_control/repeat", post(notices::repeat))
        .route("/_control/compose", post(notices::compose))
        .route("/_control/age", post(control::age))
        .route("/_control/charge", post(control::charge))
        .route("/_control/refund", post(control::refund))
        .route("/_control/refund_becomes", post(control::refund_becomes))
        .route("/_control/obstacles", post(control::obstacles))
        .route(
            "/_control/merchants",
            get(known::merchants).post(known::put_merchant),
        )
        .route(
            "/_control/accounts",
            get(known::accounts).post(known::put_account),
        )
        .route("/_control/js_code", post(known::js_code))
        .route(
            "/_control/faults",
            get(control::faults)
                .post(control::add_fault)
                .delete(control::clear_faults),
        )
        .route(
            "/_control/settings",
            get(control::settings).post(control::change_settings),
        )
        .route("/_control/counters", get(control::counters))
        .route("/_control/rejections", get(control::rejections))
        .route("/_control/reset", post(control::reset))
}

async fn post_only(State(simulator): State<Simulator>, uri: Uri) -> Response {
    let refusal = pay::Refusal::transport("REQUIRE_POST_METHOD", "请使用post方法");
    v2::refuse(&simulator, uri.path(), &sign::Fields::new(), refusal)
}
