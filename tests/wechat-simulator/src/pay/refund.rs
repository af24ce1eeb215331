//! Refunds: taken from the merchant's servers and from people in its platform,
//! ended when their driver says so, and asked about.

use super::message::{Field, Refusal, Request, put};
use super::{Moment, Obstacle, Order, Refund, RefundStatus, TradeState, Version, WechatPay};
use crate::beijing;
use crate::sign::Fields;

const FIELDS: &[Field] = &[
    ("out_refund_no", true, 64),
    ("total_fee", true, 11),
    ("refund_fee", true, 11),
    ("refund_fee_type", false, 8),
    ("refund_desc", false, 80),
    ("refund_account", false, 30),
    ("notify_url", false, 256),
];

/// A payment can be refunded in at most this many parts.
const MOST_PARTS: usize = 50;
/// `refundquery` tells of at most this many at once.
const PAGE: usize = 10;
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

impl WechatPay {
    pub(super) fn refund(&mut self, request: &Request, moment: Moment) -> Result<Fields, Refusal> {
        request.check(FIELDS)?;
        let out_trade_no = self.numbered(request)?.out_trade_no.clone();
        let refund = self.make_refund(request, Version::V2, moment)?;
        let total_fee = request.fen("total_fee")?;
        let mut answer = Fields::new();
        put(&mut answer, "out_trade_no", out_trade_no);
        if let Some(id) = request.get("transaction_id") {
            put(&mut answer, "transaction_id", id);
        }
        put(&mut answer, "out_refund_no", &refund.out_refund_no);
        put(&mut answer, "refund_id", &refund.refund_id);
        put(&mut answer, "refund_fee", refund.refund_fee);
        put(&mut answer, "total_fee", total_fee);
        put(&mut answer, "cash_fee", total_fee);
        put(&mut answer, "cash_refund_fee", refund.refund_fee);
        Ok(answer)
    }

    /// Makes the refund of a request, or finds it, whatever its order's version.
    pub(crate) fn make_refund(
        &mut self,
        request: &Request,
        version: Version,
        moment: Moment,
    ) -> Result<Refund, Refusal> {
        let out_trade_no = self.numbered(request)?.out_trade_no.clone();
        let obstacle = self.meet_obstacle(request.mch_id(), &out_trade_no);
        let in_the_way = |code: &str| Refusal::business(code, "退款失败，请稍后再试");
        if let Some(obstacle) = obstacle.as_ref().filter(|met| !met.although_done) {
            return Err(in_the_way(&obstacle.err_code));
        }
        let refund = self.take(&out_trade_no, request, version, moment)?;
        if let Some(obstacle) = obstacle {
            return Err(in_the_way(&obstacle.err_code));
        }
        Ok(refund)
    }

    /// Takes a new refund, or finds a repeated one as it is.
    fn take(
        &mut self,
        out_trade_no: &str,
        request: &Request,
        version: Version,
        moment: Moment,
    ) -> Result<Refund, Refusal> {
        let now = moment.now_ms;
        let gap_ms = self.rules.refund_gap_seconds.saturating_mul(1000);
        let refund_no = request.required("out_refund_no")?;
        let (total_fee, refund_fee) = (request.fen("total_fee")?, request.fen("refund_fee")?);
        let known = self.own_refund(request.mch_id(), refund_no);
        let elsewhere = known.is_some_and(|(order, _)| order.out_trade_no != out_trade_no);
        let known = known.map(|(_, refund)| refund.clone());
        let wrong = |message: &str| Refusal::business("INVALID_REQUEST", message);
        let order = self
            .orders
            .get_mut(&(out_trade_no.to_owned(), request.mch_id().to_owned()))
            .filter(|_| !elsewhere)
            .ok_or_else(|| wrong("商户退款单号重复"))?;
        if !order.is_paid() {
            return Err(Refusal::business(
                "TRADE_STATE_ERROR",
                "订单状态错误，订单未支付",
            ));
        }
        if total_fee != order.total_fee {
            return Err(wrong("订单金额不一致，请核实后再试"));
        }
        if known
            .as_ref()
            .is_some_and(|known| known.refund_fee != refund_fee)
        {
            return Err(wrong("退款金额与之前请求不一致"));
        }
        // One that was closed has left its money to others.
        let own = known
            .as_ref()
            .filter(|known| known.status != RefundStatus::Closed);
        let others = order.refunded() - own.map_or(0, |own| own.refund_fee);
        if others.saturating_add(refund_fee) > order.total_fee {
            return Err(wrong("累计退款金额大于支付金额"));
        }
        if let Some(known) = known {
            return Ok(known);
        }
        order.check_refundable(now)?;
        if order
            .refunds
            .last()
            .is_some_and(|last| now < last.created_ms.saturating_add(gap_ms))
        {
            return Err(Refusal::business(
                "FREQUENCY_LIMITED",
                "频率限制，请1分钟后再试",
            ));
        }
        self.rules.draw(refund_fee)?;
        let mut refund = Refund::new(refund_no.to_owned(), refund_fee, moment);
        refund.version = version;
        refund.notify_url = request.get("notify_url").map(ToOwned::to_owned);
        order.refunds.push(refund.clone());
        order.state = TradeState::Refund;
        self.accepted_refunds.push(refund.out_refund_no.clone());
        Ok(refund)
    }

