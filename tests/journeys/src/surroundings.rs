//! What surrounds the hub: WeChat's simulator, the shop, and time, which passes
//! by making rows older.

use std::collections::HashMap;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::primitives::Blob;
use serde_json::{Value, json};

use crate::{Answer, Stack, eventually, with};

/// A row of the ledger.
pub type Row = HashMap<String, AttributeValue>;

/// How a run of hubctl went.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it answered.
    pub out: String,
    /// What it told the person at the terminal.
    pub err: String,
}

impl Ran {
    /// Runs a command to its end.
    pub async fn of(mut command: Command) -> Self {
        let ran = tokio::task::spawn_blocking(move || command.output());
        let ran = ran.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: ran.status.code().unwrap(),
            out: text(ran.stdout),
            err: text(ran.stderr),
        }
    }
}

impl Stack {
    /// How often the simulator was called at this path so far.
    pub async fn calls(&self, path: &str) -> i64 {
        let url = format!("{}/_control/counters", self.setting("SIMULATOR_URL"));
        let counters = self.answer(self.http.get(url)).await.body;
        counters[path].as_i64().unwrap_or_default()
    }

    /// Whether the hub opens payments by version 3 of WeChat Pay.
    #[must_use]
    pub fn is_v3(&self) -> bool {
        self.setting("WECHAT_API_VERSION") == "3"
    }

