//! A refund and the moves it may make: `pending -> processing -> succeeded`,
//! `pending|processing -> failed`, and `change`, which a person must end.
//! Accepted by WeChat is not succeeded, and unknown is not failed: until WeChat
//! says how it ended, it is asked again under the same number. Refused is not
//! failed either: another number could pay back twice, so this one is kept until
//! WeChat has refused it, and not known it, for long enough.

use serde::{Deserialize, Serialize};

use super::UnknownAttributes;
use super::id::{AppId, OrderKey, OrderNo, OutRefundNo, RefundNo};
use super::merchant::{AccountId, MchId};
use super::money::Fen;
use super::order::{ApiVersion, Order, Payment};
use super::time::Timestamp;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Promised; WeChat may or may not have heard of it.
    Pending,
    /// WeChat has accepted it.
    Processing,
    /// WeChat cannot reach the payer's account: a person must act, in WeChat's
    /// merchant platform. The hub goes on asking.
    Change,
    /// The money is back.
    Succeeded,
    /// It will not happen; the amount is free for another refund.
    Failed,
}

impl Status {
    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Change => "change",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Money that goes back, and how that goes: a row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Whose order.
    pub app_id: AppId,
    /// The app's number for the order.
    pub order_no: OrderNo,
    /// The app's number for the refund, or the hub's own.
    pub refund_no: RefundNo,
    /// WeChat's number of the payment that goes back.
    pub transaction_id: String,
    /// By which version WeChat is asked for it: the payment's.
    #[serde(default, skip_serializing_if = "ApiVersion::is_v2")]
    pub api_version: ApiVersion,
    /// Who gives it back; none in rows of before there were several: the
    /// installation's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MchId>,
    /// Through which account: the payment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What was paid, as WeChat demands to be told.
    pub total_fee: Fen,
    /// What goes back.
    pub refund_fee: Fen,
    /// What the payer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// When it was promised.
    pub created_at: Timestamp,
    /// WeChat's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// WeChat's code: why it failed, or why it is still pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_code: Option<String>,
    /// When the hub next asks WeChat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the sweeper looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
    /// Until when one run has it for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_until: Option<Timestamp>,
    /// When somebody last had WeChat asked before it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hurried_at: Option<Timestamp>,
    /// Since when WeChat has refused it and not known it, without a call in
    /// between of which nobody knows whether it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_since: Option<Timestamp>,
    /// Which of those questions is next.
    #[serde(default)]
    pub step: u8,
    /// Counts the writes of this row; the store compares it.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What is promised to go back.
#[derive(Debug, Clone)]
pub struct Promise<'a> {
    /// Of which payment.
    pub payment: &'a Payment,
    /// Under which number.
    pub refund_no: RefundNo,
    /// How much.
    pub refund_fee: Fen,
    /// What the payer reads.
    pub reason: Option<String>,
    /// When the hub asks WeChat for it, unless somebody does before.
    pub due: Timestamp,
}

/// What WeChat said of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it, under its own number.
    Accepted(String),
    /// The money is back, under WeChat's number for the refund, since then if
    /// WeChat says when.
    Succeeded(String, Option<Timestamp>),
    /// The payer's account cannot be reached.
    Change,
    /// It was accepted and closed: it will not happen, for this reason.
    Failed(String),
    /// It is refused, and WeChat does not know it.
    Refused {
        /// WeChat's code.
        err_code: String,
        /// WeChat says that repeating it cannot help.
        is_final: bool,
    },
    /// Not now, by WeChat's code: one refund of a payment a minute, say.
    Later(String),
    /// Nothing that is known: ask again later.
    Unknown,
}

/// What an answer of WeChat's did to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// None: it had ended before.
    Unchanged,
    /// It goes on: the row has changed.
    Continues,
    /// It has just ended: the order's sums follow.
    Ended,
}

