//! One payment as an app and its payer make it: create the order, again if
//! that failed, and pay it at WeChat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use demo_shop::Shop;
use journeys::{Stack, WECHAT};
use serde_json::{Value, json};

/// As long as API Gateway waits for a function.
const PATIENCE: Duration = Duration::from_secs(30);

/// An order that was paid at WeChat.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    /// Its `out_trade_no` at WeChat, the attempt that was paid.
    pub(crate) trade_no: String,
    /// What was wished for, its order number with it.
    pub(crate) wish: Wish,
    /// How long the create took that succeeded.
    pub(crate) created_in: Duration,
    /// How many creates failed before.
    pub(crate) refused: u32,
    /// When the payer paid.
    pub(crate) paid_at: Instant,
}

/// How the payer comes to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With the QR code that the app shows.
    Code,
    /// On the hub's page inside WeChat, which recognises the payer.
    Page,
}

/// What a payer wants to buy, and of which app.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Which app, as the caller counts them.
    pub(crate) app: usize,
    /// The app's number for the order.
    pub(crate) order_no: String,
    /// How it is paid.
    pub(crate) way: Way,
    /// What the simulator is to do besides.
    pub(crate) pay: Value,
    /// When to give it up.
    pub(crate) deadline: Instant,
}

/// Buys at these apps of one shop.
#[derive(Debug, Clone)]
pub(crate) struct Buyer {
    http: reqwest::Client,
    apps: Vec<Arc<Stack>>,
    shop_url: String,
}

impl Buyer {
    /// A buyer at these apps, whose notifications go to this shop.
    pub(crate) fn new(apps: &[Arc<Stack>], shop: &Shop) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        Self {
            http: http.unwrap(),
            apps: apps.to_vec(),
            shop_url: shop.url().to_owned(),
        }
    }

    /// Goes on until it is paid, or the deadline has come.
    pub(crate) async fn buy(&self, wish: Wish) -> Option<Purchase> {
        let stack = &self.apps[wish.app];
        let mut refused = 0;
        let (trade_no, created_in) = loop {
            let started = Instant::now();
            if let Some(order) = self.create(&wish).await {
                let created_in = started.elapsed();
                if wish.way == Way::Code || self.visit(&order).await {
                    break (order["trade_no"].as_str().unwrap().to_owned(), created_in);
                }
            }
            if Instant::now() > wish.deadline {
                return None;
            }
            refused += 1;
            tokio::time::sleep(Duration::from_millis(500) * refused.min(8)).await;
        };
        let mut pay = wish.pay.clone();
        pay["out_trade_no"] = json!(trade_no);
        let url = format!("{}/_control/pay", stack.setting("SIMULATOR_URL"));
        let paid_at = Instant::now();
        let (status, paid) = self.post(&url, &pay).await?;
        assert_eq!(status, 200, "the simulator takes no payment: {paid}");
        Some(Purchase {
            trade_no,
            wish,
            created_in,
            refused,
            paid_at,
        })
    }

    async fn create(&self, wish: &Wish) -> Option<Value> {
        let stack = &self.apps[wish.app];
        let trade_type = match wish.way {
            Way::Code => json!("NATIVE"),
            Way::Page => Value::Null,
        };
        let order = stack.order(json!({
            "order_no": wish.order_no, "trade_type": trade_type,
            "return_url": format!("{}/return", self.shop_url),
            "notify_url": format!("{}/notify", self.shop_url),
        }));
        let url = format!("{}/v1/orders", stack.setting("HUB_URL"));
        let (status, created) = self.post(&url, &order).await?;
        matches!(status, 200 | 201).then_some(created)
    }

    /// Opens the pay page inside WeChat; whether it came to offer the bridge.
    async fn visit(&self, order: &Value) -> bool {
        let address = order["pay_url"].as_str().unwrap();
        // Not the journeys' browser, to which an answer that is lost is the end.
        let browser = reqwest::Client::builder()
            .cookie_store(true)
            .user_agent(WECHAT)
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let Ok(page) = browser.get(address).send().await else {
            return false;
        };
        let text = page.text().await.unwrap_or_default();
        text.contains("prepay_id=")
    }

    /// An answer, if one came.
    async fn post(&self, url: &str, body: &Value) -> Option<(u16, Value)> {
        let response = self.http.post(url).json(body).send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.text().await.ok()?;
        Some((status, serde_json::from_str(&body).unwrap_or_default()))
    }
}
