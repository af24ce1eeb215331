//! APIv3's orders: placed for four kinds of clients, asked about by both
//! numbers, closed. The order book keeps them under v2's names, so v2 sees the
//! same orders.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::shape::{self, Field, Shape, may, must, number, text};
use crate::beijing;
use crate::merchants::Merchant;
use crate::pay::{
    Moment, Order, Request, TradeState, TradeType, Version, WechatPay, check_notify_url, put,
};
use crate::sign::{Fields, SignType};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Lengths of nested fields are from memory.
const ORDER: &[Field] = &[
    must("appid", Shape::Text(32)),
    must("mchid", Shape::Text(32)),
    must("description", Shape::Text(127)),
    must("out_trade_no", Shape::Text(32)),
    may("time_expire", Shape::Text(64)),
    may("attach", Shape::Text(128)),
    must("notify_url", Shape::Text(255)),
    may("goods_tag", Shape::Text(32)),
    may("limit_pay", Shape::Texts),
    may("support_fapiao", Shape::Bool),
    AMOUNT,
    SETTLE,
    DETAIL,
];

pub(super) const AMOUNT: Field = must(
    "amount",
    Shape::Object(&[
        must("total", Shape::Number(1)),
        may("currency", Shape::Text(16)),
    ]),
);

pub(super) const SETTLE: Field = may(
    "settle_info",
    Shape::Object(&[may("profit_sharing", Shape::Bool)]),
);

pub(super) const DETAIL: Field = may(
    "detail",
    Shape::Object(&[
        may("cost_price", Shape::Number(0)),
        may("invoice_id", Shape::Text(32)),
        may("goods_detail", Shape::Objects(GOODS)),
    ]),
);

const GOODS: &[Field] = &[
    must("merchant_goods_id", Shape::Text(32)),
    may("wechatpay_goods_id", Shape::Text(32)),
    may("goods_name", Shape::Text(256)),
    must("quantity", Shape::Number(1)),
    must("unit_price", Shape::Number(0)),
];

const PAYER: &[Field] = &[must(
    "payer",
    Shape::Object(&[must("openid", Shape::Text(128))]),
)];

pub(super) const DEVICE: Field = may("device_id", Shape::Text(32));

const STORE: Field = may(
    "store_info",
    Shape::Object(&[
        must("id", Shape::Text(32)),
        may("name", Shape::Text(256)),
        may("area_code", Shape::Text(32)),
        may("address", Shape::Text(512)),
    ]),
);

const SCENE: &[Field] = &[may(
    "scene_info",
    Shape::Object(&[may("payer_client_ip", Shape::Text(45)), DEVICE, STORE]),
)];

const H5_SCENE: &[Field] = &[must(
    "scene_info",
    Shape::Object(&[
        must("payer_client_ip", Shape::Text(45)),
        DEVICE,
        STORE,
        must(
            "h5_info",
            Shape::Object(&[
                must("type", Shape::Text(32)),
                may("app_name", Shape::Text(64)),
                may("app_url", Shape::Text(128)),
                may("bundle_id", Shape::Text(128)),
                may("package_name", Shape::Text(128)),
            ]),
        ),
    ]),
)];

pub(super) type Body = Map<String, Value>;

impl WechatPay {
    /// `POST /v3/pay/transactions/{jsapi|native|app|h5}`
    pub(super) fn v3_order(
        &mut self,
        trade_type: TradeType,
        body: &[u8],
        merchant: &Merchant,
        moment: Moment,
    ) -> Result<Value, Refusal> {
        let own: &[&[Field]] = match trade_type {
            TradeType::Jsapi => &[ORDER, SCENE, PAYER],
            TradeType::Mweb => &[ORDER, H5_SCENE],
            _ => &[ORDER, SCENE],
        };
        let body = shape::read(body, own)?;
        super::check_merchant(text(&body, &["mchid"]), merchant)?;
        self.check_bound(&body, merchant)?;
        check_values(&body, self.rules.https_notify_url)?;
        let request = Request::trusted(translated(&body, trade_type, moment));
        self.check_account(&request, trade_type)?;
        let draft = self.draft(&body, trade_type, &request, moment)?;
        if let Some(openid) = draft.given("openid")
            && !self.may_pay(&draft, openid)
        {
            let message = "openid与appid不匹配";
            return Err(Refusal::new("OPENID_MISMATCH", 0, message));
        }
        let known = self.own(&draft.mch_id, &draft.out_trade_no).is_some();
        let mut order = self.place(draft.clone(), &request)?;
        if known && let Some(known) = self.own_mut(&draft.mch_id, &draft.out_trade_no) {
            known.renew(draft);
            order = known.clone();
        }
        Ok(match trade_type {
            TradeType::Native => json!({"code_url": order.code_url}),
            TradeType::Mweb => json!({"h5_url": order.mweb_url}),
            _ => json!({"prepay_id": order.prepay_id}),
        })
    }

