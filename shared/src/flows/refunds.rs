//! The one way a refund goes on: WeChat is asked to do it, or how it fares, and
//! what it answers gets into the ledger.

use crate::aws::Failure;
use crate::aws::ledger::{Partition, Saved};
use crate::aws::merchants::Merchants;
use crate::domain::delivery::{Delivery, Event};
use crate::domain::id::{OrderKey, OutRefundNo};
use crate::domain::order::{Order, Returned};
use crate::domain::refund::{Answer, Refund, Status, Transition};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::flows::ask::DEADLINE;
use crate::flows::race::Race;
use crate::flows::settle::{self, REFUNDS_AT_ONCE, Settler};
use crate::wechat::{self, Paid, Wechat};

/// Takes refunds to WeChat and its answers to the ledger.
#[derive(Debug, Clone)]
pub struct Refunds {
    /// Where orders are, and how apps are told.
    pub settler: Settler,
    /// Who pays back.
    pub merchants: Merchants,
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
        let wechat = self.merchants.named(refund.merchant.as_ref()).await?;
        let answer = match refund.status {
            Status::Pending => wechat.refund(&refund, notify_url, now).await,
            Status::Processing | Status::Change => wechat.refund_query(&refund, now).await,
            Status::Succeeded | Status::Failed => return Ok(refund),
        };
        let answer = answer.unwrap_or_else(|error| {
            log(&refund, &error);
            Answer::Unknown
        });
        let is_refused = matches!(answer, Answer::Refused { .. });
        let refund = self.record(refund, answer, now).await?;
        if is_refused {
            // Perhaps a person has given it back, and the notification was lost.
            if let Err(error) = self
                .discover(&wechat, &refund.order_key(), (&refund).into(), now)
                .await
            {
                tracing::warn!(order = %refund.order_key(), cause = causes(&error),
                    "refunds that WeChat made are looked for again with the next refusal");
            }
        }
        Ok(refund)
    }

    /// Asks WeChat how it went, because of a notification. None when WeChat
    /// does not tell: the notification must come again.
    pub async fn confirm(&self, refund: Refund, now: Timestamp) -> Result<Option<Refund>, Failure> {
        if refund.status.is_final() {
            return Ok(Some(refund));
        }
        let wechat = self.merchants.named(refund.merchant.as_ref()).await?;
        match wechat.refund_query(&refund, now).await {
            // Not what the notification says, and nothing new: the poll goes on.
            Ok(Answer::Unknown | Answer::Later(_) | Answer::Accepted(_)) => Ok(None),
            Ok(answer) => self.record(refund, answer, now).await.map(Some),
            Err(error) => {
                log(&refund, &error);
                Ok(None)
            }
        }
    }

    /// Looks for refunds of a payment that the ledger does not have: people make
    /// them in WeChat's platform. What WeChat knows of; nothing when it does not
    /// tell, or does not yet.
    pub async fn discover(
        &self,
        wechat: &Wechat,
        key: &OrderKey,
        paid: Paid<'_>,
        now: Timestamp,
    ) -> Result<Vec<Returned>, Failure> {
        let transaction_id = paid.transaction_id;
        let returned = match wechat.returned(key, paid, now).await {
            Ok(Some(returned)) => returned,
            Ok(None) => return Ok(Vec::new()),
            Err(wechat::Error::Uncounted) => {
                self.explain(key, transaction_id).await?;
                return Ok(Vec::new());
            }
            Err(error) => {
                tracing::warn!(order = %key, cause = causes(&error),
                    "WeChat gave no answer about refunds of a payment");
                return Ok(Vec::new());
            }
        };
        let mut race = Race::new("record refunds that WeChat made");
        loop {
            let known = self.partition(key).await?;
            let Some(payment) = known.order.payment_of(transaction_id).cloned() else {
                return Ok(returned);
            };
            let is_known = |back: &&Returned| {
                known.refunds.iter().any(|row| {
                    row.number().to_string() == back.out_refund_no
                        || row.refund_id.as_ref() == Some(&back.refund_id)
                })
            };
            let fresh = returned.iter().filter(|back| !is_known(back));
            let mut fresh = settle::returned_refunds(&known.order, &payment, fresh, now);
            if fresh.is_empty() {
                return Ok(returned);
            }
            let mut order = known.order;
            let all = known.refunds.iter().chain(&fresh);
            // Its payment was found just now.
            let _recounted = order.recount(transaction_id, all);
            let is_last = fresh.len() <= REFUNDS_AT_ONCE;
            fresh.truncate(REFUNDS_AT_ONCE);
            let told = self.settler.ended(&order, &fresh, now);
            let saved = self
                .settler
                .commit(&mut order, &told, &mut fresh, now)
                .await?;
            match saved {
                Saved::Done if is_last => return Ok(returned),
                Saved::Done => {}
                Saved::Changed(_) => race.lost().await?,
            }
        }
    }

    /// WeChat says that some of a payment has gone back, and not what. The refunds in
    /// the ledger are a reason; without any, a person must look.
    async fn explain(&self, key: &OrderKey, transaction_id: &str) -> Result<(), Failure> {
        let known = self.partition(key).await?;
        let mut refunds = known.refunds.iter();
        let is_known = refunds.any(|refund| {
            refund.transaction_id == transaction_id && refund.status != Status::Failed
        });
        if !is_known {
            tracing::error!(alarm = "refund_uncounted", order = %key, transaction_id,
                "some of a payment has gone back, and nobody here asked for it; count it in WeChat's platform");
        }
        Ok(())
    }

    /// An app wants to know how its paid order stands: whether people have given
    /// something back in WeChat's platform, of which no notification came. Asked
    /// as rarely as about an order that is not paid; what WeChat does not tell
    /// changes nothing.
    pub async fn look(&self, mut order: Order, now: Timestamp) -> Result<(), Failure> {
        let key = order.key();
        let payments = order.claim_look(now);
        if payments.is_empty() {
            return Ok(());
        }
        let Saved::Done = self.settler.ledger.save(&mut order).await? else {
            // Whoever was faster has just asked, or has moved the order on.
            return Ok(());
        };
        let looked = async {
            let wechat = self.merchants.of(&order).await?;
            for payment in payments.iter().filter_map(|id| order.payment_of(id)) {
                self.discover(&wechat, &key, payment.into(), now).await?;
            }
            Ok(())
        };
        // Giving up is safe at every point: what is committed is owed.
        tokio::time::timeout(DEADLINE, looked)
            .await
            .unwrap_or(Ok(()))
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
                let err_code = match &answer {
                    Answer::Later(err_code) => Some(err_code.as_str()),
                    _ => None,
                };
                tracing::error!(alarm = "refund_stuck", order = %row.order_key(),
                    refund_no = %row.refund_no, status = row.status.as_str(), err_code,
                    "WeChat has not taken a refund, or told how it fares, for too long");
            }
            match row.apply(answer.clone(), now) {
                Transition::Unchanged => return Ok(row),
                Transition::Continues => {
                    alarm(&row, before);
                    if let Answer::Refused { err_code, .. } = &answer {
                        tracing::error!(alarm = "refund_refused", order = %row.order_key(),
                            refund_no = %row.refund_no, err_code,
                            "WeChat refuses a refund, it is asked again under the same number");
                    }
                    if self.settler.ledger.save_refund(&mut row).await? {
                        return Ok(row);
                    }
                }
                Transition::Ended => {
                    alarm(&row, before);
                    let known = self.partition(&number.order).await?;
                    let mut order = known.order;
                    let others = known.refunds.iter();
                    let others = others.filter(|other| other.refund_no != row.refund_no);
                    if let Err(refusal) = order.recount(&row.transaction_id, others.chain([&row])) {
                        tracing::error!(alarm = "refund_unbooked", order = %order.key(),
                            refund_no = %row.refund_no, %refusal,
                            "a refund does not fit its order's sums");
                    }
                    let mut told = vec![Delivery::of_refund(&order, &row, occasion.clone())];
                    told.extend(self.untold_payment(&order, &row, &known.deliveries, now));
                    let saved = self
                        .settler
                        .commit(&mut order, &told, std::slice::from_mut(&mut row), now)
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

    async fn partition(&self, key: &OrderKey) -> Result<Partition, Failure> {
        let partition = self.settler.ledger.partition(key).await?;
        partition.ok_or_else(|| Failure::vanished("order"))
    }

    /// A payment that was found on its way back as a whole was told to nobody.
    /// When it stays after all, the app must know of it.
    fn untold_payment(
        &self,
        order: &Order,
        refund: &Refund,
        told: &[Delivery],
        now: Timestamp,
    ) -> Option<Delivery> {
        let payment = order.payment.as_ref()?;
        let stays = refund.status == Status::Failed
            && !payment.rest().is_zero()
            && refund.transaction_id == payment.transaction_id
            && !told
                .iter()
                .any(|told| told.event == Event::PaymentSucceeded);
        stays.then(|| Delivery::of_payment(order, payment, self.settler.occasion(now)))
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
        // What is missing has alarmed where it was missed.
        wechat::Error::NoCertificate | wechat::Error::NoAppKey | wechat::Error::NoKeys(_) => {}
        wechat::Error::Uncounted => {
            tracing::warn!(%order, %refund_no, cause, "nobody tells how a refund fares");
        }
        wechat::Error::Business { .. } | wechat::Error::Refused(_) | wechat::Error::Forged(_) => {
            tracing::error!(alarm = "refund_refused", %order, %refund_no, cause,
                "WeChat does not take a refund yet, it is asked again");
        }
    }
}
