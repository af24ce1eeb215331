//! WeChat's notifications of payments and refunds: verify, compare, confirm,
//! commit, ring, and answer within 5 s. Anything but a durable commit is
//! answered FAIL, so that WeChat repeats it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::Ledger;
use shared::aws::secrets::Merchant;
use shared::domain::id::{OutRefundNo, OutTradeNo};
use shared::domain::order::Payment;
use shared::error::causes;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::v2::genprepay;
use shared::wechat::v2::notify::{ACCEPTED, Notice, Notification, REFUSED, Rejection};
use shared::wechat::v2::pay::Trade;
use shared::wechat::{self, Wechat};

/// WeChat waits 5 s for an answer.
const DEADLINE: Duration = Duration::from_millis(4700);

/// What the function works with.
#[derive(Debug)]
pub struct WechatNotify {
    /// Read once for each request or doorbell; tests move it by hand.
    pub clock: Clock,
    /// The orders and their refunds.
    pub ledger: Ledger,
    /// Whose payments these are.
    pub merchant: Merchant,
    /// Where payments go.
    pub settler: Settler,
    /// How a refund goes on.
    pub refunds: Refunds,
    /// Whether WeChat is asked before a notification is believed.
    pub confirm: bool,
}

/// The routes: the function URL's root, and the same on the HTTP API.
pub fn router(state: Arc<WechatNotify>) -> Router {
    Router::new()
        .route("/", post(notified))
        .route("/wechat/notify", post(notified))
        // The XML reader has the limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

async fn notified(
    State(state): State<Arc<WechatNotify>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    // The flow of 2014 says everything in the query, and wants plain words.
    let query = query.filter(|query| !query.is_empty());
    let (content_type, [accepted, refused]) = match query {
        Some(_) => ("text/plain", genprepay::ANSWERS),
        None => ("text/xml; charset=utf-8", [ACCEPTED, REFUSED]),
    };
    // Giving up is safe at every point: what is committed is owed, and WeChat
    // repeats what is not.
    let received = tokio::time::timeout(DEADLINE, receive(&state, query.as_deref(), &body)).await;
    let (status, is_accepted) = match received.unwrap_or(Err(Refused::TooSlow)) {
        Ok(()) => (StatusCode::OK, true),
        Err(refused) => refused.answer(),
    };
    let answer = if is_accepted { accepted } else { refused };
    (status, [(header::CONTENT_TYPE, content_type)], answer).into_response()
}

async fn receive(state: &WechatNotify, query: Option<&str>, body: &[u8]) -> Result<(), Refused> {
    let wechat = state.merchant.wechat().await?;
    let read = match query {
        Some(query) => wechat
            .read_query_notification(query)
            .map(Notification::Payment),
        None => wechat.read_notification(body),
    };
    match read? {
        Notification::Payment(notice) => paid(state, &wechat, notice).await,
        Notification::Refund(number) => refunded(state, number).await,
    }
}

async fn paid(state: &WechatNotify, wechat: &Wechat, notice: Notice) -> Result<(), Refused> {
    let now = state.clock.now();
    let number = notice.number().clone();
    let order = state
        .ledger
        .order(&number.order)
        .await?
        .filter(|order| {
            order
                .attempts
                .iter()
                .any(|attempt| attempt.number == number.attempt)
        })
        .ok_or_else(|| Refused::UnknownOrder(number.clone()))?;
    let payment = notice.into_payment();
    // A repeat needs no question. What does not fit leads to a refund, and money
    // goes out on WeChat's own answer only.
    let known = order.payment_of(&payment.transaction_id).is_some();
    let fits = order.status.is_open() && payment.total_fee == order.request.total_fee;
    let payment = match (state.confirm || !fits) && !known {
        true => confirm(wechat.query(&number).await?, payment)?,
        false => payment,
    };
    state.settler.settle(order, &payment, now).await?;
    Ok(())
}

/// Whatever the notification says, WeChat is asked.
async fn refunded(state: &WechatNotify, number: OutRefundNo) -> Result<(), Refused> {
    let refund = state.ledger.refund(&number).await?;
    let refund = refund.ok_or(Refused::UnknownRefund)?;
    match state.refunds.confirm(refund, state.clock.now()).await? {
        Some(_) => Ok(()),
        None => Err(Refused::Unconfirmed),
    }
}

/// WeChat's own answer replaces what the notification said.
fn confirm(trade: Trade, notified: Payment) -> Result<Payment, Refused> {
    match trade {
        Trade::Paid(paid) | Trade::Returned(paid)
            if paid.transaction_id == notified.transaction_id =>
        {
            Ok(paid)
        }
        _ => Err(Refused::Unconfirmed),
    }
}

/// Why a notification is answered FAIL, or in one case is not.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("there is no such order: {0}")]
    UnknownOrder(OutTradeNo),
    #[error("there is no such refund")]
    UnknownRefund,
    #[error("WeChat's query does not confirm it")]
    Unconfirmed,
    #[error("WeChat's query failed: {}", causes(.0))]
    Query(#[from] wechat::Error),
    #[error("it took too long")]
    TooSlow,
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl Refused {
    /// Logs the refusal once and says what WeChat is told: the status, and
    /// whether it need not come again.
    fn answer(&self) -> (StatusCode, bool) {
        match self {
            // Nothing to settle, and repeating it would help nobody.
            Self::Rejected(Rejection::NoPayment) => {
                tracing::info!(reason = %self, "notification of a failed payment");
                (StatusCode::OK, true)
            }
            Self::Rejected(Rejection::UnknownNumber(_)) | Self::UnknownOrder(_) => {
                tracing::error!(alarm = "order_unknown", reason = %self, "notification refused");
                (StatusCode::OK, false)
            }
            Self::Rejected(_) | Self::UnknownRefund | Self::Unconfirmed => {
                tracing::warn!(reason = %self, "notification refused");
                (StatusCode::OK, false)
            }
            Self::Query(_) | Self::TooSlow | Self::Aws(_) => {
                tracing::error!(reason = %self, "notification not handled, WeChat will repeat it");
                (StatusCode::SERVICE_UNAVAILABLE, false)
            }
        }
    }
}
