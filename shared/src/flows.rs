//! The ways through: what must happen in which order, across the rules, WeChat
//! and the tables. Each can be repeated from any point at which it died.

pub mod addresses;
pub mod apps;
pub mod ask;
pub mod checkout;
pub mod giving_up;
pub mod login;
pub mod notified;
pub mod pausing;
pub mod promise;
pub mod query;
pub mod race;
pub mod redelivery;
pub mod refunds;
pub mod search;
pub mod second_person;
pub mod settle;
pub mod sign_in;
pub mod staff;
pub mod taken_back;
pub mod test_event;
pub mod token_cache;
