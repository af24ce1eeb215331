//! The control side's merchants and accounts: who they are, and what their
//! people do in WeChat's own consoles.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{Answer, Refused, parse};
use crate::merchants::{Account, Merchant, Unfit};
use crate::session;
use crate::state::{Simulator, World};
use crate::users;

/// `GET /_control/merchants`
pub(crate) async fn merchants(State(simulator): State<Simulator>) -> Response {
    Json(all_merchants(&simulator.world())).into_response()
}

/// `POST /_control/merchants`: a new one, or what changes of a known one.
pub(crate) async fn put_merchant(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: serde_json::Map<String, Value> = parse(&body)?;
    let mut world = simulator.world();
    let mch_id = asked.get("mch_id").and_then(Value::as_str);
    let known = world.pay.directory.merchant(mch_id.unwrap_or_default());
    let mut told = known.map_or(json!({}), |merchant| json!(merchant));
    if let Some(told) = told.as_object_mut() {
        told.extend(asked);
    }
    let merchant = Merchant::deserialize(told)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    world.pay.directory.put_merchant(merchant).map_err(unfit)?;
    Ok(Json(all_merchants(&world)).into_response())
}

/// As they were told, with what WeChat shows them in their console.
fn all_merchants(world: &World) -> Vec<Value> {
    let directory = &world.pay.directory;
    let shown = directory.merchants().map(|merchant| {
        let mut told = json!(merchant);
        let credentials = directory.credentials(&merchant.mch_id);
        if let (Some(credentials), Some(told)) = (credentials, told.as_object_mut()) {
            let keys = &credentials.keys;
            let console = json!({
                "serial": credentials.serial,
                "public_key_id": keys.public.serial,
                "public_key": keys.public_pem,
                "platform_serials": keys.platform.each_ref().map(|own| &own.signer.serial),
            });
            told.insert("console".to_owned(), console);
        }
        told
    });
    shown.collect()
}

/// `GET /_control/accounts`
pub(crate) async fn accounts(State(simulator): State<Simulator>) -> Response {
    let world = simulator.world();
    let list: Vec<&Account> = world.pay.directory.accounts().collect();
    Json(list).into_response()
}

/// `POST /_control/accounts`
pub(crate) async fn put_account(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let account: Account = parse(&body)?;
    let mut world = simulator.world();
    world.pay.directory.put_account(account).map_err(unfit)?;
    let list: Vec<&Account> = world.pay.directory.accounts().collect();
    Ok(Json(list).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    app_id: String,
    #[serde(default = "alice")]
    user: String,
}

fn alice() -> String {
    users::ALICE.key.to_owned()
}

/// `POST /_control/js_code`
pub(crate) async fn js_code(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: LogIn = parse(&body)?;
    let mut world = simulator.world();
    let account = world.pay.directory.account(&asked.app_id).cloned();
    let account = account.filter(|account| account.kind.has_sessions());
    match (account, users::by_key(&asked.user)) {
        (Some(account), Some(user)) => {
            let code = session::log_in(&mut world, &account, user);
            Ok(Json(json!({ "js_code": code })).into_response())
        }
        _ => Err(Refused(
            StatusCode::NOT_FOUND,
            "there is no such mini program or user".to_owned(),
        )),
    }
}

fn unfit(error: Unfit) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error.to_string())
}
