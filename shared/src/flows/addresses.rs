//! The addresses that a payer's browser is sent to, signed for the app: made by
//! one function and verified by another.

use url::{ParseError, Url, form_urlencoded};

use crate::ambient::random_hex;
use crate::domain::app::App;
use crate::domain::order::Order;
use crate::domain::signature::{Params, sign};
use crate::domain::time::Timestamp;

/// The pay address of an order, the same each time.
///
/// # Errors
/// When the public address is no URL.
pub fn pay_url(public_url: &str, order: &Order, app: &App) -> Result<String, ParseError> {
    let mut params = Params::from([
        ("app_id".to_owned(), order.app_id.to_string()),
        ("order_no".to_owned(), order.order_no.to_string()),
        ("total_fee".to_owned(), order.request.total_fee.to_string()),
        (
            "timestamp".to_owned(),
            order.created_at.seconds().to_string(),
        ),
        ("nonce".to_owned(), order.nonce.clone()),
    ]);
    params.insert("sign".to_owned(), sign(&params, &app.app_secret));
    Ok(Url::parse_with_params(&format!("{public_url}/pay"), params)?.into())
}

/// The parameter with which WeChat brings a phone's browser back, and with which
/// the page says that the payer is back. Not signed: it proves nothing.
const BACK: &str = "hub_back";

/// Whether a pay address says that the payer comes back from WeChat.
#[must_use]
pub fn is_back(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == BACK)
}

/// WeChat's address for a phone's browser. Paid or not, WeChat sends the
/// browser on after some seconds: to the pay page, which knows.
///
/// # Errors
/// When one of the addresses is no URL.
pub fn mweb_url(mweb_url: &str, pay_url: &str) -> Result<String, ParseError> {
    let mut back = Url::parse(pay_url)?;
    back.query_pairs_mut().append_pair(BACK, "1");
    let mut url = Url::parse(mweb_url)?;
    url.query_pairs_mut()
        .append_pair("redirect_url", back.as_str());
    Ok(url.into())
}

/// The app's return address with the outcome, for the payer's browser. It
/// carries no `event`: what counts is the callback, or the app's question.
///
/// # Errors
/// When the stored address is no URL.
pub fn return_url(order: &Order, app: &App, now: Timestamp) -> Result<String, ParseError> {
    let mut params = Params::from([
        ("app_id".to_owned(), order.app_id.to_string()),
        ("order_no".to_owned(), order.order_no.to_string()),
        ("status".to_owned(), order.status.as_str().to_owned()),
        ("total_fee".to_owned(), order.request.total_fee.to_string()),
        ("trade_no".to_owned(), order.trade_no().to_string()),
        ("timestamp".to_owned(), now.seconds().to_string()),
        ("nonce".to_owned(), random_hex()),
    ]);
    if let Some(payment) = &order.payment {
        params.insert("transaction_id".to_owned(), payment.transaction_id.clone());
    }
    params.insert("sign".to_owned(), sign(&params, &app.app_secret));
    Ok(Url::parse_with_params(&order.request.return_url, params)?.into())
}
