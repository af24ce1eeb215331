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
use shared::domain::id::{OutRefundNo, RefundNo};
use shared::flows::notified::{self, Notified};
use shared::flows::refunds::Refunds;
use shared::http::guarded;
use shared::wechat::Wechat;
use shared::wechat::v2::genprepay;
use shared::wechat::v2::notify::{
    ACCEPTED, Claimed, Notification, REFUSED, RefundNotice, Rejection,
};
use tracing::field::display;

/// WeChat waits 5 s for an answer.
const DEADLINE: Duration = Duration::from_millis(4700);

/// What the function works with.
#[derive(Debug)]
pub struct WechatNotify {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The refunds.
    pub ledger: Ledger,
    /// Whose payments these are.
    pub merchant: Merchant,
    /// How a payment is taken.
    pub notified: Notified,
    /// How a refund goes on.
    pub refunds: Refunds,
}

/// The routes: the function URL's root, and the same on the HTTP API.
pub fn router(state: Arc<WechatNotify>) -> Router {
    let routes = Router::new()
        .route("/", post(notified))
        .route("/wechat/notify", post(notified))
        // The XML reader has the limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(state);
    guarded(routes)
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
    let mut claimed = match &query {
        Some(query) => Claimed::in_query(query),
        None => Claimed::in_body(&body),
    };
    let received = receive(&state, query.as_deref(), &body, &mut claimed);
    let received = tokio::time::timeout(DEADLINE, received).await;
    let (status, is_accepted) = match received.unwrap_or(Err(Refused::TooSlow)) {
        Ok(()) => (StatusCode::OK, true),
        Err(refused) => refused.answer(&claimed),
    };
    let answer = if is_accepted { accepted } else { refused };
    (status, [(header::CONTENT_TYPE, content_type)], answer).into_response()
}

async fn receive(
    state: &WechatNotify,
    query: Option<&str>,
    body: &[u8],
    claimed: &mut Claimed,
) -> Result<(), Refused> {
    let wechat = state.merchant.wechat().await?;
    let now = state.clock.now();
    let read = match query {
        Some(query) => wechat
            .read_query_notification(query, now)
            .map(Notification::Payment),
        None => wechat.read_notification(body, now),
    };
    match read? {
        Notification::Payment(notice) => {
            state.notified.take(&wechat, notice, now).await?;
            Ok(())
        }
        Notification::Refund(notice) => {
            // It says so inside what is encrypted only.
            claimed.number = Some(notice.trade.clone());
            refunded(state, &wechat, notice).await
        }
    }
}

/// Whatever the notification says, WeChat is asked: about the hub's own refund,
/// or about what else has gone back of the payment.
async fn refunded(
    state: &WechatNotify,
    wechat: &Wechat,
    notice: RefundNotice,
) -> Result<(), Refused> {
    let now = state.clock.now();
    let (order, refund_id) = (&notice.trade.order, &notice.refund_id);
    tracing::info!(%order, refund_id, "WeChat tells of a refund");
    // The hub's own, or one that was found before.
    let found = RefundNo::outside(&notice.refund_id).map(|refund_no| OutRefundNo {
        order: notice.trade.order.clone(),
        refund_no,
    });
    for number in notice.refund.into_iter().chain(found.ok()) {
        if let Some(refund) = state.ledger.refund(&number).await? {
            let confirmed = state.refunds.confirm(refund, now).await?;
            return confirmed.map(drop).ok_or(Refused::Unconfirmed);
        }
    }
    let order = state.notified.order(&notice.trade).await?;
    let (key, transaction_id) = (order.key(), &notice.transaction_id);
    let returned = match order.payment_of(transaction_id) {
        Some(_) => state.refunds.discover(&key, transaction_id, now).await?,
        // The notification of the payment is late, or lost.
        None => {
            let settled = state.notified.settle_confirmed(
                wechat,
                order,
                notice.trade.attempt,
                transaction_id,
                now,
            );
            settled.await?.returned
        }
    };
    // WeChat's answer may lag behind its notification.
    let mut returned = returned.iter();
    match returned.any(|back| back.refund_id == notice.refund_id) {
        true => Ok(()),
        false => Err(Refused::Unconfirmed),
    }
}

/// Why a notification is answered FAIL, or in one case is not.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Payment(#[from] notified::Error),
    #[error("WeChat's query does not confirm it")]
    Unconfirmed,
    #[error("it took too long")]
    TooSlow,
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl Refused {
    /// Logs the refusal once and says what WeChat is told: the status, and
    /// whether it need not come again.
    fn answer(&self, claimed: &Claimed) -> (StatusCode, bool) {
        let number = claimed.number.as_ref();
        let order = number.map(|number| display(&number.order));
        let attempt = number.map(|number| number.attempt);
        let total_fee = claimed.total_fee.map(display);
        let cash_fee = claimed.cash_fee.map(display);
        match self {
            // Nothing to settle, and repeating it would help nobody.
            Self::Rejected(Rejection::NoPayment) => {
                tracing::info!(order, attempt, total_fee, reason = %self,
                    "notification of a failed payment");
                (StatusCode::OK, true)
            }
            Self::Rejected(Rejection::UnknownNumber(_))
            | Self::Payment(notified::Error::UnknownOrder(_)) => {
                tracing::error!(alarm = "order_unknown", order, attempt, total_fee, cash_fee,
                    reason = %self, "notification refused");
                (StatusCode::OK, false)
            }
            Self::Rejected(_) | Self::Unconfirmed | Self::Payment(notified::Error::Unconfirmed) => {
                tracing::warn!(order, attempt, total_fee, cash_fee, reason = %self,
                    "notification refused");
                (StatusCode::OK, false)
            }
            Self::Payment(notified::Error::Query(_) | notified::Error::Aws(_))
            | Self::TooSlow
            | Self::Aws(_) => {
                tracing::error!(order, attempt, total_fee, cash_fee, reason = %self,
                    "notification not handled, WeChat will repeat it");
                (StatusCode::SERVICE_UNAVAILABLE, false)
            }
        }
    }
}
