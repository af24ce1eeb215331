//! unifiedorder, orderquery and closeorder, and the parameters for the JSAPI
//! bridge. Field names, lengths and codes are WeChat's.
//! <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_1>

use crate::ambient::random_hex;
use crate::domain::UnknownAttributes;
use crate::domain::id::{OutTradeNo, TransactionId};
use crate::domain::merchant::AccountId;
use crate::domain::money::Fen;
use crate::domain::order::{ApiVersion, Attempt, Order, Payment, Prepay, Request, TradeType};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::receipt::{read_receipt, readable};
use super::scene::scene_info;
use super::{Speaker, concluded, in_short, sign};
use crate::wechat::asked::{self, Subject};
use crate::wechat::transport::Repeat;
use crate::wechat::{Closing, Error, Trade};

/// WeChat cuts nothing: a longer description is PARAM_ERROR.
pub(super) const BODY_MAX_BYTES: usize = 127;

impl Speaker<'_> {
    /// unifiedorder. The same attempt always sends the same parameters, so
    /// repeating it is safe: WeChat answers the same prepay session.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's code, or an unknown outcome.
    pub async fn unified_order(
        &self,
        order: &Order,
        attempt: &Attempt,
        notify_url: &str,
    ) -> Result<Prepay, Error> {
        let mut fields = order_fields(&order.request, attempt.trade_type);
        let mut put = |name: &str, value: String| fields.insert(name.to_owned(), value);
        let number = order.out_trade_no(attempt.number);
        put("spbill_create_ip", attempt.client_ip.to_string());
        put("time_start", attempt.started_at.beijing());
        put("time_expire", order.expiry(attempt).beijing());
        put("trade_type", attempt.trade_type.as_str().to_owned());
        put("notify_url", notify_url.to_owned());
        match attempt.trade_type {
            TradeType::Native => put("product_id", order.order_no.to_string()),
            TradeType::Jsapi => put("openid", attempt.openid.clone().unwrap_or_default()),
            TradeType::Mweb | TradeType::App | TradeType::Genprepay | TradeType::Micropay => None,
        };
        put("out_trade_no", number.to_string());

        let about = Subject::Trade(&number);
        let mut answer = self.post("/pay/unifiedorder", fields, about).await?;
        let prepay_id = answer
            .remove("prepay_id")
            .filter(|id| !id.is_empty())
            .ok_or(Error::Forged("prepay_id is missing"))?;
        let code_url = answer.remove("code_url").filter(|url| !url.is_empty());
        let mweb_url = answer.remove("mweb_url").filter(|url| !url.is_empty());
        match attempt.trade_type {
            TradeType::Native if code_url.is_none() => Err(Error::Forged("code_url is missing")),
            TradeType::Mweb if mweb_url.is_none() => Err(Error::Forged("mweb_url is missing")),
            _ => Ok(Prepay {
                prepay_id,
                code_url,
                mweb_url,
                ..Prepay::default()
            }),
        }
    }

    /// orderquery by the hub's number of this attempt.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn query(&self, order: &Order, attempt: u8, now: Timestamp) -> Result<Trade, Error> {
        let number = order.out_trade_no(attempt);
        let fields = Params::from([("out_trade_no".to_owned(), number.to_string())]);
        let about = Subject::Trade(&number);
        let answer = match self.post("/pay/orderquery", fields, about).await {
            Err(Error::Business { code, .. }) if code == "ORDERNOTEXIST" => {
                return Ok(Trade::Unknown);
            }
            other => other?,
        };
        if field(&answer, "out_trade_no") != number.to_string() {
            return Err(Error::Forged("out_trade_no is another's"));
        }
        match field(&answer, "trade_state") {
            "SUCCESS" => read_payment(&answer, attempt, now)
                .map(Trade::Paid)
                .map_err(Error::Forged),
            "REFUND" => match read_payment(&answer, attempt, now) {
                Ok(payment) => Ok(Trade::Returned(payment)),
                // WeChat promises the payment's fields of SUCCESS only.
                Err(_) => match self.payment_given_back(order, attempt).await? {
                    Some(payment) => Ok(Trade::Returned(payment)),
                    None => Err(Error::Unknown(None)),
                },
            },
            "NOTPAY" | "USERPAYING" | "ACCEPT" => Ok(Trade::Open),
            // It is also said of a payment that has gone back as a whole.
            "CLOSED" => {
                let payment = self.payment_given_back(order, attempt).await?;
                Ok(payment.map_or(Trade::Closed, Trade::Returned))
            }
            "REVOKED" => Ok(Trade::Closed),
            "PAYERROR" => Ok(Trade::Failed),
            _ => Err(Error::Forged("trade_state is not WeChat's")),
        }
    }

    /// orderquery by WeChat's number: the `out_trade_no`, whoever made it; none when
    /// the merchant has no such payment. Which account it came through is the answer's
    /// to say.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn number_of(&self, id: &TransactionId) -> Result<Option<String>, Error> {
        const PATH: &str = "/pay/orderquery";
        let fields = Params::from([("transaction_id".to_owned(), id.to_string())]);
        let http = &self.client.http;
        let answer = self.call(http, PATH, fields, Repeat::Safe).await;
        let answer = answer.and_then(concluded);
        asked::log(PATH, Subject::Search(id), in_short(&answer));
        let answer = match answer {
            Err(Error::Business { code, .. }) if code == "ORDERNOTEXIST" => return Ok(None),
            other => other?,
        };
        match field(&answer, "transaction_id") == id.as_str() {
            true => Ok(Some(field(&answer, "out_trade_no").to_owned())),
            false => Err(Error::Forged("transaction_id is another's")),
        }
    }

    /// closeorder. Not within five minutes of the order's creation.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown.
    pub async fn close(&self, number: &OutTradeNo) -> Result<Closing, Error> {
        let fields = Params::from([("out_trade_no".to_owned(), number.to_string())]);
        let about = Subject::Trade(number);
        match self.post("/pay/closeorder", fields, about).await {
            Ok(_) => Ok(Closing::Closed),
            Err(Error::Business { code, .. }) => match code.as_str() {
                "ORDERCLOSED" => Ok(Closing::Closed),
                "ORDERNOTEXIST" => Ok(Closing::Unknown),
                "ORDERPAID" => Ok(Closing::Paid),
                _ => Err(Error::Business {
                    code,
                    text: String::new(),
                }),
            },
            Err(error) => Err(error),
        }
    }

    /// The parameters for `WeixinJSBridge.invoke('getBrandWCPayRequest')`,
    /// signed: exactly this case, all strings.
    #[must_use]
    pub fn bridge_params(&self, prepay_id: &str, now: Timestamp) -> Params {
        let mut params = Params::from([
            ("appId".to_owned(), self.account.to_string()),
            ("timeStamp".to_owned(), now.seconds().to_string()),
            ("nonceStr".to_owned(), random_hex()),
            ("package".to_owned(), format!("prepay_id={prepay_id}")),
            (
                "signType".to_owned(),
                self.client.identity.sign_type.as_str().to_owned(),
            ),
        ]);
        let signature = sign::sign(
            &params,
            &self.client.keys.api_key,
            self.client.identity.sign_type,
        );
        params.insert("paySign".to_owned(), signature);
        params
    }

    /// The parameters with which a merchant's app opens WeChat, signed: all
    /// lower case and without `signType`.
    #[must_use]
    pub fn app_params(&self, prepay_id: &str, now: Timestamp) -> Params {
        let mut params = Params::from([
            ("appid".to_owned(), self.account.to_string()),
            (
                "partnerid".to_owned(),
                self.client.identity.mch_id.to_string(),
            ),
            ("prepayid".to_owned(), prepay_id.to_owned()),
            ("package".to_owned(), "Sign=WXPay".to_owned()),
            ("noncestr".to_owned(), random_hex()),
            ("timestamp".to_owned(), now.seconds().to_string()),
        ]);
        let signature = sign::sign(
            &params,
            &self.client.keys.api_key,
            self.client.identity.sign_type,
        );
        params.insert("sign".to_owned(), signature);
        params
    }
}

