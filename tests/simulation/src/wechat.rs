//! WeChat in a run. Its order book and its rules are the simulator's; here is
//! what the seed decides around them: what becomes of a payer's code, when and
//! how a refund ends, and the difficulties that WeChat makes, by either version. A
//! request that no honest hub would send is a broken promise, not a refusal.

mod codes;
mod refunds;
mod v3;

use std::collections::{BTreeMap, BTreeSet};

use url::Url;
use wechat_simulator::pay::{
    Charge, Moment, RefundStatus, Refusal, Request, Rules, TradeState, Version, WechatPay, Wish,
};
use wechat_simulator::sign::Fields;
use wechat_simulator::v3::{Answer, Notice as NoticeV3, Now};
use wechat_simulator::{Directory, Flaw, xml};

pub(crate) use refunds::Course;

use codes::{Charged, LateCharge};
use refunds::Stubborn;

use crate::asked::Asked;
use crate::cast;
use crate::judge::out_refund_no;
use crate::plan::{Plan, Purse, SECOND};
use crate::random::Random;
use crate::scheduler::{HttpCall, Reply};

const REVERSE: &str = "/secapi/pay/reverse";
const REFUND: &str = "/secapi/pay/refund";
/// Where the hub asks for a certificate that a notification of another merchant bears.
pub(crate) const CERTIFICATES: &str = "/v3/certificates";

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
