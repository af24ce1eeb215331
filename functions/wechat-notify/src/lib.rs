//! WeChat's notifications of payments and refunds: verify, compare, confirm,
//! commit, ring, and answer within 5 s. Anything but a durable commit is
//! refused, so that WeChat repeats it. Both versions come here, and the form tells
//! which: an address that names the merchant refuses others' before it looks.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::domain::id::{OutRefundNo, RefundNo};
use shared::domain::merchant::MchId;
use shared::domain::time::Timestamp;
use shared::flows::notified::{self, Notified};
use shared::flows::refunds::Refunds;
use shared::http::guarded;
use shared::wechat::Wechat;
use shared::wechat::notification::{
    Claimed, Notification, Received, RefundNotice, Rejection, Reply, Verdict,
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
    pub merchants: Merchants,
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
        .route("/wechat/notify/{mch_id}", post(notified))
        .route("/wechat/v3/notify/{mch_id}", post(notified))
        // The readers have the limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(state);
    guarded(routes)
}

async fn notified(
    State(state): State<Arc<WechatNotify>>,
    mch_id: Option<Path<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received::of(query.as_deref(), &headers, &body);
    let mch_id = mch_id.map(|Path(mch_id)| mch_id);
    // Giving up is safe at every point: what is committed is owed, and WeChat
    // repeats what is not.
    let mut claimed = received.claimed();
    let done = receive(&state, mch_id.as_deref(), &received, &mut claimed);
    let done = tokio::time::timeout(DEADLINE, done).await;
    let verdict = match done.unwrap_or(Err(Refused::TooSlow)) {
        Ok(()) => Verdict::Accepted,
        Err(refused) => refused.verdict(&claimed),
    };
    answer(received.reply(verdict))
}

fn answer(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    match reply.content_type {
        Some(kind) => (status, [(header::CONTENT_TYPE, kind)], reply.body).into_response(),
        None => status.into_response(),
    }
}

async fn receive(
    state: &WechatNotify,
    mch_id: Option<&str>,
    received: &Received<'_>,
    claimed: &mut Claimed,
) -> Result<(), Refused> {
    let now = state.clock.now();
    let wechat = match mch_id.map(MchId::parse) {
        None => state.merchants.find_first().await?,
        Some(Ok(mch_id)) => state.merchants.find(&mch_id).await?,
        Some(Err(_)) => None,
    };
    let mut wechat = wechat.ok_or(Rejection::Stranger)?;
    let merchants = &state.merchants;
    match merchants
        .read_notification(&mut wechat, received, now)
        .await?
    {
        Notification::Payment(notice) => {
            // Version 3 says so inside what is sealed only.
            claimed.number = Some(notice.number().clone());
            state.notified.take(&wechat, notice, now).await?;
            Ok(())
        }
        Notification::Refund(notice) => {
            // It says so inside what is encrypted only.
            claimed.number = Some(notice.trade.clone());
            refunded(state, &wechat, notice, now).await
        }
    }
}

/// Whatever the notification says, WeChat is asked: about the hub's own refund,
/// or about what else has gone back of the payment.
async fn refunded(
    state: &WechatNotify,
    wechat: &Wechat,
    notice: RefundNotice,
    now: Timestamp,
) -> Result<(), Refused> {
    let (order, refund_id) = (&notice.trade.order, &notice.refund_id);
    tracing::info!(%order, refund_id, "WeChat tells of a refund");
    // The hub's own, or one that was found before.
    let found = RefundNo::outside(&notice.refund_id).map(|refund_no| OutRefundNo {
        order: notice.trade.order.clone(),
        refund_no,
    });
    for number in notice.refund.into_iter().chain(found.ok()) {
        if let Some(refund) = state.ledger.refund(&number).await? {
            if !wechat.is(refund.merchant.as_ref()) {
                return Err(Rejection::Stranger.into());
            }
            let confirmed = state.refunds.confirm(refund, now).await?;
            return confirmed.map(drop).ok_or(Refused::Unconfirmed);
        }
    }
    let order = state.notified.order(wechat, &notice.trade).await?;
    let (key, transaction_id) = (order.key(), &notice.transaction_id);
    let returned = match order.payment_of(transaction_id) {
        Some(payment) => {
            let refunds = &state.refunds;
            refunds.discover(wechat, &key, payment.into(), now).await?
        }
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

/// Why a notification is not taken. In one case it need not come again.
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
    /// Logs the refusal once and says what WeChat is told.
    fn verdict(&self, claimed: &Claimed) -> Verdict {
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
                Verdict::Accepted
            }
            Self::Rejected(Rejection::UnknownNumber(_))
            | Self::Payment(notified::Error::UnknownOrder(_)) => {
                tracing::error!(alarm = "order_unknown", order, attempt, total_fee, cash_fee,
                    reason = %self, "notification refused");
                Verdict::Refused
            }
            Self::Rejected(_)
            | Self::Unconfirmed
            | Self::Payment(notified::Error::Unconfirmed | notified::Error::Stranger(_)) => {
                tracing::warn!(order, attempt, total_fee, cash_fee, reason = %self,
                    "notification refused");
                Verdict::Refused
            }
            Self::Payment(notified::Error::Query(_) | notified::Error::Aws(_))
            | Self::TooSlow
            | Self::Aws(_) => {
                tracing::error!(order, attempt, total_fee, cash_fee, reason = %self,
                    "notification not handled, WeChat will repeat it");
                Verdict::Later
            }
        }
    }
}
