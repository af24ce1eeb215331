//! An order in an operator's hands: shown, found by WeChat's number, asked about,
//! given up, and given back, by one person or by two.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::ambient::random_hex;
use shared::domain::id::{OrderKey, OrderNo, OutRefundNo, OutTradeNo, RefundNo, TransactionId};
use shared::domain::merchant::MchId;
use shared::domain::money::Fen;
use shared::domain::operator::confirmation::Confirmation;
use shared::domain::order::{Closure, Order};
use shared::domain::time::Timestamp;
use shared::flows::addresses::pay_url;
use shared::flows::query::query_now;
use shared::flows::search::search;
use shared::flows::second_person::{Asked, Outcome};
use shared::http::problem::{OperatorProblem, Problem};
use shared::http::view;

use crate::OperatorApi;
use crate::app::parsed;
use crate::body::{Sent, Why, query, text};
use crate::door::Caller;

/// WeChat shows no more of it to the payer.
const PAYER_REASON_MAX_BYTES: usize = 80;

pub(crate) fn key(app_id: &str, order_no: &str) -> Result<OrderKey, Problem> {
    Ok(OrderKey {
        app_id: parsed(app_id)?,
        order_no: OrderNo::parse(order_no).map_err(Problem::of_param("order_no"))?,
    })
}

pub(crate) async fn show(
    State(state): State<Arc<OperatorApi>>,
    Path((app_id, order_no)): Path<(String, String)>,
) -> Result<Response, Problem> {
    shown(&state, &key(&app_id, &order_no)?).await
}

/// The order that is being paid under this number at WeChat, the hub's or WeChat's
/// own.
pub(crate) async fn find(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let known = ["trade_no", "transaction_id", "mch_id"];
    let asked = query(given.as_deref(), &known)?;
    if let Some(id) = asked.text("transaction_id", 32)? {
        if asked.text("trade_no", 32)?.is_some() {
            let rule = "goes without transaction_id";
            return Err(Problem::param("trade_no", rule));
        }
        let of = asked.text("mch_id", 32)?.map(MchId::parse).transpose();
        let of = of.map_err(Problem::of_param("mch_id"))?;
        return find_at_wechat(&state, &caller, id, of).await;
    }
    if asked.text("mch_id", 32)?.is_some() {
        return Err(Problem::param("mch_id", "goes with transaction_id"));
    }
    let number = asked.required("trade_no", 32)?;
    let path = format!("/v1/operator/orders?trade_no={number}");
    let number = OutTradeNo::parse(number);
    let number = number.map_err(Problem::of_param("trade_no"))?;
    if !caller.reaches(number.order.app_id.as_str()) {
        let now = state.clock.now();
        return Err(state.forbid(&caller, &Method::GET, &path, now).await);
    }
    shown(&state, &number.order).await
}

/// Another's is nobody's to whoever reaches some apps only: WeChat's number does not
/// say whose it is.
async fn find_at_wechat(
    state: &OperatorApi,
    caller: &Caller,
    id: &str,
    of: Option<MchId>,
) -> Result<Response, Problem> {
    let id = TransactionId::parse(id).map_err(Problem::of_param("transaction_id"))?;
    let (merchants, now) = (&state.asking.merchants, state.clock.now());
    let found = search(merchants, &state.registry, &id, of.as_ref(), now).await?;
    let found = found.ok_or(Problem::OrderNotFound)?;
    let key = &found.number.order;
    if !caller.reaches(key.app_id.as_str()) {
        let path = format!("/v1/operator/orders?transaction_id={id}");
        state.forbid(caller, &Method::GET, &path, now).await;
        return Err(Problem::OrderNotFound);
    }
    let order = state.ledger().order(key).await?;
    let payee = order.and_then(|order| order.merchant.or_else(|| merchants.first().cloned()));
    match payee == Some(found.merchant) {
        true => shown(state, key).await,
        // Another hub's that numbers its orders alike.
        false => Err(Problem::OrderNotFound),
    }
}

async fn shown(state: &OperatorApi, key: &OrderKey) -> Result<Response, Problem> {
    let partition = state.ledger().partition(key).await?;
    let partition = partition.ok_or(Problem::OrderNotFound)?;
    let app = state.apps.read(&key.app_id).await?;
    let pay_url = pay_url(&state.public_url, &partition.order, &app)?;
    Ok(Json(view::Order::of(&partition, pay_url)).into_response())
}

/// Asks WeChat. What WeChat says changes the order, and not who asked.
pub(crate) async fn ask(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path((app_id, order_no)): Path<(String, String)>,
    Sent(why): Sent<Why>,
) -> Result<Response, Problem> {
    let (key, now) = (key(&app_id, &order_no)?, state.clock.now());
    let order = state
        .announced(&caller, &key, "order.query", why.reason)
        .await?;
    let refunds = &state.refund_desk.refunds;
    query_now(&state.asking, refunds, order, now).await?;
    shown(&state, &key).await
}