/// What the app said of its order, for unifiedorder and micropay alike.
pub(super) fn order_fields(request: &Request, trade_type: TradeType) -> Params {
    let body = cut(&request.body, BODY_MAX_BYTES).to_owned();
    let limit_pay = request.limit_pay.map(|limit| limit.as_str().to_owned());
    let fields = [
        ("body", Some(body)),
        ("attach", request.attach.clone()),
        ("total_fee", Some(request.total_fee.to_string())),
        ("device_info", request.device_info.clone()),
        ("detail", request.detail.clone()),
        ("goods_tag", request.goods_tag.clone()),
        ("limit_pay", limit_pay),
        ("scene_info", scene_info(request, trade_type)),
    ];
    let given = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?));
    fields.into_iter().filter_map(given).collect()
}

/// The payment in a notification, a query's answer or micropay's, which all name it
/// alike. `now` stands for the time of a payment that cannot be read: a payment
/// must not wait for that.
pub(super) fn read_payment(
    fields: &Params,
    attempt: u8,
    now: Timestamp,
) -> Result<Payment, &'static str> {
    let field = |name: &str| Some(field(fields, name)).filter(|value| !value.is_empty());
    let total_fee = field("total_fee").ok_or("total_fee is missing")?;
    let total_fee = Fen::parse(total_fee).map_err(|_| "total_fee is no amount")?;
    let transaction_id = field("transaction_id").ok_or("transaction_id is missing")?;
    TransactionId::parse(transaction_id).map_err(|_| "transaction_id is not WeChat's")?;
    let cash_fee = readable(fields, "cash_fee", |text| Fen::parse(text).ok());
    let paid_at = readable(fields, "time_end", |text| {
        Timestamp::parse_beijing(text).ok()
    });
    Ok(Payment {
        transaction_id: transaction_id.to_owned(),
        attempt,
        api_version: ApiVersion::V2,
        account: field("appid").and_then(|appid| AccountId::parse(appid).ok()),
        trade_type: field("trade_type")
            .ok_or("trade_type is missing")?
            .to_owned(),
        total_fee,
        cash_fee: cash_fee.unwrap_or(total_fee),
        openid: field("openid").map(str::to_owned),
        paid_at: paid_at.unwrap_or(now),
        receipt: Some(Box::new(read_receipt(fields))),
        refund_reserved: Fen::ZERO,
        refunded: Fen::ZERO,
        unknown: UnknownAttributes::new(),
    })
}

