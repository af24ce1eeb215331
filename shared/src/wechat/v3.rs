//! WeChat Pay version 3: JSON, signed with the merchant's RSA key and answered
//! under WeChat's. One request and response pair per endpoint, and what every call
//! has in common: signature out; status, signature and then JSON in.

mod aead;
mod certificates;
mod codepay;
#[cfg(test)]
pub(super) mod fixtures;
mod keys;
mod notify;
mod pay;
mod receipt;
mod refund;
mod sign;
mod transaction;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use certificates::Certificate;
pub use keys::Keys;
pub use verify::{Proof, Unverified};

use super::asked::{self, Subject};
use super::transport::{self, Http, Repeat};
use super::{Error, Identity};
use crate::domain::merchant::AccountId;
use crate::domain::time::Timestamp;
use sign::Call;

const NOT_JSON: Error = Error::Forged("not WeChat's JSON");

/// A client for one merchant's payments by version 3.
#[derive(Debug, Clone)]
pub struct Client {
    identity: Identity,
    keys: Keys,
    http: Http,
    /// The serial of a certificate that an answer came under, and that is not known.
    lacking: Arc<Mutex<Option<String>>>,
}

/// The client, as it speaks through one of the merchant's accounts.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    client: &'a Client,
    account: &'a AccountId,
}

/// A request to WeChat.
struct Exchange<'a> {
    method: Method,
    path: &'a str,
    body: &'a str,
    repeat: Repeat,
}

impl<'a> Exchange<'a> {
    const fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: "",
            repeat: Repeat::Safe,
        }
    }

    const fn post(path: &'a str, body: &'a str) -> Self {
        Self {
            method: Method::POST,
            path,
            body,
            repeat: Repeat::Safe,
        }
    }
}

/// How it stands, in an answer that says so.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Standing {
    trade_state: Option<String>,
    status: Option<String>,
}

/// What an answer other than 200 and 204 says. Nobody signs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
}

impl Client {
    /// A client; nothing is dialled yet.
    #[must_use]
    pub fn new(identity: Identity, keys: Keys, http: Http) -> Self {
        Self {
            identity,
            keys,
            http,
            lacking: Arc::default(),
        }
    }

    /// Whether there is no key at all to believe WeChat by.
    pub(super) const fn believes_nobody(&self) -> bool {
        self.keys.wanted_serial.is_none()
    }

    /// The serial of a certificate that an answer came under, and that is not known.
    pub(super) fn lacking(&self) -> Option<String> {
        let lacking = self.lacking.lock();
        lacking.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Speaks through one of the merchant's accounts.
    pub(super) const fn through<'a>(&'a self, account: &'a AccountId) -> Speaker<'a> {
        Speaker {
            client: self,
            account,
        }
    }
}

impl Speaker<'_> {
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<T, Error> {
        self.read_answer(Exchange::get(path), subject, now).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<T, Error> {
        let body = written(body)?;
        let call = Exchange::post(path, &body);
        self.read_answer(call, subject, now).await
    }

    /// [`Speaker::post`], for what must not be repeated.
    async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<T, Error> {
        let body = written(body)?;
        let call = Exchange {
            repeat: Repeat::Never,
            ..Exchange::post(path, &body)
        };
        self.read_answer(call, subject, now).await
    }

    /// [`Speaker::post`], to which WeChat answers nothing but that it is done.
    async fn post_for_nothing(
        &self,
        path: &str,
        body: &impl serde::Serialize,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        let body = written(body)?;
        let call = Exchange::post(path, &body);
        self.exchange(call, subject, now).await
    }

    async fn read_answer<T: DeserializeOwned>(
        &self,
        call: Exchange<'_>,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<T, Error> {
        let answer = self.exchange(call, subject, now).await?;
        serde_json::from_slice(&answer).map_err(|_| NOT_JSON)
    }

    async fn exchange(
        &self,
        call: Exchange<'_>,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        let named = call.path.split('?').next().unwrap_or_default();
        let answer = self.client.call(&call, now).await;
        asked::log(named, subject, &in_short(&answer));
        answer
    }
}

impl Client {
    /// Signs and calls, and returns the body of an answer that WeChat has signed.
    async fn call(&self, exchange: &Exchange<'_>, now: Timestamp) -> Result<Vec<u8>, Error> {
        let path = exchange.path;
        let answer = self.send(exchange, now).await?;
        let proven = self.keys.verify(&answer, now);
        if proven == Err(Unverified::UnknownCertificate) {
            tracing::warn!(path, "WeChat's certificate of an answer is not known");
            let serial = Proof::of(&answer.headers)?.serial;
            let lacking = self.lacking.lock();
            *lacking.unwrap_or_else(PoisonError::into_inner) = Some(serial);
        }
        proven?;
        Ok(answer.body)
    }

