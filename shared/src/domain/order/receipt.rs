//! What a shop's books want to know of a payment besides its amounts: as WeChat
//! said it, as far as that could be read. Nothing here decides anything.

use serde::{Deserialize, Serialize};

use crate::domain::UnknownAttributes;
use crate::domain::money::Fen;

/// WeChat's receipt of a payment. Rows of earlier versions have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// From which bank, or `OTHERS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_type: Option<String>,
    /// The currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_type: Option<String>,
    /// What the merchant is paid out: the price without the coupons that the
    /// merchant has not paid for before. WeChat names it only if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement_total_fee: Option<Fen>,
    /// What coupons have paid, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon_fee: Option<Fen>,
    /// How many there were; the list may be shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon_count: Option<u16>,
    /// One by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coupons: Vec<Coupon>,
    /// Whether the payer follows the official account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_subscribe: Option<bool>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// A coupon that paid a part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// WeChat's number of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `CASH`, if the merchant had paid for it before, or `NO_CASH`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How much it paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Fen>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}
