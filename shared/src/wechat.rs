//! The only place that talks to WeChat. One request and response pair per
//! endpoint; WeChat's wire names live here and nowhere else. It refuses to
//! know what an answer means for an order's row.

pub mod account;
pub mod genprepay;
pub mod micropay;
pub mod notify;
pub mod oauth;
pub mod pay;
pub mod refund;
pub mod sign;
pub mod xml;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::signature::Params;
use crate::telemetry::causes;
use sign::SignType;

/// One call of WeChat, headers and body. With the spare host, two of them fit
/// a request of ours; a notification has its own, shorter limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The spare of `https://api.mch.weixin.qq.com`.
const MAIN_HOST: &str = "https://api.mch.weixin.qq.com";
const SPARE_HOST: &str = "https://api2.mch.weixin.qq.com";
/// No answer of ours comes near this.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// The merchant's account at WeChat, without its secrets.
#[derive(Debug, Clone)]
pub struct Account {
    /// The official account.
    pub app_id: String,
    /// The merchant.
    pub mch_id: String,
    /// Pinned per merchant: a notification signed otherwise is refused.
    pub sign_type: SignType,
    /// Payment API.
    pub pay_base: String,
    /// Official-account API.
    pub api_base: String,
    /// The authorisation page.
    pub open_base: String,
}

/// The merchant's secrets, as JSON in Secrets Manager. They cannot be printed.
#[derive(Clone, Deserialize)]
pub struct Secrets {
    /// The 32-character API key that signs payments.
    api_key: String,
    /// The official account's secret, for OAuth and its access token.
    app_secret: String,
    /// The token of the account's server address; without one that address
    /// believes nobody.
    #[serde(default)]
    server_token: Option<String>,
    /// What signed APP payments in 2014; without it that flow is off.
    #[serde(default)]
    app_key: Option<String>,
}

impl Secrets {
    /// Reads the secret's JSON text.
    ///
    /// # Errors
    /// When a key is missing or the API key has not WeChat's form. The text
    /// is not part of the error.
    pub fn parse(json: &str) -> Result<Self, &'static str> {
        let secrets: Self = serde_json::from_str(json)
            .map_err(|_| "the WeChat secret must be JSON with api_key and app_secret")?;
        if secrets.api_key.len() != 32 || !secrets.api_key.is_ascii() {
            return Err("api_key in the WeChat secret must have 32 characters");
        }
        // An empty one would be known to everybody.
        if secrets.server_token.as_ref().is_some_and(String::is_empty) {
            return Err("server_token in the WeChat secret must not be empty");
        }
        if secrets.app_key.as_ref().is_some_and(String::is_empty) {
            return Err("app_key in the WeChat secret must not be empty");
        }
        Ok(secrets)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Why WeChat gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection: WeChat has not seen the request.
    #[error("WeChat cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Unknown is not failed: WeChat may have done it.
    #[error("WeChat did not answer in time, or its answer was lost")]
    Unknown(#[source] Option<reqwest::Error>),
    /// WeChat refused the request as such (`return_code` FAIL).
    #[error("WeChat refused the request: {0}")]
    Refused(String),
    /// WeChat's business error (`result_code` FAIL).
    #[error("WeChat answered {code}: {text}")]
    Business {
        /// `err_code`, what to act on.
        code: String,
        /// `err_code_des`, for people.
        text: String,
    },
    /// The answer is not WeChat's: wrong signature, ids or form.
    #[error("the answer is not WeChat's: {0}")]
    Forged(&'static str),
    /// The call needs it, and nothing was sent.
    #[error("the merchant's client certificate has not been imported")]
    NoCertificate,
    /// The same for the APP flow of 2014.
    #[error("the WeChat secret has no app_key")]
    NoAppKey,
}

/// Whether a call may be made again when nobody knows if it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// WeChat does it once, however often it is asked.
    Safe,
    /// A second one could move money twice.
    Never,
}

impl Error {
    /// WeChat's `err_code`, when it gave one.
    #[must_use]
    pub fn business_code(&self) -> Option<&str> {
        match self {
            Self::Business { code, .. } => Some(code),
            Self::Unreachable(_)
            | Self::Unknown(_)
            | Self::Refused(_)
            | Self::Forged(_)
            | Self::NoCertificate
            | Self::NoAppKey => None,
        }
    }