/// The longest start of a text within so many bytes, whole characters only.
pub(super) fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;
    use crate::domain::order::LimitPay;

    #[test]
    fn wechat_is_told_what_the_app_said_of_its_order_and_nothing_empty() {
        let mut request = fixtures::request();
        let plain = fixtures::params(&[("body", "test"), ("total_fee", "100")]);
        assert_eq!(order_fields(&request, TradeType::Native), plain);
        let detail = r#"{ "goods_detail":[{"goods_id":"g","quantity":1,"price":1}]}"#;
        request.attach = Some("a&b".into());
        request.device_info = Some("till 3".into());
        request.detail = Some(detail.into());
        request.goods_tag = Some("WXG".into());
        request.limit_pay = Some(LimitPay::NoCredit);
        request.store_id = Some("S1".into());
        let fields = fixtures::params(&[
            ("body", "test"),
            ("attach", "a&b"),
            ("total_fee", "100"),
            ("device_info", "till 3"),
            ("detail", detail),
            ("goods_tag", "WXG"),
            ("limit_pay", "no_credit"),
            ("scene_info", r#"{"store_info":{"id":"S1"}}"#),
        ]);
        for kind in [TradeType::Jsapi, TradeType::App, TradeType::Micropay] {
            assert_eq!(order_fields(&request, kind), fields);
        }
    }

    #[test]
    fn a_payment_is_taken_although_its_receipt_cannot_be_read() {
        let must = [
            ("transaction_id", "4200001"),
            ("trade_type", "NATIVE"),
            ("total_fee", "100"),
        ];
        let read = |more: &[(&str, &str)]| {
            let fields = fixtures::params(&[&must[..], more].concat());
            read_payment(&fields, 1, fixtures::NOW).unwrap()
        };
        let good = read(&[
            ("time_end", "20141030133525"),
            ("cash_fee", "90"),
            ("bank_type", "CFT"),
        ]);
        assert_eq!(good.paid_at.beijing(), "20141030133525");
        assert_eq!(good.cash_fee, fixtures::fen(90));
        let receipt = good.receipt.unwrap();
        assert_eq!(receipt.bank_type.as_deref(), Some("CFT"));
        for odd in [
            &[][..],
            &[
                ("time_end", "soon"),
                ("cash_fee", "all"),
                ("bank_type", "?"),
            ],
        ] {
            let odd = read(odd);
            assert_eq!((odd.paid_at, odd.cash_fee), (fixtures::NOW, odd.total_fee));
            assert_eq!(odd.receipt, Some(Box::default()));
        }
        // What says which payment it is, and of how much, is no receipt.
        for (name, _) in must {
            let mut fields = fixtures::params(&must);
            fields.remove(name);
            assert!(read_payment(&fields, 1, fixtures::NOW).is_err(), "{name}");
        }
    }

    #[test]
    fn a_description_is_cut_between_characters() {
        assert_eq!(cut("test", 127), "test");
        let long = "支".repeat(50);
        assert_eq!(cut(&long, BODY_MAX_BYTES), "支".repeat(42));
    }
}
