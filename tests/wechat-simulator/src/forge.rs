//! Notifications that are wrong on purpose.

use serde::{Deserialize, Serialize};

use crate::genprepay;
use crate::ids;
use crate::notify::{Form, Message};
use crate::pay::{ACCEPTED, Moment, Order, Payment, Refund, TradeType, Version, put};
use crate::sign::{self, Fields};
use crate::state::World;
use crate::users;
use crate::xml;

/// What is wrong. Everything not named here is right, the signature included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Signed with another key.
    ForgedSign,
    /// Nobody has signed it.
    NoSign,
    /// Neither `return_code` nor `sign`: once fooled a well-known SDK.
    NoReturnCode,
    /// Well signed, another `total_fee`.
    WrongAmount,
    /// Well signed, another `appid`.
    WrongAppid,
    /// Well signed, another `mch_id`.
    WrongMchId,
    /// A document type with an external entity in front.
    Doctype,
    /// `total_fee` twice, the first one right and signed.
    DuplicateElement,
    /// Well signed, another `out_trade_no`.
    UnknownOrder,
    /// Well signed, with 70 KiB of `attach`.
    Oversized,
    /// The right fields, as JSON.
    NotXml,
    /// Well signed, `result_code=FAIL`; with APIv3 `trade_state` `PAYERROR`.
    ResultFail,
    /// APIv3: see `v3::Spoilt`, as for the next ones.
    TwoSigns,
    /// WeChat's own trial.
    SignTest,
    /// A signature that is no base64.
    BadBase64,
    /// Rightly signed, under the serial of another of WeChat's keys.
    WrongSerial,
    /// Rightly signed, under a serial that nobody knows.
    UnknownSerial,
    /// Rightly signed, ten minutes ago.
    Old,
    /// Rightly signed, ten minutes ahead.
    Ahead,
    /// Another body than was signed, by one byte.
    ChangedBody,
    /// APIv3, well signed as all that follow: sealed under another APIv3 key.
    OtherKey,
    /// The nonce of the cipher has 6 characters.
    ShortNonce,
    /// It has none.
    NoNonce,
    /// The ciphertext is no base64.
    BadCiphertext,
    /// The ciphertext is shorter than its tag.
    ShortCiphertext,
    /// No JSON.
    NotJson,
    /// An event of entrusted deduction.
    OtherEvent,
    /// v2 and APIv3: well signed and true, but nobody can read what it says beside the payment.
    OddReceipt,
}

/// The order as if it were paid, whether it is or not.
pub(crate) fn as_paid(order: &Order, transaction_id: Option<String>, moment: Moment) -> Order {
    let mut order = order.clone();
    let openid = order
        .given("openid")
        .unwrap_or(users::ALICE.openid)
        .to_owned();
    let mut payment = order.payment.take().unwrap_or_else(|| Payment {
        transaction_id: moment.transaction_id(),
        openid,
        coupon_fee: 0,
        cash_coupon_fee: 0,
        paid_ms: moment.now_ms,
    });
    payment.transaction_id = transaction_id.unwrap_or(payment.transaction_id);
    order.payment = Some(payment);
    order
}

/// A notification for `order`, with or without a flaw; `None` when the flow of
/// the order has no such notification.
pub(crate) fn forge(
    world: &World,
    order: &Order,
    flaw: Option<Flaw>,
    url: &str,
) -> Option<Message> {
    if order.trade_type == TradeType::App2014 {
        return genprepay::notification(world, order, url).filter(|_| flaw.is_none());
    }
    let (body, form) = match order.version {
        Version::V2 => (body(world, order, flaw)?, Form::Xml(ACCEPTED)),
        Version::V3 => {
            let pay = &world.pay;
            let notice = pay.v3_payment_notification(order, flaw, world.now())?;
            (notice.body, Form::Json(notice.headers))
        }
    };
    Some(Message {
        url: url.to_owned(),
        body,
        form,
        fault: flaw,
    })
}

