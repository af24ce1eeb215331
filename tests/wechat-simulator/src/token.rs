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

/// The credentials in circulation. The plain and the stable tokens do not
/// touch each other, as at WeChat.
#[derive(Default)]
pub(crate) struct Tokens {
    /// The newest last; older ones live on until they expire.
    stable: Vec<Issued>,
    plain: Option<Issued>,
    ticket: Option<Issued>,
}

/// Whether an access token may be used now.
pub(crate) fn check(world: &World, token: &str) -> Result<(), ErrCode> {
    let tokens = &world.tokens;
    let known = tokens
        .stable
        .iter()
        .chain(&tokens.plain)
        .find(|known| known.value == token);
    match known {
        None if token.is_empty() => Err((41001, "access_token missing")),
        None => Err((
            40001,
            "invalid credential, access_token is invalid or not latest",
        )),
        Some(issued) if issued.until_ms <= world.now_ms() => Err((42001, "access_token expired")),
        Some(_) => Ok(()),
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
            .map(|()| stable(&mut simulator.world(), force))
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
        world.tokens.plain = Some(issued.clone());
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
    let outcome = check(&world, text("access_token")).and_then(|()| match text("type") {
        "jsapi" => Ok(current_ticket(&mut world)),
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
    let config = simulator.config();
    if grant_type != "client_credential" {
        return Err((40002, "invalid grant_type"));
    }
    if app_id != config.app_id {
        return Err((40013, "invalid appid"));
    }
    if secret != config.app_secret {
        return Err((40125, "invalid appsecret"));
    }
    Ok(())
}

fn stable(world: &mut World, force: bool) -> Value {
    let now = world.now_ms();
    // Five minutes of 7200 seconds, in the same proportion for shorter lives.
    let early_ms = world.settings.token_ttl_seconds.saturating_mul(1000) / 24;
    if force {
        world.tokens.stable.clear();
    }
    let fresh = world
        .tokens
        .stable
        .last()
        .filter(|last| last.until_ms - early_ms > now)
        .cloned();
    let issued = fresh.unwrap_or_else(|| {
        let issued = issue(world, "stable");
        // Two in use and one to say "expired" about.
        if world.tokens.stable.len() > 2 {
            world.tokens.stable.remove(0);
        }
        world.tokens.stable.push(issued.clone());
        issued
    });
    told(world, &issued, "access_token")
}

fn current_ticket(world: &mut World) -> Value {
    let now = world.now_ms();
    let known = world
        .tokens
        .ticket
        .clone()
        .filter(|ticket| ticket.until_ms > now);
    let issued = known.unwrap_or_else(|| issue(world, "ticket"));
    world.tokens.ticket = Some(issued.clone());
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
