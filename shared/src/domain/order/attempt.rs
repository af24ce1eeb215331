//! The attempts at paying an order, each a WeChat order of its own: which one a
//! payer is served, and what must happen before.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Order, PaymentCode, Refusal, Status, TradeType, is_false};
use crate::domain::UnknownAttributes;
use crate::domain::time::Timestamp;

/// WeChat does not close an order younger than five minutes; its clock may be
/// a little behind.
pub(super) const CLOSE_GUARD_SECONDS: i64 = 310;

/// WeChat's prepay session lives two hours.
const PREPAY_SECONDS: i64 = 7200 - 120;
/// Its address for a phone's browser lives five minutes.
const MWEB_SECONDS: i64 = 300 - 30;

/// What WeChat gave for one payment attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepay {
    /// The session that the JSAPI bridge opens.
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
            openid: payer.openid,
            client_ip: payer.ip,
            started_at: now,
            prepay: None,
            prepaid_at: None,
            closed: false,
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

    fn suits(&self, trade_type: TradeType, openid: Option<&str>) -> bool {
        self.trade_type == trade_type
            && (trade_type != TradeType::Jsapi || self.openid.as_deref() == openid)
    }
}

/// What stands between the payer and the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing: the current attempt can be paid.
    Ready,
    /// WeChat must be asked for this attempt's session.
    Ask(u8),
    /// This earlier attempt must be closed first, or both could be paid.
    Close(u8),
    /// A new attempt must be opened.
    Open,
}

impl Order {
    /// What must be done before this payer can pay in this way. An attempt that
    /// WeChat would not close yet is left to its payer, whoever asks.
    #[must_use]
    pub fn preparation(
        &self,
        trade_type: TradeType,
        openid: Option<&str>,
        now: Timestamp,
    ) -> Preparation {
        let Some((current, earlier)) = self.attempts.split_last() else {
            return Preparation::Open;
        };
        let young = now < current.started_at.plus_seconds(CLOSE_GUARD_SECONDS);
        if current.closed || !(young || current.suits(trade_type, openid)) {
            return Preparation::Open;
        }
        if let Some(live) = earlier.iter().find(|attempt| !attempt.closed) {
            return Preparation::Close(live.number);
        }
        if current.is_ready(now) {
            Preparation::Ready
        } else {
            Preparation::Ask(current.number)
        }
    }

    /// Opens the next attempt. The earlier ones are closed before WeChat is
    /// asked for this one's session.
    ///
    /// # Errors
    /// When the order is not open, or 99 attempts were made.
    pub fn open_attempt(
        &mut self,
        trade_type: TradeType,
        payer: Payer,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_open(now)?;
        let number = self.next_attempt_number()?;
        let attempt = Attempt::new(number, trade_type, payer, now);
        self.attempts.push(attempt);
        self.step = 0;
        self.plan(self.query_at());
        Ok(())
    }

    pub(super) fn next_attempt_number(&self) -> Result<u8, Refusal> {
        match self.attempts.last().map_or(0, |attempt| attempt.number) {
            last @ 0..99 => Ok(last + 1),
            _ => Err(Refusal::NoAttemptLeft),
        }
    }

    /// WeChat accepted the attempt: the payer can pay.
    pub fn prepaid(&mut self, number: u8, prepay: Prepay, now: Timestamp) {
        if let Some(attempt) = self.attempts.iter_mut().find(|a| a.number == number) {
            attempt.prepay = Some(prepay);
            attempt.prepaid_at = Some(now);
        }
        if self.status == Status::Created {
            self.status = Status::Paying;
        }
    }

    /// The attempt is paid, or WeChat closed it or says that it is closed.
    pub fn attempt_closed(&mut self, number: u8) {
        if let Some(attempt) = self.attempts.iter_mut().find(|a| a.number == number) {
            attempt.closed = true;
        }
    }
}
