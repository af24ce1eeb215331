//! The APP flow of 2014: `genprepay` with the official account's access token,
//! the signature for the merchant's app, and the notification in the query
//! string. For apps whose old clients know nothing else; queries, closing and
//! refunds are version 2's.

use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use crate::ambient::random_hex;
use crate::domain::merchant::SignType;
use crate::domain::order::{Attempt, Order, Prepay};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::notify::read_notice;
use super::pay::{BODY_MAX_BYTES, cut};
use super::sign::{sign, verify};
use super::{Client, Speaker};
use crate::wechat::Error;
use crate::wechat::address;
use crate::wechat::asked::{self, Subject};
use crate::wechat::notification::{Notice, Rejection};
use crate::wechat::official_account::token::Token;
use crate::wechat::official_account::{call, sha1_signature};

/// WeChat's own is a few hundred bytes.
const QUERY_MAX_BYTES: usize = 8 * 1024;

/// The answers to such a notification: accepted, and to be repeated.
pub(in crate::wechat) const ANSWERS: [&str; 2] = ["success", "fail"];

#[derive(Deserialize)]
struct Answer {
    prepayid: String,
}

impl Speaker<'_> {
    /// genprepay. The same attempt always sends the same package, so repeating
    /// it is safe. When WeChat refuses the token, another one may be tried.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn genprepay(
        &self,
        order: &Order,
        attempt: &Attempt,
        notify_url: &str,
        token: &Token,
        now: Timestamp,
    ) -> Result<Prepay, Error> {
        let app_key = self.client.app_key()?;
        let number = order.out_trade_no(attempt.number);
        let out_trade_no = number.to_string();
        let package = params([
            ("bank_type", "WX"),
            ("body", cut(&order.request.body, BODY_MAX_BYTES)),
            ("fee_type", "1"),
            ("input_charset", "UTF-8"),
            ("notify_url", notify_url),
            ("out_trade_no", &out_trade_no),
            ("partner", self.client.identity.mch_id.as_str()),
            ("spbill_create_ip", &attempt.client_ip.to_string()),
            ("total_fee", &order.request.total_fee.to_string()),
            ("time_start", &attempt.started_at.beijing()),
            ("time_expire", &order.expiry(attempt).beijing()),
        ]);
        let package = packed(&package, &self.client.keys.api_key);
        let (timestamp, noncestr) = (now.seconds(), random_hex());
        let signature = sha1_signature(&params([
            ("appid", self.account.as_str()),
            ("appkey", app_key),
            ("noncestr", &noncestr),
            ("package", &package),
            ("timestamp", &timestamp.to_string()),
            ("traceid", &out_trade_no),
        ]));
        let request = json!({
            "appid": self.account.as_str(),
            "noncestr": noncestr,
            "package": package,
            "timestamp": timestamp,
            "traceid": out_trade_no,
            "sign_method": "sha1",
            "app_signature": signature,
        });
        let mut url = address(&self.client.identity.api_base, "/pay/genprepay")?;
        url.query_pairs_mut()
            .append_pair("access_token", token.expose());
        let answer: Result<Answer, Error> = call(
            self.client
                .http
                .client()
                .post(url)
                .body(request.to_string()),
        )
        .await;
        let word = answer.as_ref().map_or_else(Error::in_short, |_| "SUCCESS");
        asked::log("/pay/genprepay", Subject::Trade(&number), word);
        let answer = answer?;
        if answer.prepayid.is_empty() {
            return Err(Error::Forged("prepayid is missing"));
        }
        Ok(Prepay {
            prepay_id: answer.prepayid,
            ..Prepay::default()
        })
    }

    /// The parameters with which the merchant's app opens WeChat, signed as
    /// clients of that time expect it.
    ///
    /// # Errors
    /// When there is no `app_key`.
    pub fn genprepay_params(&self, prepay_id: &str, now: Timestamp) -> Result<Params, Error> {
        let app_key = self.client.app_key()?;
        let mut handed = params([
            ("appid", self.account.as_str()),
            ("noncestr", &random_hex()),
            ("package", "Sign=WXPay"),
            ("partnerid", self.client.identity.mch_id.as_str()),
            ("prepayid", prepay_id),
            ("timestamp", &now.seconds().to_string()),
        ]);
        let mut signed = handed.clone();
        signed.insert("appkey".to_owned(), app_key.to_owned());
        handed.insert("sign".to_owned(), sha1_signature(&signed));
        Ok(handed)
    }
}

