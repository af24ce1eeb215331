//! Journeys through the deployed stack, over HTTP only: what an app, a payer
//! and WeChat can do, and what nobody can.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a journey that cannot go on has failed"
)]

mod accounts;
mod api;
mod asking;
mod attempts;
mod brand;
mod cashier;
mod certificates;
mod credentials;
mod deliveries;
mod desk;
mod feed;
mod jssdk;
mod logins;
mod notifications;
mod operators;
mod owners;
mod pausing;
mod phones;
mod platform;
mod profiles;
mod refund_desk;
mod refunds;
mod restored;
mod restores;
mod rights;
mod roles;
mod server;
mod staff;
mod store;
mod stories;
mod telling;
mod tills;
mod trades;
mod verifying;
