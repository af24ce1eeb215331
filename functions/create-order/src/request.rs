//! What an app may ask for, parameter by parameter.

use sha2::{Digest, Sha256};
use shared::domain::UnknownAttributes;
use shared::domain::app::check_address;
use shared::domain::id::OrderKey;
use shared::domain::merchant::AccountId;
use shared::domain::money::Fen;
use shared::domain::order::{
    DETAIL_MAX_BYTES, LimitPay, Request, TradeType, Version, check_detail,
};
use shared::http::problem::Problem;
use shared::http::request::Signed;
use shared::wechat::v2::scene::takes_store;

/// An order lives two hours unless the app says otherwise.
const EXPIRES_IN_DEFAULT: i64 = 7200;

fn has_ampersand(text: &str) -> bool {
    text.contains('&')
}

/// An order as it was asked for.
pub(crate) struct NewOrder {
    pub(crate) key: OrderKey,
    pub(crate) request: Request,
    /// MICROPAY only.
    pub(crate) auth_code: Option<AuthCode>,
}

/// Reads an order from a signed request.
///
/// # Errors
/// The first parameter that breaks a rule.
pub(crate) fn read(signed: &Signed, prefixes: &[String]) -> Result<NewOrder, Problem> {
    let fields = &signed.fields;
    fields.only(&[
        "order_no",
        "total_fee",
        "body",
        "attach",
        "device_info",
        "detail",
        "goods_tag",
        "limit_pay",
        "store_id",
        "store_name",
        "store_area_code",
        "store_address",
        "notify_url",
        "return_url",
        "trade_type",
        "account",
        "version",
        "openid",
        "client_ip",
        "expires_in",
        "auth_code",
    ])?;
    let key = signed.order_key(fields.required("order_no", 64)?)?;
    let total_fee = fields
        .integer("total_fee")?
        .ok_or_else(|| Problem::param("total_fee", "is required"))?;
    let total_fee = Fen::positive(total_fee).map_err(Problem::of_param("total_fee"))?;
    let expires_in = fields.integer("expires_in")?.unwrap_or(EXPIRES_IN_DEFAULT);
    let expires_in = u32::try_from(expires_in)
        .ok()
        .filter(|seconds| (60..=86_400).contains(seconds))
        .ok_or_else(|| Problem::param("expires_in", "must be 60 to 86400 seconds"))?;
    let request = Request {
        total_fee,
        body: fields.required("body", 512)?.to_owned(),
        attach: given(signed, "attach", 127)?,
        device_info: given(signed, "device_info", 32)?,
        detail: detail(signed)?,
        goods_tag: given(signed, "goods_tag", 32)?,
        limit_pay: limit_pay(signed)?,
        store_id: given(signed, "store_id", 32)?,
        store_name: given(signed, "store_name", 64)?,
        store_area_code: area_code(signed)?,
        store_address: given(signed, "store_address", 128)?,
        notify_url: address(signed, "notify_url")?,
        return_url: address(signed, "return_url")?,
        trade_type: trade_type(signed)?,
        account: account(signed)?,
        version: version(signed)?,
        openid: given(signed, "openid", 128)?,
        client_ip: fields.ip("client_ip")?,
        expires_in,
        unknown: UnknownAttributes::new(),
    };
    // WeChat signs what it notifies as raw text. Whoever receives that itself
    // could cut an `&` of its own into another order's notification.
    for (name, echoed) in [
        ("attach", &request.attach),
        ("device_info", &request.device_info),
    ] {
        if request.version == Version::Direct && echoed.as_deref().is_some_and(has_ampersand) {
            return Err(Problem::param(name, "must not have & with version 1.0"));
        }
    }
    check_store(&request)?;
    if signed.app.genprepay && request.trade_type == Some(TradeType::App) {
        fields.without(&NOT_IN_2014, "is not a parameter of the APP flow of 2014")?;
    }
    let auth_code = auth_code(signed, &request, prefixes)?;
    Ok(NewOrder {
        key,
        request,
        auth_code,
    })
}

/// The code on the payer's phone: 18 digits, good for a minute and one payment.
/// It cannot be printed.
pub(crate) struct AuthCode(String);

