//! Payments as WeChat confirms them, those that must go back, and how much of
//! each is promised back or gone back.

use serde::{Deserialize, Serialize};

use super::{Order, Refusal, Status};
use crate::domain::UnknownAttributes;
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
    /// The payer, when WeChat names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// When it was paid.
    pub paid_at: Timestamp,
    /// Promised to refunds that have not failed.
    #[serde(default, skip_serializing_if = "Fen::is_zero")]
    pub refund_reserved: Fen,
    /// Gone back for good; a part of what is promised.
    #[serde(default, skip_serializing_if = "Fen::is_zero")]
    pub refunded: Fen,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// A payment that must not simply be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What is wrong with it.
    pub kind: AnomalyKind,
    /// As WeChat confirmed it.
    pub payment: Payment,
    /// When the hub noticed.
    pub seen_at: Timestamp,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
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

impl Payment {
    fn reserve(&mut self, amount: Fen) -> Result<(), Refusal> {
        let sum = self.refund_reserved.checked_add(amount);
        let sum = sum.filter(|sum| *sum <= self.total_fee);
        self.refund_reserved = sum.ok_or(Refusal::Exceeds)?;
        Ok(())
    }

    fn release(&mut self, amount: Fen) -> Result<(), Refusal> {
        let left = self.refund_reserved.checked_sub(amount);
        let left = left.filter(|left| *left >= self.refunded);
        self.refund_reserved = left.ok_or(Refusal::Exceeds)?;
        Ok(())
    }

    fn complete(&mut self, amount: Fen) -> Result<(), Refusal> {
        let sum = self.refunded.checked_add(amount);
        let sum = sum.filter(|sum| *sum <= self.refund_reserved);
        self.refunded = sum.ok_or(Refusal::Exceeds)?;
        Ok(())
    }
}

impl Order {
    /// The payment with WeChat's number, the order's own or an anomaly.
    #[must_use]
    pub fn payment_of(&self, transaction_id: &str) -> Option<&Payment> {
        let anomalies = self.anomalies.iter().map(|anomaly| &anomaly.payment);
        self.payment
            .iter()
            .chain(anomalies)
            .find(|payment| payment.transaction_id == transaction_id)
    }

    /// Promises an amount of a payment to a refund.
    ///
    /// # Errors
    /// [`Refusal::Exceeds`] when less than that is left of the payment,
    /// [`Refusal::NotPaid`] when there is no such payment.
    pub fn reserve_refund(&mut self, transaction_id: &str, amount: Fen) -> Result<(), Refusal> {
        self.payment_mut(transaction_id)?.reserve(amount)
    }

    /// A promised refund failed for good: its amount is free again.
    ///
    /// # Errors
    /// [`Refusal::Exceeds`] when that much was not promised.
    pub fn release_refund(&mut self, transaction_id: &str, amount: Fen) -> Result<(), Refusal> {
        self.payment_mut(transaction_id)?.release(amount)
    }

    /// A promised refund reached the payer.
    ///
    /// # Errors
    /// [`Refusal::Exceeds`] when that much was not promised.
    pub fn complete_refund(&mut self, transaction_id: &str, amount: Fen) -> Result<(), Refusal> {
        self.payment_mut(transaction_id)?.complete(amount)?;
        if let Some(payment) = self
            .payment
            .as_ref()
            .filter(|paid| paid.refunded > Fen::ZERO)
        {
            self.status = if payment.refunded == payment.total_fee {
                Status::Refunded
            } else {
                Status::PartlyRefunded
            };
        }
        Ok(())
    }

    fn payment_mut(&mut self, transaction_id: &str) -> Result<&mut Payment, Refusal> {
        let anomalies = self.anomalies.iter_mut();
        self.payment
            .iter_mut()
            .chain(anomalies.map(|anomaly| &mut anomaly.payment))
            .find(|payment| payment.transaction_id == transaction_id)
            .ok_or(Refusal::NotPaid)
    }
}
