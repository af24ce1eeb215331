//! The one way an order gets to WeChat: reuse the current payment attempt or
//! open the next one, ask WeChat, keep the answer. And the pay address, which
//! one function makes and another verifies. It refuses to know who asks.

use std::net::IpAddr;

use url::Url;

use crate::aws::ledger::{Ledger, Saved};
use crate::aws::secrets::Merchant;
use crate::domain::app::App;
use crate::domain::order::{Attempt, Order, Refusal, TradeType};
use crate::domain::signature::{Params, sign};
use crate::domain::time::Timestamp;
use crate::http::problem::Problem;
use crate::wechat::pay::Closing;

/// Others may change the order this often while it is prepared.
const ROUNDS: u32 = 6;
/// WeChat's prepay session lives two hours.
const PREPAY_SECONDS: i64 = 7200 - 120;

/// What checking out needs.
#[derive(Debug)]
pub struct Checkout {
    /// Where orders are.
    pub ledger: Ledger,
    /// Who is paid.
    pub merchant: Merchant,
    /// Where WeChat reports payments.
    pub notify_url: String,
}

/// Who pays, and from where.
#[derive(Debug, Clone)]
pub struct Payer {
    /// Known for JSAPI.
    pub openid: Option<String>,
    /// The address WeChat is told.
    pub ip: IpAddr,
}

impl Checkout {
    /// The order with a current attempt that the payer can pay. Repeating it
    /// is safe at every point: the attempt is stored before WeChat is asked,
    /// and WeChat answers the same for the same attempt.
    ///
    /// # Errors
    /// When the order is not open, or WeChat refuses or does not answer.
    pub async fn prepare(
        &self,
        mut order: Order,
        trade_type: TradeType,
        payer: &Payer,
        now: Timestamp,
    ) -> Result<Order, Problem> {
        let wechat = self.merchant.wechat().await?;
        for _ in 0..ROUNDS {
            order.check_open(now)?;
            let saved = match order.current(trade_type, payer.openid.as_deref()) {
                Some(attempt) if is_ready(attempt, now) => return Ok(order),
                Some(attempt) => {
                    let number = attempt.number;
                    let prepay = wechat
                        .unified_order(&order, attempt, &self.notify_url)
                        .await?;
                    order.prepaid(number, prepay);
                    self.ledger.save(&mut order).await?
                }
                None => {
                    self.close_current(&order).await?;
                    order.open_attempt(trade_type, (payer.openid.clone(), payer.ip), now)?;
                    self.ledger.save(&mut order).await?
                }
            };
            if let Saved::Changed(row) = saved {
                order = *row;
            }
        }
        Err(Problem::Unavailable)
    }

    /// Two open attempts could both be paid: the old one is closed first.
    async fn close_current(&self, order: &Order) -> Result<(), Problem> {
        let Some(old) = order.attempts.last() else {
            return Ok(());
        };
        let wechat = self.merchant.wechat().await?;
        match wechat.close(&order.out_trade_no(old.number)).await? {
            Closing::Closed => Ok(()),
            // The notification, or else the next question, will settle it.
            Closing::Paid => Err(Refusal::Paid.into()),
        }
    }
}

fn is_ready(attempt: &Attempt, now: Timestamp) -> bool {
    attempt.prepay.is_some() && now < attempt.started_at.plus_seconds(PREPAY_SECONDS)
}

/// The pay address of an order, signed for the app: the same each time.
///
/// # Errors
/// When the public address is no URL.
pub fn pay_url(public_url: &str, order: &Order, app: &App) -> Result<String, url::ParseError> {
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

/// The app's return address with the outcome, signed, for the payer's browser.
/// It carries no `event`: what counts is the callback, or the app's question.
///
/// # Errors
/// When the stored address is no URL.
pub fn return_url(order: &Order, app: &App, now: Timestamp) -> Result<String, url::ParseError> {
    let mut params = Params::from([
        ("app_id".to_owned(), order.app_id.to_string()),
        ("order_no".to_owned(), order.order_no.to_string()),
        ("status".to_owned(), order.status.as_str().to_owned()),
        ("total_fee".to_owned(), order.request.total_fee.to_string()),
        ("trade_no".to_owned(), order.trade_no().to_string()),
        ("timestamp".to_owned(), now.seconds().to_string()),
        ("nonce".to_owned(), crate::ambient::random_hex()),
    ]);
    if let Some(payment) = &order.payment {
        params.insert("transaction_id".to_owned(), payment.transaction_id.clone());
    }
    params.insert("sign".to_owned(), sign(&params, &app.app_secret));
    Ok(Url::parse_with_params(&order.request.return_url, params)?.into())
}