    /// Signs and calls. Nobody has looked whether WeChat has signed the answer.
    async fn send(
        &self,
        exchange: &Exchange<'_>,
        now: Timestamp,
    ) -> Result<transport::Answer, Error> {
        let (method, path, body) = (&exchange.method, exchange.path, exchange.body);
        let call = Call {
            method: method.as_str(),
            path,
            body,
        };
        // The host is not signed: the spare takes the same.
        let (keys, mch_id) = (&self.keys, &self.identity.mch_id);
        let authorization = keys.signer.authorization(mch_id.as_str(), call, now)?;
        let request = |url: String| {
            let request = self.http.client().request(method.clone(), url);
            let request = request
                .header("authorization", &authorization)
                .header("accept", "application/json")
                .header("content-type", "application/json")
                .body(body.to_owned());
            match &keys.wanted_serial {
                Some(serial) => request.header("wechatpay-serial", serial),
                None => request,
            }
        };
        let answer =
            transport::call(&self.identity.gateway, path, exchange.repeat, request).await?;
        match answer.status {
            // Not done yet: a payer types the password.
            StatusCode::ACCEPTED => Err(refused(path, &answer)),
            status if status.is_success() => Ok(answer),
            _ => Err(refused(path, &answer)),
        }
    }
}

impl Keys {
    /// Whether WeChat has signed this answer.
    fn verify(&self, answer: &transport::Answer, now: Timestamp) -> Result<(), Unverified> {
        let proof = Proof::of(&answer.headers)?;
        self.wechat.verify(&proof, &answer.body, now)
    }
}

impl From<Unverified> for Error {
    /// An answer that is not believed.
    fn from(unverified: Unverified) -> Self {
        match unverified {
            // It was done, perhaps. WeChat signs the next answer rightly, and its
            // certificate is fetched before the next call.
            Unverified::Probe | Unverified::UnknownCertificate => Self::Unknown(None),
            Unverified::Headers => Self::Forged("the signature is not there"),
            Unverified::Clock => Self::Forged("the timestamp is too far off"),
            Unverified::UnknownSerial => Self::Forged("the key's serial is unknown"),
            Unverified::Signature => Self::Forged("the signature is wrong"),
        }
    }
}

fn written(body: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(body).map_err(|_| Error::Refused("the request is no JSON".to_owned()))
}

fn in_short(answer: &Result<Vec<u8>, Error>) -> String {
    match answer {
        Ok(body) => {
            let standing: Standing = serde_json::from_slice(body).unwrap_or_default();
            let state = standing.trade_state.or(standing.status);
            state.unwrap_or_else(|| "SUCCESS".to_owned())
        }
        Err(error) => error.in_short().to_owned(),
    }
}

/// Reads an answer that is neither 200 nor 204. It is as good as the TLS that it came over:
/// whoever is about to end something because of it asks WeChat first.
fn refused(path: &str, answer: &transport::Answer) -> Error {
    let status = answer.status.as_u16();
    let Refusal { code, message } = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = spelt(&code);
    // WeChat's support asks for it; its end is WeChat's own number of the error.
    let request_id = answer.headers.get("request-id");
    let request_id = request_id.and_then(|id| id.to_str().ok());
    tracing::warn!(path, status, code, request_id, "WeChat refused a call");
    match (status, code) {
        (401, _) => {
            // Every call fails like this.
            tracing::error!(
                alarm = "configuration",
                code,
                request_id,
                "WeChat does not take the merchant's signature"
            );
            Error::Refused(format!("{code} {message}"))
        }
        // The one code of a 500 that repeating does not mend.
        (500.., "OPENID_MISMATCH") => business(code, message),
        // Whether it was done is not known: 429, too, may come after the fact.
        (429 | 500.., _) | (_, "SYSTEMERROR" | "BANKERROR" | "") => Error::Unknown(None),
        _ => business(code, message),
    }
}

fn business(code: &str, text: String) -> Error {
    Error::Business {
        code: code.to_owned(),
        text,
    }
}

/// The word that version 2 has for it, which flows and apps know; WeChat itself
/// writes some codes so, by the page's age. But for a closed order: version 2 signs
/// that.
fn spelt(code: &str) -> &str {
    match code {
        "ORDER_NOT_EXIST" => "ORDERNOTEXIST",
        "ORDER_PAID" => "ORDERPAID",
        "ORDERCLOSED" => "ORDER_CLOSED",
        "NOT_ENOUGH" => "NOTENOUGH",
        "NO_AUTH" => "NOAUTH",
        "RULE_LIMIT" => "RULELIMIT",
        "SIGN_ERROR" => "SIGNERROR",
        "SYSTEM_ERROR" => "SYSTEMERROR",
        "BANK_ERROR" => "BANKERROR",
        "USER_PAYING" => "USERPAYING",
        "AUTH_CODE_EXPIRE" => "AUTHCODEEXPIRE",
        "ORDER_REVERSED" => "ORDERREVERSED",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::domain::id::OutTradeNo;
    use crate::wechat::fixtures::first_account;

    fn answered(status: u16, body: &str) -> Error {
        let answer = transport::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        refused("/v3/pay/transactions/native", &answer)
    }

    #[test]
    fn a_refusal_is_a_code_in_either_spelling_and_what_nobody_knows_is_unknown() {
        for (status, code, known) in [
            (400, "PARAM_ERROR", Some("PARAM_ERROR")),
            (400, "ORDERPAID", Some("ORDERPAID")),
            (400, "ORDER_PAID", Some("ORDERPAID")),
            (400, "ORDERCLOSED", Some("ORDER_CLOSED")),
            (400, "ORDER_CLOSED", Some("ORDER_CLOSED")),
            (403, "RULE_LIMIT", Some("RULELIMIT")),
            (403, "NOT_ENOUGH", Some("NOTENOUGH")),
            (404, "ORDERNOTEXIST", Some("ORDERNOTEXIST")),
            (404, "ORDER_NOT_EXIST", Some("ORDERNOTEXIST")),
            (500, "OPENID_MISMATCH", Some("OPENID_MISMATCH")),
            (202, "USERPAYING", Some("USERPAYING")),
            (202, "USER_PAYING", Some("USERPAYING")),
            (400, "SYSTEMERROR", None),
            (429, "FREQUENCY_LIMITED", None),
            (429, "RATELIMIT_EXCEEDED", None),
            (500, "SYSTEM_ERROR", None),
            (502, "", None),
            (503, "SERVICE_UNAVAILABLE", None),
        ] {
            let error = answered(status, &format!(r#"{{"code":"{code}","message":"m"}}"#));
            assert_eq!(error.business_code(), known, "{status} {code}");
            let unknown = matches!(error, Error::Unknown(None));
            assert_eq!(unknown, known.is_none(), "{status} {code}");
        }
        // A proxy's page is no answer of WeChat's.
        for body in ["", "<html>", "[]", "{}", r#"{"code":404}"#] {
            assert!(
                matches!(answered(404, body), Error::Unknown(None)),
                "{body}"
            );
        }
        let unsigned = answered(401, r#"{"code":"SIGN_ERROR","message":"m"}"#);
        assert!(matches!(unsigned, Error::Refused(text) if text == "SIGNERROR m"));
    }

    #[test]
    fn an_answer_in_a_word_is_how_it_stands_or_why_it_does_not() {
        for (answer, word) in [
            (Ok(r#"{"trade_state":"NOTPAY"}"#), "NOTPAY"),
            (Ok(r#"{"status":"PROCESSING"}"#), "PROCESSING"),
            (Ok(r#"{"prepay_id":"wx1"}"#), "SUCCESS"),
            (Ok(""), "SUCCESS"),
            (Err(business("ORDERPAID", String::new())), "ORDERPAID"),
            (Err(Error::Unknown(None)), "no answer"),
        ] {
            assert_eq!(in_short(&answer.map(Vec::from)), word);
        }
    }

    #[tokio::test]
    async fn a_merchant_that_nobody_listens_to_has_moved_nothing() {
        let now = fixtures::NOTICE_AT;
        let (client, account) = (fixtures::client(), first_account());
        let client = client.through(&account);
        let number = OutTradeNo::parse("demo000000000001A00000000101").unwrap();
        let about = Subject::Trade(&number);
        let asked = client.get::<Refusal>("/v3/x", about, now).await;
        assert!(matches!(asked, Err(Error::Unreachable(_))));
    }
}