impl Client {
    /// Reads a notification of this flow, which is all in the query string,
    /// and checks what can be checked of it.
    ///
    /// # Errors
    /// The first check it fails; every one is a stranger's without `app_key`.
    pub fn read_query_notification(
        &self,
        query: &str,
        now: Timestamp,
    ) -> Result<Notice, Rejection> {
        if self.keys.app_key.is_none() {
            return Err(Rejection::Stranger);
        }
        if query.len() > QUERY_MAX_BYTES {
            return Err(Rejection::Invalid("the query is too long"));
        }
        let mut fields = Params::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            if fields.insert(name, value).is_some() {
                return Err(Rejection::Invalid("a parameter comes twice"));
            }
        }
        if !verify(&fields, &self.keys.api_key, SignType::Md5) {
            return Err(Rejection::Signature);
        }
        let field = |name: &str| field(&fields, name);
        if field("partner") != self.identity.mch_id.as_str() {
            return Err(Rejection::Stranger);
        }
        if field("fee_type") != "1" {
            return Err(Rejection::Invalid("fee_type is not 1"));
        }
        if field("trade_state") != "0" {
            return Err(Rejection::NoPayment);
        }
        fields.insert("trade_type".to_owned(), "APP".to_owned());
        read_notice(&fields, now)
    }

    fn app_key(&self) -> Result<&str, Error> {
        let app_key = self.keys.app_key.as_deref();
        if app_key.is_none() {
            tracing::error!(
                alarm = "configuration",
                "an app is set to the APP flow of 2014, and the WeChat secret has no app_key"
            );
        }
        app_key.ok_or(Error::NoAppKey)
    }
}

fn params<const N: usize>(pairs: [(&str, &str); N]) -> Params {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.map(own).into()
}

/// The signature is made over the raw values, what is sent is encoded.
fn packed(package: &Params, api_key: &str) -> String {
    let signature = sign(package, api_key, SignType::Md5);
    let mut packed = String::new();
    for (name, value) in package {
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        // A plus of the value is %2B by now, so what is left is spaces.
        packed += &format!("{name}={}&", value.replace('+', "%20"));
    }
    packed + "sign=" + &signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::NOW;
    use crate::wechat::fixtures::{API_KEY, first_account, wechat};

    #[test]
    fn the_documented_package_is_reproduced() {
        let package = params([
            ("bank_type", "WX"),
            ("body", "支付测试"),
            ("fee_type", "1"),
            ("input_charset", "UTF-8"),
            ("notify_url", "http://weixin.qq.com"),
            ("out_trade_no", "7240b65810859cbf2a8d9f76a638c0a3"),
            ("partner", "1900000109"),
            ("spbill_create_ip", "196.168.1.1"),
            ("total_fee", "1"),
        ]);
        let packed = packed(&package, API_KEY);
        assert!(packed.ends_with("&sign=7F77B507B755B3262884291517E380F8"));
        assert!(packed.contains("&body=%E6%94%AF%E4%BB%98%E6%B5%8B%E8%AF%95&"));
        assert!(packed.contains("&notify_url=http%3A%2F%2Fweixin.qq.com&"));
    }

    #[test]
    fn what_is_encoded_for_a_form_is_encoded_for_a_package() {
        let package = params([("body", "a+b c&d=é")]);
        assert!(packed(&package, "").starts_with("body=a%2Bb%20c%26d%3D%C3%A9&sign="));
    }

    fn notification(changes: &[(&str, &str)]) -> String {
        let mut fields = params([
            ("sign_type", "MD5"),
            ("trade_mode", "1"),
            ("trade_state", "0"),
            ("partner", "1900000109"),
            ("total_fee", "1999"),
            ("fee_type", "1"),
            ("transaction_id", "1900000109201411210000000001"),
            ("out_trade_no", "demo000000000001A00000000101"),
            ("time_end", "20141121153000"),
        ]);
        for (name, value) in changes {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        let signature = sign(&fields, API_KEY, SignType::Md5);
        fields.insert("sign".to_owned(), signature);
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish()
    }

    #[test]
    fn a_signed_query_is_a_payment_and_nothing_else_is() {
        let wechat = wechat(r#","app_key":"k""#);
        let good = notification(&[]);
        let notice = wechat.read_query_notification(&good, NOW).unwrap();
        assert_eq!(notice.number().to_string(), "demo000000000001A00000000101");
        let payment = notice.into_payment();
        assert_eq!(payment.total_fee.to_string(), "1999");
        assert_eq!(payment.trade_type, "APP");
        for bad in [
            String::new(),
            good.replace("1999", "1"),
            good.replace("&sign=", "&sing="),
            format!("{good}&total_fee=1999"),
            format!("{good}&more={}", "x".repeat(QUERY_MAX_BYTES)),
            notification(&[("partner", "1900000100")]),
            notification(&[("trade_state", "1")]),
            notification(&[("fee_type", "2")]),
            notification(&[("out_trade_no", "another's")]),
            notification(&[("total_fee", "19.99")]),
            notification(&[("transaction_id", "")]),
        ] {
            assert!(wechat.read_query_notification(&bad, NOW).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_the_key_of_that_time_the_flow_is_off() {
        let wechat = wechat("");
        let read = wechat.read_query_notification(&notification(&[]), NOW);
        assert!(matches!(read, Err(Rejection::Stranger)));
        let account = first_account();
        let speaker = wechat.through(&account);
        let handed = speaker.genprepay_params("wx1", Timestamp::from_millis(0));
        assert!(matches!(handed, Err(Error::NoAppKey)));
    }
}