/// Between two questions about one refund, in seconds; the last one repeats.
/// Banks take up to three days.
const GAPS: [i64; 8] = [60, 120, 300, 900, 3600, 10_800, 43_200, 86_400];
/// What WeChat has not taken yet, or not told, is asked at least this often: what
/// is in the way is mended by a person, and then the payer waits for it.
const UNTOLD_GAP_MAX: i64 = 3600;
/// For how long one run has a refund for itself: longer than a function may run;
/// reconcile's is 60 s.
const CLAIM_SECONDS: i64 = 90;
/// A code that ends a refund is believed when WeChat has not known the number
/// for so long: a first answer may have been lost, and a query may lag.
const FINAL_SECONDS: i64 = 2 * 3600;
/// Other refusals (the merchant's balance, say) are repeated for so long.
const PATIENCE_SECONDS: i64 = 7 * 86_400;
/// However often it is hurried, WeChat is asked once in so long.
const HURRY_SECONDS: i64 = 60;
/// So many questions without an answer, or with one that puts off, are not an
/// accident.
const STUCK_STEP: u8 = 4;

impl Refund {
    /// A refund of a payment of this order.
    #[must_use]
    pub fn new(order: &Order, promise: Promise<'_>, now: Timestamp) -> Self {
        Self {
            app_id: order.app_id.clone(),
            order_no: order.order_no.clone(),
            refund_no: promise.refund_no,
            transaction_id: promise.payment.transaction_id.clone(),
            api_version: promise.payment.api_version,
            merchant: order.merchant.clone(),
            account: promise.payment.account.clone(),
            total_fee: promise.payment.total_fee,
            refund_fee: promise.refund_fee,
            reason: promise.reason,
            status: Status::Pending,
            created_at: now,
            refund_id: None,
            ended_at: None,
            err_code: None,
            due: Some(promise.due),
            wake: Some(promise.due),
            claimed_until: None,
            hurried_at: None,
            refused_since: None,
            step: 0,
            revision: 0,
            unknown: UnknownAttributes::new(),
        }
    }

    /// The ledger's key of its order.
    #[must_use]
    pub fn order_key(&self) -> OrderKey {
        OrderKey {
            app_id: self.app_id.clone(),
            order_no: self.order_no.clone(),
        }
    }

    /// The hub's number for it at WeChat.
    #[must_use]
    pub fn number(&self) -> OutRefundNo {
        OutRefundNo {
            order: self.order_key(),
            refund_no: self.refund_no.clone(),
        }
    }

    /// Whether the app asks for the same refund again.
    #[must_use]
    pub fn is_same_request(&self, other: &Self) -> bool {
        (&self.transaction_id, self.refund_fee, &self.reason)
            == (&other.transaction_id, other.refund_fee, &other.reason)
    }

    /// What WeChat answered changes the row.
    pub fn apply(&mut self, answer: Answer, now: Timestamp) -> Transition {
        if self.status.is_final() {
            return Transition::Unchanged;
        }
        let was_early = self.is_claimed_early();
        self.claimed_until = None;
        let gap_max = match answer {
            Answer::Unknown | Answer::Later(_) => UNTOLD_GAP_MAX,
            _ => i64::MAX,
        };
        match answer {
            Answer::Accepted(refund_id) => {
                if self.status == Status::Pending {
                    self.status = Status::Processing;
                    self.step = 0;
                }
                self.refund_id = Some(refund_id);
                (self.err_code, self.refused_since) = (None, None);
            }
            Answer::Change => {
                self.status = Status::Change;
                self.err_code = None;
            }
            // The pauses grow as in a silence: WeChat may say so for ever.
            Answer::Later(err_code) => self.err_code = Some(err_code),
            Answer::Unknown => self.refused_since = None,
            Answer::Refused { err_code, is_final } => {
                self.err_code = Some(err_code);
                let since = *self.refused_since.get_or_insert(now);
                let is_over = match is_final {
                    true => now >= since.plus_seconds(FINAL_SECONDS),
                    // Not at the first refusal after a week of silence.
                    false => {
                        now >= self.created_at.plus_seconds(PATIENCE_SECONDS)
                            && now >= since.plus_seconds(FINAL_SECONDS)
                    }
                };
                if is_over {
                    self.status = Status::Failed;
                    return self.end(now);
                }
            }
            Answer::Succeeded(refund_id, at) => {
                self.status = Status::Succeeded;
                self.refund_id = Some(refund_id);
                self.err_code = None;
                return self.end(at.unwrap_or(now));
            }
            Answer::Failed(err_code) => {
                self.status = Status::Failed;
                self.err_code = Some(err_code);
                return self.end(now);
            }
        }
        // Whoever hurries it neither hastens nor delays the planned questions, and
        // does not make it stuck.
        let step = self.step.saturating_sub(u8::from(was_early));
        let gap = GAPS.get(usize::from(step)).or(GAPS.last());
        let due = now.plus_seconds(gap.copied().unwrap_or_default().min(gap_max));
        self.step = step.saturating_add(1);
        (self.due, self.wake) = (Some(due), Some(due));
        Transition::Continues
    }

