//! The life of an order: unifiedorder, orderquery and closeorder.

use std::net::IpAddr;

use super::message::{Field, Refusal, Request, put};
use super::order::MWEB_MS;
use super::texts::{is_detail, is_scene};
use super::{Moment, Order, TradeState, TradeType, WechatPay};
use crate::beijing;
use crate::sign::Fields;

const FIELDS: &[Field] = &[
    ("notify_url", true, 256),
    ("trade_type", true, 16),
    ("product_id", false, 32),
    ("openid", false, 128),
];

/// The fields that micropay has as well.
pub(super) const ORDER_FIELDS: &[Field] = &[
    ("device_info", false, 32),
    ("body", true, 127),
    ("detail", false, 6000),
    ("attach", false, 127),
    ("out_trade_no", true, 32),
    ("fee_type", false, 16),
    ("total_fee", true, 11),
    ("spbill_create_ip", true, 64),
    ("time_start", false, 14),
    ("time_expire", false, 14),
    ("goods_tag", false, 32),
    ("limit_pay", false, 32),
    ("receipt", false, 8),
    ("scene_info", false, 256),
];

impl WechatPay {
    pub(super) fn unified_order(
        &mut self,
        request: &Request,
        moment: Moment,
    ) -> Result<Fields, Refusal> {
        request.check(ORDER_FIELDS)?;
        request.check(FIELDS)?;
        let draft = self.complete(request, moment)?;
        let order = self.place(draft, request)?;
        let mut answer = Fields::new();
        put(&mut answer, "trade_type", order.trade_type.name());
        put(&mut answer, "prepay_id", &order.prepay_id);
        for (name, url) in [("code_url", &order.code_url), ("mweb_url", &order.mweb_url)] {
            if let Some(url) = url {
                put(&mut answer, name, url);
            }
        }
        Ok(answer)
    }

    pub(super) fn order_query(
        &mut self,
        request: &Request,
        moment: Moment,
    ) -> Result<Fields, Refusal> {
        let number = self.numbered(request)?.out_trade_no.clone();
        if let Some(order) = self.own_mut(request.mch_id(), &number) {
            order.queries += 1;
        }
        let order = self.numbered(request)?;
        let state = self.rules.read(order, moment.now_ms);
        let mut answer = Fields::new();
        put(&mut answer, "out_trade_no", &order.out_trade_no);
        put(&mut answer, "trade_state", state.name());
        put(&mut answer, "trade_state_desc", order.state.described());
        if let Some(attach) = order.given("attach") {
            put(&mut answer, "attach", attach);
        }
        let has_fields = order.is_paid() || order.state == TradeState::Revoked;
        if has_fields && !order.is_told_alone() {
            answer.extend(order.paid_fields());
        }
        Ok(answer)
    }

    pub(super) fn close_order(
        &mut self,
        request: &Request,
        moment: Moment,
    ) -> Result<Fields, Refusal> {
        request.check(&[("out_trade_no", true, 32)])?;
        let guard_ms = self.rules.close_guard_seconds.saturating_mul(1000);
        let order = self
            .own_mut(request.mch_id(), request.required("out_trade_no")?)
            .ok_or_else(|| Refusal::business("ORDERNOTEXIST", "订单不存在"))?;
        match order.state {
            TradeState::Success | TradeState::Refund => {
                Err(Refusal::business("ORDERPAID", "订单已支付"))
            }
            TradeState::Closed | TradeState::Revoked => {
                Err(Refusal::business("ORDERCLOSED", "订单已关闭"))
            }
            _ if moment.now_ms < order.created_ms.saturating_add(guard_ms) => Err(
                Refusal::business("INVALID_REQUEST", "订单生成后不能马上调用关单接口"),
            ),
            _ => {
                order.state = TradeState::Closed;
                Ok(Fields::new())
            }
        }
    }

    /// The order that a request asks for, if its values are right.
    fn complete(&self, request: &Request, moment: Moment) -> Result<Order, Refusal> {
        let trade_type = match request.required("trade_type")? {
            "JSAPI" => TradeType::Jsapi,
            "NATIVE" => TradeType::Native,
            "APP" => TradeType::App,
            "MWEB" => TradeType::Mweb,
            _ => return Err(Refusal::parameter("trade_type参数格式有误")),
        };
        self.check_account(request, trade_type)?;
        let needed = match trade_type {
            TradeType::Jsapi => "openid",
            TradeType::Native => "product_id",
            TradeType::Mweb => "scene_info",
            _ => "body",
        };
        request.required(needed)?;
        check_notify_url(request.required("notify_url")?)?;
        let mut order = draft(request, trade_type, moment)?;
        self.give_address(&mut order, moment);
        Ok(order)
    }

