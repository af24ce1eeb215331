//! What a call of the payment API is about, and as whom it is made, by either
//! version: read before WeChat decides, to be held against the order.

use serde_json::Value;
use shared::domain::order::ApiVersion;
use url::form_urlencoded;
use wechat_simulator::pay::{Order, Request, Version};

use crate::scheduler::HttpCall;
use crate::wechat::Wechat;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// To open a payment.
    Place,
    /// How a payment stands.
    Query,
    /// That it cannot be paid any more.
    Close,
    /// To charge a payer's code.
    Charge,
    /// To take back what was charged.
    Reverse,
    /// To give money back.
    Refund,
    /// How a refund stands, or all of a payment.
    RefundQuery,
}

/// A call, as it names itself.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: What,
    pub(crate) version: ApiVersion,
    pub(crate) mch_id: String,
    /// Version 3 names it only in new orders.
    pub(crate) app_id: Option<String>,
    pub(crate) out_trade_no: Option<String>,
    pub(crate) transaction_id: Option<String>,
    pub(crate) out_refund_no: Option<String>,
    pub(crate) refund_id: Option<String>,
}

/// The version that WeChat keeps with an order.
pub(crate) const fn api_version(version: Version) -> ApiVersion {
    match version {
        Version::V2 => ApiVersion::V2,
        Version::V3 => ApiVersion::V3,
    }
}

impl Asked {
    /// Of version 2, whose signature holds.
    pub(crate) fn v2(path: &str, request: &Request) -> Option<Self> {
        let what = match path {
            "/pay/unifiedorder" => What::Place,
            "/pay/orderquery" => What::Query,
            "/pay/closeorder" => What::Close,
            "/pay/micropay" => What::Charge,
            "/secapi/pay/reverse" => What::Reverse,
            "/secapi/pay/refund" => What::Refund,
            "/pay/refundquery" => What::RefundQuery,
            _ => return None,
        };
        let get = |name: &str| request.get(name).map(str::to_owned);
        Some(Self {
            what,
            version: ApiVersion::V2,
            mch_id: get("mch_id")?,
            app_id: get("appid"),
            out_trade_no: get("out_trade_no"),
            transaction_id: get("transaction_id"),
            out_refund_no: get("out_refund_no"),
            refund_id: get("refund_id"),
        })
    }

    /// Of version 3; WeChat verifies its signature when it answers.
    pub(crate) fn v3(call: &HttpCall) -> Option<Self> {
        let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
        let get = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let path: Vec<&str> = call.path.split('/').skip(2).collect();
        let mut asked = Self {
            what: What::Query,
            version: ApiVersion::V3,
            mch_id: signer(call)?.to_owned(),
            app_id: get("appid"),
            out_trade_no: get("out_trade_no"),
            transaction_id: get("transaction_id"),
            out_refund_no: get("out_refund_no"),
            refund_id: None,
        };
        match path.as_slice() {
            ["pay", "transactions", "id", id] => asked.transaction_id = Some((*id).to_owned()),
            ["pay", "transactions", "out-trade-no", number, rest @ ..] => {
                asked.out_trade_no = Some((*number).to_owned());
                if rest == ["close"] {
                    asked.what = What::Close;
                }
            }
            ["pay", "transactions", _] => asked.what = What::Place,
            ["refund", "domestic", "refunds"] => asked.what = What::Refund,
            ["refund", "domestic", "refunds", number] => {
                asked.what = What::RefundQuery;
                asked.out_refund_no = Some((*number).to_owned());
            }
            _ => return None,
        }
        let mut query = form_urlencoded::parse(call.query.as_bytes());
        let mut named = query
            .find(|(name, _)| name == "mchid")
            .map(|(_, id)| id.into_owned());
        named = named.or(get("mchid"));
        // Whoever signs names nobody else.
        named
            .is_none_or(|named| named == asked.mch_id)
            .then_some(asked)
    }

    /// For the count.
    pub(crate) const fn name(&self) -> &'static str {
        match (self.version, self.what) {
            (ApiVersion::V2, What::Place) => "v2 order",
            (ApiVersion::V2, What::Query) => "v2 query",
            (ApiVersion::V2, What::Close) => "v2 close",
            (ApiVersion::V2, What::Refund) => "v2 refund",
            (ApiVersion::V2, What::RefundQuery) => "v2 refund query",
            (ApiVersion::V3, What::Place) => "v3 order",
            (ApiVersion::V3, What::Query) => "v3 query",
            (ApiVersion::V3, What::Close) => "v3 close",
            (ApiVersion::V3, What::Refund) => "v3 refund",
            (ApiVersion::V3, What::RefundQuery) => "v3 refund query",
            (_, What::Charge) => "v2 charge",
            (_, What::Reverse) => "v2 reverse",
        }
    }

    /// Whether one of the versions alone can do this.
    pub(crate) const fn is_of_one_version(&self) -> bool {
        match self.what {
            What::Charge | What::Reverse => true,
            // What people have given back, and all of a payment.
            What::RefundQuery => self.out_refund_no.is_none(),
            What::Place | What::Query | What::Close | What::Refund => false,
        }
    }
}

fn signer(call: &HttpCall) -> Option<&str> {
    let header = call.headers.get("authorization")?.to_str().ok()?;
    let (_, rest) = header.split_once("mchid=\"")?;
    rest.split('"').next()
}

impl Wechat {
    /// The order that a call is about, if WeChat has it.
    pub(crate) fn order_of(&self, asked: &Asked) -> Option<&Order> {
        let by_number = asked.out_trade_no.as_ref();
        let by_number = by_number.and_then(|number| self.pay.order(number));
        let by_payment = asked.transaction_id.as_ref();
        let by_payment = by_payment.and_then(|id| self.paid(id));
        let refund = asked.out_refund_no.as_ref();
        let refund = refund.and_then(|number| self.pay.refund_of(number));
        let by_id = asked.refund_id.as_ref();
        let by_id = by_id.and_then(|id| self.pay.refund_by_id(id));
        let by_refund = refund.or(by_id).map(|(order, _)| order);
        by_number.or(by_payment).or(by_refund)
    }

    /// The order of this payment.
    pub(crate) fn paid(&self, transaction_id: &str) -> Option<&Order> {
        let mut orders = self.pay.orders();
        orders.find(|order| {
            let paid = order.payment.as_ref();
            paid.is_some_and(|paid| paid.transaction_id == transaction_id)
        })
    }
}