    /// Reserves the question that is due for one run, for longer than a run
    /// lasts. False when it is not due, or another run's.
    #[must_use]
    pub fn claim(&mut self, now: Timestamp) -> bool {
        // SQS may be a little early.
        let is_due = self.due.is_some_and(|due| due <= now.plus_seconds(1));
        is_due && self.reserve(now)
    }

    /// The same before it is due: a person wants to know, perhaps because what
    /// was in the way is mended. False when it has ended, is another run's, or was
    /// hurried a moment ago.
    #[must_use]
    pub fn claim_early(&mut self, now: Timestamp) -> bool {
        let recent = |at: Timestamp| now < at.plus_seconds(HURRY_SECONDS);
        let is_ours = !self.hurried_at.is_some_and(recent) && self.reserve(now);
        if is_ours {
            self.hurried_at = Some(now);
        }
        is_ours
    }

    fn is_claimed_early(&self) -> bool {
        let until = self.hurried_at.map(|at| at.plus_seconds(CLAIM_SECONDS));
        until.is_some() && until == self.claimed_until
    }

    fn reserve(&mut self, now: Timestamp) -> bool {
        let is_free = self.claimed_until.is_none_or(|until| until <= now);
        let is_ours = is_free && !self.status.is_final();
        if is_ours {
            let until = Some(now.plus_seconds(CLAIM_SECONDS));
            (self.due, self.wake, self.claimed_until) = (until, until, until);
        }
        is_ours
    }

    /// Whether WeChat has been silent about it, or put it off, for too long.
    #[must_use]
    pub fn is_stuck(&self, answer: &Answer) -> bool {
        let is_untold = matches!(answer, Answer::Unknown | Answer::Later(_));
        is_untold && self.step >= STUCK_STEP && !self.status.is_final()
    }

