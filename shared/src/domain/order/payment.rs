//! Payments as WeChat confirms them, and those that must go back. It refuses to
//! know how they were confirmed.

use serde::{Deserialize, Serialize};

use crate::domain::money::Fen;
use crate::domain::time::Timestamp;

/// A payment as WeChat confirmed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// WeChat's number, unique per payment.
    pub transaction_id: String,
    /// Which attempt was paid.
    pub attempt: u8,
    /// In WeChat's words; a payer may use another way than the order's.
    pub trade_type: String,
    /// The order's price as WeChat knows it.
    pub total_fee: Fen,
    /// What the payer paid after coupons.
    pub cash_fee: Fen,
    /// The payer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// When it was paid.
    pub paid_at: Timestamp,
}

/// A payment that must not simply be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What is wrong with it.
    pub kind: AnomalyKind,
    /// The payment.
    pub payment: Payment,
    /// When the hub noticed.
    pub seen_at: Timestamp,
}

/// The anomalies that lead to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// Another amount than the order's.
    AmountMismatch,
    /// A second payment for a paid order.
    PaidTwice,
    /// A payment for an order that was given up.
    PaidAfterClose,
}

impl AnomalyKind {
    /// The name in our API and in the alarms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmountMismatch => "amount_mismatch",
            Self::PaidTwice => "paid_twice",
            Self::PaidAfterClose => "paid_after_close",
        }
    }
}