    /// Whether the account that a body names is the merchant's.
    pub(super) fn check_bound(&self, body: &Body, merchant: &Merchant) -> Result<(), Refusal> {
        let app_id = text(body, &["appid"]).unwrap_or_default();
        if self.directory.bound(app_id, &merchant.mch_id).is_some() {
            return Ok(());
        }
        let message = "appid和mch_id不匹配，请检查后再试";
        Err(Refusal::new("APPID_MCHID_NOT_MATCH", 268_445_527, message))
    }

    pub(super) fn draft(
        &self,
        body: &Body,
        trade_type: TradeType,
        request: &Request,
        moment: Moment,
    ) -> Result<Order, Refusal> {
        let number_text = text(body, &["out_trade_no"]).unwrap_or_default();
        let total = number(body, &["amount", "total"]).unwrap_or_default();
        let mut order = Order::new(
            number_text.to_owned(),
            trade_type,
            total,
            request.parameters(),
            SignType::Md5,
            moment,
        );
        order.version = Version::V3;
        let soonest = moment.now_ms.saturating_add(MINUTE_MS);
        let latest = moment.now_ms.saturating_add(90 * DAY_MS);
        order.expires_ms = Some(match text(body, &["time_expire"]) {
            None => moment.now_ms.saturating_add(7 * DAY_MS),
            Some(time) => beijing::parse_rfc3339(time)
                .ok_or_else(|| Refusal::parameter("time_expire", "格式有误"))?
                .clamp(soonest, latest),
        });
        self.give_address(&mut order, moment);
        Ok(order)
    }

    /// `GET /v3/pay/transactions/out-trade-no/{..}` and `/id/{..}`
    pub(super) fn v3_query(
        &mut self,
        merchant: &Merchant,
        out_trade_no: Option<&str>,
        transaction_id: Option<&str>,
        moment: Moment,
    ) -> Result<Value, Refusal> {
        let found = match (out_trade_no, transaction_id) {
            (Some(number), _) => self.own(&merchant.mch_id, number),
            (None, id) => self.own_payment(&merchant.mch_id, id.unwrap_or_default()),
        };
        let order = found.ok_or_else(Refusal::no_order)?;
        let number = order.out_trade_no.clone();
        let state = self.rules.read(order, moment.now_ms);
        let answer = match order.is_told_alone() {
            true => standing(order, state),
            false => transaction(order, state),
        };
        if let Some(order) = self.own_mut(&merchant.mch_id, &number) {
            order.queries += 1;
        }
        Ok(answer)
    }

    /// `POST /v3/pay/transactions/out-trade-no/{..}/close`; again is the same.
    pub(super) fn v3_close(
        &mut self,
        merchant: &Merchant,
        out_trade_no: &str,
        body: &[u8],
        moment: Moment,
    ) -> Result<(), Refusal> {
        let body = shape::read(body, &[&[must("mchid", Shape::Text(32))]])?;
        super::check_merchant(text(&body, &["mchid"]), merchant)?;
        let guard_ms = self.rules.v3_close_guard_seconds.saturating_mul(1000);
        let order = self.own_mut(&merchant.mch_id, out_trade_no);
        let order = order.ok_or_else(Refusal::no_order)?;
        match order.state {
            TradeState::Success | TradeState::Refund => {
                Err(Refusal::new("ORDER_PAID", 268_449_538, "订单已支付"))
            }
            _ if order.trade_type == TradeType::Micropay => {
                let message = "付款码支付请调用撤销接口";
                Err(Refusal::new("INVALID_REQUEST", 268_449_641, message))
            }
            TradeState::Closed => Ok(()),
            _ if moment.now_ms < order.created_ms.saturating_add(guard_ms) => {
                let message = "订单生成后不能马上调用关单接口";
                Err(Refusal::new("INVALID_REQUEST", 0, message))
            }
            _ => {
                order.state = TradeState::Closed;
                Ok(())
            }
        }
    }
}

