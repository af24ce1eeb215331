//! A refund and the moves it may make: `pending -> processing -> succeeded`,
//! `pending|processing -> failed`, and `change`, which a person must end.
//! Accepted by WeChat is not succeeded, and unknown is not failed: until WeChat
//! says how it ended, it is asked again under the same number.
//! It refuses to know how WeChat is asked and what the order's sums are.

use serde::{Deserialize, Serialize};

use super::id::{AppId, OrderKey, OrderNo, OutRefundNo, RefundNo};
use super::money::Fen;
use super::order::{Order, Payment};
use super::time::Timestamp;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Promised; WeChat may or may not have heard of it.
    Pending,
    /// WeChat has accepted it.
    Processing,
    /// WeChat cannot reach the payer's account: a person must act, in WeChat's
    /// merchant platform. The hub goes on asking.
    Change,
    /// The money is back.
    Succeeded,
    /// It will not happen; the amount is free for another refund.
    Failed,
}

impl Status {
    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Change => "change",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A refund row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Whose order.
    pub app_id: AppId,
    /// The order.
    pub order_no: OrderNo,
    /// The app's number for the refund, or the hub's own.
    pub refund_no: RefundNo,
    /// WeChat's number of the payment that goes back.
    pub transaction_id: String,
    /// What was paid, as WeChat demands to be told.
    pub total_fee: Fen,
    /// What goes back.
    pub refund_fee: Fen,
    /// What the payer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// When it was promised.
    pub created_at: Timestamp,
    /// WeChat's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it failed: WeChat's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_code: Option<String>,
    /// When the hub next asks WeChat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the sweeper looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
    /// Which of those questions is next.
    #[serde(default)]
    pub step: u8,
    /// Counts the writes of this row; the store compares it.
    #[serde(default)]
    pub revision: u64,
}

/// What WeChat said of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It has it, under its own number.
    Accepted(String),
    /// The money is back, since then if WeChat says when.
    Succeeded(Option<Timestamp>),
    /// The payer's account cannot be reached.
    Change,
    /// It will not happen, for this reason.
    Failed(String),
    /// Nothing that is known: ask again later.
    Unknown,
}

/// What became of a refund when news came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It had ended before.
    Nothing,
    /// It goes on: the row has changed.
    GoesOn,
    /// It has just ended: the order's sums follow.
    Ended,
}

/// Between two questions about one refund, in seconds; the last one repeats.
/// Banks take up to three days.
const GAPS: [i64; 8] = [60, 120, 300, 900, 3600, 10_800, 43_200, 86_400];

impl Refund {
    /// A refund of a payment of this order, to be sent to WeChat at `due`.
    #[must_use]
    pub fn new(
        order: &Order,
        payment: &Payment,
        (refund_no, refund_fee): (RefundNo, Fen),
        (now, due): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            app_id: order.app_id.clone(),
            order_no: order.order_no.clone(),
            refund_no,
            transaction_id: payment.transaction_id.clone(),
            total_fee: payment.total_fee,
            refund_fee,
            reason: None,
            status: Status::Pending,
            created_at: now,
            refund_id: None,
            ended_at: None,
            err_code: None,
            due: Some(due),
            wake: Some(due),
            step: 0,
            revision: 0,
        }
    }

    /// The ledger's key of its order.
    #[must_use]
    pub fn order_key(&self) -> OrderKey {
        OrderKey {
            app_id: self.app_id.clone(),
            order_no: self.order_no.clone(),
        }
    }

    /// The hub's number for it at WeChat.
    #[must_use]
    pub fn number(&self) -> OutRefundNo {
        OutRefundNo {
            order: self.order_key(),
            refund_no: self.refund_no.clone(),
        }
    }

    /// Whether the app asks for the same refund again.
    #[must_use]
    pub fn is_same_request(&self, other: &Self) -> bool {
        (&self.transaction_id, self.refund_fee, &self.reason)
            == (&other.transaction_id, other.refund_fee, &other.reason)
    }

    /// WeChat said something about it.
    pub fn learn(&mut self, news: News, now: Timestamp) -> Turn {
        if self.status.is_final() {
            return Turn::Nothing;
        }
        match news {
            News::Accepted(refund_id) => {
                if self.status == Status::Pending {
                    self.status = Status::Processing;
                    self.step = 0;
                }
                self.refund_id = Some(refund_id);
            }
            News::Change => self.status = Status::Change,
            News::Unknown => {}
            News::Succeeded(at) => {
                self.status = Status::Succeeded;
                return self.end(at.unwrap_or(now));
            }
            News::Failed(err_code) => {
                self.status = Status::Failed;
                self.err_code = Some(err_code);
                return self.end(now);
            }
        }
        let gap = GAPS.get(usize::from(self.step)).or(GAPS.last());
        let due = now.plus_seconds(gap.copied().unwrap_or_default());
        self.step = self.step.saturating_add(1);
        (self.due, self.wake) = (Some(due), Some(due));
        Turn::GoesOn
    }

    fn end(&mut self, at: Timestamp) -> Turn {
        self.ended_at = Some(at);
        (self.due, self.wake) = (None, None);
        Turn::Ended
    }
}
