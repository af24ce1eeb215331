//! The envelope of v2 requests and answers: XML, identity, signature, required
//! fields and lengths.

use super::notification::identify;
use super::{Moment, Order, TradeType, WechatPay};
use crate::sign::{self, Fields, SignType};
use crate::users;
use crate::xml;

/// A request that WeChat refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// WeChat's name of the mistake: `err_code`, in a signed answer.
    pub code: String,
    /// `err_code_des`, or `return_msg`.
    pub message: String,
    /// `return_code=FAIL`, to those who cannot be trusted: not even signed, and
    /// the code is never sent.
    is_transport: bool,
}

impl Refusal {
    pub(crate) fn transport(code: &str, message: &str) -> Self {
        Self {
            is_transport: true,
            ..Self::business(code, message)
        }
    }

    /// A refusal with `result_code=FAIL`.
    #[must_use]
    pub fn business(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
            is_transport: false,
        }
    }

    pub(super) fn parameter(message: &str) -> Self {
        Self::business("PARAM_ERROR", message)
    }
}

/// Who has sent a request, and how its answer is signed.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) app_id: String,
    pub(crate) mch_id: String,
    pub(crate) sign_type: SignType,
}

impl Caller {
    /// Whoever these fields name, whether that is true or not.
    pub(crate) fn named(fields: &Fields) -> Self {
        let get = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let sign_type = SignType::parse(fields.get("sign_type").map(String::as_str));
        Self {
            app_id: get("appid"),
            mch_id: get("mch_id"),
            sign_type: sign_type.unwrap_or(SignType::Md5),
        }
    }
}

/// A request whose identity and signature hold.
#[derive(Clone, Debug)]
pub struct Request {
    fields: Fields,
    /// Who has sent it, and how it is signed.
    pub caller: Caller,
}

impl Request {
    /// A request that was trusted by other means, in v2's words.
    pub(crate) fn trusted(fields: Fields) -> Self {
        let caller = Caller::named(&fields);
        Self { fields, caller }
    }

    pub(crate) fn mch_id(&self) -> &str {
        &self.caller.mch_id
    }

    /// A field that is there and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A field without which nothing can be done.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| lacking(name))
    }

    /// An amount in fen, above zero.
    pub(super) fn fen(&self, name: &str) -> Result<i64, Refusal> {
        let text = self.required(name)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let amount = text.parse::<i64>().ok().filter(|_| digits);
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

    /// Whether the required fields are there and none is too long.
    pub(super) fn check(&self, fields: &[Field]) -> Result<(), Refusal> {
        for (name, required, largest) in COMMON.iter().chain(fields) {
            match self.get(name) {
                None if *required => return Err(lacking(name)),
                Some(value) if value.len() > *largest => {
                    return Err(Refusal::parameter(&format!("{name}参数长度有误")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A field's place in a request: name, whether required, largest size in bytes.
pub(super) type Field = (&'static str, bool, usize);

/// The fields that every v2 request has.
const COMMON: [Field; 4] = [
    ("appid", true, 32),
    ("mch_id", true, 32),
    ("nonce_str", true, 32),
    ("sign_type", false, 32),
];

impl WechatPay {
    /// Reads a request and checks who has sent it.
    ///
    /// # Errors
    /// What WeChat says, unsigned, to those it cannot trust.
    pub fn open(&self, body: &[u8]) -> Result<Request, Refusal> {
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
                return Err(Refusal::transport("LACK_PARAMS", &message));
            }
        }
        if self.directory.merchant(get("mch_id")).is_none() {
            return Err(Refusal::transport("MCHID_NOT_EXIST", "商户号mch_id不存在"));
        }
        if self.directory.bound(get("appid"), get("mch_id")).is_none() {
            return Err(Refusal::transport(
                "APPID_MCHID_NOT_MATCH",
                "appid和mch_id不匹配",
            ));
        }
        let sign_type = SignType::parse(fields.get("sign_type").map(String::as_str))
            .ok_or_else(|| Refusal::transport("SIGNERROR", "签名类型错误"))?;
        let key = self.directory.api_key(get("mch_id"));
        if key.is_empty() || !sign::v2_holds(&fields, sign_type, key) {
            return Err(Refusal::transport("SIGNERROR", "签名错误，请检查后再试"));
        }
        let caller = Caller::named(&fields);
        Ok(Request { fields, caller })
    }

    /// Whether the account that a request names pays so. The code is from
    /// memory; at WeChat some of these are refused on the payer's phone only.
    pub(crate) fn check_account(
        &self,
        request: &Request,
        trade_type: TradeType,
    ) -> Result<(), Refusal> {
        let account = self.directory.account(&request.caller.app_id);
        let takes = account.is_some_and(|account| account.kind.takes(trade_type));
        if takes || !self.rules.strict_kinds {
            return Ok(());
        }
        Err(Refusal::parameter("appid与trade_type不匹配"))
    }

    /// Whether the order may be for this openid, which is one account's.
    pub(crate) fn may_pay(&self, order: &Order, openid: &str) -> bool {
        let account = self.directory.account(&order.app_id);
        account.is_some_and(|account| users::may_pay(openid, account, self.rules.strict_openid))
    }

    /// The message that tells what was decided.
    #[must_use]
    pub fn answer(
        &self,
        path: &str,
        caller: &Caller,
        decided: &Result<Fields, Refusal>,
        moment: Moment,
    ) -> String {
        let mut answer = Fields::new();
        match decided {
            Ok(fields) => {
                answer.clone_from(fields);
                put(&mut answer, "result_code", "SUCCESS");
            }
            Err(refusal) if refusal.is_transport => {
                put(&mut answer, "return_code", "FAIL");
                put(&mut answer, "return_msg", &refusal.message);
                return xml::write(&answer);
            }
            Err(Refusal { code, message, .. }) => {
                put(&mut answer, "result_code", "FAIL");
                put(&mut answer, "err_code", code);
                put(&mut answer, "err_code_des", message);
                // `reverse` tells with every answer whether to call again.
                if path.ends_with("/reverse") {
                    let again = if code == "SYSTEMERROR" { "Y" } else { "N" };
                    put(&mut answer, "recall", again);
                }
            }
        }
        put(&mut answer, "return_code", "SUCCESS");
        put(&mut answer, "return_msg", "OK");
        identify(&mut answer, &caller.app_id, &caller.mch_id, moment);
        let key = self.directory.api_key(&caller.mch_id);
        let sign = sign::v2(&answer, caller.sign_type, key);
        put(&mut answer, "sign", sign);
        xml::write(&answer)
    }
}

fn lacking(name: &str) -> Refusal {
    Refusal::business("LACK_PARAMS", &format!("缺少参数{name}"))
}

/// Sets a field of a message.
pub(crate) fn put(fields: &mut Fields, name: &str, value: impl ToString) {
    fields.insert(name.to_owned(), value.to_string());
}