    fn end(&mut self, at: Timestamp) -> Transition {
        self.ended_at = Some(at);
        (self.due, self.wake, self.refused_since) = (None, None, None);
        Transition::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{NOW, fen, refund};

    fn wait(refund: &mut Refund, answer: Answer) -> i64 {
        assert_eq!(refund.apply(answer, NOW), Transition::Continues);
        refund.due.unwrap().seconds() - NOW.seconds()
    }

    #[test]
    fn a_question_is_one_runs_until_it_is_over() {
        let mut refund = refund();
        assert!(!refund.claim(NOW.plus_seconds(-2)));
        assert!(refund.claim(NOW));
        assert!(!refund.claim(NOW.plus_seconds(60)));
        assert!(refund.claim(NOW.plus_seconds(90)));
        assert_eq!(refund.wake, Some(NOW.plus_seconds(180)));
    }

    #[test]
    fn a_person_hurries_a_refund_that_nobody_is_asking_about() {
        let mut refund = refund();
        assert_eq!(wait(&mut refund, Answer::Unknown), 60);
        assert!(refund.claim_early(NOW.plus_seconds(1)));
        assert!(!refund.claim_early(NOW.plus_seconds(2)), "another run's");
        assert_eq!(wait(&mut refund, later()), 60);
        assert!(!refund.claim_early(NOW.plus_seconds(60)), "once a minute");
        assert!(refund.claim_early(NOW.plus_seconds(61)));
        refund.apply(Answer::Succeeded("5".into(), None), NOW);
        assert!(!refund.claim_early(NOW.plus_seconds(200)), "it has ended");
    }

    #[test]
    fn hurrying_changes_neither_the_pauses_nor_what_is_stuck() {
        let mut refund = refund();
        let mut now = NOW;
        assert_eq!(wait(&mut refund, Answer::Unknown), 60);
        assert_eq!(wait(&mut refund, later()), 120);
        for _ in 0..20 {
            now = now.plus_seconds(HURRY_SECONDS);
            assert!(refund.claim_early(now));
            assert_eq!(wait(&mut refund, later()), 120);
            assert_eq!(refund.step, 2);
        }
        // One that was planned, after a run that died.
        assert!(refund.claim_early(now.plus_seconds(60)));
        assert!(refund.claim(now.plus_seconds(60 + CLAIM_SECONDS)));
        assert_eq!(wait(&mut refund, Answer::Unknown), 300);
    }

    fn later() -> Answer {
        Answer::Later("FREQUENCY_LIMITED".into())
    }

    fn refused(is_final: bool) -> Answer {
        Answer::Refused {
            err_code: "CODE".into(),
            is_final,
        }
    }

    /// How long a refund that is refused each time it is due stays pending.
    fn patience(is_final: bool) -> i64 {
        let mut refund = refund();
        loop {
            let now = refund.due.unwrap();
            match refund.apply(refused(is_final), now) {
                Transition::Continues => {
                    assert_eq!(refund.status, Status::Pending);
                    assert_eq!(refund.err_code.as_deref(), Some("CODE"));
                }
                ended => {
                    assert_eq!((ended, refund.status), (Transition::Ended, Status::Failed));
                    return now.seconds() - NOW.seconds();
                }
            }
        }
    }

    #[test]
    fn a_refused_refund_keeps_its_number_for_hours_and_for_a_week_where_it_may_pass() {
        assert!((FINAL_SECONDS..4 * 3600 + 1800).contains(&patience(true)));
        assert!((PATIENCE_SECONDS..PATIENCE_SECONDS + 86_400).contains(&patience(false)));
    }

    #[test]
    fn a_week_of_silence_is_no_refusal() {
        let mut refund = refund();
        let late = NOW.plus_seconds(PATIENCE_SECONDS);
        refund.apply(Answer::Unknown, late);
        assert_eq!(refund.apply(refused(false), late), Transition::Continues);
        let end = late.plus_seconds(FINAL_SECONDS);
        assert_eq!(
            refund.apply(refused(false), end.plus_seconds(-1)),
            Transition::Continues
        );
        assert_eq!(refund.apply(refused(false), end), Transition::Ended);
    }

    #[test]
    fn a_call_that_may_have_been_heard_makes_the_hours_begin_again() {
        let mut refund = refund();
        refund.apply(refused(true), NOW);
        assert_eq!(refund.refused_since, Some(NOW));
        refund.apply(Answer::Unknown, NOW.plus_seconds(60));
        assert_eq!(refund.refused_since, None);
        let late = NOW.plus_seconds(FINAL_SECONDS);
        assert_eq!(refund.apply(refused(true), late), Transition::Continues);
        let later = late.plus_seconds(FINAL_SECONDS - 1);
        assert_eq!(refund.apply(refused(true), later), Transition::Continues);
        let end = late.plus_seconds(FINAL_SECONDS);
        assert_eq!(refund.apply(refused(true), end), Transition::Ended);
    }

    #[test]
    fn a_refusal_is_forgotten_once_wechat_has_accepted_the_refund() {
        let mut refund = refund();
        refund.apply(refused(false), NOW);
        refund.apply(Answer::Accepted("5".into()), NOW);
        assert_eq!((refund.err_code, refund.refused_since), (None, None));
    }

    #[test]
    fn a_refund_has_wechats_number_of_its_order_and_its_own() {
        let refund = refund();
        assert_eq!(
            refund.order_key().to_string(),
            "demo000000000001#A000000001"
        );
        assert_eq!(refund.number().to_string(), "demo000000000001A000000001R1");
    }

    #[test]
    fn the_same_request_is_the_same_payment_amount_and_reason() {
        let first = refund();
        let mut again = refund();
        (again.step, again.created_at) = (3, NOW.plus_seconds(60));
        assert!(first.is_same_request(&again));
        let other = |change: fn(&mut Refund)| {
            let mut other = refund();
            change(&mut other);
            other
        };
        for (what, other) in [
            (
                "payment",
                other(|refund| refund.transaction_id = "tx2".into()),
            ),
            ("amount", other(|refund| refund.refund_fee = fen(6))),
            ("reason", other(|refund| refund.reason = Some("x".into()))),
        ] {
            assert!(!first.is_same_request(&other), "another {what}");
        }
    }

    #[test]
    fn only_silence_and_delay_after_four_questions_is_stuck_and_only_while_something_may_happen() {
        let at = |step, status| {
            let mut refund = refund();
            (refund.step, refund.status) = (step, status);
            refund
        };
        for (step, status, news, stuck) in [
            (3, Status::Pending, Answer::Unknown, false),
            (4, Status::Pending, Answer::Unknown, true),
            (5, Status::Processing, Answer::Unknown, true),
            (5, Status::Change, Answer::Unknown, true),
            (3, Status::Pending, later(), false),
            (4, Status::Pending, later(), true),
            (5, Status::Failed, later(), false),
            (5, Status::Processing, Answer::Change, false),
            (5, Status::Succeeded, Answer::Unknown, false),
            (5, Status::Failed, Answer::Unknown, false),
        ] {
            let refund = at(step, status);
            assert_eq!(refund.is_stuck(&news), stuck, "{status:?} {step} {news:?}");
        }
    }

    #[test]
    fn a_status_is_named_alike_in_the_row_and_in_the_api() {
        for (status, name) in [
            (Status::Pending, "pending"),
            (Status::Processing, "processing"),
            (Status::Change, "change"),
            (Status::Succeeded, "succeeded"),
            (Status::Failed, "failed"),
        ] {
            assert_eq!(status.as_str(), name);
            assert_eq!(serde_json::to_value(status).unwrap(), name);
        }
    }

    #[test]
    fn what_comes_too_soon_comes_again_after_a_minute_and_each_hour_at_last() {
        let mut refund = refund();
        let waits: Vec<i64> = (0..7).map(|_| wait(&mut refund, later())).collect();
        assert_eq!(waits, [60, 120, 300, 900, 3600, 3600, 3600]);
        assert_eq!(refund.err_code.as_deref(), Some("FREQUENCY_LIMITED"));
        refund.apply(Answer::Succeeded("5".into(), None), NOW);
        assert_eq!(refund.err_code, None);
    }

    #[test]
    fn a_refund_that_wechat_never_answers_is_offered_each_hour_and_is_stuck() {
        let mut refund = refund();
        let waits: Vec<i64> = (0..7).map(|_| wait(&mut refund, Answer::Unknown)).collect();
        assert_eq!(waits, [60, 120, 300, 900, 3600, 3600, 3600]);
        assert!(refund.is_stuck(&Answer::Unknown));
        assert!(!refund.is_stuck(&Answer::Change));
    }

    #[test]
    fn an_accepted_refund_is_asked_about_more_and_more_rarely() {
        let mut refund = refund();
        let waits: Vec<i64> = (0..10)
            .map(|_| wait(&mut refund, Answer::Accepted("5".into())))
            .collect();
        assert_eq!(waits[..8], GAPS);
        assert_eq!(waits[9], 86_400);
        assert_eq!(wait(&mut refund, Answer::Unknown), 3600);
        let ended = refund.apply(Answer::Succeeded("5".into(), None), NOW);
        assert_eq!(
            (ended, refund.due, refund.wake),
            (Transition::Ended, None, None)
        );
        assert_eq!(refund.apply(Answer::Change, NOW), Transition::Unchanged);
    }
}