/// A notification of a refund, to `url` or else the one that the refund names,
/// or else the console's. APIv3 has flaws here, v2 has none.
pub(crate) fn forge_refund(
    world: &World,
    order: &Order,
    refund: &Refund,
    flaw: Option<Flaw>,
    url: Option<String>,
) -> Option<Message> {
    let own = url.or(refund.notify_url.clone());
    let version = match own {
        Some(_) => refund.version,
        None => Version::V2,
    };
    let merchant = world.pay.directory.merchant(&order.mch_id)?;
    let url = own.or(merchant.refund_notify_url.clone())?;
    let (body, form) = match version {
        Version::V2 if flaw.is_some() => return None,
        Version::V2 => {
            // It is sealed under the v2 key, whatever else the merchant has.
            merchant.api_key.as_ref()?;
            let moment = world.moment();
            let body = world.pay.refund_notification(order, refund, moment);
            (body, Form::Xml(ACCEPTED))
        }
        Version::V3 => {
            let pay = &world.pay;
            let notice = pay.v3_refund_notification(order, refund, flaw, world.now())?;
            (notice.body, Form::Json(notice.headers))
        }
    };
    Some(Message {
        url,
        body,
        form,
        fault: flaw,
    })
}

fn body(world: &World, order: &Order, flaw: Option<Flaw>) -> Option<String> {
    let pay = &world.pay;
    let mut fields = pay.payment_notification(order, world.moment());
    let well = |fields: Fields| xml::write(&pay.signed(order, fields));
    let Some(flaw) = flaw else {
        return Some(well(fields));
    };
    match flaw {
        Flaw::WrongAmount => put(&mut fields, "total_fee", order.total_fee + 1),
        Flaw::WrongAppid => put(&mut fields, "appid", "wx0000000000000000"),
        Flaw::WrongMchId => put(&mut fields, "mch_id", "1900000000"),
        Flaw::UnknownOrder => put(&mut fields, "out_trade_no", ids::nonce()),
        Flaw::Oversized => put(&mut fields, "attach", "x".repeat(70 * 1024)),
        Flaw::ResultFail => {
            put(&mut fields, "result_code", "FAIL");
            put(&mut fields, "err_code", "SYSTEMERROR");
            put(&mut fields, "err_code_des", "系统错误");
        }
        Flaw::OddReceipt => {
            for name in [
                "cash_fee",
                "coupon_fee",
                "coupon_fee_0",
                "settlement_total_fee",
            ] {
                put(&mut fields, name, "1.5");
            }
            for name in ["time_end", "coupon_count", "is_subscribe"] {
                put(&mut fields, name, "odd");
            }
            put(&mut fields, "bank_type", "银行".repeat(99));
        }
        Flaw::NoReturnCode => {
            fields.remove("return_code");
            fields.remove("return_msg");
            return Some(xml::write(&fields));
        }
        Flaw::NoSign => return Some(xml::write(&fields)),
        Flaw::ForgedSign => {
            let sign = sign::v2(&fields, order.sign_type, "00000000000000000000000000000000");
            put(&mut fields, "sign", sign);
            return Some(xml::write(&fields));
        }
        Flaw::Doctype => {
            let entity = "<!DOCTYPE xml [<!ENTITY x SYSTEM \"file:///etc/hostname\">]>";
            return Some(format!("{entity}{}", well(fields)));
        }
        Flaw::DuplicateElement => {
            let twice = xml::element("total_fee", "1");
            return Some(well(fields).replace("</xml>", &format!("{twice}</xml>")));
        }
        Flaw::NotXml => {
            let fields = pay.signed(order, fields);
            return serde_json::to_string(&fields).ok();
        }
        Flaw::TwoSigns
        | Flaw::SignTest
        | Flaw::BadBase64
        | Flaw::WrongSerial
        | Flaw::UnknownSerial
        | Flaw::Old
        | Flaw::Ahead
        | Flaw::ChangedBody
        | Flaw::OtherKey
        | Flaw::ShortNonce
        | Flaw::NoNonce
        | Flaw::BadCiphertext
        | Flaw::ShortCiphertext
        | Flaw::NotJson
        | Flaw::OtherEvent => return None,
    }
    Some(well(fields))
}
