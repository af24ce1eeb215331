//! WeChat Pay version 2: flat XML, signed with the merchant's API key. One
//! request and response pair per endpoint, and what every call has in common:
//! ids and signature in, `return_code`, signature and `result_code` out.

pub mod genprepay;
pub mod micropay;
pub mod notify;
pub mod pay;
mod receipt;
pub mod refund;
pub mod scene;
pub mod sign;
pub mod xml;

use std::fmt;

use serde::Deserialize;

use super::asked::{self, Subject};
use super::transport::{self, Http, NoCertificate, Repeat};
use super::{Error, Identity};
use crate::ambient::random_hex;
use crate::domain::merchant::AccountId;
use crate::domain::signature::{Params, field};

/// The keys of the merchant's payments, as JSON in Secrets Manager. They cannot
/// be printed.
#[derive(Clone, Deserialize)]
pub struct PaymentKeys {
    /// The 32-character API key that signs payments.
    api_key: String,
    /// What signed APP payments in 2014; without it that flow is off.
    #[serde(default)]
    app_key: Option<String>,
}

impl PaymentKeys {
    /// Reads the secret's JSON text.
    ///
    /// # Errors
    /// When a key is missing or the API key has not WeChat's form. The text
    /// is not part of the error.
    pub fn parse(json: &str) -> Result<Self, &'static str> {
        let keys: Self = serde_json::from_str(json)
            .map_err(|_| "the WeChat secret must be JSON with api_key")?;
        if keys.api_key.len() != 32 || !keys.api_key.is_ascii() {
            return Err("api_key in the WeChat secret must have 32 characters");
        }
        // An empty one would be known to everybody.
        if keys.app_key.as_ref().is_some_and(String::is_empty) {
            return Err("app_key in the WeChat secret must not be empty");
        }
        Ok(keys)
    }
}

impl fmt::Debug for PaymentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentKeys(..)")
    }
}

/// A client for one merchant's payments by version 2.
#[derive(Debug, Clone)]
pub struct Client {
    identity: Identity,
    keys: PaymentKeys,
    http: Http,
    /// Shows the merchant's certificate; apart from `http`, so that only the
    /// calls that need the certificate can show it.
    certified: Option<Http>,
}

/// The client, as it speaks through one of the merchant's accounts.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    client: &'a Client,
    account: &'a AccountId,
}

impl Client {
    /// A client; nothing is dialled yet.
    #[must_use]
    pub const fn new(identity: Identity, keys: PaymentKeys, http: Http) -> Self {
        Self {
            identity,
            keys,
            http,
            certified: None,
        }
    }

    /// Speaks through one of the merchant's accounts.
    pub(super) const fn through<'a>(&'a self, account: &'a AccountId) -> Speaker<'a> {
        Speaker {
            client: self,
            account,
        }
    }

    /// Takes the merchant's client certificate: its private key and chain, PEM.
    ///
    /// # Errors
    /// When it is no such text, or key and certificate do not belong together.
    /// The one before, if any, stays.
    pub fn certify(&mut self, pem: &str) -> Result<(), NoCertificate> {
        self.certified = Some(Http::with_certificate(pem)?);
        Ok(())
    }

    /// Whether there is a client certificate.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.certified.is_some()
    }

    /// Whether these fields name this merchant.
    fn is_merchants(&self, fields: &Params) -> bool {
        field(fields, "mch_id") == self.identity.mch_id.as_str()
    }
}

