//! Payment by the code on the payer's phone (MICROPAY): an attempt that WeChat
//! answers at once or not, is asked about every few seconds, and is taken back
//! when it lasts too long. Once taking back has begun there is no way but on:
//! a payment seen after that is on its way back to the payer.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Attempt, Channel, Order, Payer, Refusal, Status, TradeType, is_false, is_zero};
use crate::domain::UnknownAttributes;
use crate::domain::time::Timestamp;

/// An attempt begins when the till's request comes, and is sent later: what is
/// read before takes up to 4 s each (the app, the order's write, the keys), each
/// host that is not reached 1.5 s. The function that sends it ends after 15 s
/// (template.yaml), so nothing is sent later than that, and WeChat takes nothing
/// back within 15 s of what it was sent.
const REVERSE_GUARD_SECONDS: u16 = 15 + 15;
/// WeChat takes a code for a minute. A charge is sent at once, and once more to
/// the spare host: after this long none can arrive any more.
const CODE_LIFE_SECONDS: i64 = 120;
/// When the hub looks once more at what was taken back, counted from its
/// beginning. After the last nobody looks unless the app asks.
const LOOKS_SECONDS: [i64; 2] = [600, 6 * 3600];
/// When taking back does not succeed for so long, asking every few seconds
/// helps nobody any more.
const URGENT_SECONDS: i64 = 60;

/// How long a till waits for a payer who types the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicropayTiming {
    /// Between two questions.
    pub query_seconds: u16,
    /// Until the payment is taken back.
    pub give_up_seconds: u16,
}

impl MicropayTiming {
    /// Given up sooner, WeChat would refuse to take the payment back.
    pub const GIVE_UP_MIN_SECONDS: u16 = REVERSE_GUARD_SECONDS;
}

/// What an attempt by payment code is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCode {
    /// Recognises the code when it is sent again; the code itself is not kept.
    pub code_digest: String,
    /// Seconds between two questions.
    pub query_seconds: u16,
    /// When it is taken back unless it is paid.
    pub give_up_at: Timestamp,
    /// It is being taken back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reversing: bool,
    /// How often it was looked at since it was taken back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub looks: u8,
    /// It was taken back, and no look is planned any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub looked_again: bool,
    /// Why it failed: WeChat's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_code: Option<String>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// How far taking a payment by code back has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakingBack {
    /// WeChat is being asked to.
    UnderWay,
    /// WeChat said that there is nothing left of it.
    Over,
}

/// A code that a till has scanned, and how it is charged.
#[derive(Debug, Clone, Copy)]
pub struct ShownCode<'a> {
    /// The code's digest; the code itself stays out of the ledger.
    pub digest: &'a str,
    /// How long the till waits.
    pub timing: MicropayTiming,
    /// Where the till is.
    pub client_ip: IpAddr,
    /// How it gets to the merchant.
    pub channel: &'a Channel,
}

/// What a code means for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeUse {
    /// A new attempt was opened: WeChat must be called once.
    New(u8),
    /// This code is the current attempt's; WeChat was called, or somebody died
    /// before. It is never called again.
    Known,
}

impl Attempt {
    fn is_taken_back(&self) -> bool {
        let code = self.payment_code.as_ref();
        self.closed && code.is_some_and(|code| code.reversing)
    }

    /// When it is next looked at, if it was taken back.
    fn look_again_at(&self) -> Option<Timestamp> {
        let code = self.payment_code.as_ref().filter(|_| self.is_taken_back());
        let code = code.filter(|code| !code.looked_again)?;
        let after = LOOKS_SECONDS.get(usize::from(code.looks))?;
        Some(self.started_at.plus_seconds(*after))
    }
}

impl Order {
    /// Whether the current attempt is this code's.
    #[must_use]
    pub fn is_charged_with(&self, code_digest: &str) -> bool {
        let current = self.attempts.last();
        let code = current.and_then(|attempt| attempt.payment_code.as_ref());
        code.is_some_and(|code| code.code_digest == code_digest)
    }

    /// A till has scanned the payer's code.
    ///
    /// # Errors
    /// When the order is paid, closed, has expired, or another code is still
    /// being paid.
    pub fn use_payment_code(
        &mut self,
        shown: &ShownCode<'_>,
        now: Timestamp,
    ) -> Result<CodeUse, Refusal> {
        let (code_digest, timing) = (shown.digest, shown.timing);
        if self.is_charged_with(code_digest) {
            return Ok(CodeUse::Known);
        }
        let current = self.attempts.last();
        // After a failed code the payer shows a new one.
        if !(self.status == Status::Failed && now < self.expires_at) {
            self.check_open(now)?;
        }
        if current.is_some_and(|attempt| !attempt.closed) {
            return Err(Refusal::Paying);
        }
        let number = self.next_attempt_number()?;
        let seconds = |seconds: u16| now.plus_seconds(i64::from(seconds));
        let payer = Payer {
            openid: None,
            ip: shown.client_ip,
        };
        let mut attempt = Attempt::new(number, TradeType::Micropay, payer, now);
        attempt.api_version = shown.channel.api_version;
        attempt.account = Some(shown.channel.account.clone());
        attempt.payment_code = Some(PaymentCode {
            code_digest: code_digest.to_owned(),
            query_seconds: timing.query_seconds,
            give_up_at: seconds(timing.give_up_seconds),
            reversing: false,
            looks: 0,
            looked_again: false,
            err_code: None,
            unknown: UnknownAttributes::new(),
        });
        self.attempts.push(attempt);
        self.status = Status::Paying;
        self.step = 0;
        self.plan(seconds(timing.query_seconds));
        Ok(CodeUse::New(number))
    }

