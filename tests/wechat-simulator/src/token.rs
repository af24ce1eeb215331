//! The account's own credentials: access tokens (stable and plain) and JS-SDK
//! tickets.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::errcode::{self, ErrCode};
use crate::ids;
use crate::state::{Simulator, World};

#[derive(Clone)]
struct Issued {
    value: String,
    until_ms: i64,
}

/// One account's credentials in circulation. The plain and the stable tokens do not
/// touch each other, as at WeChat.
#[derive(Default)]
pub(crate) struct Tokens {
    /// The newest last; older ones live on until they expire.
    stable: Vec<Issued>,
    plain: Option<Issued>,
    ticket: Option<Issued>,
}

/// Whether an access token may be used now, and whose it is.
pub(crate) fn check(world: &World, token: &str) -> Result<String, ErrCode> {
    let known = world.tokens.iter().find_map(|(app_id, tokens)| {
        let mut all = tokens.stable.iter().chain(&tokens.plain);
        all.find(|known| known.value == token)
            .map(|known| (app_id, known))
    });
    match known {
        None if token.is_empty() => Err((41001, "access_token missing")),
        None => Err((
            40001,
            "invalid credential, access_token is invalid or not latest",
        )),
        Some((_, issued)) if issued.until_ms <= world.now_ms() => {
            Err((42001, "access_token expired"))
        }
        Some((app_id, _)) => Ok(app_id.clone()),
    }
}

/// `POST /cgi-bin/stable_token`
pub(crate) async fn stable_token(State(simulator): State<Simulator>, body: Bytes) -> Response {
    let outcome = match serde_json::from_slice::<Value>(&body) {
        Err(_) => Err((47001, "data format error")),
        Ok(asked) => {
            let text = |name: &str| asked.get(name).and_then(Value::as_str).unwrap_or_default();
            let force = asked
                .get("force_refresh")
                .and_then(Value::as_bool)
                .unwrap_or_default();
            identified(
                &simulator,
                text("appid"),
                text("secret"),
                text("grant_type"),
            )
            .map(|()| stable(&mut simulator.world(), text("appid"), force))
        }
    };
    errcode::answer(&simulator, "/cgi-bin/stable_token", outcome)
}

/// `GET /cgi-bin/token`: every call makes the last token worthless.
pub(crate) async fn plain_token(
    State(simulator): State<Simulator>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    let outcome = identified(
        &simulator,
        text("appid"),
        text("secret"),
        text("grant_type"),
    )
    .map(|()| {
        let mut world = simulator.world();
        let issued = issue(&world, "plain");
        world
            .tokens
            .entry(text("appid").to_owned())
            .or_default()
            .plain = Some(issued.clone());
        told(&world, &issued, "access_token")
    });
    errcode::answer(&simulator, "/cgi-bin/token", outcome)
}

/// `GET /cgi-bin/ticket/getticket`
pub(crate) async fn ticket(
    State(simulator): State<Simulator>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    let mut world = simulator.world();
    let outcome = check(&world, text("access_token")).and_then(|app_id| match text("type") {
        "jsapi" => Ok(current_ticket(&mut world, app_id)),
        _ => Err((40097, "invalid args")),
    });
    drop(world);
    errcode::answer(&simulator, "/cgi-bin/ticket/getticket", outcome)
}

fn identified(
    simulator: &Simulator,
    app_id: &str,
    secret: &str,
    grant_type: &str,
) -> Result<(), ErrCode> {
    let account = simulator.world().pay.directory.account(app_id).cloned();
    if grant_type != "client_credential" {
        return Err((40002, "invalid grant_type"));
    }
    let account = account.ok_or((40013, "invalid appid"))?;
    if secret != account.secret {
        return Err((40125, "invalid appsecret"));
    }
    Ok(())
}

fn stable(world: &mut World, app_id: &str, force: bool) -> Value {
    let now = world.now_ms();
    // Five minutes of 7200 seconds, in the same proportion for shorter lives.
    let early_ms = world.settings.token_ttl_seconds.saturating_mul(1000) / 24;
    let next = issue(world, "stable");
    let stable = &mut world.tokens.entry(app_id.to_owned()).or_default().stable;
    if force {
        stable.clear();
    }
    let fresh = stable.last().filter(|last| last.until_ms - early_ms > now);
    let issued = fresh.cloned().unwrap_or_else(|| {
        // Two in use and one to say "expired" about.
        if stable.len() > 2 {
            stable.remove(0);
        }
        stable.push(next.clone());
        next
    });
    told(world, &issued, "access_token")
}

fn current_ticket(world: &mut World, app_id: String) -> Value {
    let now = world.now_ms();
    let next = issue(world, "ticket");
    let ticket = &mut world.tokens.entry(app_id).or_default().ticket;
    let known = ticket.take().filter(|ticket| ticket.until_ms > now);
    let issued = ticket.insert(known.unwrap_or(next)).clone();
    let mut answer = told(world, &issued, "ticket");
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("errcode".to_owned(), json!(0));
        fields.insert("errmsg".to_owned(), json!("ok"));
    }
    answer
}

fn issue(world: &World, prefix: &str) -> Issued {
    let life_ms = world.settings.token_ttl_seconds.saturating_mul(1000);
    Issued {
        value: ids::token(prefix),
        until_ms: world.now_ms().saturating_add(life_ms),
    }
}

fn told(world: &World, issued: &Issued, name: &str) -> Value {
    json!({name: issued.value, "expires_in": (issued.until_ms - world.now_ms() + 999) / 1000})
}
