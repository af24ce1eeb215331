//! The one way an order gets to WeChat: reuse the current payment attempt or
//! open the next one, ask WeChat, keep the answer.

use std::sync::Arc;

use crate::aws::Failure;
use crate::aws::accounts::Accounts;
use crate::aws::ledger::{Ledger, Saved};
use crate::aws::merchants::Merchants;
use crate::aws::queue::Queue;
use crate::domain::app::App;
use crate::domain::merchant::{AccountId, Need};
use crate::domain::order::{
    Attempt, Channel, Order, Payer, Preparation, Prepay, Refusal, TradeType,
};
use crate::domain::time::Timestamp;
use crate::flows::race::Race;
use crate::flows::token_cache::{self, TokenCache};
use crate::wechat::{self, Closing, Obstacle, Trade, Wechat};

/// Of ten attempts that were opened at once the last may close nine, and then
/// opens and asks, twice where WeChat takes a number no more: more of these mean
/// that it answers every number alike.
const MOVES: u32 = 14;

/// Takes orders to WeChat.
#[derive(Debug)]
pub struct Checkout {
    /// Where orders are.
    pub ledger: Ledger,
    /// Who is paid.
    pub merchants: Merchants,
    /// Which account of the app's the payer meets.
    pub accounts: Accounts,
    /// For the APP flow of 2014; none where no order goes that way, so that the
    /// account's keys need not be there.
    pub tokens: Option<TokenCache>,
    /// Where WeChat reports payments.
    pub notify_url: String,
    /// Where early questions are rung.
    pub reconcile: Queue,
}

/// An order that can be paid.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// As it is stored.
    pub order: Order,
    /// What this payer is served. Somebody else may have opened a later one.
    pub attempt: Attempt,
}

