//! The one way a refund goes on: WeChat is asked to do it, or how it fares, and
//! what it answers gets into the ledger.

use crate::aws::Failure;
use crate::aws::ledger::Saved;
use crate::aws::secrets::Merchant;
use crate::domain::delivery::Delivery;
use crate::domain::id::OutRefundNo;
use crate::domain::order::{Order, Refusal};
use crate::domain::refund::{Answer, Refund, Status, Transition};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::flows::race::Race;
use crate::flows::settle::Settler;
use crate::wechat;

/// Takes refunds to WeChat and its answers to the ledger.
#[derive(Debug, Clone)]
pub struct Refunds {
    /// Where orders are, and how apps are told.
    pub settler: Settler,
    /// Who pays back.
    pub merchant: Merchant,
}

impl Refunds {
    /// Asks WeChat: to pay back, under a number that makes repeating it safe,
    /// and to report to `notify_url`; or how it went.
    pub async fn advance(
        &self,
        refund: Refund,
        notify_url: &str,
        now: Timestamp,
    ) -> Result<Refund, Failure> {
        let wechat = self.merchant.wechat().await?;
        let answer = match refund.status {
            Status::Pending => wechat.refund(&refund, notify_url).await,
            Status::Processing | Status::Change => wechat.refund_query(&refund).await,
            Status::Succeeded | Status::Failed => return Ok(refund),
        };
        let answer = answer.unwrap_or_else(|error| {
            log(&refund, &error);
            Answer::Unknown
        });
        self.record(refund, answer, now).await
    }

    /// Asks WeChat how it went, because of a notification. None when WeChat
    /// does not tell: the notification must come again.
    pub async fn confirm(&self, refund: Refund, now: Timestamp) -> Result<Option<Refund>, Failure> {
        if refund.status.is_final() {
            return Ok(Some(refund));
        }
        let wechat = self.merchant.wechat().await?;
        match wechat.refund_query(&refund).await {
            // Not what the notification says, and nothing new: the poll goes on.
            Ok(Answer::Unknown | Answer::Later | Answer::Accepted(_)) => Ok(None),
            Ok(answer) => self.record(refund, answer, now).await.map(Some),
            Err(error) => {
                log(&refund, &error);
                Ok(None)
            }
        }
    }

    /// Writes what WeChat answered.
    async fn record(
        &self,
        refund: Refund,
        answer: Answer,
        now: Timestamp,
    ) -> Result<Refund, Failure> {
        let number = refund.number();
        let occasion = self.settler.occasion(now);
        let mut race = Race::new("record a refund");
        let mut row = refund;
        loop {
            let before = row.status;
            if row.is_stuck(&answer) {
                tracing::error!(alarm = "refund_stuck", order = %row.order_key(),
                    refund_no = %row.refund_no, status = row.status.as_str(),
                    "WeChat has not told how a refund fares for too long");
            }
            match row.apply(answer.clone(), now) {
                Transition::Unchanged => return Ok(row),
                Transition::Continues => {
                    alarm(&row, before);
                    if self.settler.ledger.save_refund(&mut row).await? {
                        return Ok(row);
                    }
                }
                Transition::Ended => {
                    alarm(&row, before);
                    let mut order = self.order(&number).await?;
                    // The order is younger than the row. When they disagree, somebody
                    // else may have ended the refund between the two reads.
                    if let Err(refusal) = book(&mut order, &row)
                        && self.row(&number).await?.revision == row.revision
                    {
                        tracing::error!(alarm = "refund_unbooked", order = %order.key(),
                            refund_no = %row.refund_no, %refusal,
                            "a refund does not fit its order's sums");
                    }
                    let delivery = Delivery::of_refund(&order, &row, occasion.clone());
                    let saved = self
                        .settler
                        .commit(&mut order, &delivery, Some(&mut row))
                        .await?;
                    if let Saved::Done = saved {
                        tracing::info!(order = %order.key(), refund_no = %row.refund_no,
                            status = row.status.as_str(), "refund ended");
                        return Ok(row);
                    }
                }
            }
            race.lost().await?;
            row = self.row(&number).await?;
        }
    }

    async fn row(&self, number: &OutRefundNo) -> Result<Refund, Failure> {
        let refund = self.settler.ledger.refund(number).await?;
        refund.ok_or_else(|| Failure::vanished("refund"))
    }

    async fn order(&self, number: &OutRefundNo) -> Result<Order, Failure> {
        let order = self.settler.ledger.order(&number.order).await?;
        order.ok_or_else(|| Failure::vanished("order"))
    }
}

/// The order's sums follow the refund. They cannot disagree with it: the amount
/// was promised in the transaction that made the refund.
fn book(order: &mut Order, refund: &Refund) -> Result<(), Refusal> {
    let (payment, fee) = (&refund.transaction_id, refund.refund_fee);
    match refund.status {
        Status::Succeeded => order.complete_refund(payment, fee),
        _ => order.release_refund(payment, fee),
    }
}

/// Before the write: a second alarm is better than none.
fn alarm(refund: &Refund, before: Status) {
    let what = match refund.status {
        Status::Failed => "a refund failed for good; a person must act",
        Status::Change if before != Status::Change => {
            "WeChat cannot reach the payer's account; a person must pay back in WeChat's platform"
        }
        _ => return,
    };
    let err_code = refund.err_code.as_deref().unwrap_or("CHANGE");
    tracing::error!(alarm = "refund_failed", order = %refund.order_key(),
        refund_no = %refund.refund_no, err_code, "{what}");
}

/// Unknown is not failed: the row stays awake and WeChat is asked again.
fn log(refund: &Refund, error: &wechat::Error) {
    let (order, refund_no) = (refund.order_key(), &refund.refund_no);
    let cause = causes(error);
    match error {
        wechat::Error::Unreachable(_) | wechat::Error::Unknown(_) => {
            tracing::warn!(%order, %refund_no, cause, "WeChat gave no answer about a refund");
        }
        // A missing certificate has alarmed where it was missed.
        wechat::Error::NoCertificate | wechat::Error::NoAppKey => {}
        wechat::Error::Business { .. } | wechat::Error::Refused(_) | wechat::Error::Forged(_) => {
            tracing::error!(alarm = "refund_refused", %order, %refund_no, cause,
                "WeChat does not take a refund yet, it is asked again");
        }
    }
}
