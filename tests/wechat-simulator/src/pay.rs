//! WeChat Pay v2: the order book and its rules. unifiedorder, orderquery,
//! closeorder, micropay, reverse, refund and refundquery are answered here,
//! payers pay here, and notifications are worded here.
//!
//! Nothing waits, sends, reads a clock or draws a number: whoever drives the
//! book (this crate's HTTP server, or the simulation) brings the [`Moment`] of
//! each call, decides what payers do and when a refund ends, and carries the
//! notifications. So a driver with one stream of chance replays exactly.

mod message;
mod micropay;
mod moment;
mod notification;
mod order;
mod payer;
mod refund;
mod rules;
mod texts;
mod unified;

use std::collections::BTreeMap;

pub(crate) use message::put;
pub use message::{Caller, Refusal, Request};
pub use micropay::Charge;
pub use moment::Moment;
pub use notification::{ACCEPTED, ANSWER_SECONDS, OLDER_SCHEDULE, SCHEDULE, accepts};
pub(crate) use order::Attempt;
pub use order::{Obstacle, Order, Payment, Refund, RefundStatus, TradeState, TradeType, Version};
pub use payer::{CannotPay, Password, Receipt, Wish};
pub use rules::Rules;
pub(crate) use rules::flaw_of_seconds;
pub(crate) use unified::{check_notify_url, used_up};

use crate::config::Config;
use crate::merchants::Directory;
use crate::sign::Fields;

/// WeChat's order book. A number is one merchant's own; a question that comes
/// without a merchant, as tests and drivers ask, finds the first one's.
#[derive(Clone, Debug)]
pub struct WechatPay {
    /// The rules from now on.
    pub rules: Rules,
    merchant: Config,
    /// Who may call, and with which keys.
    pub(crate) directory: Directory,
    orders: BTreeMap<Number, Order>,
    /// `auth_code` to the order number it was used for.
    auth_codes: BTreeMap<String, String>,
    accepted_refunds: Vec<String>,
}

/// An order's key: the merchant's number for it, and whose number that is.
type Number = (String, String);

impl WechatPay {
    /// An empty book, for the merchant and the account that `merchant` names, and
    /// v2 alone.
    #[must_use]
    pub fn new(merchant: Config, rules: Rules) -> Self {
        let directory = Directory::of(&merchant);
        Self::known(merchant, directory, rules)
    }

    /// An empty book, for all of `directory`.
    #[must_use]
    pub fn known(merchant: Config, directory: Directory, rules: Rules) -> Self {
        Self {
            rules,
            merchant,
            directory,
            orders: BTreeMap::new(),
            auth_codes: BTreeMap::new(),
            accepted_refunds: Vec::new(),
        }
    }

