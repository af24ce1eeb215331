//! How the shop answers the hub's callbacks: well by default, and badly on
//! request. A callback that is not believed is answered `fail` before any rule
//! is asked.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};

/// Which of the shop's addresses was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Address {
    /// The order's `notify_url`, the asynchronous address.
    Notify,
    /// The order's `return_url`, the synchronous address, called by the hub's
    /// server.
    Return,
    /// Where `redirect` points. The hub follows no redirect, so a call here is
    /// a fault of the hub.
    Redirected,
}

/// Which addresses a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The order's `notify_url` alone.
    Notify,
    /// The order's `return_url` alone.
    Return,
    /// Both, which then share the rule's `times`.
    #[default]
    Both,
}

/// What the hub sees of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// 200 `success`: the shop has taken the message and says so.
    Success,
    /// 200 `fail`: the shop did not take the message.
    Fail,
    /// 500: the shop did not take the message.
    #[serde(rename = "http_500")]
    Http500,
    /// 200 `success` after a delay.
    Slow,
    /// Nothing at all, the connection stays open.
    Hang,
    /// 302 to an address that would answer `success`.
    Redirect,
    /// 200 and a body that never ends.
    Huge,
    /// The connection is closed without a byte.
    Drop,
}

impl Mode {
    /// Whether the shop acts on the message. The modes that only spoil the
    /// answer do: that is how the same event comes to a real shop twice.
    pub(crate) fn takes_the_message(self) -> bool {
        !matches!(self, Self::Fail | Self::Http500)
    }

    /// Whether the shop has done its part: it took the message, and its answer
    /// is `success` or was lost on the way.
    pub(crate) fn says_success(self) -> bool {
        matches!(self, Self::Success | Self::Slow | Self::Drop)
    }
}

/// A rule for verified callbacks, in the control side's form.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Of this order only; of every order unless given.
    pub order_no: Option<String>,
    /// Of this app only; of every app unless given.
    pub app_id: Option<String>,
    /// At which of the order's addresses.
    #[serde(default)]
    pub address: Reach,
    /// What the hub gets to see.
    pub mode: Mode,
    /// So often; always unless given. Then `success`.
    pub times: Option<u32>,
    /// How long [`Mode::Slow`] waits.
    #[serde(default = "default_delay_ms")]
    pub delay_ms: u64,
}

fn default_delay_ms() -> u64 {
    3000
}

impl Rule {
    /// Every callback in this way, until another rule says otherwise.
    #[must_use]
    pub fn always(mode: Mode) -> Self {
        Self {
            order_no: None,
            app_id: None,
            address: Reach::Both,
            mode,
            times: None,
            delay_ms: default_delay_ms(),
        }
    }

    fn same_scope(&self, other: &Self) -> bool {
        self.order_no == other.order_no && self.app_id == other.app_id
    }

    /// An order is more specific than an app, an app more than nothing.
    fn rank(&self) -> u8 {
        u8::from(self.order_no.is_some()) * 2 + u8::from(self.app_id.is_some())
    }

    fn covers(&self, address: Address, app_id: &str, order_no: &str) -> bool {
        let reached = match self.address {
            Reach::Notify => address == Address::Notify,
            Reach::Return => address == Address::Return,
            Reach::Both => address != Address::Redirected,
        };
        reached
            && self.app_id.as_ref().is_none_or(|wanted| wanted == app_id)
            && self
                .order_no
                .as_ref()
                .is_none_or(|wanted| wanted == order_no)
    }
}

/// The answer chosen for one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) mode: Mode,
    pub(crate) delay_ms: u64,
}