    /// A call's path at WeChat, named by version 2's and for NATIVE, in the version
    /// that the hub opens payments with.
    #[must_use]
    pub fn path_at_wechat<'p>(&self, v2: &'p str) -> &'p str {
        match v2 {
            _ if !self.is_v3() => v2,
            "/pay/unifiedorder" => "/v3/pay/transactions/native",
            "/pay/orderquery" => "/v3/pay/transactions/out-trade-no/{out_trade_no}",
            "/secapi/pay/refund" => "/v3/refund/domestic/refunds",
            "/pay/refundquery" => "/v3/refund/domestic/refunds/{out_refund_no}",
            other => other,
        }
    }

    /// Posts a notification that the test made itself.
    pub async fn post_notification(&self, xml: String) -> Answer {
        let request = self.http.post(self.setting("HUB_NOTIFY_URL")).body(xml);
        self.answer(request).await
    }

    /// Makes an order older, here and at WeChat, as if it had been made so many
    /// seconds earlier: nobody waits for hours.
    pub async fn age(&self, order_no: &Value, seconds: i64) {
        self.age_row(order_no, "order", seconds).await;
        let prefix = format!("{}{}", self.app.id, order_no.as_str().unwrap());
        let older = json!({"prefix": prefix, "seconds": seconds});
        let aged = self.wechat("age", &older).await;
        assert_eq!(aged.status, 200, "{aged:?}");
    }

    /// The same for its refund.
    pub async fn age_refund(&self, order_no: &Value, refund_no: &str, seconds: i64) {
        let row = format!("refund#{refund_no}");
        self.age_row(order_no, &row, seconds).await;
    }

    async fn age_row(&self, order_no: &Value, row: &str, seconds: i64) {
        let mut item = self.row(order_no, row).await;
        let earlier = |value: &mut AttributeValue| {
            let millis: i64 = value.as_n().unwrap().parse().unwrap();
            *value = AttributeValue::N((millis - seconds * 1000).to_string());
        };
        for name in [
            "created_at",
            "expires_at",
            "due",
            "wake",
            "asked_at",
            "looked_at",
            "claimed_until",
            "hurried_at",
            "refused_since",
        ] {
            item.entry(name.to_owned()).and_modify(earlier);
        }
        if let Some(AttributeValue::L(attempts)) = item.get_mut("attempts") {
            for attempt in attempts {
                let AttributeValue::M(attempt) = attempt else {
                    panic!("an attempt is a map")
                };
                for name in ["started_at", "prepaid_at", "close_at"] {
                    attempt.entry(name.to_owned()).and_modify(earlier);
                }
                if let Some(AttributeValue::M(code)) = attempt.get_mut("scan") {
                    code.entry("give_up_at".to_owned()).and_modify(earlier);
                }
            }
        }
        self.put_row(item).await;
    }

    /// A row of an order as it is now: a backup.
    pub async fn row(&self, order_no: &Value, sk: &str) -> Row {
        let key = format!("{}#{}", self.app.id, order_no.as_str().unwrap());
        let row = aws_sdk_dynamodb::Client::new(&self.aws)
            .get_item()
            .table_name(self.setting("LEDGER_TABLE"))
            .key("pk", AttributeValue::S(key))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        row.item.unwrap()
    }

    /// All rows of an order as they are now.
    pub async fn rows(&self, order_no: &Value) -> Vec<Row> {
        let key = format!("{}#{}", self.app.id, order_no.as_str().unwrap());
        let read = aws_sdk_dynamodb::Client::new(&self.aws)
            .query()
            .table_name(self.setting("LEDGER_TABLE"))
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(key))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        read.items.unwrap()
    }

    /// Loses a row.
    pub async fn delete_row(&self, mut row: Row) {
        row.retain(|name, _| matches!(name.as_str(), "pk" | "sk"));
        aws_sdk_dynamodb::Client::new(&self.aws)
            .delete_item()
            .table_name(self.setting("LEDGER_TABLE"))
            .set_key(Some(row))
            .send()
            .await
            .unwrap();
    }

    /// The operators' command line, ready to run as an operator of this stack, in
    /// a folder of this test's own.
    #[must_use]
    pub fn hubctl(&self, arguments: &[&str]) -> Command {
        let folder = std::env::temp_dir().join(format!("journey-{}", self.app.id));
        std::fs::create_dir_all(&folder).unwrap();
        // Beside the folder of the test's own binary.
        let built = std::env::current_exe().unwrap();
        let built = built.parent().unwrap().with_file_name("hubctl");
        let mut command = Command::new(built);
        command.args(arguments).current_dir(folder);
        command.env_clear().envs(&self.settings);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.hubctl(arguments)).await
    }

    /// Puts a row, whatever is there: a backup is restored.
    pub async fn put_row(&self, row: Row) {
        aws_sdk_dynamodb::Client::new(&self.aws)
            .put_item()
            .table_name(self.setting("LEDGER_TABLE"))
            .set_item(Some(row))
            .send()
            .await
            .unwrap();
    }

    /// A person gives a payment back in WeChat's merchant platform: all of it,
    /// without a notification, unless told otherwise. The refund at WeChat.
    pub async fn give_back(&self, trade_no: &Value, changes: Value) -> Value {
        let whole = json!({"out_trade_no": trade_no, "notify": false});
        let made = self.wechat("refund", &with(whole, changes)).await;
        assert_eq!(made.status, 200, "{made:?}");
        made.body
    }

    /// What WeChat says to refunds of this payment from now on, whatever is
    /// right; `[]` ends that.
    pub async fn refuse_refunds(&self, trade_no: &Value, obstacles: Value) -> Value {
        self.obstruct(trade_no, json!({"refund": obstacles})).await
    }

    /// What stands in the way of refunds of this payment.
    pub async fn obstruct(&self, trade_no: &Value, obstacles: Value) -> Value {
        let all = with(json!({"out_trade_no": trade_no}), obstacles);
        let set = self.wechat("obstacles", &all).await;
        assert_eq!(set.status, 200, "{set:?}");
        set.body
    }

    /// Pays at WeChat's simulator.
    pub async fn pay(&self, trade_no: &Value, changes: Value) -> Value {
        let paid = self
            .wechat("pay", &with(json!({"out_trade_no": trade_no}), changes))
            .await;
        assert_eq!(paid.status, 200, "{paid:?}");
        paid.body
    }

    /// Sends notifications from the simulator; the answers.
    pub async fn notify(&self, trade_no: &Value, changes: Value) -> Vec<Value> {
        let sent = self
            .wechat("notify", &with(json!({"out_trade_no": trade_no}), changes))
            .await;
        assert_eq!(sent.status, 200, "{sent:?}");
        sent.body.as_array().unwrap().clone()
    }

    /// A call of the simulator's control side.
    pub async fn wechat(&self, call: &str, body: &Value) -> Answer {
        let url = format!("{}/_control/{call}", self.setting("SIMULATOR_URL"));
        self.answer(self.http.post(url).json(body)).await
    }

    /// What the simulator knows of an order.
    pub async fn at_wechat(&self, trade_no: &Value) -> Value {
        let trade_no = trade_no.as_str().unwrap();
        let url = format!(
            "{}/_control/orders/{trade_no}",
            self.setting("SIMULATOR_URL")
        );
        self.answer(self.http.get(url)).await.body
    }

    /// A call of the shop's control side.
    pub async fn shop(&self, call: &str, body: &Value) -> Answer {
        let url = format!("{}/_control/{call}", self.setting("SHOP_URL"));
        let answer = self.answer(self.http.post(url).json(body)).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer
    }

    /// The callbacks the shop received for an order.
    pub async fn callbacks(&self, order_no: &Value) -> Vec<Value> {
        let order_no = order_no.as_str().unwrap();
        let url = format!(
            "{}/_control/callbacks?order_no={order_no}&app_id={}",
            self.setting("SHOP_URL"),
            self.app.id
        );
        self.answer(self.http.get(url))
            .await
            .body
            .as_array()
            .unwrap()
            .clone()
    }

    /// The alarms that a function has raised about this order.
    pub async fn alarms(&self, function: &str, order_no: &Value) -> Vec<String> {
        let lines = self.logged(function, order_no).await;
        let alarms = lines.iter().filter_map(|line| line["alarm"].as_str());
        alarms.map(str::to_owned).collect()
    }

    /// What a function has logged about this order: the fields of each line.
    pub async fn logged(&self, function: &str, order_no: &Value) -> Vec<Value> {
        let order = format!("{}#{}", self.app.id, order_no.as_str().unwrap());
        self.lines(function, &order).await
    }

    /// The fields of a function's lines that have this text.
    pub async fn lines(&self, function: &str, text: &str) -> Vec<Value> {
        let group = format!("/aws/lambda/{}/{function}", self.setting("STACK_NAME"));
        let asked = json!({"logGroupName": group, "filterPattern": format!("\"{text}\"")});
        // The local AWS wants to see somebody's key, and verifies no signature.
        let somebody = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/logs/aws4_request, \
                        SignedHeaders=host, Signature=none";
        let request = self.http.post(self.setting("AWS_ENDPOINT_URL"));
        let request = request
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .header("authorization", somebody)
            .json(&asked);
        let found = self.answer(request).await;
        assert_eq!(found.status, 200, "{found:?}");
        let lines = found.body["events"].as_array().unwrap().iter();
        let lines = lines.filter_map(|event| event["message"].as_str());
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.map(|line| line["fields"].clone()).collect()
    }

    /// Waits until a function has raised this alarm about this order.
    pub async fn alarmed(&self, function: &str, order_no: &Value, alarm: &str) {
        eventually(|| async {
            let raised = self.alarms(function, order_no).await;
            match raised.iter().any(|one| one == alarm) {
                true => Ok(()),
                false => Err(json!(raised)),
            }
        })
        .await;
    }

    /// Runs the sweeper now instead of waiting for its minute.
    pub async fn sweep(&self) {
        let answer = aws_sdk_lambda::Client::new(&self.aws)
            .invoke()
            .function_name(self.setting("SWEEP_FUNCTION_NAME"))
            .payload(Blob::new("{}"))
            .send()
            .await
            .unwrap();
        assert!(answer.function_error().is_none(), "{answer:?}");
    }
}
