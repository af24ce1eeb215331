//! The attempts at paying an order, each a WeChat order of its own: which one a
//! payer is served, and what must happen before.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Order, Payment, PaymentCode, Refusal, Status, TradeType, is_false};
use crate::domain::UnknownAttributes;
use crate::domain::merchant::AccountId;
use crate::domain::time::Timestamp;

/// WeChat does not close an order younger than five minutes; its clock may be
/// a little behind.
pub(super) const CLOSE_GUARD_SECONDS: i64 = 310;

/// WeChat's prepay session lives two hours.
const PREPAY_SECONDS: i64 = 7200 - 120;
/// Its address for a phone's browser lives five minutes.
const MWEB_SECONDS: i64 = 300 - 30;

/// Payers who come at the same time keep what they opened: otherwise each would
/// take the other's place again and again.
const TOGETHER_SECONDS: i64 = 60;
/// Whoever has the link can open attempts: at most so many within
/// [`MANY_SECONDS`].
const MOST_ATTEMPTS: usize = 10;
/// See [`MOST_ATTEMPTS`].
const MANY_SECONDS: i64 = 300;
/// The last of these are kept for who had none: a person in WeChat, or a way to
/// pay. Everybody else with the link cannot use them up.
const LAST_NUMBER: u8 = 99;
const KEPT_NUMBERS: u8 = 10;
/// At least so long WeChat is not asked again.
pub(super) const PAUSE_SECONDS: i64 = 60;

/// By which version of WeChat Pay an attempt, and what follows from it, is spoken
/// of. The forms differ; what they mean does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiVersion {
    /// XML, signed with a shared key: what rows mean that do not say.
    #[default]
    V2,
    /// JSON, signed with RSA keys.
    V3,
}

impl ApiVersion {
    /// Whether a row need not say it.
    #[must_use]
    pub const fn is_v2(&self) -> bool {
        matches!(self, Self::V2)
    }
}

/// How an attempt gets to the order's merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Through which account.
    pub account: AccountId,
    /// By which version.
    pub api_version: ApiVersion,
}

/// What WeChat gave for one payment attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepay {
    /// The session that the JSAPI bridge or an app opens. Empty for those that
    /// version 3 opens by an address.
    pub prepay_id: String,
    /// NATIVE: the content of the QR code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_url: Option<String>,
    /// MWEB: where the phone's browser goes, for five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mweb_url: Option<String>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// Who pays, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// Known for JSAPI.
    pub openid: Option<String>,
    /// The address WeChat is told.
    pub ip: IpAddr,
}

/// One WeChat order for this order. WeChat refuses changed parameters under
/// the same number, so they are kept: a repeated call sends the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 to 99, part of the `out_trade_no`.
    pub number: u8,
    /// How it is paid.
    pub trade_type: TradeType,
    /// By which version it was opened.
    #[serde(default, skip_serializing_if = "ApiVersion::is_v2")]
    pub api_version: ApiVersion,
    /// Through which account; none in rows of before there were several: the
    /// installation's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Whose payment, for JSAPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// The address WeChat was told.
    pub client_ip: IpAddr,
    /// When it was opened.
    pub started_at: Timestamp,
    /// WeChat's answer, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepay: Option<Prepay>,
    /// When WeChat gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepaid_at: Option<Timestamp>,
    /// Paid, or closed at WeChat: nobody can pay it any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closed: bool,
    /// Another attempt has taken its place, and WeChat has not closed it: when
    /// it is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_at: Option<Timestamp>,
    /// MICROPAY: how the payer's code fares.
    #[serde(default, rename = "scan", skip_serializing_if = "Option::is_none")]
    pub payment_code: Option<PaymentCode>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl Attempt {
    pub(super) fn new(number: u8, trade_type: TradeType, payer: Payer, now: Timestamp) -> Self {
        Self {
            number,
            trade_type,
            api_version: ApiVersion::V2,
            account: None,
            openid: payer.openid,
            client_ip: payer.ip,
            started_at: now,
            prepay: None,
            prepaid_at: None,
            closed: false,
            close_at: None,
            payment_code: None,
            unknown: UnknownAttributes::new(),
        }
    }

    fn is_ready(&self, now: Timestamp) -> bool {
        let given = self.prepaid_at.filter(|_| self.prepay.is_some());
        let lives = match self.trade_type {
            TradeType::Mweb => MWEB_SECONDS,
            TradeType::Native
            | TradeType::Jsapi
            | TradeType::App
            | TradeType::Genprepay
            | TradeType::Micropay => PREPAY_SECONDS,
        };
        given.is_some_and(|at| now < at.plus_seconds(lives))
    }

    /// Whether this payer can pay it in this way. WeChat takes a JSAPI payment
    /// from the openid it was ordered for, and opens its page for a phone's
    /// browser only at the address it was told.
    fn suits(&self, trade_type: TradeType, payer: &Payer) -> bool {
        self.trade_type == trade_type
            && match trade_type {
                TradeType::Jsapi => self.openid == payer.openid,
                TradeType::Mweb => self.client_ip == payer.ip,
                TradeType::Native | TradeType::App | TradeType::Genprepay | TradeType::Micropay => {
                    true
                }
            }
    }

    fn closing_at(&self) -> Timestamp {
        let earliest = self.started_at.plus_seconds(CLOSE_GUARD_SECONDS);
        self.close_at.unwrap_or(earliest)
    }
}

