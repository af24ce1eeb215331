//! WeChat Pay APIv3: a second face of the order book. Who has signed a request
//! is found out here, before anything is parsed; what it asks is done by the
//! files below; the answer is signed here. Nothing waits or reads a clock, as in
//! [`crate::pay`]: drivers bring the moment, and the time by which signatures
//! are judged, which tests move apart from the book's.

mod certificates;
mod codepay;
mod gcm;
pub(crate) mod http;
pub(crate) mod keys;
mod notification;
mod refunds;
mod refusal;
mod shape;
pub(crate) mod signature;
mod stamp;
mod transactions;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;
use url::form_urlencoded;

pub use keys::Own;
pub use notification::{Notice, accepts};
pub use stamp::{Headers, Spoilt};

use refusal::Refusal;
use signature::{Authorization, holds, lines};
use stamp::Key;

use crate::merchants::{Credentials, Merchant, Signs};
use crate::pay::{self, Charge, Moment, TradeType, WechatPay};

/// How far a request's clock may be off, either way.
const CLOCK_SECONDS: i64 = 300;

/// When something is signed or judged.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The order book's time.
    pub moment: Moment,
    /// The time of signatures, in seconds.
    pub clock: i64,
}

/// A merchant that has certainly sent a request.
struct Sender {
    merchant: Merchant,
    credentials: Credentials,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `GET` or `POST`.
    pub method: &'a Method,
    /// Path and query, as they were sent: they are signed so.
    pub uri: &'a Uri,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The body, empty for `GET`.
    pub body: &'a [u8],
}

/// An answer as it goes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The signature's and `Request-Id`; the latter with every answer.
    pub headers: Headers,
    /// JSON; empty with 204.
    pub body: String,
    /// What it refuses with, if it does.
    pub(crate) refused: Option<Refusal>,
}

impl WechatPay {
    /// Does what an APIv3 request asks, and signs the answer.
    /// `charge` says what comes of a payer's code, as in [`WechatPay::decide`].
    pub fn answer_v3(
        &mut self,
        asked: &Asked<'_>,
        now: Now,
        spoilt: Option<Spoilt>,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Answer {
        let moment = now.moment;
        let sender = self.open_v3(asked, now.clock);
        let done = sender.map(|sender| {
            let done = self.do_v3(asked, &sender, moment, charge);
            (sender, done)
        });
        match done {
            Err(refusal) => self.refuse_v3(&refusal, moment),
            Ok((sender, Err(refusal))) => {
                let mut answer = self.refuse_v3(&refusal, moment);
                // A 202 is no refusal: the payer types the password.
                if self.rules.v3_signs_errors || answer.status < 300 {
                    sign(&mut answer, asked, &sender, now, spoilt);
                }
                answer
            }
            Ok((sender, Ok(value))) => {
                let mut answer = Answer {
                    status: if value.is_some() { 200 } else { 204 },
                    headers: request_id(moment, 0),
                    body: value.map(|value| value.to_string()).unwrap_or_default(),
                    refused: None,
                };
                sign(&mut answer, asked, &sender, now, spoilt);
                answer
            }
        }
    }

    /// What the order book refuses with, in APIv3's words and signed by nobody.
    #[must_use]
    pub fn refusal_v3(&self, refusal: &pay::Refusal, moment: Moment) -> Answer {
        self.refuse_v3(&refusal.clone().into(), moment)
    }

    /// A refusal, signed by nobody.
    pub(crate) fn refuse_v3(&self, refusal: &Refusal, moment: Moment) -> Answer {
        Answer {
            status: refusal.status,
            headers: request_id(moment, refusal.number),
            body: refusal.body(self.rules.v3_older_codes).to_string(),
            refused: Some(refusal.clone()),
        }
    }

    /// Who has sent a request, if that is certain.
    fn open_v3(&self, asked: &Asked<'_>, clock: i64) -> Result<Sender, Refusal> {
        // The words, and that Accept is wanted too, are from memory.
        let given = |name| {
            asked
                .headers
                .get(name)
                .is_some_and(|value| !value.is_empty())
        };
        if self.rules.v3_wants_user_agent && !(given(USER_AGENT) && given(ACCEPT)) {
            let message = "Http头缺少Accept或User-Agent";
            return Err(Refusal::new("PARAM_ERROR", 268_435_461, message));
        }
        let json = header(asked.headers, CONTENT_TYPE.as_str());
        if asked.method == Method::POST
            && !json.is_some_and(|kind| kind.starts_with("application/json"))
        {
            return Err(Refusal::parameter("Content-Type", "须为application/json"));
        }
        let written = header(asked.headers, AUTHORIZATION.as_str());
        let written = written.and_then(Authorization::parse);
        let written = written.ok_or_else(|| Refusal::sign("Authorization缺失或格式错误"))?;
        let merchant = self.directory.merchant(&written.mchid);
        let credentials = self.directory.credentials(&written.mchid);
        let (Some(merchant), Some(credentials)) = (merchant, credentials) else {
            return Err(Refusal::sign("商户号不存在或未设置商户API证书"));
        };
        if written.serial_no != credentials.serial {
            return Err(Refusal::sign("商户证书序列号有误"));
        }
        let at = Some(written.timestamp.as_str())
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<i64>().ok());
        if at.is_none_or(|at| (clock - at).abs() >= CLOCK_SECONDS) {
            return Err(Refusal::sign(
                "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟",
            ));
        }
        let target = asked
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let message = lines(&[
            asked.method.as_str().as_bytes(),
            target.as_bytes(),
            written.timestamp.as_bytes(),
            written.nonce_str.as_bytes(),
            asked.body,
        ]);
        if written.nonce_str.is_empty() || !holds(&credentials.key, &message, &written.signature) {
            return Err(Refusal::sign("错误的签名，验签失败"));
        }
        self.check_serial(asked, merchant, credentials)?;
        Ok(Sender {
            merchant: merchant.clone(),
            credentials: credentials.clone(),
        })
    }

