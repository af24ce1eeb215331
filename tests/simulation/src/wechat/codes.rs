//! Payers' codes: what becomes of a charge, at once, later, or too late, and of
//! taking it back.

use wechat_simulator::pay::{Charge, Password, Refusal, Request};
use wechat_simulator::sign::Fields;

use super::{Decided, REVERSE, Wechat};
use crate::plan::{Purse, SECOND};
use crate::random::Random;

/// What becomes of a code that was charged.
#[derive(Debug)]
pub(super) struct Charged {
    /// When the payer has typed the password, and how.
    pub(super) typed: Option<(i64, Password)>,
    /// How often WeChat will want to be asked again before it takes it back.
    pub(super) recalls: u32,
    /// It is paid at the moment at which it is first taken back.
    pub(super) races: bool,
}

/// A charge that is on its way.
#[derive(Debug)]
pub(super) struct LateCharge {
    pub(super) at: i64,
    pub(super) asked: Request,
}

impl Wechat {
    /// Whether this payment was charged after its call was over.
    pub(crate) fn came_late(&self, number: &str) -> bool {
        self.came_late.contains(number)
    }

    /// How many were.
    pub(crate) fn late_charges(&self) -> usize {
        self.came_late.len()
    }

    /// A code is charged. A number is charged once: the second time could move
    /// money twice.
    pub(super) fn micropay(&mut self, asked: &Request, now: i64, random: &mut Random) -> Decided {
        let number = asked.get("out_trade_no").unwrap_or_default();
        let purse = asked.get("auth_code").and_then(|code| self.codes.get(code));
        let purse = *purse.ok_or("the hub charged a code that nobody showed")?;
        let typed = match purse {
            Purse::Types(after) | Purse::Unsure(after) => Some((after, Password::Right)),
            Purse::Mistypes(after) => Some((after, Password::Wrong)),
            _ => None,
        };
        // The hub asks three times before it looks again.
        let recalls = match purse {
            Purse::Races => random.within(0, 5),
            _ => random.within(-2, 2),
        };
        let charged = Charged {
            typed: typed.map(|(after, password)| (now + after * SECOND, password)),
            recalls: u32::try_from(recalls).unwrap_or_default(),
            races: purse == Purse::Races,
        };
        let known = self.charged.insert(number.to_owned(), charged).is_some();
        if known || self.pay.order(number).is_some() {
            return Err(format!("{number} was charged twice"));
        }
        if let Purse::Late(after) = purse {
            let (at, asked) = (now + after * SECOND, asked.clone());
            self.late
                .insert(number.to_owned(), LateCharge { at, asked });
            self.unanswered = true;
            return Ok(Ok(Fields::new()));
        }
        self.decide("/pay/micropay", asked, now, |_| match purse {
            Purse::Pays | Purse::Late(_) => Charge::Paid,
            Purse::Types(_) | Purse::Mistypes(_) | Purse::Leaves | Purse::Races => {
                Charge::Open("USERPAYING")
            }
            Purse::Refused(code) => Charge::Refused(code),
            Purse::Unsure(_) | Purse::Lost => {
                let code = random.pick(&["SYSTEMERROR", "BANKERROR"]);
                Charge::Open(code.unwrap_or_default())
            }
        })
    }

    /// A payment is taken back, perhaps at the moment at which it is made.
    pub(super) fn reverse(
        &mut self,
        asked: &Request,
        now: i64,
        rate: u32,
        random: &mut Random,
    ) -> Decided {
        // Rarely asked, and what is lost here is money: a bad day is a bad day.
        let difficult = rate > 0 && random.chance(300);
        self.difficulties += u64::from(difficult);
        let difficulty = |code: &str| Ok(Err(Refusal::business(code, "a difficulty")));
        if difficult && random.chance(500) {
            return difficulty("SYSTEMERROR");
        }
        let number = asked.get("out_trade_no").unwrap_or_default();
        let guard = self.pay.rules.reverse_guard_seconds * SECOND;
        let order = self.pay.order(number);
        let order = order.filter(|order| now >= order.created_ms + guard);
        let is_due = order.is_some();
        let is_over = order.is_some_and(|order| !order.is_open() && !order.is_paid());
        let moment = self.moment(now);
        if let Some(charged) = self.charged.get(number) {
            if charged.races && is_due {
                self.pay.type_password(number, Password::Right, moment);
            }
            if is_over && charged.recalls == 0 && random.chance(500) {
                return difficulty("ORDERREVERSED");
            }
            self.pay.rules.reverse_recalls = charged.recalls;
        }
        let decided = self.decide(REVERSE, asked, now, |_| Charge::Paid)?;
        if let Some(charged) = self.charged.get_mut(number) {
            charged.recalls = self.pay.rules.reverse_recalls;
        }
        match decided {
            Ok(answer) if difficult && answer.get("recall").is_some_and(|again| again == "N") => {
                difficulty("SYSTEMERROR")
            }
            decided => Ok(decided),
        }
    }
}
