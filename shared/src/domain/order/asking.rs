//! Asking WeChat out of turn: an app or a payer wants to know now what the plan
//! would ask about later. The plan stays as it is.

use super::Order;
use crate::domain::time::Timestamp;

/// However many want to know at once, WeChat is asked once in so long.
const PAUSE_SECONDS: i64 = 2;
/// A page that is left open asks at least this rarely in the end.
const PAGE_PAUSE_MAX_SECONDS: i64 = 60;
/// After so long without a question a page begins anew: another payer, or the
/// same one once more.
const PAGE_REST_SECONDS: i64 = 300;

/// Who wants to know now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curious {
    /// An app, with a signed request.
    App,
    /// The page of a payer who is back from WeChat. Everybody who has the pay
    /// address can say so: its questions become rarer the longer they go on.
    Page,
}

impl Order {
    /// Whether WeChat is to be asked now. Then that is noted, and the note must
    /// be written before WeChat is asked: of twenty at once one gets it written.
    pub fn claim_question(&mut self, curious: Curious, now: Timestamp) -> bool {
        let may_be_paid = self.attempts.iter().any(|attempt| !attempt.closed);
        if !self.status.is_open() || !may_be_paid {
            return false;
        }
        let pause = match curious {
            Curious::App => PAUSE_SECONDS,
            Curious::Page => self.page_pause(now),
        };
        if self.was_asked_within(pause, now) {
            return false;
        }
        if curious == Curious::Page && self.page_began_at(now).is_none() {
            self.page_asked_from = Some(now);
        }
        self.asked_at = Some(now);
        true
    }

    /// The payments of which something may have gone back without the hub, if
    /// WeChat is to be asked about them now. That is noted as for
    /// [`Order::claim_question`].
    pub fn claim_look(&mut self, now: Timestamp) -> Vec<String> {
        if self.was_asked_within(PAUSE_SECONDS, now) {
            return Vec::new();
        }
        let anomalies = self.anomalies.iter().map(|anomaly| &anomaly.payment);
        let payments = self.payment.iter().chain(anomalies);
        let kept = payments.filter(|paid| paid.refunded < paid.total_fee);
        let ids: Vec<String> = kept.map(|paid| paid.transaction_id.clone()).collect();
        if !ids.is_empty() {
            self.asked_at = Some(now);
        }
        ids
    }

    /// Whether WeChat is to be asked now about what was taken back of an order that
    /// nobody is paying. That is noted as for [`Order::claim_question`], apart from
    /// it: such an order may be paid by another code, and be looked at for refunds.
    pub fn claim_look_at_taken_back(&mut self, now: Timestamp) -> bool {
        let recent = |looked: Timestamp| now < looked.plus_seconds(PAUSE_SECONDS);
        if self.status.is_open()
            || self.attempts_taken_back().is_empty()
            || self.looked_at.is_some_and(recent)
        {
            return false;
        }
        self.looked_at = Some(now);
        true
    }

    fn was_asked_within(&self, seconds: i64, now: Timestamp) -> bool {
        let recent = |asked: Timestamp| now < asked.plus_seconds(seconds);
        self.asked_at.is_some_and(recent)
    }

    /// Half of the time that the page has been asking: nine questions in its
    /// first minute.
    fn page_pause(&self, now: Timestamp) -> i64 {
        let asking = match (self.page_began_at(now), self.asked_at) {
            (Some(from), Some(last)) => last.millis().saturating_sub(from.millis()),
            _ => 0,
        };
        (asking / 2000).clamp(PAUSE_SECONDS, PAGE_PAUSE_MAX_SECONDS)
    }

    fn page_began_at(&self, now: Timestamp) -> Option<Timestamp> {
        let rested = |asked: Timestamp| now >= asked.plus_seconds(PAGE_REST_SECONDS);
        self.page_asked_from
            .filter(|_| !self.asked_at.is_none_or(rested))
    }
}
