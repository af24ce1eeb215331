//! The apps want money back: refunds of a paid order, and of what does not fit
//! when they have that in their own hands. What the hub answers must be so. And
//! people who give money back without the hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::apps::Told;
use crate::engine::number;
use crate::events::{Event, Job};
use crate::ledger::{ORDER, REFUND, payments};
use crate::plan::{ByHand, HOUR, SECOND, Wish};
use crate::scheduler::Ended;
use crate::shop::signed;
use crate::world::World;

/// What an app has asked, and how its order stood at that moment.
#[derive(Debug)]
pub(crate) struct Asked {
    index: usize,
    wish: Wish,
    tries: u32,
    was_stored: bool,
    was_paid: bool,
}

impl World {
    /// An app asks for money.
    pub(crate) fn ask_back(&mut self, index: usize, wish: Wish, tries: u32) {
        let Some((mut fields, order, app)) = self.about(index) else {
            return;
        };
        fields.insert("refund_no".to_owned(), json!(wish.part));
        fields.insert("refund_fee".to_owned(), json!(wish.fee));
        if let Some(id) = &wish.transaction_id {
            fields.insert("transaction_id".to_owned(), json!(id));
        }
        let mut body = signed(fields, &order, &app);
        body.remove("order_no");
        let path = format!("/v1/orders/{}/refunds", order.order_no);
        let body = Body::from(Value::Object(body).to_string());
        let router = orders::router(Arc::clone(&self.functions().orders));
        let pk = self.key_of(index).unwrap_or_default();
        let row = self.engine.rows.get(&(pk, ORDER.to_owned()));
        let known = row.map(payments).unwrap_or_default();
        let asked = Asked {
            index,
            tries,
            was_stored: row.is_some(),
            was_paid: known.iter().any(|payment| match &wish.transaction_id {
                Some(id) => payment.id == *id,
                None => payment.own,
            }),
            wish,
        };
        let invocation = self.ask(router, Request::post(path).body(body));
        self.note(|| {
            let Wish { part, fee, .. } = &asked.wish;
            format!("#{invocation} refund {} {part} {fee}", order.order_no)
        });
        self.jobs.insert(invocation, Job::Refund(asked));
    }

    /// An app hurries a refund that it has asked for.
    pub(crate) fn hurry(&mut self, index: usize, part: &str) {
        let Some((mut fields, order, app)) = self.about(index) else {
            return;
        };
        fields.insert("action".to_owned(), json!("retry"));
        fields.insert("refund_no".to_owned(), json!(part));
        let mut body = signed(fields, &order, &app);
        body.remove("order_no");
        body.remove("refund_no");
        let path = format!("/v1/orders/{}/refunds/{part}/retry", order.order_no);
        let body = Body::from(Value::Object(body).to_string());
        let router = orders::router(Arc::clone(&self.functions().orders));
        let invocation = self.ask(router, Request::post(path).body(body));
        self.note(|| format!("#{invocation} hurry {} {part}", order.order_no));
        self.jobs.insert(invocation, Job::Ask);
    }

    /// A person gives money back in WeChat's platform, once it is there.
    pub(crate) fn give_back_by_hand(&mut self, index: usize, by_hand: ByHand) {
        let Some(pk) = self.key_of(index) else { return };
        let number = format!("{}{:02}", pk.replace('#', ""), by_hand.attempt);
        let now = self.now();
        let made = self
            .wechat
            .give_back(&number, by_hand.share, now, &mut self.random);
        let Some(refund) = made else { return };
        self.note(|| format!("by hand {refund} of {number}"));
        let is_told = self.announce_refund(&refund);
        if is_told {
            self.judge.told_by_hand.insert(refund);
        }
    }