/// Why an order cannot be paid now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not open any more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its merchant is paid no more.
    #[error("the order's merchant is disabled")]
    MerchantDisabled,
    /// The app has no account that is paid through in this way.
    #[error("the app has no account for this way to pay")]
    NoAccount,
    /// WeChat has been paid and the ledger does not know it yet: it soon will.
    #[error("WeChat says that the order is paid")]
    Paid,
    /// WeChat refuses, or nobody knows what it did.
    #[error(transparent)]
    Wechat(#[from] wechat::Error),
    /// Another caller is fetching the access token and has not finished.
    #[error("the access token did not come in time")]
    TokenBusy,
    /// The ledger, the registry or the secret.
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl From<token_cache::Error> for Error {
    fn from(error: token_cache::Error) -> Self {
        match error {
            token_cache::Error::Aws(failure) => Self::Aws(failure),
            token_cache::Error::Wechat(error) => Self::Wechat(error),
            token_cache::Error::Busy => Self::TokenBusy,
        }
    }
}

impl Checkout {
    /// The order with an attempt that this payer can pay in this way. Repeating
    /// it is safe at every point: each attempt is stored before WeChat is asked
    /// for it, WeChat answers the same for the same attempt, and closing twice
    /// is closing.
    pub async fn prepare(
        &self,
        mut order: Order,
        app: &App,
        trade_type: TradeType,
        payer: &Payer,
        now: Timestamp,
    ) -> Result<Prepared, Error> {
        const OPERATION: &str = "open a payment";
        let wechat = self.merchants.of(&order).await?;
        let mut race = Race::new(OPERATION);
        let mut retired = false;
        let mut asked = None;
        let mut moves = 0;
        while moves < MOVES {
            order.check_open(now)?;
            match order.preparation(trade_type, payer, now) {
                Preparation::Ready(number) => {
                    let attempt = order.attempt(number).cloned();
                    let attempt = attempt.ok_or(Failure::contended(OPERATION))?;
                    return Ok(Prepared { order, attempt });
                }
                Preparation::Open => {
                    let channel = self.channel(&order, app, trade_type).await?;
                    order.open_attempt(trade_type, payer.clone(), channel, now)?;
                }
                // Not closing it costs a refund if both get paid; a payer who
                // waits costs the sale.
                Preparation::Close(number) => {
                    match wechat.close(&order, number, now).await {
                        Ok(Closing::Closed) => order.attempt_closed(number),
                        Ok(Closing::Paid) => return Err(self.paid(order, now).await),
                        // Not there yet is not closed: another caller may just be
                        // asking for it.
                        Ok(Closing::Unknown) | Err(_) => order.close_later(number, now),
                    }
                }
                Preparation::Ask(number) => match self.ask(&wechat, &order, number, now).await {
                    Ok(prepay) => {
                        order.prepaid(number, prepay, now);
                        asked = Some(number);
                    }
                    Err(Error::Wechat(error)) => match error.obstacle() {
                        Some(Obstacle::Paid) => return Err(self.paid(order, now).await),
                        Some(Obstacle::Closed) => order.attempt_closed(number),
                        // The same answer to a fresh number has another reason.
                        Some(Obstacle::Used) if !retired => {
                            retired = true;
                            match retire(&wechat, &order, number, now).await? {
                                Closing::Closed | Closing::Unknown => order.attempt_closed(number),
                                Closing::Paid => return Err(self.paid(order, now).await),
                            }
                        }
                        _ => return Err(error.into()),
                    },
                    Err(error) => return Err(error),
                },
            }
            match self.ledger.save(&mut order).await? {
                Saved::Done => {
                    moves += 1;
                    // The sweeper would ring too late for version 1.0's first questions.
                    if asked.take().is_some() && order.is_due_soon(now) {
                        self.reconcile.ring_for_order(&order, now).await;
                    }
                }
                Saved::Changed(row) => {
                    order = *row;
                    if let Some(number) = asked.take() {
                        order.doubt_session(number);
                    }
                    race.lost().await?;
                }
            }
        }
        Err(Failure::contended(OPERATION).into())
    }

    /// How the next attempt at this order gets to its merchant.
    pub async fn channel(
        &self,
        order: &Order,
        app: &App,
        trade_type: TradeType,
    ) -> Result<Channel, Error> {
        let wechat = self.admitting(order).await?;
        let account = self.account(order, app, Need::Pay(trade_type)).await?;
        Ok(Channel {
            account: account.ok_or(Error::NoAccount)?,
            api_version: wechat.merchant().version_of(trade_type),
        })
    }

    /// The order's merchant, if it may still be paid.
    pub async fn admitting(&self, order: &Order) -> Result<Arc<Wechat>, Error> {
        let wechat = self.merchants.of(order).await?;
        match wechat.merchant().disabled {
            true => Err(Error::MerchantDisabled),
            false => Ok(wechat),
        }
    }

    /// Through which account the order's merchant is paid in this way: the one that the
    /// order names, or that it went through before, or one of the app's that are bound
    /// to that merchant. The app may have another merchant by now.
    pub async fn account(
        &self,
        order: &Order,
        app: &App,
        need: Need,
    ) -> Result<Option<AccountId>, Error> {
        let accounts = &self.accounts;
        let before = order.attempts.iter().rev();
        let before = before.filter_map(|attempt| attempt.account.as_ref());
        for account in order.request.account.iter().chain(before) {
            if accounts.serves(account, need).await? && accounts.is_enabled(account).await? {
                return Ok(Some(account.clone()));
            }
        }
        if order.request.account.is_some() {
            return Ok(None);
        }
        Ok(accounts.choose(app, need, order.merchant.as_ref()).await?)
    }

    async fn ask(
        &self,
        wechat: &Wechat,
        order: &Order,
        number: u8,
        now: Timestamp,
    ) -> Result<Prepay, Error> {
        let attempt = order
            .attempt(number)
            .ok_or(wechat::Error::Forged("there is no such attempt"))?;
        let notify_url = &self.notify_url;
        if attempt.trade_type != TradeType::Genprepay {
            return Ok(wechat
                .unified_order(order, attempt, notify_url, now)
                .await?);
        }
        let tokens = self.tokens.as_ref().ok_or(wechat::Error::NoAppKey)?;
        let account = wechat.account_of(order, number).ok_or(Error::NoAccount)?;
        let token = tokens.access_token(account, now).await?;
        match wechat
            .genprepay(order, attempt, notify_url, &token, now)
            .await
        {
            Err(error) if error.refuses_token() => {
                let token = tokens.refused(account, &token, now).await?;
                let again = wechat.genprepay(order, attempt, notify_url, &token, now);
                Ok(again.await?)
            }
            other => Ok(other?),
        }
    }

    /// WeChat says that an attempt is paid: the next sweep asks and settles. If
    /// that cannot be written, the order's next question will find it.
    async fn paid(&self, mut order: Order, now: Timestamp) -> Error {
        order.ask_now(now);
        if let Err(failure) = self.ledger.save(&mut order).await {
            tracing::warn!(order = %order.key(), %failure, "a paid order could not be woken");
        }
        Error::Paid
    }
}

/// WeChat does not take this number again: the order needs another, but not
/// while this one can still be paid.
async fn retire(
    wechat: &Wechat,
    order: &Order,
    attempt: u8,
    now: Timestamp,
) -> Result<Closing, wechat::Error> {
    match wechat.query(order, attempt, now).await? {
        Trade::Paid(_) | Trade::Returned(_) => Ok(Closing::Paid),
        Trade::Closed | Trade::Unknown => Ok(Closing::Closed),
        Trade::Open | Trade::Failed => wechat.close(order, attempt, now).await,
    }
}