    /// Does what a request asks. `charge` says what comes of an `auth_code`; it
    /// is asked only when a fresh code is really charged.
    ///
    /// # Errors
    /// WeChat's refusal; nothing was done, except where micropay says so.
    pub fn decide(
        &mut self,
        path: &str,
        request: &Request,
        moment: Moment,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Result<Fields, Refusal> {
        match path {
            "/pay/unifiedorder" => self.unified_order(request, moment),
            "/pay/orderquery" => self.order_query(request, moment),
            "/pay/closeorder" => self.close_order(request, moment),
            "/pay/micropay" => self.micropay(request, moment, charge),
            "/secapi/pay/reverse" => self.reverse(request, moment),
            "/secapi/pay/refund" => self.refund(request, moment),
            "/pay/refundquery" => self.refund_query(request, moment),
            _ => Err(Refusal::transport("NOT_FOUND", "没有此接口")),
        }
    }

    /// Whose book it is.
    #[must_use]
    pub fn merchant(&self) -> &Config {
        &self.merchant
    }

    /// An order by the merchant's number.
    #[must_use]
    pub fn order(&self, out_trade_no: &str) -> Option<&Order> {
        let from = (out_trade_no.to_owned(), String::new());
        let (_, order) = self.orders.range(from..).next()?;
        (order.out_trade_no == out_trade_no).then_some(order)
    }

    /// An order by the number of the merchant that asks.
    pub(crate) fn own(&self, mch_id: &str, out_trade_no: &str) -> Option<&Order> {
        let number = (out_trade_no.to_owned(), mch_id.to_owned());
        self.orders.get(&number)
    }

    /// The same, to be changed.
    pub(crate) fn own_mut(&mut self, mch_id: &str, out_trade_no: &str) -> Option<&mut Order> {
        let number = (out_trade_no.to_owned(), mch_id.to_owned());
        self.orders.get_mut(&number)
    }

    /// A payment by WeChat's number, if it is this merchant's.
    pub(crate) fn own_payment(&self, mch_id: &str, transaction_id: &str) -> Option<&Order> {
        let mut orders = self.orders();
        orders.find(|order| order.mch_id == mch_id && order.is_payment(transaction_id))
    }

    /// A refund by the number of the merchant that asks, with its order.
    pub(crate) fn own_refund(
        &self,
        mch_id: &str,
        out_refund_no: &str,
    ) -> Option<(&Order, &Refund)> {
        let own = self.orders().filter(|order| order.mch_id == mch_id);
        own.flat_map(|order| order.refunds.iter().map(move |refund| (order, refund)))
            .find(|(_, refund)| refund.out_refund_no == out_refund_no)
    }

    /// All orders, by the merchant's number.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// A refund by the merchant's number, with its order.
    #[must_use]
    pub fn refund_of(&self, out_refund_no: &str) -> Option<(&Order, &Refund)> {
        self.orders().find_map(|order| {
            let mut refunds = order.refunds.iter();
            let refund = refunds.find(|refund| refund.out_refund_no == out_refund_no)?;
            Some((order, refund))
        })
    }

    /// A refund by WeChat's number, with its order.
    #[must_use]
    pub fn refund_by_id(&self, refund_id: &str) -> Option<(&Order, &Refund)> {
        self.orders().find_map(|order| {
            let mut refunds = order.refunds.iter();
            let refund = refunds.find(|refund| refund.refund_id == refund_id)?;
            Some((order, refund))
        })
    }

    /// Questions about refunds of this order lag so far behind.
    pub fn lag_refunds(&mut self, out_trade_no: &str, milliseconds: i64) {
        if let Some(order) = self.order_mut(out_trade_no) {
            order.refund_lag_ms = milliseconds;
        }
    }

    /// Once all of this order has gone back, orderquery says this of it, and no
    /// more than its number.
    pub fn tell_full_refund(&mut self, out_trade_no: &str, state: Option<TradeState>) {
        if let Some(order) = self.order_mut(out_trade_no) {
            order.full_refund_state = state;
        }
    }

    /// The numbers of the refunds that were accepted since the last question;
    /// their driver decides how and when each ends.
    pub fn accepted_refunds(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted_refunds)
    }

    /// Finds an order by whatever a person or a test has at hand: its number,
    /// prepay id, code address or WeChat's number of the payment.
    #[must_use]
    pub(crate) fn find(&self, handle: &str) -> Option<&Order> {
        self.order(handle).or_else(|| {
            self.orders().find(|order| {
                order.is_prepaid(handle)
                    || order.code_url.as_deref() == Some(handle)
                    || order.is_payment(handle)
            })
        })
    }

    /// Makes the orders whose number begins so older by so many seconds, as if
    /// they had been asked for earlier; how many there are.
    pub(crate) fn age(&mut self, prefix: &str, seconds: i64) -> usize {
        let orders = self.orders.values_mut();
        let aged = orders.filter(|order| order.out_trade_no.starts_with(prefix));
        aged.map(|order| order.age(seconds)).count()
    }

    pub(crate) fn refund_mut(&mut self, out_refund_no: &str) -> Option<&mut Refund> {
        let orders = self.orders.values_mut();
        let mut refunds = orders.flat_map(|order| &mut order.refunds);
        refunds.find(|refund| refund.out_refund_no == out_refund_no)
    }

    pub(crate) fn order_mut(&mut self, out_trade_no: &str) -> Option<&mut Order> {
        let from = (out_trade_no.to_owned(), String::new());
        let (_, order) = self.orders.range_mut(from..).next()?;
        (order.out_trade_no == out_trade_no).then_some(order)
    }

    pub(crate) fn insert(&mut self, order: Order) {
        let number = (order.out_trade_no.clone(), order.mch_id.clone());
        self.orders.insert(number, order);
    }

    /// The order of a request that names it by either number; the transaction id
    /// goes first.
    fn numbered(&self, request: &Request) -> Result<&Order, Refusal> {
        request.check(&[("transaction_id", false, 32), ("out_trade_no", false, 32)])?;
        let order = match request.get("transaction_id") {
            Some(id) => self.own_payment(request.mch_id(), id),
            None => self.own(request.mch_id(), request.required("out_trade_no")?),
        };
        order.ok_or_else(|| Refusal::business("ORDERNOTEXIST", "此交易订单号不存在"))
    }
}