/// What stands between the payer and the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing: this attempt can be paid.
    Ready(u8),
    /// WeChat must be asked for this attempt's session.
    Ask(u8),
    /// This earlier attempt should be closed first, or both could be paid. WeChat
    /// is asked once; if it does not, it is left for later: see
    /// [`Order::close_later`].
    Close(u8),
    /// A new attempt must be opened.
    Open,
}

impl Order {
    /// What must be done before this payer can pay in this way. Whoever can pay
    /// is not told to wait: an attempt that does not suit makes room for a new
    /// one at once.
    #[must_use]
    pub fn preparation(&self, trade_type: TradeType, payer: &Payer, now: Timestamp) -> Preparation {
        let Some(last) = self.attempts.last() else {
            return Preparation::Open;
        };
        let serves = |attempt: &&Attempt| {
            let fresh = now < attempt.started_at.plus_seconds(TOGETHER_SECONDS);
            !attempt.closed
                && (fresh || attempt.number == last.number)
                && attempt.suits(trade_type, payer)
        };
        let Some(theirs) = self.attempts.iter().rev().find(serves) else {
            return Preparation::Open;
        };
        // Those that WeChat did not close when it was asked first are closed
        // later, by plan: no payer waits for that.
        let mut earlier = self.attempts.iter();
        let mut earlier = earlier.by_ref().take_while(|a| a.number < theirs.number);
        if let Some(live) = earlier.find(|a| !a.closed && a.close_at.is_none()) {
            return Preparation::Close(live.number);
        }
        if theirs.is_ready(now) {
            Preparation::Ready(theirs.number)
        } else {
            Preparation::Ask(theirs.number)
        }
    }

    /// Opens the next attempt, through this channel. The earlier ones are closed
    /// before WeChat is asked for this one's session, if WeChat closes them.
    ///
    /// # Errors
    /// When the order is not open, ten attempts were opened in the last five
    /// minutes, or 99 in all; 89 if this payer, or everybody who pays in this
    /// way, has had one.
    pub fn open_attempt(
        &mut self,
        trade_type: TradeType,
        payer: Payer,
        channel: Channel,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_open(now)?;
        let number = self.next_attempt_number()?;
        if number > LAST_NUMBER - KEPT_NUMBERS && self.has_had_one(trade_type, &payer) {
            return Err(Refusal::NoAttemptLeft);
        }
        let since = now.plus_seconds(-MANY_SECONDS);
        let recent = self.attempts.iter().filter(|a| a.started_at > since);
        if recent.count() >= MOST_ATTEMPTS {
            return Err(Refusal::TooManyAttempts);
        }
        let mut attempt = Attempt::new(number, trade_type, payer, now);
        attempt.api_version = channel.api_version;
        attempt.account = Some(channel.account);
        self.attempts.push(attempt);
        self.step = 0;
        self.plan_question(self.query_at(), now);
        Ok(())
    }

    pub(super) fn next_attempt_number(&self) -> Result<u8, Refusal> {
        match self.attempts.last().map_or(0, |attempt| attempt.number) {
            last if last < LAST_NUMBER => Ok(last + 1),
            _ => Err(Refusal::NoAttemptLeft),
        }
    }

    /// Whether an attempt was opened for this payer. Only inside WeChat one is
    /// known from another.
    fn has_had_one(&self, trade_type: TradeType, payer: &Payer) -> bool {
        let of_any = trade_type != TradeType::Jsapi;
        self.attempts.iter().any(|attempt| {
            attempt.trade_type == trade_type && (of_any || attempt.openid == payer.openid)
        })
    }

    /// WeChat did not close this attempt, because it is too young or for another
    /// reason: it is asked again as soon as it may do so, and less and less
    /// often if it does not.
    pub fn close_later(&mut self, number: u8, now: Timestamp) {
        if let Some(attempt) = self.attempt_mut(number) {
            let age = now.seconds().saturating_sub(attempt.started_at.seconds());
            let again = now.plus_seconds(PAUSE_SECONDS.max(age / 4));
            let allowed = attempt.started_at.plus_seconds(CLOSE_GUARD_SECONDS);
            attempt.close_at = Some(allowed.max(again));
        }
        if let Some(due) = self.due {
            self.plan_question(due, now);
        }
    }

