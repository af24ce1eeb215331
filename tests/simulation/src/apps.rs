//! The third parties as the hub's callbacks see them: what each answers, and
//! what each was told. The signature code is the demo shop's, never the hub's.

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::plan::Temper;
use crate::random::Random;
use crate::scheduler::{Record, Reply};

/// A callback that an app has checked.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Its order's key, `app_id#order_no`.
    pub(crate) order: String,
    pub(crate) event: String,
    /// The event's stable identifier.
    pub(crate) event_id: String,
    /// The step: `attempt` counts from one.
    pub(crate) step: i64,
    params: BTreeMap<String, String>,
}

impl Told {
    /// A parameter, empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// What an app knows of one event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// Calls that reached it.
    pub(crate) calls: u32,
    /// Who received its first `success`.
    pub(crate) succeeded: Option<Record>,
}

/// An app's answer, and whether it means success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What the hub gets; nothing: the app hangs.
    pub(crate) reply: Option<Reply>,
    /// The app has the payment in its books.
    pub(crate) success: bool,
}

/// Reads a callback and verifies it with the app's key.
///
/// # Errors
/// What no honest hub would send.
pub(crate) fn read(
    query: &str,
    secrets: &BTreeMap<String, String>,
    now: i64,
) -> Result<Told, String> {
    let params: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| params.get(name).cloned().unwrap_or_default();
    let app_id = field("app_id");
    let secret = secrets
        .get(&app_id)
        .ok_or_else(|| format!("an app was called as {app_id:?}"))?;
    if demo_shop::sign(&params, secret) != field("sign") {
        return Err("a callback's signature is wrong".to_owned());
    }
    let timestamp: i64 = field("timestamp").parse().unwrap_or_default();
    if timestamp.abs_diff(now / 1000) > 300 {
        return Err(format!("a callback's timestamp is {timestamp}"));
    }
    let attempt: i64 = field("attempt").parse().unwrap_or_default();
    Ok(Told {
        order: format!("{app_id}#{}", field("order_no")),
        event: field("event"),
        event_id: field("event_id"),
        step: attempt - 1,
        params,
    })
}

/// What an app of this temper answers to its n-th call, counted from zero.
pub(crate) fn answer(temper: Temper, calls: u32, random: &mut Random) -> Verdict {
    let answered = |status, body: &str| Some(Reply::Answer(status, body.to_owned()));
    let success = matches!(temper, Temper::After(failures) if calls >= failures);
    let reply = match success {
        true => answered(200, "success"),
        false => match random.within(0, 6) {
            0 => answered(500, "success"),
            1 => answered(200, "fail"),
            2 => answered(200, ""),
            3 => answered(302, "success"),
            4 => answered(200, "<html>success</html>"),
            5 => Some(Reply::Broken),
            _ => None,
        },
    };
    Verdict { reply, success }
}
