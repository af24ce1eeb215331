//! Logging a WeChat user in, from the redirect to WeChat until a ticket brings
//! the openid back. State, cookie and ticket are random, used once, and short
//! lived; the state is bound to the browser by the cookie. It refuses to know
//! what the user logs in for beyond where to send the browser back.

use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use crate::ambient::random_hex;
use crate::aws::registry::Registry;
use crate::domain::id::Refused;
use crate::domain::signature::same;
use crate::domain::time::Timestamp;
use crate::http::problem::Problem;
use crate::wechat::Wechat;
use crate::wechat::oauth::{Scope, User};

/// The cookie that ties a state to the browser it was made for.
pub const COOKIE: &str = "hub_login";
/// The parameter that brings the user back to the cashier.
const TICKET: &str = "hub_ticket";
const STATE_SECONDS: i64 = 600;
const TICKET_SECONDS: i64 = 300;

/// Where the browser goes after the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// The pay address's query, as the app signed it.
    pub pay_query: String,
}

#[derive(Serialize, Deserialize)]
struct State {
    purpose: Purpose,
    browser: String,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    openid: String,
}

/// A login under way.
#[derive(Debug)]
pub struct Started {
    /// Where to send the browser.
    pub authorize_url: Url,
    /// The `Set-Cookie` value that must go with it.
    pub cookie: String,
}

/// Starts a login.
///
/// # Errors
/// When the registry does not answer.
pub async fn start(
    registry: &Registry,
    (wechat, public_url): (&Wechat, &str),
    purpose: Purpose,
    now: Timestamp,
) -> Result<Started, Problem> {
    let (state, browser) = (random_hex(), random_hex());
    let kept = State {
        purpose,
        browser: browser.clone(),
    };
    registry
        .keep(
            &format!("login#{state}"),
            &kept,
            now.plus_seconds(STATE_SECONDS),
        )
        .await?;
    let callback = format!("{public_url}/oauth/callback");
    let authorize_url = wechat
        .authorize_url(&callback, Scope::Base, &state)
        .map_err(|_| Problem::Unavailable)?;
    let secure = if public_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={browser}; Path=/oauth/callback; Max-Age={STATE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
    );
    Ok(Started {
        authorize_url,
        cookie,
    })
}

/// Takes a state that WeChat brought back. It is gone whatever comes of it.
///
/// # Errors
/// [`Refused`] inside when it is unknown, used, expired or another browser's.
pub async fn resume(
    registry: &Registry,
    (state, browser): (&str, &str),
    now: Timestamp,
) -> Result<Result<Purpose, Refused>, Problem> {
    // Longer than any state of ours: not worth a read.
    if state.len() > 64 {
        return Ok(Err(Refused("the state is unknown")));
    }
    let Some(kept) = registry
        .take::<State>(&format!("login#{state}"), now)
        .await?
    else {
        return Ok(Err(Refused("the state is unknown, used or expired")));
    };
    if !same(&kept.browser, browser) {
        return Ok(Err(Refused("the state is another browser's")));
    }
    Ok(Ok(kept.purpose))
}

/// The address that brings a logged-in user back to the cashier.
///
/// # Errors
/// When the registry does not answer.
pub async fn finish(
    registry: &Registry,
    public_url: &str,
    (purpose, user): (&Purpose, User),
    now: Timestamp,
) -> Result<String, Problem> {
    let ticket = random_hex();
    let kept = Ticket {
        openid: user.openid,
    };
    registry
        .keep(
            &format!("ticket#{ticket}"),
            &kept,
            now.plus_seconds(TICKET_SECONDS),
        )
        .await?;
    Ok(format!(
        "{public_url}/pay?{}&{TICKET}={ticket}",
        purpose.pay_query
    ))
}

/// Separates the hub's ticket from the query that the app signed.
#[must_use]
pub fn split_ticket(query: &str) -> (String, Option<String>) {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    let mut ticket = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == TICKET {
            ticket = Some(value.into_owned());
        } else {
            rest.append_pair(&name, &value);
        }
    }
    (rest.finish(), ticket)
}

/// Exchanges a ticket for the openid, once.
///
/// # Errors
/// When the registry does not answer.
pub async fn redeem(
    registry: &Registry,
    ticket: &str,
    now: Timestamp,
) -> Result<Option<String>, Problem> {
    if ticket.len() > 64 {
        return Ok(None);
    }
    let kept = registry
        .take::<Ticket>(&format!("ticket#{ticket}"), now)
        .await?;
    Ok(kept.map(|ticket| ticket.openid))
}
