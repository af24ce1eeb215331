//! An order and the moves it may make. `created -> paying -> paid -> (partly)
//! refunded`, `created|paying -> closed`, `paying <-> failed`; paid never
//! becomes closed. Every event may arrive twice, late, or out of order.
//!
//! `revision` is an optimistic lock: a write names the one it read.

mod asking;
mod attempt;
mod detail;
mod payment;
mod payment_code;
mod receipt;
mod request;

pub use asking::Curious;
pub use attempt::{ApiVersion, Attempt, Channel, Payer, Preparation, Prepay};
pub use detail::{DETAIL_MAX_BYTES, check_detail};
pub use payment::{Anomaly, AnomalyKind, Found, Payment, Returned, Standing};
pub use payment_code::{CodeUse, MicropayTiming, PaymentCode, ShownCode};
pub use receipt::{Coupon, Receipt};
pub use request::{LimitPay, Request, TradeType, Version};

use serde::{Deserialize, Serialize};

use attempt::{CLOSE_GUARD_SECONDS, PAUSE_SECONDS};
use payment_code::TakingBack;

use super::UnknownAttributes;
use super::id::{AppId, OrderKey, OrderNo, OutTradeNo};
use super::merchant::MchId;
use super::time::Timestamp;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored; WeChat may or may not have heard of it.
    Created,
    /// WeChat has it and the payer can pay.
    Paying,
    /// The whole price is in, and nothing has gone back.
    Paid,
    /// Paid, and a part has gone back.
    PartlyRefunded,
    /// Paid, and all has gone back.
    Refunded,
    /// Will not be paid.
    Closed,
    /// The payment by code was refused or taken back; a new code may be shown
    /// until the order expires.
    Failed,
}

impl Status {
    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paying => "paying",
            Self::Paid => "paid",
            Self::PartlyRefunded => "partly_refunded",
            Self::Refunded => "refunded",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// Whether the payer may still be asked to pay.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Paying)
    }
}

/// What an app wants to be paid, and how that goes: a row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whose order.
    pub app_id: AppId,
    /// The app's number for it.
    pub order_no: OrderNo,
    /// What the app asked for, unchanged since.
    pub request: Request,
    /// Who is paid, whatever becomes of the app's settings; none in rows of before
    /// there were several: the installation's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MchId>,
    /// Where it stands.
    pub status: Status,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Until when it may be paid.
    pub expires_at: Timestamp,
    /// The nonce in its pay address, so that the address stays the same.
    pub nonce: String,
    /// The attempts at paying it; the last is the current one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The payment that made it paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// Payments that must go back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// When the hub next asks WeChat about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the sweeper looks at it: `due`, or later while it has been rung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
    /// Which of those questions is next.
    #[serde(default)]
    pub step: u8,
    /// When WeChat was last asked about it out of turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// When it was last asked out of turn about what was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// Since when the pay page has had it asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_asked_from: Option<Timestamp>,
    /// Counts the writes of this row; the store compares it.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

/// What a reported payment did to the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is now paid, by this payment.
    Paid,
    /// This payment was known already; nothing changed.
    Repeated,
    /// It was kept as an anomaly; the status did not change.
    Anomaly(AnomalyKind),
    /// It is on its way back to the payer; nothing changed.
    TakenBack,
}

/// What ending an order that nobody has paid came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closure {
    /// It has just become closed: its app must be told.
    Closed,
    /// It was closed before; nothing changed.
    Repeated,
    /// It can still be paid at WeChat, which is asked to close it first.
    Pending,
}

/// Why an order is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Its time ran out.
    Expired,
    /// The app gave it up before.
    ClosedByApp,
}

impl CloseReason {
    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::ClosedByApp => "closed_by_app",
        }
    }
}

/// Why a move was refused. The order is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has been paid.
    #[error("the order is paid")]
    Paid,
    /// It was closed, failed or has expired.
    #[error("the order is closed")]
    Closed,
    /// Nobody is paying it.
    #[error("the order is not being paid")]
    NotPaying,
    /// Another payment code is being paid.
    #[error("the order is being paid with another code")]
    Paying,
    /// There is no such payment.
    #[error("the order is not paid")]
    NotPaid,
    /// The payment has not that much left.
    #[error("the refunds would exceed the payment")]
    Exceeds,
    /// All 99 attempt numbers are used.
    #[error("the order has no attempt numbers left")]
    NoAttemptLeft,
    /// Too many attempts were started within a few minutes.
    #[error("the order was opened too often within a few minutes")]
    TooManyAttempts,
}

/// How long after an attempt starts the hub asks WeChat, when no notification
/// came; the last question is asked when the order expires.
const EARLY_PAUSE_SECONDS: i64 = 5;
const QUERY_OFFSETS: [i64; 4] = [60, 300, 900, 1800];
/// With version 1.0 no notification comes to the hub at all.
const DIRECT_QUERY_OFFSETS: [i64; 7] = [5, 15, 30, 60, 300, 900, 1800];

