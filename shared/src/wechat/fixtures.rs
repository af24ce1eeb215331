//! What the tests of WeChat's protocol begin with.

use super::v2::{Client, PaymentKeys};
use super::{Gateway, Http, Identity};
use crate::domain::merchant::{AccountId, MchId, Merchant, SignType};
use crate::domain::order::ApiVersion;

/// WeChat's own example.
pub(super) const API_KEY: &str = "8934e7d15453e97507ef794cf7b0519d";

pub(super) fn merchant() -> Merchant {
    Merchant::new(MchId::parse("1900000109").unwrap(), ApiVersion::V2)
}

pub(super) fn first_account() -> AccountId {
    AccountId::parse("wx").unwrap()
}

/// A merchant whose hosts nobody listens at.
pub(super) fn identity() -> Identity {
    let nowhere = "http://127.0.0.1:1";
    Identity {
        mch_id: merchant().mch_id,
        sign_type: SignType::HmacSha256,
        gateway: Gateway::at(nowhere),
        api_base: nowhere.to_owned(),
    }
}

/// Its client of version 2; `more` is added to the secret's JSON.
pub(super) fn wechat(more: &str) -> Client {
    let secrets = format!(r#"{{"api_key":"{API_KEY}"{more}}}"#);
    let keys = PaymentKeys::parse(&secrets).unwrap();
    Client::new(identity(), keys, Http::new().unwrap())
}