    /// The next answer that is given whatever is right, if one is.
    fn meet_obstacle(&mut self, mch_id: &str, out_trade_no: &str) -> Option<Obstacle> {
        let obstacles = &mut self.own_mut(mch_id, out_trade_no)?.obstacles;
        obstacles.retain(|obstacle| obstacle.times != Some(0));
        let met = obstacles.first_mut()?;
        met.times = met.times.map(|times| times - 1);
        Some(met.clone())
    }

    /// A person gives money back in the merchant platform: all that is left, or
    /// `fee`. WeChat makes the refund's number, and tells `notify_url`.
    ///
    /// # Errors
    /// WeChat's refusal; nothing was done.
    pub fn refund_by_hand(
        &mut self,
        out_trade_no: &str,
        fee: Option<i64>,
        notify_url: Option<String>,
        moment: Moment,
    ) -> Result<Refund, Refusal> {
        let none = || Refusal::business("ORDERNOTEXIST", "此交易订单号不存在");
        let mch_id = self.order(out_trade_no).ok_or_else(none)?.mch_id.clone();
        let key = (out_trade_no.to_owned(), mch_id);
        let order = self.orders.get_mut(&key).ok_or_else(none)?;
        if !order.is_paid() {
            return Err(Refusal::business(
                "TRADE_STATE_ERROR",
                "订单状态错误，订单未支付",
            ));
        }
        let rest = order.rest();
        let fee = fee.unwrap_or(rest);
        if !(1..=rest).contains(&fee) {
            return Err(Refusal::business(
                "INVALID_REQUEST",
                "累计退款金额大于支付金额",
            ));
        }
        order.check_refundable(moment.now_ms)?;
        self.rules.draw(fee)?;
        let mut refund = Refund::new(moment.platform_number(&order.mch_id), fee, moment);
        refund.by_hand = true;
        refund.notify_url = notify_url;
        order.refunds.push(refund.clone());
        order.state = TradeState::Refund;
        Ok(refund)
    }

    /// A refund turns out like this, at that time.
    pub fn refund_becomes(&mut self, out_refund_no: &str, status: RefundStatus, at_ms: i64) {
        if let Some(refund) = self.refund_mut(out_refund_no) {
            refund.status = status;
            refund.success_ms = (status == RefundStatus::Success).then_some(at_ms);
        }
    }