impl AuthCode {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub(crate) fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

fn auth_code(
    signed: &Signed,
    request: &Request,
    prefixes: &[String],
) -> Result<Option<AuthCode>, Problem> {
    const NAME: &str = "auth_code";
    let code = signed.fields.text(NAME, 32)?;
    let code = match (request.trade_type, code) {
        (Some(TradeType::Micropay), Some(code)) => code,
        (Some(TradeType::Micropay), None) => {
            return Err(Problem::param(NAME, "is required for MICROPAY"));
        }
        (_, Some(_)) => return Err(Problem::param(NAME, "is for MICROPAY only")),
        (_, None) => return Ok(None),
    };
    if request.version == Version::Direct {
        return Err(Problem::param(
            "version",
            "must be 2.0 for MICROPAY: WeChat sends no notification",
        ));
    }
    if code.len() != 18 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::param(NAME, "must be 18 digits"));
    }
    if !prefixes.iter().any(|prefix| code.starts_with(prefix)) {
        return Err(Problem::param(NAME, "is not a WeChat payment code"));
    }
    Ok(Some(AuthCode(code.to_owned())))
}

/// What `genprepay` does not have. Without `limit_pay`, say, an order would be
/// another one than the app asked for.
const NOT_IN_2014: [&str; 8] = [
    "device_info",
    "detail",
    "goods_tag",
    "limit_pay",
    "store_id",
    "store_name",
    "store_area_code",
    "store_address",
];

fn given(signed: &Signed, name: &str, max_bytes: usize) -> Result<Option<String>, Problem> {
    let text = signed.fields.text(name, max_bytes)?;
    Ok(text.map(str::to_owned))
}

fn detail(signed: &Signed) -> Result<Option<String>, Problem> {
    const NAME: &str = "detail";
    let text = given(signed, NAME, DETAIL_MAX_BYTES)?;
    if let Some(text) = &text {
        check_detail(text).map_err(Problem::of_param(NAME))?;
    }
    Ok(text)
}

fn account(signed: &Signed) -> Result<Option<AccountId>, Problem> {
    const NAME: &str = "account";
    let text = signed.fields.text(NAME, 32)?;
    let account = text.map(AccountId::parse).transpose();
    account.map_err(Problem::of_param(NAME))
}

fn limit_pay(signed: &Signed) -> Result<Option<LimitPay>, Problem> {
    match signed.fields.text("limit_pay", 32)? {
        None => Ok(None),
        Some("no_credit") => Ok(Some(LimitPay::NoCredit)),
        Some(_) => Err(Problem::param("limit_pay", "must be no_credit")),
    }
}

fn area_code(signed: &Signed) -> Result<Option<String>, Problem> {
    const NAME: &str = "store_area_code";
    let code = given(signed, NAME, 6)?;
    let is_code = |code: &String| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit());
    match code.as_ref().is_none_or(is_code) {
        true => Ok(code),
        false => Err(Problem::param(NAME, "must be 6 digits")),
    }
}

fn check_store(request: &Request) -> Result<(), Problem> {
    let others = [
        &request.store_name,
        &request.store_area_code,
        &request.store_address,
    ];
    if request.store_id.is_none() && others.into_iter().any(Option::is_some) {
        let rule = "is required with store_name, store_area_code or store_address";
        return Err(Problem::param("store_id", rule));
    }
    if !takes_store(request) {
        let rule = "is too long: WeChat takes 256 bytes of all that is said of a store";
        return Err(Problem::param("store_address", rule));
    }
    Ok(())
}

fn address(signed: &Signed, name: &'static str) -> Result<String, Problem> {
    let address = signed.fields.required(name, 4096)?;
    check_address(address, signed.app.allow_http).map_err(Problem::of_param(name))?;
    Ok(address.to_owned())
}

fn trade_type(signed: &Signed) -> Result<Option<TradeType>, Problem> {
    const RULE: &str = "must be NATIVE, JSAPI, APP, MWEB or MICROPAY";
    let name = signed.fields.text("trade_type", 16)?;
    name.map(|name| TradeType::parse(name).ok_or_else(|| Problem::param("trade_type", RULE)))
        .transpose()
}

fn version(signed: &Signed) -> Result<Version, Problem> {
    match signed.fields.text("version", 8)? {
        None | Some("2.0") => Ok(Version::Relayed),
        Some("1.0") if signed.app.allow_direct => Ok(Version::Direct),
        Some("1.0") => Err(Problem::param("version", "1.0 is not enabled for this app")),
        Some(_) => Err(Problem::param("version", "must be 1.0 or 2.0")),
    }
}