/// What the lengths do not say.
pub(super) fn check_values(body: &Body, https: bool) -> Result<(), Refusal> {
    let odd = |name: &str| Refusal::parameter(name, "格式有误");
    let number = text(body, &["out_trade_no"]).unwrap_or_default();
    let letters = number
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b));
    if number.len() < 6 || !letters {
        return Err(odd("out_trade_no"));
    }
    let words = text(body, &["description"]).unwrap_or_default();
    if words.chars().any(|letter| u32::from(letter) > 0xFFFF) {
        return Err(odd("description"));
    }
    let url = text(body, &["notify_url"]);
    let is_odd = |url| check_notify_url(url).is_err() || (https && !url.starts_with("https://"));
    if url.is_some_and(is_odd) {
        return Err(odd("notify_url"));
    }
    let currency = text(body, &["amount", "currency"]);
    if currency.is_some_and(|currency| currency != "CNY") {
        return Err(odd("amount.currency"));
    }
    for name in ["payer_client_ip", "device_ip"] {
        let ip = text(body, &["scene_info", name]);
        if ip.is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
            return Err(odd(name));
        }
    }
    let kind = text(body, &["scene_info", "h5_info", "type"]);
    if kind.is_some_and(|kind| !matches!(kind, "iOS" | "Android" | "Wap")) {
        return Err(odd("scene_info.h5_info.type"));
    }
    Ok(())
}

/// The order in v2's words, and what v2 has no word for in JSON.
pub(super) fn translated(body: &Body, trade_type: TradeType, moment: Moment) -> Fields {
    let mut fields = Fields::new();
    put(&mut fields, "nonce_str", moment.nonce());
    put(&mut fields, "trade_type", trade_type.name());
    let texts: [(&str, &[&str]); 14] = [
        ("appid", &["appid"]),
        ("mch_id", &["mchid"]),
        ("body", &["description"]),
        ("out_trade_no", &["out_trade_no"]),
        ("time_expire", &["time_expire"]),
        ("attach", &["attach"]),
        ("notify_url", &["notify_url"]),
        ("goods_tag", &["goods_tag"]),
        ("fee_type", &["amount", "currency"]),
        ("openid", &["payer", "openid"]),
        ("spbill_create_ip", &["scene_info", "payer_client_ip"]),
        ("device_info", &["scene_info", "device_id"]),
        ("spbill_create_ip", &["scene_info", "device_ip"]),
        ("auth_code", &["payer", "auth_code"]),
    ];
    for (name, path) in texts {
        if let Some(value) = text(body, path) {
            put(&mut fields, name, value);
        }
    }
    if let Some(total) = number(body, &["amount", "total"]) {
        put(&mut fields, "total_fee", total);
    }
    for name in [
        "limit_pay",
        "support_fapiao",
        "settle_info",
        "detail",
        "scene_info",
    ] {
        if let Some(value) = body.get(name) {
            put(&mut fields, name, value);
        }
    }
    fields
}

/// Where an order stands, and no more.
fn standing(order: &Order, state: TradeState) -> Value {
    json!({
        "appid": order.app_id,
        "mchid": order.mch_id,
        "out_trade_no": order.out_trade_no,
        "trade_state": state.name(),
        "trade_state_desc": state.described(),
    })
}

/// An order as a query and a notification tell it. One that is not paid has
/// neither payment nor payer nor amount.
pub(super) fn transaction(order: &Order, state: TradeState) -> Value {
    let mut told = standing(order, state);
    let Some(payment) = &order.payment else {
        return told;
    };
    let payer_total = order.total_fee - payment.coupons_fee();
    let paid = json!({
        "transaction_id": payment.transaction_id,
        "trade_type": order.trade_type.name(),
        "bank_type": "OTHERS",
        "attach": order.given("attach").unwrap_or_default(),
        "success_time": beijing::rfc3339(payment.paid_ms),
        "payer": {"openid": payment.openid},
        "amount": {
            "total": order.total_fee,
            "payer_total": payer_total,
            "currency": "CNY",
            "payer_currency": "CNY",
        },
    });
    let mut add = |name: &str, value: Value| {
        if let Some(told) = told.as_object_mut() {
            told.insert(name.to_owned(), value);
        }
    };
    for (name, value) in paid.as_object().into_iter().flatten() {
        add(name, value.clone());
    }
    if let Some(device) = order.given("device_info") {
        add("scene_info", json!({"device_id": device}));
    }
    let coupons = [
        ("NOCASH", "10000", payment.coupon_fee),
        ("CASH", "10001", payment.cash_coupon_fee),
    ];
    let coupons = coupons.into_iter().filter(|(_, _, fee)| *fee > 0);
    let coupons: Vec<Value> = coupons
        .map(|(kind, id, fee)| {
            json!({
                "coupon_id": id,
                "name": "代金券",
                "scope": "GLOBAL",
                "type": kind,
                "amount": fee,
                "currency": "CNY",
            })
        })
        .collect();
    if !coupons.is_empty() {
        add("promotion_detail", json!(coupons));
    }
    told
}
