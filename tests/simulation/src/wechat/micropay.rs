//! The codes on payers' phones at WeChat: charged once, paid at once, later or
//! never, and taken back. It refuses to know how long a till waits.

use wechat_simulator::sign::Fields;

use super::{Moment, Standing, Trade, Wechat, fields, payment, refused};
use crate::plan::{Purse, SECOND};

/// WeChat does not take a payment back that began less than this ago.
const GUARD: i64 = 15 * SECOND;

impl Wechat {
    /// Time passes: payers have typed what they type.
    pub fn pass(&mut self, now: i64) {
        for trade in self.trades.values_mut() {
            if trade.standing == Standing::Open
                && let Some((_, standing)) = trade.next.take_if(|(at, _)| *at <= now)
            {
                trade.standing = standing;
            }
        }
    }

    /// A code is charged. A number is charged once: the second time could move
    /// money twice.
    pub(super) fn micropay(
        &mut self,
        number: String,
        asked: &Fields,
        (now, _, random): Moment<'_>,
    ) -> Result<Fields, String> {
        let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
        if self.trades.contains_key(&number) {
            return Err(format!("{number} was charged twice"));
        }
        let total_fee = field("total_fee").parse().unwrap_or_default();
        let code = self.codes.get_mut(&field("auth_code"));
        let (purse, used) = code.ok_or("the hub charged a code that nobody showed")?;
        let purse = match used.replace(number.clone()) {
            // A code is good for one payment.
            Some(_) => Purse::Refused("AUTH_CODE_INVALID"),
            None => *purse,
        };
        let paid = |seconds: i64| {
            let at = now + seconds * SECOND;
            Some((at, Standing::Paid(at)))
        };
        let (standing, next) = match purse {
            Purse::Pays => (Standing::Paid(now), None),
            Purse::Types(seconds) | Purse::Unsure(seconds) => (Standing::Open, paid(seconds)),
            Purse::Mistypes(seconds) => {
                let next = (now + seconds * SECOND, Standing::Failed);
                (Standing::Open, Some(next))
            }
            Purse::Leaves | Purse::Races | Purse::Lost => (Standing::Open, None),
            Purse::Refused(_) => (Standing::Failed, None),
        };
        let trade = Trade {
            number: number.clone(),
            standing,
            total_fee,
            asked_fee: total_fee,
            trade_type: "MICROPAY".to_owned(),
            serial: self.trades.len(),
            next,
            charged_at: now,
            // The hub asks three times before it looks again.
            recalls: match purse {
                Purse::Races => random.within(0, 5),
                _ => random.within(-2, 2),
            },
            races: purse == Purse::Races,
        };
        let answer = match purse {
            Purse::Pays => payment(&trade, total_fee, now),
            Purse::Types(_) | Purse::Mistypes(_) | Purse::Leaves | Purse::Races => {
                refused("USERPAYING")
            }
            Purse::Refused(code) => refused(code),
            Purse::Unsure(_) | Purse::Lost => refused(
                random
                    .pick(&["SYSTEMERROR", "BANKERROR"])
                    .unwrap_or_default(),
            ),
        };
        self.trades.insert(number, trade);
        Ok(answer)
    }

    /// A payment is taken back: what was paid goes back, and what was not can no
    /// longer be paid.
    pub(super) fn reverse(&mut self, number: &str, (now, rate, random): Moment<'_>) -> Fields {
        // Rarely asked, and what is lost here is money: a bad day is a bad day.
        let difficult = rate > 0 && random.chance(300);
        self.difficulties += u64::from(difficult);
        if difficult && random.chance(500) {
            return refused("SYSTEMERROR");
        }
        let Some(trade) = self.trades.get_mut(number) else {
            return refused("ORDERNOTEXIST");
        };
        if now < trade.charged_at + GUARD {
            return refused("TRADE_ERROR");
        }
        if trade.races && trade.standing == Standing::Open {
            trade.standing = Standing::Paid(now);
        }
        if trade.recalls > 0 {
            trade.recalls -= 1;
            return fields(&[("recall", "Y")]);
        }
        let standing = match trade.standing {
            Standing::Open => Standing::Revoked,
            Standing::Paid(at) => Standing::TakenBack(at),
            _ if random.chance(500) => return refused("ORDERREVERSED"),
            _ => trade.standing.clone(),
        };
        trade.standing = standing;
        match difficult {
            true => refused("SYSTEMERROR"),
            false => fields(&[("recall", "N")]),
        }
    }
}
