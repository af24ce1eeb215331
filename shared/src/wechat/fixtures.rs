//! What the tests of WeChat's protocol begin with.

use super::v2::{Client, PaymentKeys};
use super::{Account, Gateway};

/// WeChat's own example.
pub(super) const API_KEY: &str = "8934e7d15453e97507ef794cf7b0519d";

/// A merchant whose hosts nobody listens at.
pub(super) fn account() -> Account {
    let nowhere = "http://127.0.0.1:1";
    Account {
        gateway: Gateway::at(nowhere),
        api_base: nowhere.to_owned(),
        open_base: nowhere.to_owned(),
        ..Account::new("wx".to_owned(), "1900000109".to_owned())
    }
}

/// Its client of version 2; `more` is added to the secret's JSON.
pub(super) fn wechat(more: &str) -> Client {
    let secrets = format!(r#"{{"api_key":"{API_KEY}"{more}}}"#);
    Client::new(account(), PaymentKeys::parse(&secrets).unwrap()).unwrap()
}
