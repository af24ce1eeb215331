//! Promising a refund: it and the order's sums are in the ledger before WeChat is
//! asked, so that all refunds together never exceed the payment, and nobody asks
//! twice.

use crate::aws::Failure;
use crate::aws::audit::Audited;
use crate::aws::ledger::{Partition, Saved};
use crate::domain::id::OutRefundNo;
use crate::domain::money::Fen;
use crate::domain::order::{Order, Payment, Refusal};
use crate::domain::refund::{Promise, Refund};
use crate::domain::time::Timestamp;
use crate::flows::race::Race;
use crate::flows::refunds::Refunds;

/// What somebody asks to be given back.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Under which number. Asked again under it, it is the same refund.
    pub number: OutRefundNo,
    /// How much.
    pub fee: Fen,
    /// What the payer reads.
    pub reason: Option<String>,
    /// Of which payment; the one that made the order paid unless named.
    pub transaction_id: Option<String>,
}

/// A refund that is in the ledger.
#[derive(Debug)]
pub struct Promised {
    /// As it is now.
    pub refund: Refund,
    /// Whether this call has promised it, and not one before.
    pub is_new: bool,
}

/// Why it is not promised.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such order.
    #[error("there is no such order")]
    OrderNotFound,
    /// The number is another refund's.
    #[error("a refund with this number but other parameters exists")]
    Conflict,
    /// The order has no such payment, or it does not hold as much.
    #[error("the order's state does not allow it")]
    Refused(Refusal),
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The payment of an order that is to go back.
///
/// # Errors
/// When the order has no such payment.
pub fn payment_of<'o>(
    order: &'o Order,
    transaction_id: Option<&str>,
) -> Result<&'o Payment, Refusal> {
    let payment = match transaction_id {
        Some(id) => order.payment_of(id),
        None => order.payment.as_ref(),
    };
    payment.ok_or(Refusal::NotPaid)
}

impl Refunds {
    /// Promises a refund, with an entry in the audit trail if a person asked.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn promise(
        &self,
        wanted: &Wanted,
        audited: Option<&Audited<'_>>,
        now: Timestamp,
    ) -> Result<Promised, Error> {
        let key = &wanted.number.order;
        let ledger = &self.settler.ledger;
        let mut race = Race::new("promise a refund");
        loop {
            let partition = ledger.partition(key).await?;
            let Partition {
                mut order, refunds, ..
            } = partition.ok_or(Error::OrderNotFound)?;
            let mut refund = fresh(&order, wanted, now)?;
            let mut known = refunds.iter();
            match known.find(|known| known.refund_no == refund.refund_no) {
                Some(known) if known.is_same_request(&refund) => {
                    return Ok(Promised {
                        refund: known.clone(),
                        is_new: false,
                    });
                }
                Some(_) => return Err(Error::Conflict),
                None => {}
            }
            // An order that was restored from a backup may not know them.
            order.recount_all(&refunds);
            order.reserve_refund(&refund.transaction_id, refund.refund_fee)?;
            let promised = std::slice::from_mut(&mut refund);
            let saved = match audited {
                None => ledger.commit(&mut order, &[], promised, now).await?,
                Some(audited) => {
                    ledger
                        .commit_audited(&mut order, promised, now, audited)
                        .await?
                }
            };
            if let Saved::Done = saved {
                tracing::info!(order = %key, refund_no = %refund.refund_no, "refund promised");
                return Ok(Promised {
                    refund,
                    is_new: true,
                });
            }
            race.lost().await?;
        }
    }
}

fn fresh(order: &Order, wanted: &Wanted, now: Timestamp) -> Result<Refund, Refusal> {
    let promise = Promise {
        payment: payment_of(order, wanted.transaction_id.as_deref())?,
        refund_no: wanted.number.refund_no.clone(),
        refund_fee: wanted.fee,
        reason: wanted.reason.clone(),
        due: now,
    };
    let mut refund = Refund::new(order, promise, now);
    // By this call; the sweeper asks only if it dies.
    let _claimed = refund.claim(now);
    Ok(refund)
}
