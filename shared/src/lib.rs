//! What every function of the hub is built from, in layers. From the bottom:
//!
//! 1. [`error`] and [`tls`], the leaves;
//! 2. [`domain`], the pure rules;
//! 3. [`ambient`], the only place that reads the clock;
//! 4. [`wechat`], the only place that talks to WeChat;
//! 5. [`config`], the only reader of the environment;
//! 6. [`aws`], the only place that touches AWS, and [`telemetry`];
//! 7. [`callback`], the only place that dials an app's address, and [`batch`];
//! 8. [`flows`], the ways of an order, a refund and a login through all of these;
//! 9. [`http`], the third parties' API at the wire.
//!
//! A layer names only those below it; `tests/layers.rs` holds them to it.

pub mod ambient;
pub mod aws;
pub mod batch;
pub mod callback;
pub mod config;
pub mod domain;
pub mod error;
pub mod flows;
pub mod http;
pub mod telemetry;
pub mod tls;
pub mod wechat;
