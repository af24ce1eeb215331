//! Notifications that are wrong on purpose.

use serde::{Deserialize, Serialize};

use crate::genprepay;
use crate::ids;
use crate::notify::Message;
use crate::pay::{ACCEPTED, Moment, Order, Payment, TradeType, put};
use crate::sign::{self, Fields};
use crate::state::World;
use crate::users;
use crate::xml;

/// What is wrong. Everything not named here is right, the signature included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flaw {
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
    /// Well signed, `result_code=FAIL`.
    ResultFail,
    /// Well signed and true, but nobody can read what it says beside the payment.
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
    Some(Message {
        url: url.to_owned(),
        body: body(world, order, flaw),
        expects: ACCEPTED,
        fault: flaw,
    })
}

fn body(world: &World, order: &Order, flaw: Option<Flaw>) -> String {
    let pay = &world.pay;
    let mut fields = pay.payment_notification(order, world.moment());
    let well = |fields: Fields| xml::write(&pay.signed(order.sign_type, fields));
    let Some(flaw) = flaw else {
        return well(fields);
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
            return xml::write(&fields);
        }
        Flaw::NoSign => return xml::write(&fields),
        Flaw::ForgedSign => {
            let sign = sign::v2(&fields, order.sign_type, "00000000000000000000000000000000");
            put(&mut fields, "sign", sign);
            return xml::write(&fields);
        }
        Flaw::Doctype => {
            let entity = "<!DOCTYPE xml [<!ENTITY x SYSTEM \"file:///etc/hostname\">]>";
            return format!("{entity}{}", well(fields));
        }
        Flaw::DuplicateElement => {
            let twice = xml::element("total_fee", "1");
            return well(fields).replace("</xml>", &format!("{twice}</xml>"));
        }
        Flaw::NotXml => {
            let fields = pay.signed(order.sign_type, fields);
            return serde_json::to_string(&fields).unwrap_or_default();
        }
    }
    well(fields)
}
