//! A mini program's log-in: codes of `wx.login`, and `code2session`.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::errcode::{self, ErrCode};
use crate::ids;
use crate::merchants::Account;
use crate::state::{Simulator, World};
use crate::users::User;

/// Codes of `wx.login` that were handed out.
#[derive(Default)]
pub(crate) struct Sessions {
    codes: BTreeMap<String, Login>,
}

struct Login {
    app_id: String,
    user: User,
    until_ms: i64,
    used: bool,
}

/// What `wx.login` gives the mini program.
pub(crate) fn log_in(world: &mut World, account: &Account, user: User) -> String {
    let life_ms = world.settings.code_ttl_seconds.saturating_mul(1000);
    let login = Login {
        app_id: account.app_id.clone(),
        user,
        until_ms: world.now_ms().saturating_add(life_ms),
        used: false,
    };
    let code = ids::token("js");
    world.sessions.codes.insert(code.clone(), login);
    code
}

/// `GET /sns/jscode2session`
pub(crate) async fn js_code_to_session(
    State(simulator): State<Simulator>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let outcome = {
        let mut world = simulator.world();
        let account = world.pay.directory.account(get("appid")).cloned();
        match account.filter(|account| account.kind.has_sessions()) {
            None => Err((40013, "invalid appid")),
            Some(account) if account.secret != get("secret") => Err((40125, "invalid appsecret")),
            Some(_) if get("grant_type") != "authorization_code" => {
                Err((40002, "invalid grant_type"))
            }
            Some(_) if get("js_code").is_empty() => Err((41008, "missing code")),
            Some(account) => exchange(&mut world, &account, get("js_code")),
        }
    };
    errcode::answer(&simulator, "/sns/jscode2session", outcome)
}

fn exchange(world: &mut World, account: &Account, code: &str) -> Result<Value, ErrCode> {
    let now = world.now_ms();
    let login = world.sessions.codes.get_mut(code);
    let login = login.filter(|login| login.app_id == account.app_id && login.until_ms > now);
    let login = login.ok_or((40029, "invalid code"))?;
    if std::mem::replace(&mut login.used, true) {
        return Err((40163, "code been used"));
    }
    Ok(json!({
        "openid": login.user.openid_at(account),
        "session_key": STANDARD.encode(ids::nonce().as_bytes().get(..16).unwrap_or_default()),
        "unionid": login.user.unionid,
    }))
}
