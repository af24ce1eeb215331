//! What the shop remembers: its apps, its orders, every callback, the rules.
//! All of it is in memory and unbounded: a demo or a test ends, or resets it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;

use crate::app::App;
use crate::behaviour::{Address, Answer, Mode, Rules};
use crate::signature::{Refusal, Webhook};

/// An order: its number is the app's own, and another app may have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderKey {
    pub(crate) app_id: String,
    pub(crate) order_no: String,
}

/// An order as the shop sees it.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) order_no: String,
    /// What was sold, for the list on the front page.
    pub(crate) title: String,
    /// What it costs in fen. Absent when the shop did not place the order
    /// itself and first hears of it through a callback.
    pub(crate) total_fee: Option<i64>,
    /// Set by a verified callback, or by the hub's answer about a notification of
    /// WeChat's, and by nothing else.
    pub(crate) paid: bool,
    /// Why the hub has closed it, by a verified callback. It proves nothing
    /// about a payment: one that comes later is given back, and told.
    pub(crate) closed: Option<String>,
    /// Counts up, so that the youngest orders can be shown first.
    number: u64,
}

/// A call of one of the addresses, kept whether it was believed or not.
#[derive(Clone, Serialize)]
pub(crate) struct Callback {
    at_ms: u64,
    address: Address,
    /// Signature and timestamp were right.
    verified: bool,
    params: BTreeMap<String, String>,
    answered: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refusal>,
    /// How it came, if not in a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Webhook>,
}

/// A callback before it is written down.
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    pub(crate) at: Instant,
    pub(crate) address: Address,
    pub(crate) params: BTreeMap<String, String>,
    /// What the signature check said.
    pub(crate) verdict: Result<(), Refusal>,
    /// How it came, if not in a query.
    pub(crate) webhook: Option<Webhook>,
}

/// What the control side tells about an order.
#[derive(Serialize)]
pub(crate) struct OrderSummary {
    paid: bool,
    closed: bool,
    callbacks: usize,
    distinct_event_ids: usize,
}

/// The callbacks of the orders with one number.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Those that were answered `success`, or whose answer was lost.
    pub successes: u32,
    /// When the first of these came.
    pub first_success: Option<Instant>,
    /// The events they told of, whether they were believed or not.
    pub event_ids: BTreeSet<String>,
    /// Those that the shop did not believe.
    pub refused: u32,
}

/// The apps the shop knows, its orders, and what it was told of them.
#[derive(Default)]
pub(crate) struct Book {
    /// By their identifier.
    apps: BTreeMap<String, App>,
    orders: BTreeMap<OrderKey, Order>,
    /// (`app_id`, `event_id`) of the events that have had their effect.
    applied: BTreeSet<(String, String)>,
    callbacks: Vec<Callback>,
    /// By `order_no`: a load test asks for thousands of them again and again.
    told: BTreeMap<String, Told>,
    orders_ever: u64,
    /// How callbacks are answered.
    pub(crate) rules: Rules,
}

impl Book {
    /// Makes an app's callbacks verifiable, and its orders placeable.
    pub(crate) fn learn_app(&mut self, app: App) {
        self.apps.insert(app.id.clone(), app);
    }

    /// An app the shop knows.
    pub(crate) fn app(&self, app_id: &str) -> Option<App> {
        self.apps.get(app_id).cloned()
    }

    /// Writes an order down before the hub hears of it: a payment by code may
    /// be called back before the hub has answered. False when it was there
    /// already, whose amount then stays.
    pub(crate) fn note_order(&mut self, key: OrderKey, title: String, total_fee: i64) -> bool {
        let order = self.order(key);
        let is_new = order.total_fee.is_none();
        if is_new {
            order.total_fee = Some(total_fee);
            order.title = title;
        }
        is_new
    }

    /// Strikes out an order that the hub refused.
    pub(crate) fn strike_order(&mut self, key: &OrderKey) {
        if self.orders.get(key).is_some_and(|order| !order.paid) {
            self.orders.remove(key);
        }
    }

    /// An order the shop knows.
    pub(crate) fn find_order(&self, key: &OrderKey) -> Option<&Order> {
        self.orders.get(key)
    }

    /// The orders the shop placed, youngest first.
    pub(crate) fn recent_orders(&self, limit: usize) -> Vec<Order> {
        let mut own: Vec<&Order> = self
            .orders
            .values()
            .filter(|order| order.total_fee.is_some())
            .collect();
        own.sort_by_key(|order| std::cmp::Reverse(order.number));
        own.into_iter().take(limit).cloned().collect()
    }

