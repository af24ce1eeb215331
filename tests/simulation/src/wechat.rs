//! WeChat in a run. Its order book and its rules are the simulator's; here is
//! what the seed decides around them: what becomes of a payer's code, when and
//! how a refund ends, and the difficulties that WeChat makes, by either version. A
//! request that no honest hub would send is a broken promise, not a refusal.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, Uri};
use serde_json::Value;
use url::Url;
use wechat_simulator::pay::{
    Charge, Moment, Password, RefundStatus, Refusal, Request, Rules, TradeState, Version,
    WechatPay, Wish,
};
use wechat_simulator::sign::Fields;
use wechat_simulator::v3::{Answer, Asked as AskedV3, Notice as NoticeV3, Now, Spoilt};
use wechat_simulator::{Directory, Flaw, xml};

use crate::asked::{Asked, What};
use crate::cast;
use crate::judge::out_refund_no;
use crate::plan::{HOUR, MINUTE, Plan, Purse, SECOND};
use crate::random::Random;
use crate::scheduler::{HttpCall, Reply};

const REVERSE: &str = "/secapi/pay/reverse";
const REFUND: &str = "/secapi/pay/refund";
/// Where the hub asks for a certificate that a notification of another merchant bears.
pub(crate) const CERTIFICATES: &str = "/v3/certificates";

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

/// The difficulties that version 3 makes over anything else; each may be made
/// after the fact.
const V3_DIFFICULTIES: [&str; 3] = ["SYSTEMERROR", "FREQUENCY_LIMITED", "BANKERROR"];

/// What WeChat decides; the error is a broken promise of the hub's.
type Decided = Result<Result<Fields, Refusal>, String>;

/// A call that has been heard, and who makes it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) asked: Asked,
    /// Of version 2.
    request: Option<Request>,
}

/// A notification on its way.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Where the hub wanted to be told.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Letter {
    fn v2(url: &str, body: String) -> Self {
        Self {
            path: path_of(url),
            version: Version::V2,
            headers: Vec::new(),
            body,
        }
    }

    fn v3(url: &str, notice: NoticeV3) -> Self {
        Self {
            path: path_of(url),
            version: Version::V3,
            headers: notice.headers,
            body: notice.body,
        }
    }
}

