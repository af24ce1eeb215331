//! Payments as WeChat confirms them, those that must go back, and how much of
//! each is promised back or gone back.

use serde::{Deserialize, Serialize};

use super::{ApiVersion, Order, Receipt, Refusal, Status};
use crate::domain::UnknownAttributes;
use crate::domain::merchant::AccountId;
use crate::domain::money::Fen;
use crate::domain::refund::{self, Refund};
use crate::domain::time::Timestamp;

/// A payment as WeChat confirmed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// WeChat's number, unique per payment.
    pub transaction_id: String,
    /// Which attempt was paid.
    pub attempt: u8,
    /// By which version WeChat confirmed it.
    #[serde(default, skip_serializing_if = "ApiVersion::is_v2")]
    pub api_version: ApiVersion,
    /// Through which account; none in rows of before there were several: the
    /// installation's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// In WeChat's words; a payer may use another way than the order's.
    pub trade_type: String,
    /// The order's price as WeChat knows it.
    pub total_fee: Fen,
    /// What the payer paid after coupons.
    pub cash_fee: Fen,
    /// The payer, when WeChat names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// When it was paid: WeChat's time, or the hub's, if WeChat's could not be
    /// read.
    pub paid_at: Timestamp,
    /// What else WeChat said of it. In a box, because payments are passed about
    /// in enums whose other variants are small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
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

/// A payment, and what WeChat says has gone back of it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As WeChat confirmed it.
    pub payment: Payment,
    /// Refunds, the hub's own among them.
    pub returned: Vec<Returned>,
}

impl Found {
    /// Whether all of it has gone back, or is on its way.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let back = self.returned.iter();
        let back = back.filter(|back| back.standing != Standing::Closed);
        let mut fees = back.map(|back| back.refund_fee);
        let sum = fees.try_fold(Fen::ZERO, Fen::checked_add);
        sum.is_none_or(|sum| sum >= self.payment.total_fee)
    }
}

impl From<Payment> for Found {
    fn from(payment: Payment) -> Self {
        Self {
            payment,
            returned: Vec::new(),
        }
    }
}

/// A refund that WeChat knows, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The number it was asked for under; anything, if a person asked.
    pub out_refund_no: String,
    /// WeChat's number.
    pub refund_id: String,
    /// How much.
    pub refund_fee: Fen,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a refund stands at WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// On its way.
    UnderWay,
    /// It reached the payer then.
    Succeeded(Timestamp),
    /// It was undone: the money is the merchant's again.
    Closed,
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
    /// What no refund has been promised yet.
    #[must_use]
    pub fn rest(&self) -> Fen {
        let rest = self.total_fee.checked_sub(self.refund_reserved);
        rest.unwrap_or_default()
    }

    fn reserve(&mut self, amount: Fen) -> Result<(), Refusal> {
        let sum = self.refund_reserved.checked_add(amount);
        let sum = sum.filter(|sum| *sum <= self.total_fee);
        self.refund_reserved = sum.ok_or(Refusal::Exceeds)?;
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

    /// The sums of a payment are those of its refunds: what is promised and has
    /// not failed, and what has gone back. `refunds` are all rows of the order,
    /// those of other payments among them. WeChat may have given back what was
    /// promised here as well, so that no sum is more than the payment.
    ///
    /// # Errors
    /// [`Refusal::NotPaid`] when there is no such payment.
    pub fn recount<'r>(
        &mut self,
        transaction_id: &str,
        refunds: impl IntoIterator<Item = &'r Refund>,
    ) -> Result<(), Refusal> {
        let payment = self.payment_mut(transaction_id)?;
        let total = payment.total_fee;
        let plus = |sum: Fen, fee: Fen| sum.checked_add(fee).unwrap_or(total).min(total);
        (payment.refund_reserved, payment.refunded) = (Fen::ZERO, Fen::ZERO);
        for refund in refunds {
            if refund.transaction_id != transaction_id || refund.status == refund::Status::Failed {
                continue;
            }
            payment.refund_reserved = plus(payment.refund_reserved, refund.refund_fee);
            if refund.status == refund::Status::Succeeded {
                payment.refunded = plus(payment.refunded, refund.refund_fee);
            }
        }
        self.note_refunded();
        Ok(())
    }

    /// The same for every payment: the order met rows that it did not know.
    pub fn recount_all(&mut self, refunds: &[Refund]) {
        let anomalies = self.anomalies.iter().map(|anomaly| &anomaly.payment);
        let payments = self.payment.iter().chain(anomalies);
        let ids: Vec<String> = payments.map(|paid| paid.transaction_id.clone()).collect();
        for id in ids {
            // Each is a payment of this order.
            let _recounted = self.recount(&id, refunds);
        }
    }

    fn note_refunded(&mut self) {
        if let Some(payment) = &self.payment {
            self.status = match payment.refunded {
                Fen::ZERO => Status::Paid,
                all if all == payment.total_fee => Status::Refunded,
                _ => Status::PartlyRefunded,
            };
        }
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
