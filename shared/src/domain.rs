//! The pure rules of the hub: no async, no AWS, no clock, no randomness.
//! `now` and random tokens are arguments.

pub mod app;
pub mod audit;
pub mod credential;
pub mod delivery;
pub mod feed;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod id;
pub mod merchant;
pub mod money;
pub mod operator;
pub mod order;
pub mod refund;
pub mod signature;
pub mod time;

use std::collections::BTreeMap;

/// Attributes of a row that this version does not know. A newer one wrote them,
/// perhaps while it is being rolled out beside this one; they are kept when the
/// row is written back.
pub type UnknownAttributes = BTreeMap<String, serde_json::Value>;
