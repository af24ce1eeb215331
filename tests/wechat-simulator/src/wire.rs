//! Owns the envelope of v2 requests and answers: method, XML, identity,
//! signature, required fields and lengths. Refuses to know what a request asks
//! for.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use crate::config::Config;
use crate::ids;
use crate::sign::{self, Fields, SignType};
use crate::state::Simulator;
use crate::xml;

/// A request that WeChat refuses.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// `return_code=FAIL`: not even a signed answer.
    Transport { code: &'static str, message: String },
    /// `result_code=FAIL` with `err_code`, signed.
    Business { code: String, message: String },
}

impl Refusal {
    pub(crate) fn transport(code: &'static str, message: &str) -> Self {
        Self::Transport {
            code,
            message: message.to_owned(),
        }
    }

    pub(crate) fn business(code: &str, message: &str) -> Self {
        Self::Business {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(crate) fn parameter(message: &str) -> Self {
        Self::business("PARAM_ERROR", message)
    }
}

/// A request whose identity and signature hold.
pub(crate) struct Request {
    pub(crate) fields: Fields,
    pub(crate) sign_type: SignType,
}

impl Request {
    /// A field that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A field that the rules have already required.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| lacking(name))
    }

    /// An amount in fen, above zero.
    pub(crate) fn fen(&self, name: &str) -> Result<i64, Refusal> {
        let text = self.required(name)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let amount = if digits {
            text.parse::<i64>().ok()
        } else {
            None
        };
        amount
            .filter(|fen| (1..=10_000_000_000).contains(fen))
            .ok_or_else(|| Refusal::parameter(&format!("{name}参数格式有误")))
    }

    /// What makes two requests the same request.
    pub(crate) fn parameters(&self) -> Fields {
        let mut parameters = self.fields.clone();
        parameters.remove("nonce_str");
        parameters.remove("sign");
        parameters
    }
}

/// A field's place in a request: name, whether required, largest size in bytes.
pub(crate) type Rule = (&'static str, bool, usize);

/// The fields that every v2 request has.
const COMMON: [Rule; 4] = [
    ("appid", true, 32),
    ("mch_id", true, 32),
    ("nonce_str", true, 32),
    ("sign_type", false, 32),
];

/// Opens a request, lets `decide` answer it and signs the answer.
pub(crate) fn serve(
    simulator: &Simulator,
    (path, rules): (&str, &[Rule]),
    body: &Bytes,
    decide: impl FnOnce(&Request) -> Result<Fields, Refusal>,
) -> Response {
    let config = simulator.config();
    let request = match open(config, body) {
        Ok(request) => request,
        Err(refusal) => return refuse(simulator, path, SignType::Md5, &refusal),
    };
    match check(&request, rules).and_then(|()| decide(&request)) {
        Ok(answer) => accept(config, request.sign_type, answer),
        Err(refusal) => refuse(simulator, path, request.sign_type, &refusal),
    }
}

fn open(config: &Config, body: &Bytes) -> Result<Request, Refusal> {
    if body.is_empty() {
        return Err(Refusal::transport("POST_DATA_EMPTY", "post数据为空"));
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::transport("NOT_UTF8", "编码格式错误，请使用UTF-8编码"))?;
    let fields =
        xml::read(text).map_err(|_| Refusal::transport("XML_FORMAT_ERROR", "XML格式错误"))?;
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    for name in ["appid", "mch_id", "sign"] {
        if get(name).is_empty() {
            let message = format!("缺少参数{name}");
            return Err(Refusal::Transport {
                code: "LACK_PARAMS",
                message,
            });
        }
    }
    if get("mch_id") != config.mch_id {
        return Err(Refusal::transport("MCHID_NOT_EXIST", "商户号mch_id不存在"));
    }
    if get("appid") != config.app_id {
        return Err(Refusal::transport(
            "APPID_MCHID_NOT_MATCH",
            "appid和mch_id不匹配",
        ));
    }
    let sign_type = SignType::parse(fields.get("sign_type").map(String::as_str))
        .ok_or_else(|| Refusal::transport("SIGNERROR", "签名类型错误"))?;
    if !sign::v2_holds(&fields, sign_type, &config.api_key) {
        return Err(Refusal::transport("SIGNERROR", "签名错误，请检查后再试"));
    }
    Ok(Request { fields, sign_type })
}

fn check(request: &Request, rules: &[Rule]) -> Result<(), Refusal> {
    for (name, required, largest) in COMMON.iter().chain(rules) {
        match request.get(name) {
            None if *required => return Err(lacking(name)),
            Some(value) if value.len() > *largest => {
                return Err(Refusal::parameter(&format!("{name}参数长度有误")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lacking(name: &str) -> Refusal {
    Refusal::business("LACK_PARAMS", &format!("缺少参数{name}"))
}

fn accept(config: &Config, sign_type: SignType, mut answer: Fields) -> Response {
    put(&mut answer, "result_code", "SUCCESS");
    signed(config, sign_type, answer)
}

/// The answer to a refused request; the refusal is remembered.
pub(crate) fn refuse(
    simulator: &Simulator,
    path: &str,
    sign_type: SignType,
    refusal: &Refusal,
) -> Response {
    let mut answer = Fields::new();
    match refusal {
        Refusal::Transport { code, message } => {
            simulator.world().reject(path, code, message);
            put(&mut answer, "return_code", "FAIL");
            put(&mut answer, "return_msg", message);
            document(xml::write(&answer))
        }
        Refusal::Business { code, message } => {
            simulator.world().reject(path, code, message);
            put(&mut answer, "result_code", "FAIL");
            put(&mut answer, "err_code", code);
            put(&mut answer, "err_code_des", message);
            // `reverse` tells with every answer whether to call again.
            if path.ends_with("/reverse") {
                let again = if code == "SYSTEMERROR" { "Y" } else { "N" };
                put(&mut answer, "recall", again);
            }
            signed(simulator.config(), sign_type, answer)
        }
    }
}

fn signed(config: &Config, sign_type: SignType, mut answer: Fields) -> Response {
    put(&mut answer, "return_code", "SUCCESS");
    put(&mut answer, "return_msg", "OK");
    put(&mut answer, "appid", &config.app_id);
    put(&mut answer, "mch_id", &config.mch_id);
    put(&mut answer, "nonce_str", ids::nonce());
    let sign = sign::v2(&answer, sign_type, &config.api_key);
    put(&mut answer, "sign", &sign);
    document(xml::write(&answer))
}

fn document(text: String) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

/// Sets a field of a message.
pub(crate) fn put(fields: &mut Fields, name: &str, value: impl ToString) {
    fields.insert(name.to_owned(), value.to_string());
}
