//! Money that goes back: how a refund goes on, what WeChat says to it whatever is
//! right, and what people give back by hand.

use wechat_simulator::pay::{RefundStatus, Refusal, TradeState};

use super::Wechat;
use crate::plan::{HOUR, MINUTE, SECOND};
use crate::random::Random;

/// What becomes of a refund.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// When the payer's account turns out to be dead, if it is.
    pub(crate) changes_at: Option<i64>,
    /// When nothing more happens to it.
    pub(crate) ends_at: i64,
    end: RefundStatus,
}

impl Course {
    /// Where it stands then.
    pub(crate) fn status(self, at: i64) -> RefundStatus {
        match self.changes_at {
            _ if at >= self.ends_at => self.end,
            Some(changes_at) if at >= changes_at => RefundStatus::Change,
            _ => RefundStatus::Processing,
        }
    }

    fn new(now: i64, random: &mut Random) -> Self {
        let ends_at = now
            + match random.within(0, 9) {
                0 => 0,
                1..=5 => random.within(SECOND, 5 * MINUTE),
                6..=8 => random.within(5 * MINUTE, 3 * HOUR),
                _ => random.within(3 * HOUR, 72 * HOUR),
            };
        let change = Some(now + random.within(0, ends_at - now));
        let (changes_at, end) = match random.within(0, 19) {
            0..=15 => (None, RefundStatus::Success),
            16..=17 => (None, RefundStatus::Closed),
            18 => (change, RefundStatus::Success),
            _ => (change, RefundStatus::Closed),
        };
        Self {
            changes_at,
            ends_at,
            end,
        }
    }
}

/// What WeChat says to a refund, whatever is right, until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stubborn {
    code: &'static str,
    until: i64,
}

/// What WeChat says for hours or days; the first ones are final.
const REFUSALS: [&str; 5] = [
    "TRADE_OVERDUE",
    "USER_ACCOUNT_ABNORMAL",
    "NOTENOUGH",
    "ERROR",
    "INVALID_REQUEST",
];

/// The difficulties that WeChat makes over a refund, and whether it has done it
/// all the same.
const DIFFICULTIES: [(&str, bool); 7] = [
    ("NOTENOUGH", false),
    ("USER_ACCOUNT_ABNORMAL", false),
    ("SYSTEMERROR", false),
    ("SYSTEMERROR", true),
    ("BIZERR_NEED_RETRY", false),
    ("FREQUENCY_LIMITED", false),
    ("INVALID_REQ_TOO_MUCH", false),
];

impl Stubborn {
    fn new(now: i64, random: &mut Random) -> Option<Self> {
        let lasts = match random.within(0, 3) {
            0 => random.within(MINUTE, HOUR),
            1..=2 => random.within(HOUR, 30 * HOUR),
            _ => random.within(30 * HOUR, 10 * 24 * HOUR),
        };
        let until = now + lasts;
        random.pick(&REFUSALS).map(|code| Self { code, until })
    }
}

impl Wechat {
    /// A person gives back so much in a thousand of what is left of a payment.
    /// The refund's number, if there was anything.
    pub(crate) fn give_back(
        &mut self,
        number: &str,
        share: i64,
        now: i64,
        random: &mut Random,
    ) -> Option<String> {
        self.pass(now);
        let order = self.pay.order(number)?;
        let fee = (order.rest() * share / 1000).max(1);
        let moment = self.moment(now);
        self.pay.rules.balance_fen = None;
        let told = random.pick(&[None, Some(TradeState::Closed), Some(TradeState::Refund)]);
        self.pay.tell_full_refund(number, told.flatten());
        let refund = self.pay.refund_by_hand(number, Some(fee), None, moment);
        let number = refund.ok()?.out_refund_no;
        self.courses
            .insert(number.clone(), Course::new(now, random));
        self.pass(now);
        Some(number)
    }

    /// What people have given back, or are about to, of a payment.
    pub(crate) fn given_back(&self, transaction_id: &str) -> i64 {
        let order = self.paid(transaction_id);
        let refunds = order.into_iter().flat_map(|order| &order.refunds);
        let by_hand = refunds.filter(|refund| refund.by_hand);
        by_hand.map(|refund| refund.refund_fee).sum()
    }

    /// A refund is asked for, by `ask`; WeChat may `refuse`, whatever is right.
    pub(super) fn refund<T>(
        &mut self,
        number: &str,
        (now, rate): (i64, u32),
        random: &mut Random,
        ask: impl FnOnce(&mut Self) -> Result<T, String>,
        refuse: impl FnOnce(&mut Self, &Refusal) -> T,
    ) -> Result<T, String> {
        let fresh = || {
            random
                .chance(150)
                .then(|| Stubborn::new(now, random))
                .flatten()
        };
        let stubborn = self.stubborn.entry(number.to_owned()).or_insert_with(fresh);
        if let Some(refusal) = stubborn.filter(|refusal| now < refusal.until) {
            let refusal = Refusal::business(refusal.code, "a stubborn refusal");
            return Ok(refuse(self, &refusal));
        }
        let difficulty = random.chance(rate * 2).then(|| random.pick(&DIFFICULTIES));
        let Some((code, although_done)) = difficulty.flatten() else {
            let answer = ask(self)?;
            self.take_refunds(now, random);
            return Ok(answer);
        };
        self.difficulties += 1;
        if although_done {
            let _unsaid = ask(self)?;
            // Nor does WeChat find it at once.
            let trade = self.pay.refund_of(number);
            let trade = trade.map(|(order, _)| order.out_trade_no.clone());
            let lag = random.within(0, HOUR);
            self.pay.lag_refunds(&trade.unwrap_or_default(), lag);
            self.take_refunds(now, random);
        }
        Ok(refuse(self, &Refusal::business(code, "a difficulty")))
    }

    fn take_refunds(&mut self, now: i64, random: &mut Random) {
        for number in self.pay.accepted_refunds() {
            self.courses
                .insert(number.clone(), Course::new(now, random));
            self.accepted.push(number);
        }
    }
}