    /// Whether this attempt has lost its place, to another one or because the
    /// order has ended, and WeChat is now to close it.
    #[must_use]
    pub fn is_to_be_closed(&self, number: u8, now: Timestamp) -> bool {
        let mut left = self.left_open();
        left.any(|attempt| attempt.number == number && now >= attempt.closing_at())
    }

    /// When WeChat is next asked to close one of those.
    pub(super) fn closing_at(&self) -> Option<Timestamp> {
        self.left_open().map(Attempt::closing_at).min()
    }

    /// Those that can still be paid and should not be. A payer's code is not
    /// closed but taken back.
    fn left_open(&self) -> impl Iterator<Item = &Attempt> {
        let last = self.attempts.last().filter(|_| self.status.is_open());
        let current = last.map(|attempt| attempt.number);
        self.attempts.iter().filter(move |attempt| {
            !attempt.closed && attempt.payment_code.is_none() && current != Some(attempt.number)
        })
    }

    /// When WeChat ends this attempt by itself: at least a minute after its start,
    /// as WeChat demands.
    #[must_use]
    pub fn expiry(&self, attempt: &Attempt) -> Timestamp {
        self.expires_at.max(attempt.started_at.plus_seconds(61))
    }

    /// Two asked WeChat at once for this attempt's session. The first who wrote it
    /// down may hold one that the other's question has ended: version 3 makes a new
    /// QR code each time. It must be asked for once more.
    pub fn doubt_session(&mut self, number: u8) {
        if let Some(attempt) = self.attempt_mut(number)
            && attempt.api_version == ApiVersion::V3
            && attempt.trade_type == TradeType::Native
        {
            attempt.prepaid_at = None;
        }
    }

    /// The attempt with this number.
    #[must_use]
    pub fn attempt(&self, number: u8) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.number == number)
    }

    fn attempt_mut(&mut self, number: u8) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|a| a.number == number)
    }

    /// WeChat accepted the attempt: the payer can pay.
    pub fn prepaid(&mut self, number: u8, prepay: Prepay, now: Timestamp) {
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.prepay = Some(prepay);
            attempt.prepaid_at = Some(now);
        }
        if self.status == Status::Created {
            self.status = Status::Paying;
        }
    }

    /// An order that was restored from a backup may lack an attempt, or hold one
    /// for closed, that was paid: its payment has been told. WeChat is asked about
    /// it next. False when it was asked about before, and so knows nothing of it,
    /// unless the order is paid: then nobody has asked.
    pub fn adopt_attempt(&mut self, number: u8, started_at: Timestamp, now: Timestamp) -> bool {
        let is_new = self.attempt(number).is_none();
        if is_new {
            let attempt = self.lost_attempt(number, TradeType::Native, started_at);
            self.insert_attempt(attempt);
            self.ask_now(now);
            if self.status == Status::Failed {
                self.status = Status::Paying;
            }
        } else if self.status.is_open() {
            self.ask_later(now);
        } else if self
            .attempt(number)
            .is_some_and(|known| known.payment_code.is_none())
        {
            self.ask_now(now);
        }
        let attempt = self.attempt_mut(number);
        // A payer's code that was taken back is over for good.
        if let Some(attempt) = attempt.filter(|attempt| attempt.payment_code.is_none()) {
            attempt.closed = false;
        }
        is_new
    }

    /// One of which only a number is left, through the account that the order names
    /// elsewhere.
    fn lost_attempt(&self, number: u8, trade_type: TradeType, started_at: Timestamp) -> Attempt {
        let ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let payer = Payer { openid: None, ip };
        let mut attempt = Attempt::new(number, trade_type, payer, started_at);
        let others = self
            .attempts
            .iter()
            .filter_map(|other| other.account.as_ref());
        let account = self.request.account.iter().chain(others).next();
        attempt.account = account.cloned();
        attempt
    }

    fn insert_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        self.attempts.sort_by_key(|attempt| attempt.number);
    }

    /// The attempt is paid; an order that was restored from a backup may lack it.
    pub(super) fn attempt_paid(&mut self, payment: &Payment, now: Timestamp) {
        self.know_attempt_of(payment, now);
        self.attempt_closed(payment.attempt);
    }

    /// The attempt that this payment names, should the order lack it, as WeChat can be
    /// asked about it.
    pub fn know_attempt_of(&mut self, payment: &Payment, now: Timestamp) {
        if self.attempt(payment.attempt).is_some() {
            return;
        }
        let trade_type = TradeType::parse(&payment.trade_type).unwrap_or(TradeType::Native);
        let mut attempt = self.lost_attempt(payment.attempt, trade_type, now);
        attempt.api_version = payment.api_version;
        attempt.account = payment.account.clone().or(attempt.account);
        self.insert_attempt(attempt);
    }

    /// The attempt is paid, or WeChat closed it or says that it is closed.
    pub fn attempt_closed(&mut self, number: u8) {
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.closed = true;
        }
    }
}