    /// Whether the spare host may be asked: the network failed, not WeChat,
    /// and the main host has not seen a call that must not be made twice.
    fn lets_the_spare_try(&self, repeat: Repeat) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unknown(Some(_)) => repeat == Repeat::Safe,
            _ => false,
        }
    }
}

/// A client for one merchant. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wechat {
    account: Account,
    secrets: Secrets,
    http: reqwest::Client,
    /// Shows the merchant's certificate; apart from `http`, so that only the
    /// calls that need the certificate can show it.
    certified: Option<reqwest::Client>,
}

impl Wechat {
    /// A client; nothing is dialled yet.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(account: Account, secrets: Secrets) -> Result<Self, reqwest::Error> {
        Ok(Self {
            account,
            secrets,
            http: client().build()?,
            certified: None,
        })
    }

    /// Takes the merchant's client certificate: its private key and chain, PEM.
    ///
    /// # Errors
    /// When it is no such text, or key and certificate do not belong together.
    /// The one before, if any, stays.
    pub fn certify(&mut self, pem: &str) -> Result<(), reqwest::Error> {
        let identity = reqwest::Identity::from_pem(pem.as_bytes())?;
        self.certified = Some(client().identity(identity).build()?);
        Ok(())
    }

    /// Whether there is a client certificate.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.certified.is_some()
    }

    /// Signs and posts, and returns the verified answer, `result_code` SUCCESS.
    /// Fails over to the spare host when the main one cannot be reached or does
    /// not answer, so only for calls that may be repeated.
    async fn post(&self, path: &str, fields: Params) -> Result<Params, Error> {
        self.exchange((&self.http, Repeat::Safe), path, fields)
            .await
    }

    /// [`Wechat::post`] for the one call that may move money each time.
    async fn post_once(&self, path: &str, fields: Params) -> Result<Params, Error> {
        self.exchange((&self.http, Repeat::Never), path, fields)
            .await
    }

    /// [`Wechat::post`] for what WeChat does for the certificate's holder only:
    /// refund and reverse, which may be repeated.
    async fn post_with_certificate(&self, path: &str, fields: Params) -> Result<Params, Error> {
        let Some(http) = &self.certified else {
            // Here, because every caller would have to alarm.
            tracing::error!(
                alarm = "configuration",
                path,
                "the merchant's client certificate has not been imported"
            );
            return Err(Error::NoCertificate);
        };
        self.exchange((http, Repeat::Safe), path, fields).await
    }

    async fn exchange(
        &self,
        (http, repeat): (&reqwest::Client, Repeat),
        path: &str,
        mut fields: Params,
    ) -> Result<Params, Error> {
        let Account {
            app_id,
            mch_id,
            sign_type,
            ..
        } = &self.account;
        let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
        put("appid", app_id);
        put("mch_id", mch_id);
        put("nonce_str", &crate::ambient::random_hex());
        put("sign_type", sign_type.as_str());
        let signature = sign::sign(&fields, &self.secrets.api_key, *sign_type);
        fields.insert("sign".to_owned(), signature);
        let body = xml::write(&fields);

        let base = self.account.pay_base.as_str();
        let answer = match send(http, (base, path), &body).await {
            Err(error) if base == MAIN_HOST && error.lets_the_spare_try(repeat) => {
                tracing::warn!(
                    path,
                    cause = causes(&error),
                    "WeChat's main host fails, trying the spare"
                );
                send(http, (SPARE_HOST, path), &body).await
            }
            other => other,
        }?;
        self.check(xml::parse(&answer).map_err(|error| Error::Forged(error.0))?)
    }

    /// `return_code` (communication), then the signature, then `result_code`.
    fn check(&self, answer: Params) -> Result<Params, Error> {
        let field = |name: &str| answer.get(name).map(String::as_str).unwrap_or_default();
        match field("return_code") {
            "SUCCESS" => {}
            // Such an answer carries no signature: believe it only as a refusal.
            "FAIL" => return Err(Error::Refused(field("return_msg").to_owned())),
            _ => return Err(Error::Forged("return_code is missing")),
        }
        if !sign::verify(&answer, &self.secrets.api_key, self.account.sign_type) {
            return Err(Error::Forged("the signature is wrong"));
        }
        if field("appid") != self.account.app_id || field("mch_id") != self.account.mch_id {
            return Err(Error::Forged("appid or mch_id is another's"));
        }
        if field("result_code") == "SUCCESS" {
            return Ok(answer);
        }
        match field("err_code") {
            // WeChat itself does not know: ask again before believing anything.
            "SYSTEMERROR" | "BANKERROR" => Err(Error::Unknown(None)),
            code => Err(Error::Business {
                code: code.to_owned(),
                text: field("err_code_des").to_owned(),
            }),
        }
    }
}

