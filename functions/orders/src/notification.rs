//! `POST /v1/notifications/verify`: WeChat notified an app of version 1.0, which
//! has no key to verify that with. The hub verifies, settles its own ledger and
//! says what was paid in its own words.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use shared::domain::app::App;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::wechat::Wechat;
use shared::wechat::notification::{Claimed, Notice, Notification, Received, Rejection};
use shared::wechat::v3::Proof;
use tracing::field::display;

use crate::{Orders, shown};

/// WeChat gives the app 5 s for its answer.
const DEADLINE: Duration = Duration::from_millis(4200);
/// Longer than any request may be.
const MAX_BYTES: usize = 16 * 1024;
/// WeChat's headers by version 3, as parameters.
const PROOF: [&str; 4] = [
    "wechatpay_timestamp",
    "wechatpay_nonce",
    "wechatpay_serial",
    "wechatpay_signature",
];
/// Enough for a signature of 4096 bits.
const PROOF_MAX_BYTES: usize = 1024;

pub(crate) async fn verify(
    State(state): State<Arc<Orders>>,
    body: Bytes,
) -> Result<Response, Problem> {
    // Giving up is safe at every point: WeChat tells the app again, and the app
    // asks again.
    let answer = tokio::time::timeout(DEADLINE, answer(&state, &body)).await;
    answer.unwrap_or(Err(Problem::Unavailable))
}

async fn answer(state: &Orders, body: &[u8]) -> Result<Response, Problem> {
    let now = state.clock.now();
    let signed = Signed::fresh(Fields::from_json(body)?, &state.registry, now).await?;
    let names = PROOF.iter().copied().chain(["notification"]);
    signed.fields.only(&names.collect::<Vec<_>>())?;
    let raw = signed.fields.base64("notification", MAX_BYTES)?;
    let received = match proof(&signed.fields)? {
        None => Received::Xml(&raw),
        Some(proof) => Received::Json {
            proof: Ok(proof),
            body: &raw,
        },
    };
    let mut wechat = merchant(state, &signed.app, &received).await?;
    let merchants = &state.asking.merchants;
    let notice = merchants.read_notification(&mut wechat, &received, now);
    let notice = read(notice.await, &received.claimed())?;
    let key = notice.number().order.clone();
    // Another app's is as good as unknown: nobody learns what is whose.
    if key.app_id != signed.app.app_id {
        return Err(Problem::OrderNotFound);
    }
    state.notified.take(&wechat, notice, now).await?;
    shown(state, &key, &signed.app).await
}

/// Who is paid by the order that it claims to be about: the app may have another
/// merchant by now. Version 3's is sealed, and then that of the app's new orders.
async fn merchant(
    state: &Orders,
    app: &App,
    received: &Received<'_>,
) -> Result<Arc<Wechat>, Problem> {
    let claimed = received.claimed().number.map(|number| number.order);
    let order = match claimed.filter(|key| key.app_id == app.app_id) {
        Some(key) => state.ledger.order(&key).await?,
        None => None,
    };
    let merchants = &state.asking.merchants;
    Ok(match order {
        Some(order) => merchants.of(&order).await?,
        None => merchants.named(Some(&merchants.payee(app)?)).await?,
    })
}

/// The headers of a notification by version 3, which come all or not at all.
fn proof(fields: &Fields) -> Result<Option<Proof>, Problem> {
    let [timestamp, nonce, serial, signature] =
        PROOF.map(|name| fields.text(name, PROOF_MAX_BYTES));
    let given = [timestamp?, nonce?, serial?, signature?];
    if given.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [Some(timestamp), Some(nonce), Some(serial), Some(signature)] = given else {
        return Err(Problem::NotificationInvalid);
    };
    Ok(Some(Proof {
        timestamp: timestamp.to_owned(),
        nonce: nonce.to_owned(),
        serial: serial.to_owned(),
        signature: signature.to_owned(),
    }))
}

fn read(read: Result<Notification, Rejection>, claimed: &Claimed) -> Result<Notice, Problem> {
    let refused = match read {
        Ok(Notification::Payment(notice)) => return Ok(notice),
        Ok(Notification::Refund(_)) => {
            tracing::warn!("an app brought the notification of a refund");
            return Err(Problem::NotificationInvalid);
        }
        Err(refused) => refused,
    };
    let Claimed {
        number,
        total_fee,
        cash_fee,
    } = claimed;
    let order = number.as_ref().map(|number| display(&number.order));
    let attempt = number.as_ref().map(|number| number.attempt);
    let (total_fee, cash_fee) = (total_fee.map(display), cash_fee.map(display));
    tracing::warn!(order, attempt, total_fee, cash_fee, reason = %refused,
        "an app brought a notification that is refused");
    Err(match refused {
        Rejection::NoPayment => Problem::OrderNotPaid,
        Rejection::UnknownNumber(_) => Problem::OrderNotFound,
        Rejection::Malformed(_)
        | Rejection::Invalid(_)
        | Rejection::Signature
        | Rejection::Unverified(_)
        | Rejection::Stranger
        | Rejection::AnothersRefund(_) => Problem::NotificationInvalid,
    })
}
