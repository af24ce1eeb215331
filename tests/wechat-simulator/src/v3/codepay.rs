//! APIv3's payment codes: charged, and taken back. The rules are v2's; the words and
//! the fields are not.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::shape::{self, Field, Shape, may, must, text};
use super::transactions::{AMOUNT, DETAIL, DEVICE, SETTLE, check_values, transaction, translated};
use crate::merchants::Merchant;
use crate::pay::{Charge, Moment, Request, TradeType, WechatPay};

const CODEPAY: &[Field] = &[
    must("appid", Shape::Text(32)),
    must("mchid", Shape::Text(32)),
    must("description", Shape::Text(127)),
    must("out_trade_no", Shape::Text(32)),
    may("attach", Shape::Text(128)),
    may("goods_tag", Shape::Text(32)),
    may("support_fapiao", Shape::Bool),
    must(
        "payer",
        Shape::Object(&[must("auth_code", Shape::Text(128))]),
    ),
    AMOUNT,
    must(
        "scene_info",
        Shape::Object(&[
            must("device_ip", Shape::Text(45)),
            DEVICE,
            may(
                "store_info",
                Shape::Object(&[may("id", Shape::Text(32)), may("out_id", Shape::Text(32))]),
            ),
        ]),
    ),
    SETTLE,
    DETAIL,
];

const REVERSE: &[Field] = &[
    must("appid", Shape::Text(32)),
    must("mchid", Shape::Text(32)),
];

impl WechatPay {
    /// `POST /v3/pay/transactions/codepay`
    pub(super) fn v3_codepay(
        &mut self,
        body: &[u8],
        merchant: &Merchant,
        moment: Moment,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Result<Value, Refusal> {
        let body = shape::read(body, &[CODEPAY])?;
        super::check_merchant(text(&body, &["mchid"]), merchant)?;
        self.check_bound(&body, merchant)?;
        check_values(&body, false)?;
        let request = Request::trusted(translated(&body, TradeType::Micropay, moment));
        self.check_account(&request, TradeType::Micropay)?;
        let mut order = self.draft(&body, TradeType::Micropay, &request, moment)?;
        order.expires_ms = None;
        let code = text(&body, &["payer", "auth_code"]).unwrap_or_default();
        let paid = self.charge_code(&request, order, code, moment, charge)?;
        Ok(transaction(paid, paid.state))
    }

    /// `POST /v3/pay/transactions/out-trade-no/{..}/reverse`; again is the same.
    pub(super) fn v3_reverse(
        &mut self,
        merchant: &Merchant,
        out_trade_no: &str,
        body: &[u8],
        moment: Moment,
    ) -> Result<Value, Refusal> {
        let body = shape::read(body, &[REVERSE])?;
        super::check_merchant(text(&body, &["mchid"]), merchant)?;
        self.check_bound(&body, merchant)?;
        let order = self.own(&merchant.mch_id, out_trade_no);
        let order = order.ok_or_else(Refusal::no_order)?;
        let app_id = order.app_id.clone();
        // The words are from memory.
        if text(&body, &["appid"]) != Some(app_id.as_str()) {
            return Err(Refusal::parameter("appid", "与下单时不一致"));
        }
        match self.take_back(&merchant.mch_id, out_trade_no, moment)? {
            // There is no field for it here.
            true => Err(Refusal::new("USER_PAYING", 0, "用户支付中，暂不能撤销")),
            false => Ok(json!({
                "appid": app_id, "mchid": merchant.mch_id, "out_trade_no": out_trade_no,
            })),
        }
    }
}
