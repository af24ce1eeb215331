//! The pure rules of the hub: no async, no AWS, no clock, no randomness.
//! `now` and random tokens are arguments.

pub mod app;
pub mod delivery;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod id;
pub mod money;
pub mod order;
pub mod refund;
pub mod signature;
pub mod time;
