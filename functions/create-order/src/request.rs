//! What an app may ask for, parameter by parameter.

use shared::domain::app::check_address;
use shared::domain::id::{OrderKey, OrderNo};
use shared::domain::money::Fen;
use shared::domain::order::{Request, TradeType, Version};
use shared::http::problem::Problem;
use shared::http::request::Signed;

/// An order lives two hours unless the app says otherwise.
const EXPIRES_IN_DEFAULT: i64 = 7200;

/// Reads an order from a signed request.
///
/// # Errors
/// The first parameter that breaks a rule.
pub(crate) fn read(signed: &Signed) -> Result<(OrderKey, Request), Problem> {
    let fields = &signed.fields;
    fields.only(&[
        "order_no",
        "total_fee",
        "body",
        "attach",
        "notify_url",
        "return_url",
        "trade_type",
        "version",
        "openid",
        "client_ip",
        "expires_in",
    ])?;
    let order_no = OrderNo::parse(fields.required("order_no", 64)?)
        .map_err(|rule| Problem::param("order_no", rule.0))?;
    let total_fee = fields
        .integer("total_fee")?
        .ok_or_else(|| Problem::param("total_fee", "is required"))?;
    let total_fee = Fen::positive(total_fee).map_err(|rule| Problem::param("total_fee", rule.0))?;
    let expires_in = fields.integer("expires_in")?.unwrap_or(EXPIRES_IN_DEFAULT);
    let expires_in = u32::try_from(expires_in)
        .ok()
        .filter(|seconds| (60..=86_400).contains(seconds))
        .ok_or_else(|| Problem::param("expires_in", "must be 60 to 86400 seconds"))?;
    let request = Request {
        total_fee,
        body: fields.required("body", 512)?.to_owned(),
        attach: fields.text("attach", 127)?.map(str::to_owned),
        notify_url: address(signed, "notify_url")?,
        return_url: address(signed, "return_url")?,
        trade_type: trade_type(signed)?,
        version: version(signed)?,
        openid: fields.text("openid", 128)?.map(str::to_owned),
        client_ip: fields.ip("client_ip")?,
        expires_in,
    };
    let app_id = signed.app.app_id.clone();
    Ok((OrderKey { app_id, order_no }, request))
}

fn address(signed: &Signed, name: &str) -> Result<String, Problem> {
    let address = signed.fields.required(name, 4096)?;
    check_address(address, signed.app.allow_http).map_err(|rule| Problem::param(name, rule.0))?;
    Ok(address.to_owned())
}

fn trade_type(signed: &Signed) -> Result<Option<TradeType>, Problem> {
    match signed.fields.text("trade_type", 16)? {
        None => Ok(None),
        Some("NATIVE") => Ok(Some(TradeType::Native)),
        Some("JSAPI") => Ok(Some(TradeType::Jsapi)),
        Some("APP") => Ok(Some(TradeType::App)),
        Some("MWEB") => Ok(Some(TradeType::Mweb)),
        Some(_) => Err(Problem::param(
            "trade_type",
            "must be NATIVE, JSAPI, APP or MWEB",
        )),
    }
}

fn version(signed: &Signed) -> Result<Version, Problem> {
    match signed.fields.text("version", 8)? {
        None | Some("2.0") => Ok(Version::Hub),
        Some("1.0") if signed.app.allow_direct => Ok(Version::Direct),
        Some("1.0") => Err(Problem::param("version", "1.0 is not enabled for this app")),
        Some(_) => Err(Problem::param("version", "must be 1.0 or 2.0")),
    }
}