pub(crate) async fn close(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path((app_id, order_no)): Path<(String, String)>,
    Sent(why): Sent<Why>,
) -> Result<Response, Problem> {
    let (key, now) = (key(&app_id, &order_no)?, state.clock.now());
    let order = state
        .announced(&caller, &key, "order.close", why.reason)
        .await?;
    let given_up = state.asking.give_up(order, &state.reconcile, now).await?;
    let status = match given_up.closure {
        Closure::Closed | Closure::Repeated => StatusCode::OK,
        Closure::Pending => StatusCode::ACCEPTED,
    };
    Ok((status, Json(view::ClosedOrder::of(&given_up.order))).into_response())
}

impl OperatorApi {
    /// The order, once it is written down who is about to do what to it: WeChat takes
    /// part in it, so that it cannot be in one transaction with its entry.
    async fn announced(
        &self,
        caller: &Caller,
        key: &OrderKey,
        action: &str,
        why: Option<String>,
    ) -> Result<Order, Problem> {
        let actor = caller.because(why)?;
        let order = self.ledger().order(key).await?;
        let order = order.ok_or(Problem::OrderNotFound)?;
        let now = self.clock.now();
        let entry = actor.entry(action, key.to_string(), now, &random_hex());
        self.audit.announce(&entry).await?;
        Ok(order)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GiveBack {
    refund_no: String,
    refund_fee: Option<i64>,
    transaction_id: Option<String>,
    payer_reason: Option<String>,
    reason: Option<String>,
}

/// A refund that waits: `Confirmation` in openapi.yaml.
#[derive(Serialize)]
struct Waiting<'a> {
    id: &'a str,
    app_id: &'a str,
    order_no: &'a str,
    refund_no: &'a str,
    refund_fee: Fen,
    transaction_id: &'a str,
    asked_by: &'a str,
    ends_at: String,
}

fn waiting(waiting: &Confirmation) -> Waiting<'_> {
    Waiting {
        id: &waiting.id,
        app_id: waiting.app_id.as_str(),
        order_no: waiting.order_no.as_str(),
        refund_no: waiting.refund_no.as_str(),
        refund_fee: waiting.refund_fee,
        transaction_id: &waiting.transaction_id,
        asked_by: &waiting.asked_by,
        ends_at: Timestamp::rfc3339(waiting.ends_at),
    }
}

pub(crate) async fn give_back(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path((app_id, order_no)): Path<(String, String)>,
    Sent(given): Sent<GiveBack>,
) -> Result<Response, Problem> {
    let refund_no = RefundNo::of_operator(&given.refund_no);
    let fee = given.refund_fee.map(Fen::positive).transpose();
    let payer_reason = given.payer_reason.filter(|text| !text.is_empty());
    let payer_reason = payer_reason.map(|why| text("payer_reason", why, PAYER_REASON_MAX_BYTES));
    let asked = Asked {
        number: OutRefundNo {
            order: key(&app_id, &order_no)?,
            refund_no: refund_no.map_err(Problem::of_param("refund_no"))?,
        },
        fee: fee.map_err(Problem::of_param("refund_fee"))?,
        payer_reason: payer_reason.transpose()?,
        transaction_id: given.transaction_id,
    };
    let actor = caller.because(given.reason)?;
    let asked = state.refund_desk.ask(asked, &actor, state.clock.now());
    Ok(match asked.await? {
        Outcome::Promised(refund) => {
            (StatusCode::CREATED, Json(view::Refund::of(&refund))).into_response()
        }
        Outcome::Waits(confirmation) => {
            (StatusCode::ACCEPTED, Json(waiting(&confirmation))).into_response()
        }
    })
}

pub(crate) async fn show_waiting(
    State(state): State<Arc<OperatorApi>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let known = state.registry.confirmation(&id).await?;
    let known = known.filter(|known| now < known.ends_at);
    let known = known.ok_or(OperatorProblem::NothingWaits)?;
    Ok(Json(waiting(&known)).into_response())
}

pub(crate) async fn confirm(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Sent(why): Sent<Why>,
) -> Result<Response, Problem> {
    let actor = caller.because(why.reason)?;
    let confirmed = state.refund_desk.confirm(&id, &actor, state.clock.now());
    Ok(Json(view::Refund::of(&confirmed.await?)).into_response())
}

pub(crate) async fn reject(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let actor = caller.actor();
    let rejected = state.refund_desk.reject(&id, &actor, state.clock.now());
    rejected.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
