//! What the tests of WeChat's protocol begin with.

use super::{Account, PaymentKeys, Wechat};

/// WeChat's own example.
pub(super) const API_KEY: &str = "8934e7d15453e97507ef794cf7b0519d";

/// A client for a merchant whose hosts nobody listens at; `more` is added to
/// the secret's JSON.
pub(super) fn wechat(more: &str) -> Wechat {
    let nowhere = "http://127.0.0.1:1";
    let account = Account {
        pay_base: nowhere.to_owned(),
        api_base: nowhere.to_owned(),
        open_base: nowhere.to_owned(),
        ..Account::new("wx".to_owned(), "1900000109".to_owned())
    };
    let secrets = format!(r#"{{"api_key":"{API_KEY}"{more}}}"#);
    Wechat::new(account, PaymentKeys::parse(&secrets).unwrap()).unwrap()
}
