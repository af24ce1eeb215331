//! WeChat in a run. Its order book and its rules are the simulator's; here is
//! what the seed decides around them: what becomes of a payer's code, when and
//! how a refund ends, and the difficulties that WeChat makes. A request that no
//! honest hub would send is a broken promise, not a refusal.

use std::collections::{BTreeMap, BTreeSet};

use wechat_simulator::Config;
use wechat_simulator::pay::{
    Charge, Moment, Order, Password, RefundStatus, Refusal, Request, Rules, TradeState, WechatPay,
    Wish,
};
use wechat_simulator::sign::Fields;
use wechat_simulator::xml;

use crate::judge::out_refund_no;
use crate::plan::{HOUR, MINUTE, Purse, SECOND};
use crate::random::Random;

pub(crate) const APP_ID: &str = "wx0123456789abcdef";
pub(crate) const MCH_ID: &str = "1900000109";
/// The key that signs payments.
const API_KEY: &str = "simulation0simulation0simulation";
/// What the secret in Secrets Manager holds.
pub(crate) const SECRET: &str = r#"{"api_key":"simulation0simulation0simulation"}"#;

const REVERSE: &str = "/secapi/pay/reverse";
const REFUND: &str = "/secapi/pay/refund";

/// What becomes of a code that was charged.
#[derive(Debug)]
struct Charged {
    /// When the payer has typed the password, and how.
    typed: Option<(i64, Password)>,
    /// How often WeChat will want to be asked again before it takes it back.
    recalls: u32,
    /// It is paid at the moment at which it is first taken back.
    races: bool,
}

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
struct Stubborn {
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

/// A charge that is on its way.
#[derive(Debug)]
struct LateCharge {
    at: i64,
    asked: Request,
}

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

/// What WeChat decides; the error is a broken promise of the hub's.
type Decided = Result<Result<Fields, Refusal>, String>;

#[derive(Debug)]
pub(crate) struct Wechat {
    /// Who has paid and got back what.
    pub(crate) pay: WechatPay,
    /// By the hub's number of the refund.
    pub(crate) courses: BTreeMap<String, Course>,
    /// The refunds accepted since somebody last looked.
    pub(crate) accepted: Vec<String>,
    /// The difficulties made since somebody last looked.
    pub(crate) difficulties: u64,
    /// The last call was heard by nobody, or its answer is lost.
    pub(crate) unanswered: bool,
    /// By the hub's number of the refund; nothing where WeChat is not stubborn.
    stubborn: BTreeMap<String, Option<Stubborn>>,
    /// By the hub's number of the payment.
    late: BTreeMap<String, LateCharge>,
    came_late: BTreeSet<String>,
    codes: BTreeMap<String, Purse>,
    charged: BTreeMap<String, Charged>,
    /// The orders of which the hub may have forgotten what numbers it has used: how
    /// the numbers begin.
    put_back: BTreeSet<String>,
    serial: u128,
}

impl Wechat {
    /// WeChat before anybody has paid, with the codes on payers' phones.
    pub(crate) fn new(codes: BTreeMap<String, Purse>) -> Self {
        let merchant = Config {
            app_id: APP_ID.to_owned(),
            mch_id: MCH_ID.to_owned(),
            api_key: API_KEY.to_owned(),
            ..Config::default()
        };
        // The harder one of the two readings: the hub must not take it for paid.
        let rules = Rules {
            reversed_state: TradeState::Refund,
            ..Rules::default()
        };
        Self {
            pay: WechatPay::new(merchant, rules),
            courses: BTreeMap::new(),
            accepted: Vec::new(),
            difficulties: 0,
            unanswered: false,
            stubborn: BTreeMap::new(),
            late: BTreeMap::new(),
            came_late: BTreeSet::new(),
            codes,
            charged: BTreeMap::new(),
            put_back: BTreeSet::new(),
            serial: 0,
        }
    }

    /// An order's row is put back from a backup.
    pub(crate) fn put_back(&mut self, pk: &str) {
        self.put_back.insert(pk.replace('#', ""));
    }

    /// Answers a call of the payment API. `rate` is how often in a thousand
    /// WeChat makes difficulties.
    ///
    /// # Errors
    /// When the hub signed wrongly or asked for what does not exist.
    pub(crate) fn answer(
        &mut self,
        path: &str,
        body: &str,
        now: i64,
        rate: u32,
        random: &mut Random,
    ) -> Result<String, String> {
        self.pass(now);
        let asked = self
            .pay
            .open(body.as_bytes())
            .map_err(|refusal| format!("WeChat cannot trust {path}: {refusal:?}"))?;
        let decided = match path {
            "/pay/micropay" => self.micropay(&asked, now, random)?,
            REVERSE => self.reverse(&asked, now, rate, random)?,
            REFUND => self.refund(&asked, now, rate, random)?,
            "/pay/refundquery" if !self.is_good_question(&asked) => {
                return Err(format!("the hub asked oddly about refunds: {asked:?}"));
            }
            _ => self.decide(path, &asked, now, |_| Charge::Paid)?,
        };
        let moment = self.moment(now);
        Ok(self.pay.answer(path, &asked.caller, &decided, moment))
    }