    /// Judges a callback, acts on it once, writes it down, chooses the answer.
    pub(crate) fn take(&mut self, arrival: Arrival) -> Answer {
        let Arrival {
            at_ms,
            at,
            address,
            params,
            verdict,
            webhook,
        } = arrival;
        let refused = verdict.and_then(|()| self.check_amount(&params)).err();
        let answer = match refused {
            Some(_) => Answer::plain(Mode::Fail),
            None => self
                .rules
                .choose(address, text(&params, "app_id"), text(&params, "order_no")),
        };
        if refused.is_none() && answer.mode.takes_the_message() {
            self.apply(&params);
        }
        let told = self
            .told
            .entry(text(&params, "order_no").to_owned())
            .or_default();
        told.event_ids.insert(text(&params, "event_id").to_owned());
        told.refused += u32::from(refused.is_some());
        // Where a redirect points nobody should come: it counts for nothing.
        if refused.is_none() && address != Address::Redirected && answer.mode.says_success() {
            told.successes += 1;
            told.first_success.get_or_insert(at);
        }
        self.callbacks.push(Callback {
            at_ms,
            address,
            verified: verdict.is_ok(),
            params,
            answered: answer.mode,
            refused,
            webhook,
        });
        answer
    }

    /// The callbacks in order of arrival; an absent filter passes everything.
    pub(crate) fn callbacks(
        &self,
        app_id: Option<&str>,
        order_no: Option<&str>,
    ) -> impl Iterator<Item = &Callback> {
        self.callbacks.iter().filter(move |callback| {
            app_id.is_none_or(|wanted| text(&callback.params, "app_id") == wanted)
                && order_no.is_none_or(|wanted| text(&callback.params, "order_no") == wanted)
        })
    }

    /// The callbacks of the orders with this number; none of one that nobody has
    /// heard of.
    pub(crate) fn told(&self, order_no: &str) -> Told {
        self.told.get(order_no).cloned().unwrap_or_default()
    }

    /// How many callbacks were answered in this way.
    pub(crate) fn answered(&self, mode: Mode) -> usize {
        let answered = self.callbacks.iter();
        answered
            .filter(|callback| callback.answered == mode)
            .count()
    }

    /// An order's state; zeros for one that nobody has heard of, so that a
    /// test may poll. Without `app_id` the orders of all apps count together.
    pub(crate) fn summary(&self, app_id: Option<&str>, order_no: &str) -> OrderSummary {
        let its = self.orders.iter().filter(|(key, _)| {
            key.order_no == order_no && app_id.is_none_or(|wanted| wanted == key.app_id)
        });
        let (mut paid, mut closed) = (false, false);
        for (_, order) in its {
            paid |= order.paid;
            closed |= order.closed.is_some();
        }
        let events: BTreeSet<_> = self
            .callbacks(app_id, Some(order_no))
            .filter(|callback| callback.verified)
            .map(|callback| {
                (
                    text(&callback.params, "app_id"),
                    text(&callback.params, "event_id"),
                )
            })
            .filter(|(_, event_id)| !event_id.is_empty())
            .collect();
        OrderSummary {
            paid,
            closed,
            callbacks: self.callbacks(app_id, Some(order_no)).count(),
            distinct_event_ids: events.len(),
        }
    }

    /// The hub says that an order is paid, at this price in fen.
    pub(crate) fn pay(&mut self, key: OrderKey, total_fee: Option<i64>) {
        let order = self.order(key);
        order.paid |= order.total_fee.is_none() || order.total_fee == total_fee;
    }

    /// Only a payment is compared: an anomaly or a refund has its own amounts.
    fn check_amount(&self, params: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let expected = self
            .orders
            .get(&key(params))
            .and_then(|order| order.total_fee);
        match expected {
            Some(fen)
                if tells_of_payment(params) && text(params, "total_fee") != fen.to_string() =>
            {
                Err(Refusal::WrongAmount)
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, params: &BTreeMap<String, String>) {
        let event = (
            text(params, "app_id").to_owned(),
            text(params, "event_id").to_owned(),
        );
        if !self.applied.insert(event) {
            return;
        }
        match text(params, "event") {
            "payment.succeeded" => self.order(key(params)).paid = true,
            "order.closed" => {
                let reason = text(params, "reason").to_owned();
                self.order(key(params)).closed = Some(reason);
            }
            _ => {}
        }
    }

    fn order(&mut self, key: OrderKey) -> &mut Order {
        self.orders_ever += 1;
        let number = self.orders_ever;
        let order_no = key.order_no.clone();
        self.orders.entry(key).or_insert_with(|| Order {
            order_no,
            title: String::new(),
            total_fee: None,
            paid: false,
            closed: None,
            number,
        })
    }
}

/// A parameter, or nothing.
pub(crate) fn text<'a>(params: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    params.get(name).map_or("", String::as_str)
}

/// The order a callback is about.
pub(crate) fn key(params: &BTreeMap<String, String>) -> OrderKey {
    OrderKey {
        app_id: text(params, "app_id").to_owned(),
        order_no: text(params, "order_no").to_owned(),
    }
}

/// An anomaly, such as a payment after closing, is another event: the hub gives
/// that money back.
fn tells_of_payment(params: &BTreeMap<String, String>) -> bool {
    text(params, "event") == "payment.succeeded"
}