fn client() -> reqwest::ClientBuilder {
    crate::aws::use_ring();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

async fn send(
    http: &reqwest::Client,
    (base, path): (&str, &str),
    body: &str,
) -> Result<Vec<u8>, Error> {
    let request = http
        .post(format!("{base}{path}"))
        .header("content-type", "text/xml; charset=utf-8")
        .body(body.to_owned());
    let response = request.send().await.map_err(unreachable_or_unknown)?;
    if !response.status().is_success() {
        return Err(Error::Unknown(None));
    }
    read_capped(response).await
}

/// A connection that was never made moved nothing; anything later is unknown.
fn unreachable_or_unknown(error: reqwest::Error) -> Error {
    // The address may carry secrets (OAuth puts them in the query).
    let error = error.without_url();
    if error.is_connect() {
        Error::Unreachable(error)
    } else {
        Error::Unknown(Some(error))
    }
}

async fn read_capped(mut response: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_or_unknown)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(Error::Forged("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wechat() -> Wechat {
        let account = Account {
            app_id: "wx".to_owned(),
            mch_id: "1900000109".to_owned(),
            sign_type: SignType::HmacSha256,
            pay_base: "http://127.0.0.1:1".to_owned(),
            api_base: String::new(),
            open_base: String::new(),
        };
        let secrets = r#"{"api_key":"0123456789abcdef0123456789abcdef","app_secret":""}"#;
        Wechat::new(account, Secrets::parse(secrets).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_sent_without_the_certificate_that_it_needs() {
        let wechat = wechat();
        let open = wechat.post("/pay/orderquery", Params::new()).await;
        assert!(matches!(open, Err(Error::Unreachable(_))));
        let closed = wechat
            .post_with_certificate("/secapi/pay/refund", Params::new())
            .await;
        assert!(matches!(closed, Err(Error::NoCertificate)));
    }

    #[test]
    fn what_is_no_certificate_is_refused_and_leaves_none() {
        let mut wechat = wechat();
        for text in ["", "placeholder", "-----BEGIN CERTIFICATE-----"] {
            assert!(wechat.certify(text).is_err(), "{text}");
        }
        assert!(!wechat.is_certified());
    }

    #[tokio::test]
    async fn a_call_that_must_not_be_made_twice_goes_to_the_spare_only_unheard() {
        let refused = client().build().unwrap().get("http://127.0.0.1:1").send();
        let cut = || client().build().unwrap().get("no address").build();
        let unreachable = Error::Unreachable(refused.await.unwrap_err());
        let lost = Error::Unknown(Some(cut().unwrap_err()));
        for (error, safe, never) in [
            (unreachable, true, true),
            (lost, true, false),
            (Error::Unknown(None), false, false),
            (Error::Refused(String::new()), false, false),
            (Error::NoCertificate, false, false),
        ] {
            assert_eq!(error.lets_the_spare_try(Repeat::Safe), safe, "{error}");
            assert_eq!(error.lets_the_spare_try(Repeat::Never), never, "{error}");
        }
    }
}