    /// Time passes: payers have typed what they type, refunds have gone on.
    pub(crate) fn pass(&mut self, now: i64) {
        let mut typed = Vec::new();
        for (number, charged) in &mut self.charged {
            if let Some((at, password)) = charged.typed.take_if(|(at, _)| *at <= now) {
                typed.push((number.clone(), at, password));
            }
        }
        for (number, at, password) in typed {
            let moment = self.moment(at);
            self.pay.type_password(&number, password, moment);
        }
        let arrived = self.late.extract_if(.., |_, charge| charge.at <= now);
        for (number, charge) in arrived.collect::<Vec<_>>() {
            let moment = self.moment(charge.at);
            let paid = |_: &str| Charge::Paid;
            // Nobody waits for the answer.
            let _answer = self
                .pay
                .decide("/pay/micropay", &charge.asked, moment, paid);
            self.came_late.insert(number);
        }
        for (number, course) in &self.courses {
            self.pay
                .refund_becomes(number, course.status(now), course.ends_at);
        }
    }

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
        let is_its = |order: &&Order| {
            let paid = order.payment.as_ref();
            paid.is_some_and(|paid| paid.transaction_id == transaction_id)
        };
        let refunds = self.pay.orders().filter(is_its);
        let refunds = refunds.flat_map(|order| &order.refunds);
        let by_hand = refunds.filter(|refund| refund.by_hand);
        by_hand.map(|refund| refund.refund_fee).sum()
    }

    /// Whether this payment was charged after its call was over.
    pub(crate) fn came_late(&self, number: &str) -> bool {
        self.came_late.contains(number)
    }

    /// How many were.
    pub(crate) fn late_charges(&self) -> usize {
        self.came_late.len()
    }

    /// WeChat's number for the merchant's refund in this row of the ledger.
    pub(crate) fn number_of(&self, pk: &str, part: &str) -> String {
        let by_hand = part.strip_prefix("ext-");
        let by_hand = by_hand.and_then(|id| self.pay.refund_by_id(id));
        match by_hand {
            Some((_, refund)) => refund.out_refund_no.clone(),
            None => out_refund_no(pk, part),
        }
    }

    /// How the refund in this row goes; nothing when WeChat does not have it.
    pub(crate) fn course_of(&self, pk: &str, part: &str) -> Option<Course> {
        self.courses.get(&self.number_of(pk, part)).copied()
    }

    /// The row of a payment or a refund with this number: its order's key, and
    /// what follows that in a refund's number.
    pub(crate) fn row_of(&self, number: &str) -> (String, String) {
        let by_hand = self.pay.refund_of(number);
        let by_hand = by_hand.filter(|(_, refund)| refund.by_hand);
        let (named, part) = match by_hand {
            Some((order, refund)) => (order.out_trade_no.as_str(), Some(&refund.refund_id)),
            None => (number, None),
        };
        let (app_id, rest) = named.split_at_checked(16).unwrap_or_default();
        let (order_no, own) = rest.split_at_checked(10).unwrap_or_default();
        let part = part.map_or(own.to_owned(), |id| format!("ext-{id}"));
        (format!("{app_id}#{order_no}"), part)
    }

    /// About one refund by the hub's number, about one that the hub did not make
    /// by WeChat's, or about all of a payment, page by page.
    fn is_good_question(&self, asked: &Request) -> bool {
        let names = ["out_refund_no", "refund_id", "transaction_id", "offset"];
        match names.map(|name| asked.get(name)) {
            [Some(_), None, None, None] => true,
            [None, Some(id), None, None] => {
                let refund = self.pay.refund_by_id(id);
                refund.is_some_and(|(_, refund)| refund.by_hand)
            }
            [None, None, Some(_), Some(offset)] => offset.parse::<u8>().is_ok(),
            // Of what WeChat calls closed, or tells no payment of.
            [None, None, None, None] => {
                let order = asked.get("out_trade_no").and_then(|no| self.pay.order(no));
                order.is_some_and(|order| !order.is_open())
            }
            _ => false,
        }
    }

    /// The payer pays so much more than was asked; true when this is what made
    /// it paid. WeChat would normally refuse it for a closed or expired one.
    pub(crate) fn pay(&mut self, number: &str, more: i64, although_closed: bool, now: i64) -> bool {
        let asked = self.pay.order(number).map(|order| order.total_fee);
        let total_fee = asked.map(|asked| asked + more);
        let moment = self.moment(now);
        // Some have a coupon: what counts is the order's total all the same.
        let coupon_fee = match self.serial % 3 {
            0 => total_fee.unwrap_or_default() / 4,
            _ => 0,
        };
        let wish = Wish {
            force: although_closed,
            total_fee,
            coupon_fee,
            ..Wish::default()
        };
        self.pay.pay(number, wish, moment).is_ok()
    }