fn path_of(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned())
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Signed {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }
    }
}

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
    pub(crate) fn new(plan: &Plan, directory: Directory, codes: BTreeMap<String, Purse>) -> Self {
        // The harder one of the two readings: the hub must not take it for paid.
        let rules = Rules {
            reversed_state: TradeState::Refund,
            v3_close_guard_seconds: plan.v3_close_guard,
            v3_older_codes: plan.v3_older_codes,
            ..Rules::default()
        };
        Self {
            pay: WechatPay::known(cast::first(), directory, rules),
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

    /// What a call of the payment API is about.
    ///
    /// # Errors
    /// When the hub signed wrongly or asked for what does not exist.
    pub(crate) fn hear(&self, call: &HttpCall) -> Result<Heard, String> {
        let path = &call.path;
        let odd = || format!("the hub called {path} oddly: {}", call.body);
        if path.starts_with("/v3/") {
            let asked = Asked::v3(call).ok_or_else(odd)?;
            return Ok(Heard {
                asked,
                request: None,
            });
        }
        let request = self
            .pay
            .open(call.body.as_bytes())
            .map_err(|refusal| format!("WeChat cannot trust {path}: {refusal:?}"))?;
        Ok(Heard {
            asked: Asked::v2(path, &request).ok_or_else(odd)?,
            request: Some(request),
        })
    }

    /// Answers a call of the payment API. `rate` is how often in a thousand
    /// WeChat makes difficulties.
    ///
    /// # Errors
    /// When the hub signed wrongly or asked for what does not exist.
    pub(crate) fn answer(
        &mut self,
        call: &HttpCall,
        heard: &Heard,
        now: i64,
        rate: u32,
        random: &mut Random,
    ) -> Result<Reply, String> {
        self.pass(now);
        let Some(asked) = &heard.request else {
            let answer = self.answer_v3(call, &heard.asked, now, rate, random)?;
            return Ok(answer.into());
        };
        let path = call.path.as_str();
        let decided = match path {
            "/pay/micropay" => self.micropay(asked, now, random)?,
            REVERSE => self.reverse(asked, now, rate, random)?,
            REFUND => {
                let number = heard.asked.out_refund_no.clone().unwrap_or_default();
                self.refund(
                    &number,
                    (now, rate),
                    random,
                    |wechat| wechat.decide(REFUND, asked, now, |_| Charge::Paid),
                    |_, refusal| Err(refusal.clone()),
                )?
            }
            "/pay/refundquery" if !self.is_good_question(asked) => {
                return Err(format!("the hub asked oddly about refunds: {asked:?}"));
            }
            _ => self.decide(path, asked, now, |_| Charge::Paid)?,
        };
        let moment = self.moment(now);
        let answer = self.pay.answer(path, &asked.caller, &decided, moment);
        Ok(Reply::Answer(200, answer))
    }

    /// Gives a merchant WeChat's certificates, if it has any there.
    pub(crate) fn certificates(&mut self, call: &HttpCall, now: i64) -> Reply {
        self.pass(now);
        let signed_at = Now {
            moment: self.moment(now),
            clock: now / SECOND,
        };
        let as_it_came = AskedV3 {
            method: &call.method,
            uri: &Uri::from_static(CERTIFICATES),
            headers: &call.headers,
            body: call.body.as_bytes(),
        };
        self.pay
            .answer_v3(&as_it_came, signed_at, None, |_| Charge::Paid)
            .into()
    }

    fn answer_v3(
        &mut self,
        call: &HttpCall,
        asked: &Asked,
        now: i64,
        rate: u32,
        random: &mut Random,
    ) -> Result<Answer, String> {
        if asked.what == What::Refund {
            let number = asked.out_refund_no.clone().unwrap_or_default();
            return self.refund(
                &number,
                (now, rate),
                random,
                |wechat| wechat.ask_v3(call, asked, now, None),
                |wechat, refusal| {
                    let moment = wechat.moment(now);
                    wechat.pay.refusal_v3(refusal, moment)
                },
            );
        }
        let difficulty = random.chance(rate / 2);
        let difficulty = difficulty.then(|| random.pick(&V3_DIFFICULTIES)).flatten();
        let is_done = difficulty.is_none() || random.chance(500);
        let spoilt = random.chance(rate / 4).then_some(Spoilt::SignTest);
        self.difficulties += u64::from(difficulty.is_some() || spoilt.is_some());
        let answer = match is_done {
            true => Some(self.ask_v3(call, asked, now, spoilt)?),
            false => None,
        };
        let moment = self.moment(now);
        Ok(match (difficulty, answer) {
            (None, Some(answer)) => answer,
            (code, _) => {
                let code = code.unwrap_or_default();
                let refusal = Refusal::business(code, "a difficulty");
                self.pay.refusal_v3(&refusal, moment)
            }
        })
    }

    fn ask_v3(
        &mut self,
        call: &HttpCall,
        asked: &Asked,
        now: i64,
        spoilt: Option<Spoilt>,
    ) -> Result<Answer, String> {
        let target = match call.query.as_str() {
            "" => call.path.clone(),
            query => format!("{}?{query}", call.path),
        };
        let uri: Uri = target.parse().map_err(|_| format!("{target} is no path"))?;
        let known = asked.out_trade_no.as_ref();
        let known = known.and_then(|number| self.pay.order(number));
        // What version 2 opened, and the hub has no key for, is not the same order.
        let is_another = known.is_some_and(|order| order.version == Version::V2);
        let may_differ = match asked.what {
            What::Place => is_another || self.is_forgotten(asked.out_trade_no.as_deref()),
            What::Refund => self.has_people(asked.transaction_id.as_deref()),
            _ => true,
        };
        let signed_at = Now {
            moment: self.moment(now),
            clock: now / SECOND,
        };
        let as_it_came = AskedV3 {
            method: &call.method,
            uri: &uri,
            headers: &call.headers,
            body: call.body.as_bytes(),
        };
        let answer = self
            .pay
            .answer_v3(&as_it_came, signed_at, spoilt, |_| Charge::Paid);
        let refused: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let code = refused.get("code").and_then(Value::as_str);
        let is_the_hubs_fault = match code.filter(|_| answer.status >= 400) {
            Some(
                "PARAM_ERROR"
                | "SIGN_ERROR"
                | "NOT_FOUND"
                | "APPID_MCHID_NOT_MATCH"
                | "OPENID_MISMATCH",
            ) => true,
            Some("INVALID_REQUEST") => !may_differ,
            Some("RESOURCE_NOT_EXISTS") => call.method == Method::POST,
            _ => false,
        };
        match is_the_hubs_fault {
            true => Err(format!("the hub called {target} wrongly: {}", answer.body)),
            false => Ok(answer),
        }
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
        let order = self.paid(transaction_id);
        let refunds = order.into_iter().flat_map(|order| &order.refunds);
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

    /// A notification about a payment, of this amount, true or not.
    pub(crate) fn payment_notification(
        &mut self,
        number: &str,
        total_fee: i64,
        now: i64,
    ) -> Option<Letter> {
        let (moment, clock) = (self.moment(now), now / SECOND);
        let order = self.pay.order(number).filter(|order| order.is_paid())?;
        let url = order.notify_url()?;
        if order.version == Version::V3 {
            let flaw = (total_fee != order.total_fee).then_some(Flaw::WrongAmount);
            let now = Now { moment, clock };
            let notice = self.pay.v3_payment_notification(order, flaw, now)?;
            return Some(Letter::v3(url, notice));
        }
        let mut fields = self.pay.payment_notification(order, moment);
        fields.insert("total_fee".to_owned(), total_fee.to_string());
        let body = xml::write(&self.pay.signed(order, fields));
        Some(Letter::v2(url, body))
    }

    /// A notification that claims this status. Version 2's is signed by nobody; of
    /// version 3 a forged one is signed with nobody's key.
    pub(crate) fn refund_notification(
        &mut self,
        number: &str,
        status: RefundStatus,
        is_forged: bool,
        now: i64,
    ) -> Option<Letter> {
        let (moment, clock) = (self.moment(now), now / SECOND);
        let (order, refund) = self.pay.refund_of(number)?;
        let mut claimed = refund.clone();
        claimed.status = status;
        // What people made is told to the address that the merchant has set.
        let chosen = format!("/wechat/notify/{}", order.mch_id);
        let url = refund.notify_url().unwrap_or(&chosen);
        if refund.version == Version::V3 {
            let flaw = is_forged.then_some(Flaw::ForgedSign);
            let now = Now { moment, clock };
            let notice = self
                .pay
                .v3_refund_notification(order, &claimed, flaw, now)?;
            return Some(Letter::v3(url, notice));
        }
        let body = self.pay.refund_notification(order, &claimed, moment);
        Some(Letter::v2(url, body))
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
        // What version 3 opened, and the hub has no key for, is not the same order.
        let may_differ = self.is_forgotten(Some(number))
            || known.is_some_and(|known| known.version == Version::V3);
        let is_another =
            path == "/pay/unifiedorder" && known.is_some_and(|known| !known.is_asked_by(asked));
        if is_another && !may_differ {
            return Err("the same out_trade_no was used for another payment".to_owned());
        }
        let moment = self.moment(now);
        let decided = self.pay.decide(path, asked, moment, charge);
        if is_another && may_differ {
            return Ok(decided);
        }
        match &decided {
            Err(refusal)
                if is_the_hubs_fault(path, &refusal.code)
                    || (path == REFUND
                        && refusal.code == "INVALID_REQUEST"
                        && !self.has_people(asked.get("transaction_id"))) =>
            {
                Err(format!("the hub called {path} wrongly: {refusal:?}"))
            }
            _ => Ok(decided),
        }
    }

    /// Whether people have given back some of the payment that is asked for.
    fn has_people(&self, transaction_id: Option<&str>) -> bool {
        transaction_id.is_some_and(|id| self.given_back(id) > 0)
    }

    /// Whether the hub may have forgotten that it has used this number.
    fn is_forgotten(&self, number: Option<&str>) -> bool {
        let order = number.and_then(|number| number.get(..26));
        order.is_some_and(|of| self.put_back.contains(of))
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

    /// A refund is asked for, by `ask`; WeChat may `refuse`, whatever is right.
    fn refund<T>(
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
