//! Refunds that people ask for. What takes more out of a payment than the limit,
//! counted with all that was promised of it before, waits for a second person.

use serde_json::json;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::{Audit, Audited};
use crate::aws::registry::Registry;
use crate::domain::audit::{Actor, Entry};
use crate::domain::id::OutRefundNo;
use crate::domain::money::Fen;
use crate::domain::operator::confirmation::Confirmation;
use crate::domain::order::Refusal;
use crate::domain::refund::Refund;
use crate::domain::time::Timestamp;
use crate::flows::promise::{self, Wanted, payment_of};
use crate::flows::refunds::Refunds;

/// Gives money back when people ask.
#[derive(Debug, Clone)]
pub struct RefundDesk {
    /// How money goes back.
    pub refunds: Refunds,
    /// Where what waits is kept.
    pub registry: Registry,
    /// Who asked, and who confirmed.
    pub audit: Audit,
    /// Where WeChat reports refunds.
    pub notify_url: String,
    /// One person alone may give back so much of a payment.
    pub confirm_above: Fen,
}

/// What a person asks to be given back.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Of which order, and under which number.
    pub number: OutRefundNo,
    /// How much; all that is left unless named.
    pub fee: Option<Fen>,
    /// What the payer reads.
    pub payer_reason: Option<String>,
    /// Of which payment; the one that made the order paid unless named.
    pub transaction_id: Option<String>,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// It is on its way.
    Promised(Box<Refund>),
    /// A second person must confirm it.
    Waits(Box<Confirmation>),
}

/// Why nothing goes back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Promise(#[from] promise::Error),
    /// Nothing of this name waits, for this person: it may be their own.
    #[error("nothing of this name waits for a second person who asks")]
    NothingWaits,
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl RefundDesk {
    /// Gives back what a person asks for, or lets it wait. Asked again under the same
    /// number it is the same refund, or the same that waits.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ask(&self, asked: Asked, actor: &Actor, now: Timestamp) -> Result<Outcome, Error> {
        let ledger = &self.refunds.settler.ledger;
        let partition = ledger.partition(&asked.number.order).await?;
        let partition = partition.ok_or(promise::Error::OrderNotFound)?;
        let mut known = partition.refunds.iter();
        if let Some(known) = known.find(|known| known.refund_no == asked.number.refund_no) {
            return match asked.fee.is_none_or(|fee| fee == known.refund_fee) {
                true => Ok(Outcome::Promised(Box::new(known.clone()))),
                false => Err(promise::Error::Conflict.into()),
            };
        }
        let mut order = partition.order;
        order.recount_all(&partition.refunds);
        let payment = payment_of(&order, asked.transaction_id.as_deref());
        let payment = payment.map_err(promise::Error::Refused)?;
        let reserved = payment.refund_reserved;
        let rest = payment.total_fee.checked_sub(reserved);
        let rest = rest.filter(|rest| *rest > Fen::ZERO);
        let fee = asked.fee.or(rest).filter(|fee| Some(*fee) <= rest);
        let fee = fee.ok_or(promise::Error::Refused(Refusal::Exceeds))?;
        let waiting = Confirmation {
            id: Confirmation::id_of(&asked.number),
            app_id: asked.number.order.app_id,
            order_no: asked.number.order.order_no,
            refund_no: asked.number.refund_no,
            refund_fee: fee,
            transaction_id: payment.transaction_id.clone(),
            payer_reason: asked.payer_reason,
            asked_by: actor.who.clone(),
            ends_at: Confirmation::end(now),
        };
        let in_all = reserved.checked_add(fee);
        if in_all.is_some_and(|in_all| in_all <= self.confirm_above) {
            let refund = self.promise(&waiting, "refund.create", actor, now).await?;
            return Ok(Outcome::Promised(Box::new(refund)));
        }
        self.wait(waiting, actor, now).await
    }

    async fn wait(
        &self,
        waiting: Confirmation,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Outcome, Error> {
        let entry = entry("refund.ask", &waiting, actor, now);
        let (registry, audit) = (&self.registry, &self.audit);
        if registry
            .add_confirmation(&waiting, now, audit, &entry)
            .await?
        {
            return Ok(Outcome::Waits(Box::new(waiting)));
        }
        match self.registry.confirmation(&waiting.id).await? {
            Some(known) if known.refund_fee == waiting.refund_fee => {
                Ok(Outcome::Waits(Box::new(known)))
            }
            _ => Err(promise::Error::Conflict.into()),
        }
    }

    /// A second person confirms: it goes back. Twice, it is the same refund.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn confirm(&self, id: &str, actor: &Actor, now: Timestamp) -> Result<Refund, Error> {
        let waiting = self.registry.confirmation(id).await?;
        let waiting = waiting.filter(|waiting| waiting.is_for(&actor.who, now));
        let waiting = waiting.ok_or(Error::NothingWaits)?;
        let refund = self.promise(&waiting, "refund.confirm", actor, now).await?;
        // It is promised: what waits would only promise the same again.
        if let Err(failure) = self.registry.forget_confirmation(id).await {
            tracing::warn!(%failure, "a refund that was confirmed still waits");
        }
        Ok(refund)
    }

    /// Somebody takes back what waits.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn reject(&self, id: &str, actor: &Actor, now: Timestamp) -> Result<(), Error> {
        let waiting = self.registry.confirmation(id).await?;
        let waiting = waiting.ok_or(Error::NothingWaits)?;
        let entry = entry("refund.reject", &waiting, actor, now);
        match self
            .registry
            .reject_confirmation(id, &self.audit, &entry)
            .await?
        {
            true => Ok(()),
            false => Err(Error::NothingWaits),
        }
    }

    async fn promise(
        &self,
        waiting: &Confirmation,
        action: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Refund, Error> {
        let wanted = Wanted {
            number: waiting.number(),
            fee: waiting.refund_fee,
            reason: waiting.payer_reason.clone(),
            transaction_id: Some(waiting.transaction_id.clone()),
        };
        let audited = Audited {
            audit: &self.audit,
            entry: &entry(action, waiting, actor, now),
        };
        let promised = self.refunds.promise(&wanted, Some(&audited), now).await?;
        if !promised.is_new {
            return Ok(promised.refund);
        }
        let advanced = self.refunds.advance(promised.refund, &self.notify_url, now);
        Ok(advanced.await?)
    }
}

fn entry(action: &str, waiting: &Confirmation, actor: &Actor, now: Timestamp) -> Entry {
    let subject = waiting.order_key().to_string();
    let entry = actor.entry(action, subject, now, &random_hex());
    entry.between(
        &json!({}),
        &json!({
            "refund_no": waiting.refund_no,
            "refund_fee": waiting.refund_fee,
            "transaction_id": waiting.transaction_id,
            "asked_by": waiting.asked_by,
        }),
    )
}