    /// The hub has answered, or died.
    pub(crate) fn asked_back(&mut self, asked: Asked, ended: Ended) {
        let (status, body) = match ended {
            Ended::Http(status, body) if status < 500 => (status, body),
            // Nobody knows: the same again.
            _ => {
                return self.again(Event::Refund {
                    order: asked.index,
                    wish: asked.wish,
                    tries: asked.tries,
                });
            }
        };
        let pk = self.key_of(asked.index).unwrap_or_default();
        let key = (pk.clone(), format!("{REFUND}{}", asked.wish.part));
        let row = self.engine.rows.get(&key);
        let kept = row.and_then(|row| number(row, "refund_fee"));
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let code = answer.get("code").and_then(Value::as_str);
        let fee = asked.wish.fee;
        let right = match (status, code) {
            (200..=202, _) => {
                self.promised.insert(key.clone(), fee);
                kept == Some(fee)
            }
            (409, Some("refund_conflict")) => kept.is_some() && kept != Some(fee),
            (409, Some("refund_exceeds")) => {
                self.is_too_much(asked.index, &asked.wish) || self.judge.has_lost(&pk)
            }
            (409, Some("order_not_paid")) => !asked.was_paid || self.judge.is_put_back(&pk),
            (404, Some("order_not_found")) => !asked.was_stored,
            _ => false,
        };
        self.judge.hold(right, || {
            format!("{key:?} of {fee} was answered {status} {body}, and is {kept:?}")
        });
        if status == 202 && self.random.chance(300) {
            let at = self.now() + self.random.within(SECOND, 3 * HOUR);
            let hurry = Event::Hurry(asked.index, asked.wish.part.clone());
            self.plan_for(at, hurry);
        }
        let early = matches!(code, Some("order_not_paid" | "order_not_found"));
        // An answer may be lost on its way, too.
        let lost = self.is_faulty() && self.random.chance(self.plan.rates.call);
        if (early || lost) && asked.tries > 0 {
            let at = self.now() + self.random.within(1, 30) * SECOND;
            let again = Event::Refund {
                order: asked.index,
                wish: asked.wish,
                tries: asked.tries - 1,
            };
            self.plan_for(at, again);
        }
    }

    /// Whether all that was ever wanted back of this payment is more than it.
    fn is_too_much(&self, index: usize, wish: &Wish) -> bool {
        let pk = self.key_of(index).unwrap_or_default();
        let row = self.engine.rows.get(&(pk, ORDER.to_owned()));
        let known = row.map(payments).unwrap_or_default();
        let own = known.iter().find(|payment| payment.own);
        let id_of = |wish: &Wish| {
            let own = own.map(|payment| payment.id.clone());
            wish.transaction_id.clone().or(own)
        };
        let id = id_of(wish);
        let Some(payment) = known.iter().find(|one| Some(&one.id) == id.as_ref()) else {
            return false;
        };
        let mut wanted = BTreeMap::new();
        let order = self.plan.orders.get(index);
        for wish in order.into_iter().flat_map(|order| &order.wishes) {
            if id_of(wish) == id {
                let most: &mut i64 = wanted.entry(&wish.part).or_default();
                *most = wish.fee.max(*most);
            }
        }
        let others = if payment.own { 0 } else { payment.reserved };
        let by_hand = self.wechat.given_back(&payment.id);
        wanted.values().sum::<i64>() + others + by_hand > payment.fee
    }

    /// An app has taken an event into its books.
    pub(crate) fn heard(&mut self, told: &Told) {
        let Some(index) = self.index_of(&told.order) else {
            return;
        };
        let app_id = told.order.split('#').next().unwrap_or_default();
        let by_hand = self.judge.by_hand.contains(app_id);
        let part = told.field("refund_no");
        let (part, fee) = match told.event.as_str() {
            "payment.anomaly" if by_hand => (
                format!("hand{}", told.field("transaction_id")),
                told.field("total_fee"),
            ),
            // Once more, under another number.
            "refund.failed"
                if part.len() < 36
                    && told.field("source") != "wechat"
                    && self.random.chance(500) =>
            {
                (
                    format!("{}x", part.replace("auto-", "")),
                    told.field("refund_fee"),
                )
            }
            _ => return,
        };
        let at = self.now() + self.random.within(0, 60) * SECOND;
        let wish = Wish {
            at,
            part,
            fee: fee.parse().unwrap_or_default(),
            transaction_id: Some(told.field("transaction_id").to_owned()),
        };
        if let Some(order) = self.plan.orders.get_mut(index) {
            order.wishes.push(wish.clone());
        }
        self.plan_for(at, Event::refund(index, wish));
    }
}
