//! Refunds: taken, ended when their driver says so, and asked about.

use super::message::{Field, Refusal, Request, put};
use super::{Moment, Order, Refund, RefundStatus, TradeState, WechatPay};
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
        let refund = self.take(&out_trade_no, request, moment)?;
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

    /// Takes a new refund, or finds a repeated one as it is.
    fn take(
        &mut self,
        out_trade_no: &str,
        request: &Request,
        moment: Moment,
    ) -> Result<Refund, Refusal> {
        let now = moment.now_ms;
        let gap_ms = self.rules.refund_gap_seconds.saturating_mul(1000);
        let refund_no = request.required("out_refund_no")?;
        let (total_fee, refund_fee) = (request.fen("total_fee")?, request.fen("refund_fee")?);
        let known = self.refund_of(refund_no);
        let elsewhere = known.is_some_and(|(order, _)| order.out_trade_no != out_trade_no);
        let known = known.map(|(_, refund)| refund.clone());
        let wrong = |message: &str| Refusal::business("INVALID_REQUEST", message);
        let order = self
            .orders
            .get_mut(out_trade_no)
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
        if order
            .payment
            .as_ref()
            .is_some_and(|paid| now - paid.paid_ms > YEAR_MS)
        {
            return Err(Refusal::business(
                "TRADE_OVERDUE",
                "订单已经超过可退款的最大期限",
            ));
        }
        if order.refunds.len() >= MOST_PARTS {
            return Err(wrong("部分退款次数超过50次"));
        }
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
        let mut refund = Refund::new(refund_no.to_owned(), refund_fee, moment);
        refund.notify_url = request.get("notify_url").map(ToOwned::to_owned);
        order.refunds.push(refund.clone());
        order.state = TradeState::Refund;
        self.accepted_refunds.push(refund.out_refund_no.clone());
        Ok(refund)
    }

    /// A refund turns out like this, at that time.
    pub fn refund_becomes(&mut self, out_refund_no: &str, status: RefundStatus, at_ms: i64) {
        if let Some(refund) = self.refund_mut(out_refund_no) {
            refund.status = status;
            refund.success_ms = (status == RefundStatus::Success).then_some(at_ms);
        }
    }

    pub(super) fn refund_query(&self, request: &Request) -> Result<Fields, Refusal> {
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
                .find(|order| order.refunds.iter().any(|refund| is_asked(request, refund)))
                .ok_or_else(none)?,
        };
        let offset = match request.get("offset") {
            None => 0,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::parameter("offset参数格式有误"))?,
        };
        let asked = order
            .refunds
            .iter()
            .filter(|refund| is_asked(request, refund));
        let asked: Vec<&Refund> = asked.collect();
        if asked.is_empty() {
            return Err(none());
        }
        Ok(told(order, &asked, offset))
    }
}

impl Order {
    /// Refunds everything that is left, as `reverse` does; settled at once.
    pub(super) fn refund_rest(&mut self, moment: Moment) {
        let rest = self.total_fee - self.refunded();
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

fn told(order: &Order, chosen: &[&Refund], offset: usize) -> Fields {
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
    put(&mut answer, "total_refund_count", chosen.len());
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
