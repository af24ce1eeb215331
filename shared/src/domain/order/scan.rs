//! Payment by the code on the payer's phone (MICROPAY): an attempt that WeChat
//! answers at once or not, is asked about every few seconds, and is taken back
//! when it lasts too long. Once taking back has begun there is no way but on:
//! a payment seen after that is on its way back to the payer.
//! It refuses to talk to WeChat.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Attempt, Order, Refusal, Status, TradeType, is_false};
use crate::domain::time::Timestamp;

/// WeChat does not take back a payment that began less than this ago.
const REVERSE_GUARD_SECONDS: i64 = 15;
/// When taking back does not succeed for so long, asking every few seconds
/// helps nobody any more.
const URGENT_SECONDS: i64 = 60;

/// How long a till waits for a payer who types the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Between two questions.
    pub query_seconds: u16,
    /// Until the payment is taken back.
    pub give_up_seconds: u16,
}

/// What an attempt by payment code is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Recognises the code when it is sent again; the code itself is not kept.
    pub code_digest: String,
    /// Seconds between two questions.
    pub query_seconds: u16,
    /// When it is taken back unless it is paid.
    pub give_up_at: Timestamp,
    /// It is being taken back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reversing: bool,
    /// Why it failed: WeChat's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_code: Option<String>,
}

/// What a code means for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// A new attempt was opened: WeChat must be called once.
    New(u8),
    /// This code is the current attempt's; WeChat was called, or somebody died
    /// before. It is never called again.
    Known,
}

impl Order {
    /// The payer's code was scanned.
    ///
    /// # Errors
    /// When the order is paid, closed, has expired, or another code is still
    /// being paid.
    pub fn scanned(
        &mut self,
        code_digest: &str,
        (patience, client_ip): (Patience, IpAddr),
        now: Timestamp,
    ) -> Result<Scanned, Refusal> {
        let current = self.attempts.last();
        let known = current.and_then(|attempt| attempt.scan.as_ref());
        if known.is_some_and(|scan| scan.code_digest == code_digest) {
            return Ok(Scanned::Known);
        }
        // After a failed code the payer shows a new one.
        if !(self.status == Status::Failed && now < self.expires_at) {
            self.check_open(now)?;
        }
        if current.is_some_and(|attempt| !attempt.closed) {
            return Err(Refusal::Paying);
        }
        let number = self.next_attempt_number()?;
        let seconds = |seconds: u16| now.plus_seconds(i64::from(seconds));
        self.attempts.push(Attempt {
            number,
            trade_type: TradeType::Micropay,
            openid: None,
            client_ip,
            started_at: now,
            prepay: None,
            prepaid_at: None,
            closed: false,
            scan: Some(Scan {
                code_digest: code_digest.to_owned(),
                query_seconds: patience.query_seconds,
                give_up_at: seconds(patience.give_up_seconds),
                reversing: false,
                err_code: None,
            }),
        });
        self.status = Status::Paying;
        self.step = 0;
        self.plan(seconds(patience.query_seconds));
        Ok(Scanned::New(number))
    }

    /// The payment by code that is going on.
    #[must_use]
    pub fn scan(&self) -> Option<&Scan> {
        let attempt = self.attempts.last().filter(|attempt| !attempt.closed);
        attempt.and_then(|attempt| attempt.scan.as_ref())
    }

    /// It is being taken back from now on, whatever WeChat says.
    pub fn reverse(&mut self) {
        if let Some(scan) = self.scan_mut() {
            scan.reversing = true;
        }
    }

    pub(super) fn is_taken_back(&self, number: u8) -> bool {
        let mut attempts = self.attempts.iter();
        let attempt = attempts.find(|attempt| attempt.number == number);
        let scan = attempt.and_then(|attempt| attempt.scan.as_ref());
        scan.is_some_and(|scan| scan.reversing)
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
        let scan = self.scan_mut().filter(|_| current == Some(attempt));
        scan.ok_or(Refusal::NotPaying)?.err_code = Some(err_code.to_owned());
        self.attempt_closed(attempt);
        self.status = Status::Failed;
        self.rest();
        Ok(())
    }

    /// The app gave the order up: take the payment back as soon as WeChat does.
    pub(super) fn hurry_scan(&mut self, now: Timestamp) {
        let earliest = self.started_at().plus_seconds(REVERSE_GUARD_SECONDS);
        if let Some(scan) = self.scan_mut() {
            scan.give_up_at = scan.give_up_at.min(earliest.max(now));
        }
    }

    /// Seconds until the next question, while a code is being paid.
    pub(super) fn scan_pause(&self, now: Timestamp) -> Option<i64> {
        let scan = self.scan()?;
        let urgent = now < scan.give_up_at.plus_seconds(URGENT_SECONDS);
        let pause = i64::from(scan.query_seconds);
        Some(if urgent { pause } else { pause.max(60) })
    }

    fn scan_mut(&mut self) -> Option<&mut Scan> {
        let attempt = self.attempts.last_mut().filter(|attempt| !attempt.closed);
        attempt.and_then(|attempt| attempt.scan.as_mut())
    }
}