    /// The body of a notification about a payment, of this amount, true or not.
    pub(crate) fn payment_notification(
        &mut self,
        number: &str,
        total_fee: i64,
        now: i64,
    ) -> Option<String> {
        let moment = self.moment(now);
        let order = self.pay.order(number).filter(|order| order.is_paid())?;
        let mut fields = self.pay.payment_notification(order, moment);
        fields.insert("total_fee".to_owned(), total_fee.to_string());
        Some(xml::write(&self.pay.signed(order, fields)))
    }

    /// The body of a notification that claims this status, true or not.
    pub(crate) fn refund_notification(
        &mut self,
        number: &str,
        status: RefundStatus,
        now: i64,
    ) -> Option<String> {
        let moment = self.moment(now);
        let (order, refund) = self.pay.refund_of(number)?;
        let mut claimed = refund.clone();
        claimed.status = status;
        Some(self.pay.refund_notification(order, &claimed, moment))
    }

    fn moment(&mut self, now_ms: i64) -> Moment {
        self.serial += 1;
        Moment {
            now_ms,
            unique: self.serial,
        }
    }

    fn decide(
        &mut self,
        path: &str,
        asked: &Request,
        now: i64,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Decided {
        let number = asked.get("out_trade_no").unwrap_or_default();
        let known = self.pay.order(number);
        let is_forgotten = number
            .get(..26)
            .is_some_and(|of| self.put_back.contains(of));
        let is_another =
            path == "/pay/unifiedorder" && known.is_some_and(|known| !known.is_asked_by(asked));
        if is_another && !is_forgotten {
            return Err("the same out_trade_no was used for another payment".to_owned());
        }
        let moment = self.moment(now);
        let decided = self.pay.decide(path, asked, moment, charge);
        if is_another && is_forgotten {
            return Ok(decided);
        }
        match &decided {
            Err(refusal)
                if is_the_hubs_fault(path, &refusal.code)
                    || (path == REFUND
                        && refusal.code == "INVALID_REQUEST"
                        && !self.has_people(asked)) =>
            {
                Err(format!("the hub called {path} wrongly: {refusal:?}"))
            }
            _ => Ok(decided),
        }
    }

    /// Whether people have given back some of the payment that is asked for.
    fn has_people(&self, asked: &Request) -> bool {
        let id = asked.get("transaction_id").unwrap_or_default();
        self.given_back(id) > 0
    }

    /// A code is charged. A number is charged once: the second time could move
    /// money twice.
    fn micropay(&mut self, asked: &Request, now: i64, random: &mut Random) -> Decided {
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
    fn reverse(&mut self, asked: &Request, now: i64, rate: u32, random: &mut Random) -> Decided {
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

    fn refund(&mut self, asked: &Request, now: i64, rate: u32, random: &mut Random) -> Decided {
        let number = asked.get("out_refund_no").unwrap_or_default();
        let fresh = || {
            random
                .chance(150)
                .then(|| Stubborn::new(now, random))
                .flatten()
        };
        let stubborn = self.stubborn.entry(number.to_owned()).or_insert_with(fresh);
        if let Some(refusal) = stubborn.filter(|refusal| now < refusal.until) {
            return Ok(Err(Refusal::business(refusal.code, "a stubborn refusal")));
        }
        let before = self.pay.clone();
        let decided = self.decide(REFUND, asked, now, |_| Charge::Paid)?;
        let difficulty = random.chance(rate * 2).then(|| random.pick(&DIFFICULTIES));
        let difficulty = difficulty.flatten();
        self.difficulties += u64::from(difficulty.is_some());
        if let Some((_, false)) = difficulty {
            self.pay = before;
        }
        if let Some((_, true)) = difficulty {
            // Nor does WeChat find it at once.
            let trade = self
                .pay
                .refund_of(asked.get("out_refund_no").unwrap_or_default());
            let trade = trade.map(|(order, _)| order.out_trade_no.clone());
            let lag = random.within(0, HOUR);
            self.pay.lag_refunds(&trade.unwrap_or_default(), lag);
        }
        for number in self.pay.accepted_refunds() {
            self.courses
                .insert(number.clone(), Course::new(now, random));
            self.accepted.push(number);
        }
        Ok(match difficulty {
            Some((code, _)) => Err(Refusal::business(code, "a difficulty")),
            None => decided,
        })
    }
}

/// Whether this refusal shows a mistake of the hub's, whatever went wrong on
/// the way.
fn is_the_hubs_fault(path: &str, code: &str) -> bool {
    match code {
        "PARAM_ERROR" | "LACK_PARAMS" | "NOT_FOUND" => true,
        // The order may have reached WeChat later than the hub began it, and
        // people may have given back what was promised.
        "INVALID_REQUEST" => path != "/pay/closeorder" && path != REFUND,
        "ORDERNOTEXIST" | "TRADE_STATE_ERROR" => path == REFUND,
        _ => false,
    }
}