impl Answer {
    /// An answer without a delay.
    pub(crate) fn plain(mode: Mode) -> Self {
        Self { mode, delay_ms: 0 }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Adds a rule. It replaces those of the same scope that it covers wholly.
    pub(crate) fn set(&mut self, new: Rule) {
        self.rules.retain(|old| {
            !old.same_scope(&new) || (new.address != Reach::Both && new.address != old.address)
        });
        self.rules.push(new);
    }

    /// Forgets every rule, so that all is answered `success`.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The most specific rule answers, of equal ones the youngest. A used-up
    /// rule stays and answers `success`, so that nothing wider takes over.
    pub(crate) fn choose(&mut self, address: Address, app_id: &str, order_no: &str) -> Answer {
        let rule = self
            .rules
            .iter_mut()
            .filter(|rule| rule.covers(address, app_id, order_no))
            .max_by_key(|rule| rule.rank());
        match rule {
            None | Some(Rule { times: Some(0), .. }) => Answer::plain(Mode::Success),
            Some(rule) => {
                rule.times = rule.times.map(|left| left.saturating_sub(1));
                Answer {
                    mode: rule.mode,
                    delay_ms: rule.delay_ms,
                }
            }
        }
    }
}

/// Gives the answer. `elsewhere` is where `redirect` points.
pub(crate) async fn give(answer: Answer, elsewhere: String) -> Response {
    match answer.mode {
        Mode::Success => "success".into_response(),
        Mode::Fail => "fail".into_response(),
        Mode::Http500 => (StatusCode::INTERNAL_SERVER_ERROR, "error").into_response(),
        Mode::Slow => {
            tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
            "success".into_response()
        }
        Mode::Hang => std::future::pending().await,
        Mode::Redirect => (StatusCode::FOUND, [(header::LOCATION, elsewhere)]).into_response(),
        Mode::Huge => Body::from_stream(stream::repeat_with(|| {
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 * 1024]))
        }))
        .into_response(),
        // The server gives up the connection when a body fails, and it has not
        // flushed the head by then.
        Mode::Drop => Body::from_stream(stream::once(ready(Err::<Bytes, _>(io::Error::other(
            "dropped on request",
        )))))
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Mode, Rule, Rules};

    fn rules(list: &[&str]) -> Rules {
        let mut rules = Rules::default();
        for text in list {
            rules.set(serde_json::from_str::<Rule>(text).unwrap());
        }
        rules
    }

    #[test]
    fn the_most_specific_rule_answers_whatever_the_order_of_arrival() {
        let mut rules = rules(&[
            r#"{"order_no": "O", "mode": "drop"}"#,
            r#"{"app_id": "A", "mode": "huge"}"#,
            r#"{"mode": "fail"}"#,
        ]);
        assert_eq!(rules.choose(Address::Notify, "A", "O").mode, Mode::Drop);
        assert_eq!(rules.choose(Address::Return, "A", "P").mode, Mode::Huge);
        assert_eq!(rules.choose(Address::Notify, "B", "P").mode, Mode::Fail);
    }

    #[test]
    fn a_used_up_rule_answers_success_and_hides_wider_ones() {
        let mut rules = rules(&[
            r#"{"mode": "hang"}"#,
            r#"{"order_no": "O", "mode": "http_500", "times": 2}"#,
        ]);
        let modes = [Address::Return, Address::Notify, Address::Notify]
            .map(|address| rules.choose(address, "A", "O").mode);
        assert_eq!(modes, [Mode::Http500, Mode::Http500, Mode::Success]);
    }

    #[test]
    fn a_rule_for_one_address_leaves_the_other_alone() {
        let mut rules = rules(&[
            r#"{"mode": "fail"}"#,
            r#"{"address": "return", "mode": "slow", "delay_ms": 7}"#,
        ]);
        let slow = rules.choose(Address::Return, "A", "O");
        assert_eq!((slow.mode, slow.delay_ms), (Mode::Slow, 7));
        assert_eq!(rules.choose(Address::Notify, "A", "O").mode, Mode::Fail);
        rules.set(serde_json::from_str(r#"{"mode": "success"}"#).unwrap());
        assert_eq!(rules.choose(Address::Return, "A", "O").mode, Mode::Success);
    }
}
