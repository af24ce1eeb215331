//! APIv3's refunds, of payments of either version: asked for, and asked about.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::shape::{self, Field, Shape, may, must, number, text};
use crate::beijing;
use crate::merchants::Merchant;
use crate::pay::{
    Moment, Order, Payment, Refund, RefundStatus, Request, Version, WechatPay, check_notify_url,
    put,
};
use crate::sign::Fields;

const REFUND: &[Field] = &[
    may("transaction_id", Shape::Text(32)),
    may("out_trade_no", Shape::Text(32)),
    must("out_refund_no", Shape::Text(64)),
    may("reason", Shape::Text(80)),
    may("notify_url", Shape::Text(256)),
    may("funds_account", Shape::Text(32)),
    must(
        "amount",
        Shape::Object(&[
            must("refund", Shape::Number(1)),
            must("total", Shape::Number(1)),
            must("currency", Shape::Text(16)),
            may(
                "from",
                Shape::Objects(&[
                    must("account", Shape::Text(32)),
                    must("amount", Shape::Number(1)),
                ]),
            ),
        ]),
    ),
    may(
        "goods_detail",
        Shape::Objects(&[
            must("merchant_goods_id", Shape::Text(32)),
            may("wechatpay_goods_id", Shape::Text(32)),
            may("goods_name", Shape::Text(256)),
            must("unit_price", Shape::Number(0)),
            must("refund_amount", Shape::Number(0)),
            must("refund_quantity", Shape::Number(1)),
        ]),
    ),
];

impl WechatPay {
    /// `POST /v3/refund/domestic/refunds`
    pub(super) fn v3_refund(
        &mut self,
        body: &[u8],
        merchant: &Merchant,
        moment: Moment,
    ) -> Result<Value, Refusal> {
        let body = shape::read(body, &[REFUND])?;
        let odd = |name: &str| Refusal::parameter(name, "格式有误");
        let number_text = text(&body, &["out_refund_no"]).unwrap_or_default();
        let letters = |b: u8| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b);
        if !number_text.bytes().all(letters) {
            return Err(odd("out_refund_no"));
        }
        if text(&body, &["amount", "currency"]) != Some("CNY") {
            return Err(odd("amount.currency"));
        }
        let account = text(&body, &["funds_account"]);
        if account.is_some_and(|account| !matches!(account, "AVAILABLE" | "UNSETTLED")) {
            return Err(odd("funds_account"));
        }
        if let Some(url) = text(&body, &["notify_url"])
            && check_notify_url(url).is_err()
        {
            return Err(odd("notify_url"));
        }
        if text(&body, &["transaction_id"])
            .or(text(&body, &["out_trade_no"]))
            .is_none()
        {
            return Err(Refusal::parameter("transaction_id", "缺失"));
        }
        let mut fields = Fields::new();
        put(&mut fields, "nonce_str", moment.nonce());
        put(&mut fields, "mch_id", &merchant.mch_id);
        // A refund names no account; the book wants one.
        put(&mut fields, "appid", "-");
        for name in [
            "transaction_id",
            "out_trade_no",
            "out_refund_no",
            "notify_url",
        ] {
            if let Some(value) = text(&body, &[name]) {
                put(&mut fields, name, value);
            }
        }
        for (name, path) in [("refund_fee", "refund"), ("total_fee", "total")] {
            let fen = number(&body, &["amount", path]).unwrap_or_default();
            put(&mut fields, name, fen);
        }
        let made = self.make_refund(&Request::trusted(fields), Version::V3, moment);
        let refund = made.map_err(|refusal| match refusal.code.as_str() {
            "ORDERNOTEXIST" => Refusal::no_refund(),
            _ => refusal.into(),
        })?;
        let found = self.own_refund(&merchant.mch_id, &refund.out_refund_no);
        let (order, refund) = found.ok_or_else(Refusal::no_refund)?;
        Ok(told(order, refund))
    }

    /// `GET /v3/refund/domestic/refunds/{out_refund_no}`
    pub(super) fn v3_refund_query(
        &self,
        out_refund_no: &str,
        merchant: &Merchant,
        moment: Moment,
    ) -> Result<Value, Refusal> {
        let found = self.own_refund(&merchant.mch_id, out_refund_no);
        let (order, refund) = found
            .filter(|(order, refund)| {
                refund.created_ms.saturating_add(order.refund_lag_ms) <= moment.now_ms
            })
            .ok_or_else(Refusal::no_refund)?;
        Ok(told(order, refund))
    }
}

/// APIv3's word for where a refund stands.
pub(super) fn status(status: RefundStatus) -> &'static str {
    match status {
        RefundStatus::Processing => "PROCESSING",
        RefundStatus::Change => "ABNORMAL",
        RefundStatus::Success => "SUCCESS",
        RefundStatus::Closed => "CLOSED",
    }
}

/// What of a refund the payer had paid and gets back: the coupon's part goes
/// back to whoever gave the coupon.
pub(super) fn payer_refund(order: &Order, refund: &Refund) -> i64 {
    let coupon_fee = order.payment.as_ref().map_or(0, Payment::coupons_fee);
    refund.refund_fee - refund.refund_fee * coupon_fee / order.total_fee.max(1)
}

fn told(order: &Order, refund: &Refund) -> Value {
    let payment = order.payment.as_ref();
    let coupon_fee = payment.map_or(0, Payment::coupons_fee);
    let payer_refund = payer_refund(order, refund);
    let mut told = json!({
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "transaction_id": payment.map(|paid| &paid.transaction_id),
        "out_trade_no": order.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": beijing::rfc3339(refund.created_ms),
        "status": status(refund.status),
        "funds_account": "AVAILABLE",
        "amount": {
            "total": order.total_fee,
            "refund": refund.refund_fee,
            "payer_total": order.total_fee - coupon_fee,
            "payer_refund": payer_refund,
            "settlement_refund": refund.refund_fee,
            "settlement_total": order.total_fee,
            "discount_refund": refund.refund_fee - payer_refund,
            "currency": "CNY",
        },
        "promotion_detail": [],
    });
    if let (Some(at), Some(told)) = (refund.success_ms, told.as_object_mut()) {
        told.insert("success_time".to_owned(), json!(beijing::rfc3339(at)));
    }
    told
}
