//! Compares what WeChat took, what the ledger has and what the shop was told,
//! payment by payment, whatever went wrong in between.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use demo_shop::Shop;
use journeys::Stack;
use serde_json::Value;

use crate::buyer::Purchase;

/// The ledger's rows by their order, and WeChat's orders by their number.
#[derive(Debug)]
pub(crate) struct Books {
    ledger: HashMap<String, Vec<Value>>,
    wechat: HashMap<String, Value>,
}

/// What the judge counted.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Payments that WeChat took, of all attempts.
    pub(crate) paid: usize,
    /// Paid at WeChat, and not in the ledger by that very payment.
    pub(crate) lost: Vec<String>,
    /// Paid twice, kept as an anomaly, or told under more than one event.
    pub(crate) doubled: Vec<String>,
    /// Paid and not told with success.
    pub(crate) undelivered: Vec<String>,
    /// Callbacks that the app cannot verify.
    pub(crate) forged: u32,
    /// Successes that were not recorded and so repeated, under the same event.
    pub(crate) told_again: u32,
    /// Rows that still owe something.
    pub(crate) owed: usize,
}

impl Verdict {
    /// Whether every payment is where it belongs.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.doubled.is_empty()
            && self.undelivered.is_empty()
            && self.forged == 0
            && self.owed == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            paid,
            forged,
            told_again,
            owed,
            ..
        } = self;
        let (lost, doubled) = (self.lost.len(), self.doubled.len());
        let undelivered = self.undelivered.len();
        write!(
            f,
            "payments {paid}   lost {lost}   doubled {doubled}   undelivered {undelivered}   \
             forged {forged}   still owed {owed}   told again after a success {told_again}"
        )?;
        for (what, orders) in [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("undelivered", &self.undelivered),
        ] {
            for order in orders.iter().take(5) {
                write!(f, "\n  {what}: {order}")?;
            }
        }
        Ok(())
    }
}

impl Books {
    /// Reads both as they are now.
    pub(crate) async fn read(stack: &Stack) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(&stack.aws);
        let mut rows = dynamodb
            .scan()
            .table_name(stack.setting("LEDGER_TABLE"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut ledger: HashMap<String, Vec<Value>> = HashMap::new();
        while let Some(row) = rows.next().await {
            let row: HashMap<String, AttributeValue> = row.unwrap();
            let row: Value = serde_dynamo::from_item(row).unwrap();
            let order = row["pk"].as_str().unwrap().to_owned();
            ledger.entry(order).or_default().push(row);
        }
        let url = format!("{}/_control/orders", stack.setting("SIMULATOR_URL"));
        let orders = stack.send(|http| http.get(url)).await.body;
        let orders = orders.as_array().unwrap().iter();
        let wechat = orders
            .map(|order| (text(&order["out_trade_no"]).to_owned(), order.clone()))
            .collect();
        Self { ledger, wechat }
    }

    /// The rows of these orders that still owe something.
    pub(crate) fn owed(&self, bought: &[Purchase]) -> usize {
        let rows = bought.iter().flat_map(|one| self.rows(one));
        rows.filter(|row| !row["wake"].is_null()).count()
    }

    /// How long the hub took over its answers to these orders' notifications.
    pub(crate) fn notified_in(&self, bought: &[Purchase]) -> Vec<Duration> {
        let all = bought
            .iter()
            .filter_map(|one| self.wechat.get(&one.trade_no));
        let sent = all.filter_map(|order| order["notifications"].as_array());
        let answers = sent.flatten().filter(|sent| sent["accepted"] == true);
        let millis = answers.filter_map(|sent| sent["latency_ms"].as_u64());
        millis.map(Duration::from_millis).collect()
    }

    /// What became of these orders.
    pub(crate) fn judge(&self, bought: &[Purchase], shop: &Shop) -> Verdict {
        let mut verdict = Verdict {
            owed: self.owed(bought),
            ..Verdict::default()
        };
        for one in bought {
            let transactions = self.transactions(one);
            verdict.paid += transactions.len();
            let rows = self.rows(one);
            let order = rows.iter().find(|row| row["sk"] == "order");
            let kept = order.map(|order| &order["payment"]["transaction_id"]);
            if order.is_none_or(|order| order["status"] != "paid")
                || !kept.is_some_and(|kept| transactions.contains(&kept))
            {
                verdict.lost.push(one.wish.order_no.clone());
            }
            let told = shop.told(&one.wish.order_no);
            let anomalies = order.is_some_and(|order| !order["anomalies"].is_null());
            let deliveries = rows.iter().filter(|row| row["sk"] != "order");
            let deliveries: Vec<_> = deliveries.collect();
            if transactions.len() > 1
                || anomalies
                || told.event_ids.len() > 1
                || deliveries.len() > 1
            {
                verdict.doubled.push(one.wish.order_no.clone());
            }
            let recorded = deliveries.iter().any(|row| row["status"] == "delivered");
            if told.successes == 0 || !recorded {
                verdict.undelivered.push(one.wish.order_no.clone());
            }
            verdict.forged += told.refused;
            verdict.told_again += told.successes.saturating_sub(1);
        }
        verdict
    }

    fn rows(&self, one: &Purchase) -> &[Value] {
        let app_id = one.trade_no.get(..16).unwrap_or_default();
        let rows = self.ledger.get(&format!("{app_id}#{}", one.wish.order_no));
        rows.map(Vec::as_slice).unwrap_or_default()
    }

    /// The payments WeChat took for any attempt of this order.
    fn transactions(&self, one: &Purchase) -> Vec<&Value> {
        let order = one.trade_no.get(..26).unwrap_or_default();
        let attempts = self.wechat.iter().filter(|(no, _)| no.starts_with(order));
        let paid = attempts.map(|(_, attempt)| &attempt["transaction_id"]);
        paid.filter(|transaction| !transaction.is_null()).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
