//! The pure rules of the hub: no async, no AWS, no clock, no randomness.
//! `now` and random tokens are arguments.

pub mod app;
pub mod delivery;
pub mod id;
pub mod money;
pub mod order;
pub mod refund;
pub mod signature;
pub mod time;