impl Order {
    /// An order as it is stored first, with its last question planned.
    #[must_use]
    pub fn new(key: OrderKey, request: Request, nonce: String, now: Timestamp) -> Self {
        let expires_at = now.plus_seconds(i64::from(request.expires_in));
        let mut order = Self {
            app_id: key.app_id,
            order_no: key.order_no,
            request,
            merchant: None,
            status: Status::Created,
            created_at: now,
            expires_at,
            nonce,
            attempts: Vec::new(),
            payment: None,
            anomalies: Vec::new(),
            due: None,
            wake: None,
            step: 0,
            asked_at: None,
            looked_at: None,
            page_asked_from: None,
            revision: 0,
            unknown: UnknownAttributes::new(),
        };
        order.plan(order.last_query_at());
        order
    }

    /// The ledger's key of this order.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        OrderKey {
            app_id: self.app_id.clone(),
            order_no: self.order_no.clone(),
        }
    }

    /// The hub's number for the given attempt.
    #[must_use]
    pub fn out_trade_no(&self, attempt: u8) -> OutTradeNo {
        OutTradeNo {
            order: self.key(),
            attempt,
        }
    }

    /// The hub's number for the payment, or for the attempt that may become it.
    #[must_use]
    pub fn trade_no(&self) -> OutTradeNo {
        let current = self.attempts.last().map_or(1, |attempt| attempt.number);
        self.out_trade_no(self.payment.as_ref().map_or(current, |paid| paid.attempt))
    }

    /// Whether the payer may be asked to pay now. Not once the order was given up,
    /// even by whoever has looked at the clock before that.
    ///
    /// # Errors
    /// [`Refusal::Paid`] or [`Refusal::Closed`].
    pub fn check_open(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.status {
            Status::Created | Status::Paying if now < self.expires_at && !self.is_given_up() => {
                Ok(())
            }
            Status::Created | Status::Paying | Status::Closed | Status::Failed => {
                Err(Refusal::Closed)
            }
            Status::Paid | Status::PartlyRefunded | Status::Refunded => Err(Refusal::Paid),
        }
    }

    /// WeChat confirmed a payment. Its number is the payment: whatever is said
    /// of it later is a repeat. There are at most as many as attempts.
    pub fn pay(&mut self, found: &Found, now: Timestamp) -> Settlement {
        self.pay_knowing(found, None, now)
    }

    /// The same for an order that may have been restored from a backup: its app
    /// has been told of the payment with the number `told`. That is the order's,
    /// whichever is found first and whatever the order has come to since.
    pub fn pay_knowing(&mut self, found: &Found, told: Option<&str>, now: Timestamp) -> Settlement {
        let payment = found.payment.clone();
        if self.payment_of(&payment.transaction_id).is_some() {
            return Settlement::Repeated;
        }
        let taken_back = self.taking_back(payment.attempt);
        if taken_back == Some(TakingBack::UnderWay) || (taken_back.is_some() && found.is_gone()) {
            return Settlement::TakenBack;
        }
        // Nobody can pay this attempt a second time.
        self.attempt_paid(&payment, now);
        let kind = if payment.total_fee != self.request.total_fee {
            AnomalyKind::AmountMismatch
        } else if taken_back.is_some() {
            // A charge that reached WeChat after it had nothing to take back.
            AnomalyKind::PaidAfterClose
        } else {
            let told = told.filter(|_| self.payment.is_none());
            match (self.status, told.map(|told| told == payment.transaction_id)) {
                (_, Some(true)) | (Status::Created | Status::Paying, None) => {
                    self.status = Status::Paid;
                    self.payment = Some(payment);
                    self.watch(now);
                    return Settlement::Paid;
                }
                (_, Some(false))
                | (Status::Paid | Status::PartlyRefunded | Status::Refunded, None) => {
                    AnomalyKind::PaidTwice
                }
                (Status::Closed | Status::Failed, None) => AnomalyKind::PaidAfterClose,
            }
        };
        self.anomalies.push(Anomaly {
            kind,
            payment,
            seen_at: now,
            unknown: UnknownAttributes::new(),
        });
        if self.payment.is_some() {
            self.watch(now);
        }
        Settlement::Anomaly(kind)
    }

    /// The app gives the order up: from now on nobody is asked to pay, and as
    /// soon as WeChat closes attempts this young the hub asks and closes it.
    ///
    /// # Errors
    /// [`Refusal::Paid`].
    pub fn give_up(&mut self, now: Timestamp) -> Result<Closure, Refusal> {
        if self.status.is_open() && self.attempts.iter().any(|attempt| !attempt.closed) {
            if now < self.expires_at {
                self.expires_at = now;
                self.hurry_payment_code(now);
                self.plan_question(self.last_query_at(), now);
            }
            return Ok(Closure::Pending);
        }
        let closure = self.close()?;
        if closure == Closure::Closed {
            self.expires_at = self.expires_at.min(now);
        }
        Ok(closure)
    }

    /// WeChat closed the order, or never had it and it expired.
    ///
    /// # Errors
    /// [`Refusal::Paid`]: paid never becomes closed.
    pub fn close(&mut self) -> Result<Closure, Refusal> {
        match self.status {
            Status::Created | Status::Paying | Status::Failed => {
                self.status = Status::Closed;
                self.rest();
                Ok(Closure::Closed)
            }
            Status::Closed => Ok(Closure::Repeated),
            Status::Paid | Status::PartlyRefunded | Status::Refunded => Err(Refusal::Paid),
        }
    }

    /// Giving up ends an order's life earlier than the app had asked for, and
    /// nothing else does.
    fn is_given_up(&self) -> bool {
        let lives = i64::from(self.request.expires_in);
        self.expires_at < self.created_at.plus_seconds(lives)
    }

    /// Why it is closed, if it is.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self.is_given_up() {
            true => CloseReason::ClosedByApp,
            false => CloseReason::Expired,
        }
    }

    /// Whether the order has expired: if it is still not paid, close it.
    #[must_use]
    pub fn is_last_question(&self, now: Timestamp) -> bool {
        now >= self.last_query_at()
    }

    /// WeChat says the order is not paid yet: plans the next question. Those
    /// that were missed during an outage are not all asked at once, and one
    /// that came early, to close another attempt, replaces none. After the last
    /// one it is asked again, until it is closed.
    pub fn ask_later(&mut self, now: Timestamp) {
        if let Some(seconds) = self.payment_code_pause(now) {
            self.step = self.step.saturating_add(1);
            self.plan(now.plus_seconds(seconds));
            return;
        }
        if !self.status.is_open() {
            return self.watch(now);
        }
        while self.query_at() <= now {
            self.step = self.step.saturating_add(1);
            if self.is_last_question(now) {
                break;
            }
        }
        let at = self.query_at();
        let is_early = now < at && at <= self.started_at().plus_seconds(60);
        let pause = if is_early {
            EARLY_PAUSE_SECONDS
        } else {
            PAUSE_SECONDS
        };
        let again = now.plus_seconds(PAUSE_SECONDS);
        self.plan_question(at.max(now.plus_seconds(pause)), again);
    }

    /// Whether WeChat must still be asked: until the order has ended, and then
    /// until nobody can pay another attempt at it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.status.is_open() || self.due.is_some()
    }

    /// WeChat knows more than the row: the next sweep asks.
    pub fn ask_now(&mut self, now: Timestamp) {
        self.plan(now);
    }

    /// Whether the next question comes sooner than the sweeper, which looks once
    /// a minute, would ring for it.
    #[must_use]
    pub fn is_due_soon(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due < now.plus_seconds(60))
    }

    fn plan(&mut self, at: Timestamp) {
        (self.due, self.wake) = (Some(at), Some(at));
    }

    /// Asks at this time, or earlier if an attempt can be closed earlier.
    fn plan_question(&mut self, at: Timestamp, earliest: Timestamp) {
        let closing_at = self.closing_at().map(|closing| closing.max(earliest));
        self.plan(closing_at.map_or(at, |closing| closing.min(at)));
    }

    /// The order has ended. What can still be paid at WeChat must be closed
    /// there, and if it is paid first, that payment goes back.
    fn watch(&mut self, now: Timestamp) {
        match self.closing_at() {
            Some(at) => self.plan(at.max(now)),
            None => self.rest(),
        }
    }

    /// Nothing is asked any more, but for the looks at what was taken back.
    fn rest(&mut self) {
        let look = self.look_again_at();
        (self.due, self.wake) = (look, look);
    }

    fn query_at(&self) -> Timestamp {
        let last = self.last_query_at();
        let offsets: &[i64] = match self.request.version {
            Version::Relayed => &QUERY_OFFSETS,
            Version::Direct => &DIRECT_QUERY_OFFSETS,
        };
        offsets
            .get(usize::from(self.step))
            .map_or(last, |offset| self.started_at().plus_seconds(*offset))
            .min(last)
    }

    /// At expiry, but not before WeChat would close the order. A payer already
    /// typing the password may succeed a little after expiry.
    fn last_query_at(&self) -> Timestamp {
        if let Some(code) = self.payment_code() {
            return code.give_up_at;
        }
        self.expires_at
            .plus_seconds(30)
            .max(self.started_at().plus_seconds(CLOSE_GUARD_SECONDS))
    }

    fn started_at(&self) -> Timestamp {
        self.attempts
            .last()
            .map_or(self.created_at, |attempt| attempt.started_at)
    }
}

#[cfg(test)]
mod tests;
