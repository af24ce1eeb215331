//! The one way an order gets to WeChat: reuse the current payment attempt or
//! open the next one, ask WeChat, keep the answer. And the pay address, which
//! one function makes and another verifies. It refuses to know who asks.

use std::net::IpAddr;

use url::Url;

use crate::account::{self, AccountTokens};
use crate::aws::ledger::{Ledger, Saved};
use crate::aws::secrets::Merchant;
use crate::domain::app::App;
use crate::domain::id::OutTradeNo;
use crate::domain::order::{Order, Preparation, Prepay, TradeType};
use crate::domain::signature::{Params, sign};
use crate::domain::time::Timestamp;
use crate::http::problem::Problem;
use crate::wechat::pay::{Closing, Trade};
use crate::wechat::{self, Wechat};

/// Opening, closing and asking, and others who change the order meanwhile.
const ROUNDS: u32 = 10;

/// What checking out needs.
#[derive(Debug)]
pub struct Checkout {
    /// Where orders are.
    pub ledger: Ledger,
    /// Who is paid.
    pub merchant: Merchant,
    /// For the APP flow of 2014.
    pub tokens: AccountTokens,
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
    /// The order with a current attempt that can be paid: in this way by this
    /// payer, or by whoever opened a young one. Repeating it is safe at every
    /// point: each attempt is stored before WeChat is asked for it, WeChat
    /// answers the same for the same attempt, and closing twice is closing.
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
        let mut retired = false;
        for _ in 0..ROUNDS {
            order.check_open(now)?;
            match order.preparation(trade_type, payer.openid.as_deref(), now) {
                Preparation::Ready => return Ok(order),
                Preparation::Open => {
                    order.open_attempt(trade_type, (payer.openid.clone(), payer.ip), now)?;
                }
                Preparation::Close(number) => {
                    match wechat.close(&order.out_trade_no(number)).await? {
                        Closing::Closed => order.attempt_closed(number),
                        Closing::Paid => return Err(self.paid(order, now).await),
                    }
                }
                Preparation::Ask(number) => match self.ask(&wechat, (&order, number), now).await {
                    Ok(prepay) => order.prepaid(number, prepay, now),
                    Err(account::Error::Wechat(error)) => match error.business_code() {
                        Some("ORDERPAID") => return Err(self.paid(order, now).await),
                        Some("ORDERCLOSED") => order.attempt_closed(number),
                        // The same answer to a fresh number has another reason.
                        Some("ORDERREVERSED" | "OUT_TRADE_NO_USED" | "INVALID_REQUEST")
                            if !retired =>
                        {
                            retired = true;
                            match retire(&wechat, &order.out_trade_no(number)).await? {
                                Closing::Closed => order.attempt_closed(number),
                                Closing::Paid => return Err(self.paid(order, now).await),
                            }
                        }
                        _ => return Err(error.into()),
                    },
                    Err(error) => return Err(error.into()),
                },
            }
            if let Saved::Changed(row) = self.ledger.save(&mut order).await? {
                order = *row;
            }
        }
        Err(Problem::Unavailable)
    }

    async fn ask(
        &self,
        wechat: &Wechat,
        (order, number): (&Order, u8),
        now: Timestamp,
    ) -> Result<Prepay, account::Error> {
        let mut attempts = order.attempts.iter();
        let attempt = attempts.find(|attempt| attempt.number == number);
        let attempt = attempt.ok_or(wechat::Error::Forged("there is no such attempt"))?;
        let asked = (order, attempt);
        if attempt.trade_type != TradeType::Genprepay {
            return Ok(wechat.unified_order(asked, &self.notify_url).await?);
        }
        let token = self.tokens.access_token(now).await?;
        match wechat
            .genprepay(asked, &self.notify_url, (&token, now))
            .await
        {
            Err(error) if error.refuses_token() => {
                let token = self.tokens.refused(&token, now).await?;
                Ok(wechat
                    .genprepay(asked, &self.notify_url, (&token, now))
                    .await?)
            }
            other => Ok(other?),
        }
    }

    /// WeChat says that an attempt is paid: the next sweep asks and settles. If
    /// that cannot be written, the order's next question will find it.
    async fn paid(&self, mut order: Order, now: Timestamp) -> Problem {
        order.ask_now(now);
        if let Err(failure) = self.ledger.save(&mut order).await {
            tracing::warn!(order = %order.key(), %failure, "a paid order could not be woken");
        }
        Problem::OrderPaid
    }
}

/// WeChat does not take this number again: the order needs another, but not
/// while this one can still be paid.
async fn retire(wechat: &Wechat, number: &OutTradeNo) -> Result<Closing, wechat::Error> {
    match wechat.query(number).await? {
        Trade::Paid(_) | Trade::Returned(_) => Ok(Closing::Paid),
        Trade::Closed | Trade::Unknown => Ok(Closing::Closed),
        Trade::Open | Trade::Failed => wechat.close(number).await,
    }
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

/// The parameter with which WeChat brings a phone's browser back.
pub const BACK: &str = "hub_back";

/// WeChat's address for a phone's browser. Paid or not, WeChat sends the
/// browser on after some seconds: to the pay page, which knows.
///
/// # Errors
/// When one of the addresses is no URL.
pub fn mweb_address(mweb_url: &str, pay_url: &str) -> Result<String, url::ParseError> {
    let mut back = Url::parse(pay_url)?;
    back.query_pairs_mut().append_pair(BACK, "1");
    let mut url = Url::parse(mweb_url)?;
    url.query_pairs_mut()
        .append_pair("redirect_url", back.as_str());
    Ok(url.into())
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