    /// The payment by code that is going on.
    #[must_use]
    pub fn payment_code(&self) -> Option<&PaymentCode> {
        let attempt = self.attempts.last().filter(|attempt| !attempt.closed);
        attempt.and_then(|attempt| attempt.payment_code.as_ref())
    }

    /// It is being taken back from now on, whatever WeChat says.
    pub fn reverse(&mut self) {
        if let Some(code) = self.payment_code_mut() {
            code.reversing = true;
        }
    }

    /// Whether a charge of the current code may still reach WeChat.
    #[must_use]
    pub fn is_code_alive(&self, now: Timestamp) -> bool {
        now < self.started_at().plus_seconds(CODE_LIFE_SECONDS)
    }

    /// The attempts that were taken back.
    #[must_use]
    pub fn attempts_taken_back(&self) -> Vec<u8> {
        let taken_back = self
            .attempts
            .iter()
            .filter(|attempt| attempt.is_taken_back());
        taken_back.map(|attempt| attempt.number).collect()
    }

    /// Those of them that are now to be looked at.
    #[must_use]
    pub fn attempts_to_look_at(&self, now: Timestamp) -> Vec<u8> {
        let due = |attempt: &&Attempt| attempt.look_again_at().is_some_and(|at| at <= now);
        let due = self.attempts.iter().filter(due);
        due.map(|attempt| attempt.number).collect()
    }

    /// When to look at the next.
    pub(super) fn look_again_at(&self) -> Option<Timestamp> {
        self.attempts
            .iter()
            .filter_map(Attempt::look_again_at)
            .min()
    }

    /// Whether nothing is being paid and it is time to look.
    #[must_use]
    pub fn is_look_due(&self, now: Timestamp) -> bool {
        !self.status.is_open() && !self.attempts_to_look_at(now).is_empty()
    }

    /// They have been looked at. Looks that an outage made late are one.
    pub fn looked_again(&mut self, now: Timestamp) {
        for attempt in &mut self.attempts {
            while attempt.look_again_at().is_some_and(|at| at <= now) {
                let Some(code) = attempt.payment_code.as_mut() else {
                    break;
                };
                code.looks += 1;
                code.looked_again = usize::from(code.looks) >= LOOKS_SECONDS.len();
            }
        }
        if !self.status.is_open() {
            self.rest();
        }
    }

    /// Whether the attempt with this number is, or was, taken back.
    #[must_use]
    pub fn is_taken_back(&self, number: u8) -> bool {
        self.taking_back(number).is_some()
    }

    /// How far that has come.
    pub(super) fn taking_back(&self, number: u8) -> Option<TakingBack> {
        let mut attempts = self.attempts.iter();
        let attempt = attempts.find(|attempt| attempt.number == number)?;
        let is_reversed = attempt.payment_code.as_ref()?.reversing;
        is_reversed.then_some(match attempt.closed {
            true => TakingBack::Over,
            false => TakingBack::UnderWay,
        })
    }

    /// The payment by code failed for good, or was taken back.
    ///
    /// # Errors
    /// When nobody was paying it, or with another code.
    pub fn fail(&mut self, attempt: u8, err_code: &str) -> Result<(), Refusal> {
        match self.status {
            Status::Paying => {}
            Status::Created | Status::Failed => return Err(Refusal::NotPaying),
            Status::Closed => return Err(Refusal::Closed),
            Status::Paid | Status::PartlyRefunded | Status::Refunded => return Err(Refusal::Paid),
        }
        let current = self.attempts.last().map(|attempt| attempt.number);
        let code = self.payment_code_mut().filter(|_| current == Some(attempt));
        code.ok_or(Refusal::NotPaying)?.err_code = Some(err_code.to_owned());
        self.attempt_closed(attempt);
        self.status = Status::Failed;
        self.rest();
        Ok(())
    }

    /// The app gave the order up: take the payment back as soon as WeChat does.
    pub(super) fn hurry_payment_code(&mut self, now: Timestamp) {
        let guard = i64::from(REVERSE_GUARD_SECONDS);
        let earliest = self.started_at().plus_seconds(guard);
        if let Some(code) = self.payment_code_mut() {
            code.give_up_at = code.give_up_at.min(earliest.max(now));
        }
    }

    /// Seconds until the next question, while a code is being paid.
    pub(super) fn payment_code_pause(&self, now: Timestamp) -> Option<i64> {
        let code = self.payment_code()?;
        let urgent = now < code.give_up_at.plus_seconds(URGENT_SECONDS);
        let pause = i64::from(code.query_seconds);
        Some(if urgent { pause } else { pause.max(60) })
    }

    fn payment_code_mut(&mut self) -> Option<&mut PaymentCode> {
        let attempt = self.attempts.last_mut().filter(|attempt| !attempt.closed);
        attempt.and_then(|attempt| attempt.payment_code.as_mut())
    }
}