    pub(super) fn refund_query(
        &self,
        request: &Request,
        moment: Moment,
    ) -> Result<Fields, Refusal> {
        request.check(&[
            ("out_refund_no", false, 64),
            ("refund_id", false, 32),
            ("offset", false, 11),
        ])?;
        let none = || Refusal::business("REFUNDNOTEXIST", "退款订单查询失败");
        let by_refund = ["refund_id", "out_refund_no"]
            .iter()
            .any(|name| request.get(name).is_some());
        let order = match by_refund {
            false => self.numbered(request)?,
            true => self
                .orders()
                .filter(|order| order.mch_id == request.mch_id())
                .find(|order| order.refunds.iter().any(|refund| is_asked(request, refund)))
                .ok_or_else(none)?,
        };
        let odd = |_| Refusal::parameter("offset参数格式有误");
        let offset = request.get("offset").map(str::parse::<usize>);
        let offset = offset.transpose().map_err(odd)?;
        let asked = order.refunds.iter().filter(|refund| {
            let known_ms = refund.created_ms.saturating_add(order.refund_lag_ms);
            known_ms <= moment.now_ms && is_asked(request, refund)
        });
        let asked: Vec<&Refund> = asked.collect();
        if asked.len() <= offset.unwrap_or_default() {
            return Err(none());
        }
        Ok(told(order, &asked, offset))
    }
}

impl Order {
    /// Not after a year, and not in more parts than WeChat counts.
    fn check_refundable(&self, now_ms: i64) -> Result<(), Refusal> {
        let paid = self.payment.as_ref();
        if paid.is_some_and(|paid| now_ms - paid.paid_ms > YEAR_MS) {
            return Err(Refusal::business(
                "TRADE_OVERDUE",
                "订单已经超过可退款的最大期限",
            ));
        }
        if self.refunds.len() >= MOST_PARTS {
            return Err(Refusal::business("INVALID_REQUEST", "部分退款次数超过50次"));
        }
        Ok(())
    }

    /// Refunds everything that is left, as `reverse` does; settled at once.
    pub(super) fn refund_rest(&mut self, moment: Moment) {
        let rest = self.rest();
        if self.payment.is_none() || rest <= 0 {
            return;
        }
        let mut refund = Refund::new(format!("reverse-{}", self.out_trade_no), rest, moment);
        refund.status = RefundStatus::Success;
        refund.success_ms = Some(moment.now_ms);
        self.refunds.push(refund);
    }
}

fn is_asked(request: &Request, refund: &Refund) -> bool {
    match (request.get("refund_id"), request.get("out_refund_no")) {
        (Some(id), _) => refund.refund_id == id,
        (None, Some(number)) => refund.out_refund_no == number,
        (None, None) => true,
    }
}

fn told(order: &Order, chosen: &[&Refund], offset: Option<usize>) -> Fields {
    let (has_offset, offset) = (offset.is_some(), offset.unwrap_or_default());
    let mut answer = Fields::new();
    put(&mut answer, "out_trade_no", &order.out_trade_no);
    if let Some(payment) = &order.payment {
        put(&mut answer, "transaction_id", &payment.transaction_id);
        put(
            &mut answer,
            "cash_fee",
            order.total_fee - payment.coupon_fee,
        );
    }
    put(&mut answer, "total_fee", order.total_fee);
    put(&mut answer, "fee_type", "CNY");
    if has_offset {
        put(&mut answer, "total_refund_count", chosen.len());
    }
    let page: Vec<&&Refund> = chosen.iter().skip(offset).take(PAGE).collect();
    put(&mut answer, "refund_count", page.len());
    for (n, refund) in page.into_iter().enumerate() {
        let mut tell = |name: &str, value: String| put(&mut answer, &format!("{name}_{n}"), value);
        tell("out_refund_no", refund.out_refund_no.clone());
        tell("refund_id", refund.refund_id.clone());
        tell("refund_channel", "ORIGINAL".to_owned());
        tell("refund_fee", refund.refund_fee.to_string());
        tell("settlement_refund_fee", refund.refund_fee.to_string());
        tell("refund_status", refund.status.name().to_owned());
        tell("refund_account", "REFUND_SOURCE_UNSETTLED_FUNDS".to_owned());
        // WeChat's own spelling.
        tell("refund_recv_accout", "支付用户零钱".to_owned());
        if let Some(at) = refund.success_ms {
            tell("refund_success_time", beijing::spaced(at));
        }
    }
    answer
}