    /// A request may say by which of WeChat's keys it wants its answer. Who has
    /// platform certificates only gets them whatever is said; that a public key
    /// that is not the merchant's is refused is from memory.
    fn check_serial(
        &self,
        asked: &Asked<'_>,
        merchant: &Merchant,
        credentials: &Credentials,
    ) -> Result<(), Refusal> {
        let Some(named) = header(asked.headers, "wechatpay-serial") else {
            return Ok(());
        };
        let platform = &credentials.keys.platform;
        let own = match merchant.signs {
            Signs::Certificate => true,
            Signs::PublicKey => named == credentials.keys.public.serial,
            Signs::Both => {
                named == credentials.keys.public.serial
                    || platform.iter().any(|own| own.signer.serial == named)
            }
        };
        if own || !self.rules.v3_strict_serial {
            return Ok(());
        }
        Err(Refusal::parameter("Wechatpay-Serial", "与商户号不匹配"))
    }

    /// Nothing is what 204 says.
    fn do_v3(
        &mut self,
        asked: &Asked<'_>,
        sender: &Sender,
        moment: Moment,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Result<Option<Value>, Refusal> {
        let Sender {
            merchant,
            credentials,
        } = sender;
        let path: Vec<String> = asked.uri.path().split('/').skip(1).map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let rest = match path.as_slice() {
            ["v3", rest @ ..] => rest,
            _ => &[],
        };
        match (asked.method.as_str(), rest) {
            (
                "POST",
                [
                    "pay",
                    "transactions",
                    kind @ ("jsapi" | "native" | "app" | "h5"),
                ],
            ) => {
                let trade_type = match *kind {
                    "jsapi" => TradeType::Jsapi,
                    "native" => TradeType::Native,
                    "app" => TradeType::App,
                    _ => TradeType::Mweb,
                };
                self.v3_order(trade_type, asked.body, merchant, moment)
                    .map(Some)
            }
            ("POST", ["pay", "transactions", "codepay"]) => {
                let done = self.v3_codepay(asked.body, merchant, moment, charge);
                done.map(Some)
            }
            ("POST", ["pay", "transactions", "out-trade-no", number, "reverse"]) => {
                let done = self.v3_reverse(merchant, number, asked.body, moment);
                done.map(Some)
            }
            ("GET", ["pay", "transactions", "out-trade-no", number]) => {
                check_query(asked.uri, merchant)?;
                self.v3_query(merchant, Some(number), None, moment)
                    .map(Some)
            }
            ("GET", ["pay", "transactions", "id", id]) => {
                check_query(asked.uri, merchant)?;
                self.v3_query(merchant, None, Some(id), moment).map(Some)
            }
            ("POST", ["pay", "transactions", "out-trade-no", number, "close"]) => {
                self.v3_close(merchant, number, asked.body, moment)?;
                Ok(None)
            }
            ("POST", ["refund", "domestic", "refunds"]) => {
                self.v3_refund(asked.body, merchant, moment).map(Some)
            }
            ("GET", ["refund", "domestic", "refunds", number]) => {
                self.v3_refund_query(number, merchant, moment).map(Some)
            }
            ("GET", ["certificates"]) => {
                certificates::certificates(merchant, credentials, moment).map(Some)
            }
            _ => Err(Refusal::new("NOT_FOUND", 0, "没有此接口，或请求方法有误")),
        }
    }
}

fn sign(answer: &mut Answer, asked: &Asked<'_>, sender: &Sender, now: Now, spoilt: Option<Spoilt>) {
    let key = Key::Asked(header(asked.headers, "wechatpay-serial"));
    let Sender {
        merchant,
        credentials,
    } = sender;
    let key = key.choose(merchant, credentials, now.moment);
    answer.headers.extend(key.stamp(&answer.body, now, spoilt));
    answer.body = stamp::sent(std::mem::take(&mut answer.body), spoilt);
}

/// The `mchid` of a body is the one that has signed. The code is from memory.
fn check_merchant(mchid: Option<&str>, merchant: &Merchant) -> Result<(), Refusal> {
    if mchid == Some(merchant.mch_id.as_str()) {
        return Ok(());
    }
    Err(Refusal::parameter("mchid", "与签名的商户号不一致"))
}

/// So is that of a query.
fn check_query(uri: &Uri, merchant: &Merchant) -> Result<(), Refusal> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let mchid = pairs.find(|(name, _)| name == "mchid");
    check_merchant(mchid.as_ref().map(|(_, value)| value.as_ref()), merchant)
}

fn decoded(segment: &str) -> String {
    // Form decoding would read a plus as a space.
    let form = format!("s={}", segment.replace('+', "%2B"));
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What stands after the last dash is WeChat's number of the refusal.
fn request_id(moment: Moment, number: u32) -> Headers {
    let id = moment.nonce().to_ascii_uppercase();
    vec![("request-id", format!("{id}-{number}"))]
}