    /// Where the payer goes who has no prepay id.
    pub(crate) fn give_address(&self, order: &mut Order, moment: Moment) {
        let code = moment.code();
        match order.trade_type {
            TradeType::Native => {
                order.code_url = Some(format!("weixin://wxpay/bizpayurl?pr={code}"));
            }
            TradeType::Mweb => {
                let page = "/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=";
                let (base, id) = (self.merchant.public_url(), &order.prepay_id);
                order.mweb_url = Some(format!("{base}{page}{id}&package={code}"));
                order.mweb_until_ms = moment.now_ms.saturating_add(MWEB_MS);
            }
            _ => {}
        }
    }

    /// Takes a new order, or answers a repeated one as before.
    pub(crate) fn place(&mut self, draft: Order, request: &Request) -> Result<Order, Refusal> {
        let now = draft.created_ms;
        let openid = draft.given("openid").unwrap_or_default();
        if draft.trade_type == TradeType::Jsapi && !self.may_pay(&draft, openid) {
            return Err(Refusal::parameter("无效的openid"));
        }
        let Some(known) = self.own_mut(&draft.mch_id, &draft.out_trade_no) else {
            if draft.is_expired(now) {
                return Err(Refusal::parameter("time_expire早于当前时间"));
            }
            // Only here: a repeated order may have less than a minute left.
            if let (None, Some(end)) = (draft.given("time_start"), draft.expires_ms) {
                check_life(now, end)?;
            }
            self.insert(draft.clone());
            return Ok(draft);
        };
        used_up(known)?;
        known.check_same(request)?;
        if known.is_expired(now) {
            return Err(Refusal::business("ORDERCLOSED", "订单已关闭"));
        }
        if known.prepay_until_ms <= now {
            known.prepay_id.clone_from(&draft.prepay_id);
            known.prepay_until_ms = draft.prepay_until_ms;
        }
        if known.mweb_until_ms <= now {
            known.mweb_url = draft
                .mweb_url
                .map(|url| url.replace(&draft.prepay_id, &known.prepay_id));
            known.mweb_until_ms = draft.mweb_until_ms;
        }
        Ok(known.clone())
    }
}

/// The part of an order that micropay has as well.
pub(super) fn draft(
    request: &Request,
    trade_type: TradeType,
    moment: Moment,
) -> Result<Order, Refusal> {
    let odd = |name: &str| Refusal::parameter(&format!("{name}参数格式有误"));
    let number = request.required("out_trade_no")?;
    let letters = number
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b));
    if number.len() < 6 || !letters {
        return Err(odd("out_trade_no"));
    }
    let ip = request.required("spbill_create_ip")?;
    if ip.parse::<IpAddr>().is_err() {
        return Err(odd("spbill_create_ip"));
    }
    for (name, only) in [
        ("fee_type", "CNY"),
        ("limit_pay", "no_credit"),
        ("receipt", "Y"),
    ] {
        if request.get(name).is_some_and(|value| value != only) {
            return Err(odd(name));
        }
    }
    if request.get("detail").is_some_and(|text| !is_detail(text)) {
        return Err(odd("detail"));
    }
    let scene = request.get("scene_info");
    if scene.is_some_and(|text| !is_scene(text, trade_type)) {
        return Err(odd("scene_info"));
    }
    let mut order = Order::new(
        number.to_owned(),
        trade_type,
        request.fen("total_fee")?,
        request.parameters(),
        request.caller.sign_type,
        moment,
    );
    let time = |name: &str| match request.get(name) {
        None => Ok(None),
        Some(text) => beijing::parse_compact(text)
            .map(Some)
            .ok_or_else(|| odd(name)),
    };
    let start = time("time_start")?;
    order.expires_ms = time("time_expire")?;
    if let (Some(start), Some(end)) = (start, order.expires_ms) {
        check_life(start, end)?;
    }
    Ok(order)
}

/// The expiry lies a minute after the start, both in whole seconds.
fn check_life(start: i64, end: i64) -> Result<(), Refusal> {
    if end / 1000 - start / 1000 < 60 {
        return Err(Refusal::parameter("time_expire时间过短，至少1分钟"));
    }
    Ok(())
}

pub(crate) fn check_notify_url(text: &str) -> Result<(), Refusal> {
    let usable = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.has_host()
    });
    if usable {
        Ok(())
    } else {
        Err(Refusal::parameter("notify_url参数格式有误，不能携带参数"))
    }
}

/// A paid, closed or reversed number cannot be used again.
pub(crate) fn used_up(order: &Order) -> Result<(), Refusal> {
    match order.state {
        TradeState::Success | TradeState::Refund => {
            Err(Refusal::business("ORDERPAID", "该订单已支付"))
        }
        TradeState::Closed => Err(Refusal::business("ORDERCLOSED", "该订单已关闭")),
        TradeState::Revoked => Err(Refusal::business("ORDERREVERSED", "该订单已撤销")),
        TradeState::NotPay | TradeState::UserPaying | TradeState::PayError => Ok(()),
    }
}
