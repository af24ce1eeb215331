//! A payment that WeChat tells of in a notification, whoever brought it: WeChat
//! itself, or an app of version 1.0 that has no key to verify it with. Compare,
//! confirm, settle.

use crate::aws::Failure;
use crate::aws::ledger::Ledger;
use crate::domain::id::OutTradeNo;
use crate::domain::order::{Found, Order};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::flows::settle::{Settler, found};
use crate::wechat::notification::Notice;
use crate::wechat::{self, Wechat};

/// Takes notices of payments.
#[derive(Debug, Clone)]
pub struct Notified {
    /// The orders.
    pub ledger: Ledger,
    /// Where payments go.
    pub settler: Settler,
    /// Whether WeChat is asked before a notification is believed.
    pub confirm: bool,
}

/// Why a notice changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hub has no such order.
    #[error("there is no such order: {0}")]
    UnknownOrder(OutTradeNo),
    /// The order is another merchant's, or its payer met another account: whoever
    /// holds a merchant's key cannot speak of the others' payments.
    #[error("the order is another merchant's or account's")]
    Stranger(OutTradeNo),
    /// WeChat knows of no such payment.
    #[error("WeChat's query does not confirm it")]
    Unconfirmed,
    /// WeChat was asked, and nobody knows more.
    #[error("WeChat's query failed: {}", causes(.0))]
    Query(#[from] wechat::Error),
    /// The ledger or the registry.
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl Notified {
    /// Brings a notice's payment into the ledger. The order as it is then: the
    /// payment is its own, one of its anomalies, or was taken back.
    pub async fn take(
        &self,
        wechat: &Wechat,
        notice: Notice,
        now: Timestamp,
    ) -> Result<Order, Error> {
        let number = notice.number().clone();
        let mut payment = notice.into_payment();
        let transaction_id = &payment.transaction_id;
        tracing::info!(order = %number.order, attempt = number.attempt, transaction_id,
            total_fee = %payment.total_fee, "WeChat tells of a payment");
        let order = self.order(wechat, &number).await?;
        let mut asked = order.clone();
        asked.know_attempt_of(&payment, now);
        let account = wechat.account_of(&asked, number.attempt).cloned();
        if payment.account.is_some() && payment.account != account {
            return Err(Error::Stranger(number));
        }
        payment.account = account;
        // A repeat needs no question. What does not fit leads to a refund, and
        // money goes out on WeChat's own answer only.
        let known = order.payment_of(&payment.transaction_id).is_some();
        let fits = order.status.is_open()
            && payment.total_fee == order.request.total_fee
            && order.attempt(number.attempt).is_some();
        let found = match (self.confirm || !fits) && !known {
            true => confirm(wechat, &asked, number.attempt, &payment.transaction_id, now).await?,
            false => payment.into(),
        };
        let (order, _) = self.settler.settle(order, &found, now).await?;
        Ok(order)
    }

    /// The order that asked this merchant for a payment under this number. It may lack
    /// the attempt: then it was restored from a backup, and WeChat is asked.
    pub async fn order(&self, wechat: &Wechat, number: &OutTradeNo) -> Result<Order, Error> {
        let order = self.ledger.order(&number.order).await?;
        let order = order.ok_or_else(|| Error::UnknownOrder(number.clone()))?;
        match wechat.is_paid_by(&order) {
            true => Ok(order),
            false => Err(Error::Stranger(number.clone())),
        }
    }

    /// Brings in a payment of which no notice came, on WeChat's own answer.
    pub async fn settle_confirmed(
        &self,
        wechat: &Wechat,
        order: Order,
        attempt: u8,
        transaction_id: &str,
        now: Timestamp,
    ) -> Result<Found, Error> {
        let found = confirm(wechat, &order, attempt, transaction_id, now).await?;
        self.settler.settle(order, &found, now).await?;
        Ok(found)
    }
}

/// WeChat's own answer replaces what the notification said.
async fn confirm(
    wechat: &Wechat,
    order: &Order,
    attempt: u8,
    transaction_id: &str,
    now: Timestamp,
) -> Result<Found, Error> {
    let trade = wechat.query(order, attempt, now).await?;
    found(wechat, &order.key(), trade, now)
        .await?
        .filter(|found| found.payment.transaction_id == transaction_id)
        .ok_or(Error::Unconfirmed)
}
