//! Payments from beginning to end, as the app, the payer and WeChat see them:
//! the steps whose cost is counted.

use axum::http::StatusCode;
use demo_shop::Fields;
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use shared::domain::delivery::STANDARD_SCHEDULE;
use shared::domain::order::ApiVersion;

use crate::backends::{Backends, Caught, app, now};
use crate::functions::{Functions, Invocation};
use crate::{Failed, Options};

const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0 Safari/537.36";
const WECHAT: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile MicroMessenger/8.0.50";
const PHONE: &str = "Mozilla/5.0 (Linux; Android 16; Pixel 10) Chrome/150.0 Mobile Safari/537.36";

/// The stage that payments are made on: a hub whose merchant has one version.
pub(crate) struct Stage {
    /// What its rows in the tables end in.
    pub(crate) suffix: &'static str,
    /// What the functions call, and who calls them.
    pub(crate) backends: Backends,
    /// The functions, and their HTTP API.
    pub(crate) functions: Functions,
    http: Client,
}

/// Both versions of WeChat Pay, and what their rows in the tables end in.
pub(crate) const VERSIONS: [(ApiVersion, &str); 2] =
    [(ApiVersion::V2, ""), (ApiVersion::V3, ", v3")];

/// A way of paying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Created over the API with this trade type; the app shows what it got.
    Api(&'static str),
    /// The payer opens the cashier's page in this kind of browser.
    Cashier(&'static str),
}

/// What there is to pay, by name.
pub(crate) const WAYS: [(&str, Way); 5] = [
    ("NATIVE, by the API", Way::Api("NATIVE")),
    ("APP, by the API", Way::Api("APP")),
    ("NATIVE, by the cashier", Way::Cashier(DESKTOP)),
    ("JSAPI, by the cashier", Way::Cashier(WECHAT)),
    ("MWEB, by the cashier", Way::Cashier(PHONE)),
];

impl Stage {
    /// A stage of these functions, warm, for a merchant of this version.
    pub(crate) async fn start(
        (version, suffix): (ApiVersion, &'static str),
        options: &Options,
    ) -> Result<Self, Failed> {
        let backends = Backends::start(options.memory_mb, version).await?;
        let functions = Functions::start(&backends, &options.functions).await?;
        let http = Client::builder().no_proxy().build()?;
        Ok(Self {
            suffix,
            backends,
            functions,
            http,
        })
    }

    /// An order, created over the API.
    pub(crate) async fn create(&self, trade_type: Option<&str>) -> Result<Value, Failed> {
        let address = |name: &str| json!(format!("{}/app/{name}", self.backends.aws));
        // As long as those of a real shop: rows are measured in bytes.
        let mut order = Fields::from_iter([
            ("total_fee".to_owned(), json!(1999)),
            ("body".to_owned(), json!("Tea, 100 g, in a tin")),
            ("notify_url".to_owned(), address("wechat-payment-notify")),
            ("return_url".to_owned(), address("wechat-payment-return")),
            ("client_ip".to_owned(), json!("203.0.113.7")),
        ]);
        order.extend(trade_type.map(|kind| ("trade_type".to_owned(), json!(kind))));
        let order = app().order(&self.backends.aws, order, now() / 1000)?.into();
        self.post(&format!("{}/v1/orders", self.functions.url), &order)
            .await
    }

    /// The payer pays; WeChat notifies the hub, or whoever catches it.
    pub(crate) async fn pay(&self, order: &Value, caught: bool) -> Result<(), Failed> {
        let pay = json!({"out_trade_no": order["trade_no"], "notify": false});
        self.post(&format!("{}/_control/pay", self.backends.wechat), &pay)
            .await?;
        let mut notify = json!({"out_trade_no": order["trade_no"]});
        if caught {
            notify["url"] = json!(format!("{}/caught", self.backends.aws));
        }
        let told = self
            .post(
                &format!("{}/_control/notify", self.backends.wechat),
                &notify,
            )
            .await?;
        match told[0]["accepted"] == true {
            true => Ok(()),
            false => Err(format!("the notification was not accepted: {told}").into()),
        }
    }

    /// A paid order whose notification is in nobody's hands but ours.
    pub(crate) async fn notification(&self) -> Result<Caught, Failed> {
        let order = self.create(Some("NATIVE")).await?;
        self.pay(&order, true).await?;
        Ok(self.backends.caught().ok_or("no notification was caught")?)
    }

    /// A payment up to its end, and all that it used.
    pub(crate) async fn payment(&self, way: Way) -> Result<Vec<Invocation>, Failed> {
        self.functions.used();
        let order = match way {
            Way::Api(trade_type) => self.create(Some(trade_type)).await?,
            Way::Cashier(browser) => {
                let order = self.create(None).await?;
                self.open(&order, browser).await?;
                order
            }
        };
        self.pay(&order, false).await?;
        self.settle().await?;
        Ok(self.functions.used())
    }

    /// A payment whose app refuses every call, day long.
    pub(crate) async fn refused_payment(&self) -> Result<Vec<Invocation>, Failed> {
        self.backends.app_answers(StatusCode::INTERNAL_SERVER_ERROR);
        let used = self.payment(Way::Api("NATIVE")).await?;
        self.backends.app_answers(StatusCode::OK);
        // Step 0 calls both addresses.
        let wanted = STANDARD_SCHEDULE.split(',').count() + 2;
        let called: u32 = used.iter().map(|invocation| invocation.counts.app).sum();
        match usize::try_from(called)? == wanted {
            true => Ok(used),
            false => Err(format!("the app was called {called} times, not {wanted}").into()),
        }
    }

    /// One question of the pay page after a state, as it asks every few seconds.
    pub(crate) async fn poll(&self) -> Result<Vec<Invocation>, Failed> {
        let order = self.create(Some("NATIVE")).await?;
        self.functions.used();
        let address = order["pay_url"].as_str().unwrap_or_default();
        let status = address.replace("/pay?", "/pay/status?");
        self.http.get(status).send().await?.error_for_status()?;
        Ok(self.functions.used())
    }

    /// A sweep of a hub that owes nothing.
    pub(crate) async fn idle_sweep(&self) -> Result<Vec<Invocation>, Failed> {
        self.functions.used();
        self.functions.invoke("sweep", false, &json!({})).await?;
        Ok(self.functions.used())
    }

    async fn open(&self, order: &Value, browser: &str) -> Result<(), Failed> {
        let alice = json!({"oauth_user": "alice"});
        self.post(
            &format!("{}/_control/settings", self.backends.wechat),
            &alice,
        )
        .await?;
        // The MWEB page at WeChat is the payer's business.
        let hub = self.functions.url.clone();
        let wechat = self.backends.wechat.clone();
        let policy = redirect::Policy::custom(move |attempt| {
            let address = attempt.url().as_str();
            let login = address.starts_with(&wechat) && attempt.url().path().contains("oauth2");
            match login || address.starts_with(&hub) {
                true => attempt.follow(),
                false => attempt.stop(),
            }
        });
        let client = Client::builder()
            .no_proxy()
            .cookie_store(true)
            .redirect(policy)
            .build()?;
        let address = order["pay_url"].as_str().unwrap_or_default();
        let answer = client
            .get(address)
            .header("user-agent", browser)
            .send()
            .await?;
        let status = answer.status();
        let page = answer.text().await?;
        let fine = status.is_redirection() || page.contains("<svg") || page.contains("prepay_id");
        match fine {
            true => Ok(()),
            false => Err(format!("the cashier answered {status}: {page}").into()),
        }
    }

    /// Lets time pass until nothing is owed.
    async fn settle(&self) -> Result<(), Failed> {
        loop {
            let (message, wake) = (self.backends.next_message(), self.backends.next_wake()?);
            let Some(next) = message.into_iter().chain(wake).min() else {
                return Ok(());
            };
            let wait = next - now();
            if wait > 0 {
                self.backends.pass(wait)?;
            }
            if message == Some(next) {
                let message = self.backends.receive().ok_or("the message is gone")?;
                self.functions.receive(&message).await?;
            } else {
                self.functions.invoke("sweep", false, &json!({})).await?;
            }
        }
    }

    async fn post(&self, url: &str, body: &Value) -> Result<Value, Failed> {
        let answer = self.http.post(url).json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text)?),
            false => Err(format!("{url}: {status} {text}").into()),
        }
    }
}
