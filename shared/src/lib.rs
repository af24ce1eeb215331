//! What every function of the hub knows: the rules of orders and deliveries,
//! WeChat's protocol, the tables and queues, and the third parties' API.
//! It refuses to know which function is running.

pub mod account;
pub mod ambient;
pub mod aws;
pub mod batch;
pub mod callback;
pub mod checkout;
pub mod config;
pub mod domain;
pub mod http;
pub mod login;
pub mod refunds;
pub mod settle;
pub mod telemetry;
pub mod wechat;