impl Speaker<'_> {
    /// Signs and posts, and returns the verified answer, `result_code` SUCCESS.
    /// For calls that may be repeated.
    async fn post(
        &self,
        path: &str,
        fields: Params,
        subject: Subject<'_>,
    ) -> Result<Params, Error> {
        self.exchange(&self.client.http, path, fields, subject, Repeat::Safe)
            .await
    }

    /// [`Speaker::post`] for the one call that may move money each time.
    async fn post_once(
        &self,
        path: &str,
        fields: Params,
        subject: Subject<'_>,
    ) -> Result<Params, Error> {
        self.exchange(&self.client.http, path, fields, subject, Repeat::Never)
            .await
    }

    /// [`Speaker::post`] for what WeChat does for the certificate's holder only:
    /// refund and reverse, which may be repeated.
    async fn post_with_certificate(
        &self,
        path: &str,
        fields: Params,
        subject: Subject<'_>,
    ) -> Result<Params, Error> {
        let Some(http) = &self.client.certified else {
            // Here, because every caller would have to alarm.
            tracing::error!(
                alarm = "configuration",
                mch_id = %self.client.identity.mch_id,
                path,
                "the merchant's client certificate has not been imported"
            );
            return Err(Error::NoCertificate);
        };
        self.exchange(http, path, fields, subject, Repeat::Safe)
            .await
    }

    async fn exchange(
        &self,
        http: &Http,
        path: &str,
        fields: Params,
        subject: Subject<'_>,
        repeat: Repeat,
    ) -> Result<Params, Error> {
        let answer = self.call(http, path, fields, repeat).await;
        let answer = answer.and_then(|answer| match self.is_ours(&answer) {
            true => concluded(answer),
            false => Err(Error::Forged("appid is another's")),
        });
        asked::log(path, subject, in_short(&answer));
        answer
    }

    /// Signs and posts; the answer that WeChat has signed for this merchant.
    async fn call(
        &self,
        http: &Http,
        path: &str,
        mut fields: Params,
        repeat: Repeat,
    ) -> Result<Params, Error> {
        let Identity {
            mch_id,
            sign_type,
            gateway,
            ..
        } = &self.client.identity;
        let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
        put("appid", self.account.as_str());
        put("mch_id", mch_id.as_str());
        put("nonce_str", &random_hex());
        put("sign_type", sign_type.as_str());
        let signature = sign::sign(&fields, &self.client.keys.api_key, *sign_type);
        fields.insert("sign".to_owned(), signature);
        let body = xml::write(&fields);
        let request = |url: String| {
            http.client()
                .post(url)
                .header("content-type", "text/xml; charset=utf-8")
                .body(body.clone())
        };
        let answer = transport::call(gateway, path, repeat, request).await?;
        let answer = xml::parse(&answer.if_success()?);
        self.client
            .verified(answer.map_err(|error| Error::Forged(error.0))?)
    }

    /// Whether these fields name the account it speaks through.
    fn is_ours(&self, fields: &Params) -> bool {
        field(fields, "appid") == self.account.as_str()
    }
}

impl Client {
    /// `return_code` (communication), then the signature, then whose it is.
    fn verified(&self, answer: Params) -> Result<Params, Error> {
        match field(&answer, "return_code") {
            "SUCCESS" => {}
            // Such an answer carries no signature: believe it only as a refusal.
            "FAIL" => return Err(Error::Refused(field(&answer, "return_msg").to_owned())),
            _ => return Err(Error::Forged("return_code is missing")),
        }
        if !sign::verify(&answer, &self.keys.api_key, self.identity.sign_type) {
            return Err(Error::Forged("the signature is wrong"));
        }
        match self.is_merchants(&answer) {
            true => Ok(answer),
            false => Err(Error::Forged("mch_id is another's")),
        }
    }
}

/// A verified answer, if its `result_code` is SUCCESS.
fn concluded(answer: Params) -> Result<Params, Error> {
    if field(&answer, "result_code") == "SUCCESS" {
        return Ok(answer);
    }
    match field(&answer, "err_code") {
        // WeChat itself does not know: ask again before believing anything.
        "SYSTEMERROR" | "BANKERROR" => Err(Error::Unknown(None)),
        code => Err(Error::Business {
            code: code.to_owned(),
            text: field(&answer, "err_code_des").to_owned(),
        }),
    }
}

/// How it stands, where WeChat says so.
fn in_short(answer: &Result<Params, Error>) -> &str {
    match answer {
        Ok(answer) => {
            let mut states = ["trade_state", "refund_status_0"].iter();
            let state = states.find_map(|name| answer.get(*name));
            state.map_or("SUCCESS", String::as_str)
        }
        Err(error) => error.in_short(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::OutTradeNo;
    use crate::wechat::fixtures::{first_account, wechat};

    #[test]
    fn what_is_no_certificate_is_refused_and_leaves_none() {
        let mut wechat = wechat("");
        for text in ["", "placeholder", "-----BEGIN CERTIFICATE-----"] {
            assert!(wechat.certify(text).is_err(), "{text}");
        }
        assert!(!wechat.is_certified());
    }

    #[test]
    fn an_answer_in_a_word_is_how_it_stands_or_why_it_does_not() {
        let answer = |name: &str| Ok(Params::from([(name.to_owned(), "NOTPAY".to_owned())]));
        let refused = Error::Business {
            code: "ORDERPAID".to_owned(),
            text: "order paid".to_owned(),
        };
        for (answer, word) in [
            (answer("trade_state"), "NOTPAY"),
            (answer("refund_status_0"), "NOTPAY"),
            (answer("prepay_id"), "SUCCESS"),
            (Err(refused), "ORDERPAID"),
            (Err(Error::Unknown(None)), "no answer"),
        ] {
            assert_eq!(in_short(&answer), word);
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_without_the_certificate_that_it_needs() {
        let wechat = wechat("");
        let account = first_account();
        let wechat = wechat.through(&account);
        let number = OutTradeNo::parse("demo000000000001A00000000101").unwrap();
        let about = Subject::Trade(&number);
        let open = wechat.post("/pay/orderquery", Params::new(), about).await;
        assert!(matches!(open, Err(Error::Unreachable(_))));
        let closed = wechat
            .post_with_certificate("/secapi/pay/refund", Params::new(), about)
            .await;
        assert!(matches!(closed, Err(Error::NoCertificate)));
    }
}
