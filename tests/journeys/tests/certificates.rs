//! WeChat's platform certificates: fetched once by whoever meets one that is not
//! known, and by no stranger's doing.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use journeys::{Stack, eventually};
use serde_json::{Value, json};
use shared::ambient::{Clock, random_hex};

use crate::brand::{Brand, paid_and_back};

fn row(brand: &Brand) -> AttributeValue {
    AttributeValue::S(format!("certificates#{}", brand.mch_id))
}

/// Nobody may ask WeChat before so many seconds from now: less than none is as if as
/// much time had passed, some are as if somebody were asking, or had died of it.
async fn rest(stack: &Stack, brand: &Brand, seconds: i64) {
    let next_at = Clock::System.now().plus_seconds(seconds).millis();
    let update = aws_sdk_dynamodb::Client::new(&stack.aws).update_item();
    let update = update.table_name(stack.setting("REGISTRY_TABLE"));
    let update = update
        .key("pk", row(brand))
        .update_expression("SET next_at = :next")
        .expression_attribute_values(":next", AttributeValue::N(next_at.to_string()));
    update.send().await.unwrap();
}

async fn known(stack: &Stack, brand: &Brand) -> usize {
    let read = aws_sdk_dynamodb::Client::new(&stack.aws).get_item();
    let read = read.table_name(stack.setting("REGISTRY_TABLE"));
    let read = read.key("pk", row(brand)).consistent_read(true);
    let row = read.send().await.unwrap().item.unwrap_or_default();
    let known = row.get("certificates").map(|list| list.as_l().unwrap());
    known.map_or(0, Vec::len)
}

async fn fetches(stack: &Stack, brand: &Brand) -> i64 {
    stack
        .calls(&format!("/v3/certificates {}", brand.mch_id))
        .await
}

/// What a stranger sends who knows the form: the status of the answer.
async fn forged(stack: &Stack, brand: &Brand, serial: &str) -> u16 {
    let url = format!(
        "{}wechat/v3/notify/{}",
        stack.setting("HUB_NOTIFY_URL"),
        brand.mch_id
    );
    let now = Clock::System.now().seconds().to_string();
    let signature = format!("{}==", "A".repeat(342));
    let headers = [
        ("wechatpay-timestamp", now.as_str()),
        ("wechatpay-nonce", "n"),
        ("wechatpay-serial", serial),
        ("wechatpay-signature", &signature),
    ];
    let sent = stack.send(|http| {
        let request = http.post(url).body("{}");
        headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
    });
    sent.await.status
}

#[tokio::test]
async fn a_merchant_with_certificates_only_is_paid_and_they_are_fetched_once() {
    let first = Stack::new().await;
    let brand = Brand::with_certificates_only(&first).await;
    let stack = brand.stack().await;
    assert_eq!(known(&stack, &brand).await, 0);
    for _ in 0..2 {
        let order = stack.native(json!({})).await;
        paid_and_back(&stack, &order).await;
    }
    assert_eq!(known(&stack, &brand).await, 1);
    assert_eq!(fetches(&stack, &brand).await, 1);
    let checked = stack.run(&["merchant", "check", &brand.mch_id]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.out.contains("certificate 57") && checked.out.contains("fetched, until 20"),
        "{checked:?}"
    );
}

#[tokio::test]
async fn when_wechat_rolls_its_key_in_flight_it_is_fetched_once_by_twenty_at_once() {
    let first = Stack::new().await;
    let brand = Brand::with_certificates_only(&first).await;
    let stack = brand.stack().await;
    let order = stack.native(json!({})).await;
    let (next, later) = (stack.native(json!({})).await, stack.native(json!({})).await);
    brand
        .becomes(&stack, json!({"platform_certificates": 2}))
        .await;
    rest(&stack, &brand, -1).await;
    let before = fetches(&stack, &brand).await;
    stack.pay(&order["trade_no"], json!({"copies": 20})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    assert_eq!(fetches(&stack, &brand).await, before + 1);
    assert_eq!(known(&stack, &brand).await, 2);
    // All go on, and nobody fetches again.
    for order in [&next, &later] {
        paid_and_back(&stack, order).await;
    }
    // Who opens payments may learn of it by an answer that it cannot believe: the
    // same request again finds the certificate.
    let asked = stack.order(json!({}));
    let placed = eventually(|| async {
        let placed = stack.create(&asked).await;
        match placed.status {
            200 | 201 => Ok(placed.body),
            _ => Err(placed.body),
        }
    });
    paid_and_back(&stack, &placed.await).await;
    assert_eq!(fetches(&stack, &brand).await, before + 1);
}

#[tokio::test]
async fn whoever_dies_while_it_fetches_is_replaced_when_its_time_is_over() {
    let first = Stack::new().await;
    let brand = Brand::with_certificates_only(&first).await;
    let stack = brand.stack().await;
    let order = stack.native(json!({})).await;
    brand
        .becomes(&stack, json!({"platform_certificates": 2}))
        .await;
    rest(&stack, &brand, 60).await;
    let before = fetches(&stack, &brand).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let refused = stack.notify(&order["trade_no"], json!({"copies": 5})).await;
    let at_once = |attempt: &Value| {
        attempt["status"] == 400 && attempt["latency_ms"].as_i64().unwrap() < 2000
    };
    assert!(refused.iter().all(at_once), "{refused:?}");
    assert_eq!(fetches(&stack, &brand).await, before);
    rest(&stack, &brand, -1).await;
    let taken = stack.notify(&order["trade_no"], json!({})).await;
    assert_eq!(taken[0]["status"], 204, "{taken:?}");
    assert_eq!(fetches(&stack, &brand).await, before + 1);
    stack.told(&order["order_no"], "payment.succeeded").await;
}

#[tokio::test]
async fn a_hundred_serials_that_a_stranger_invents_cause_one_fetch_at_most() {
    let first = Stack::new().await;
    let certified = Brand::with_certificates_only(&first).await;
    // WeChat has no certificates for the other.
    for brand in [certified, Brand::register(&first, "3").await] {
        let stack = brand.stack().await;
        let order = stack.native(json!({})).await;
        rest(&stack, &brand, -1).await;
        let before = fetches(&stack, &brand).await;
        // What is no certificate's serial is looked for by nobody.
        for odd in ["PUB_KEY_ID_0199", "57a0", "no serial"] {
            assert_eq!(forged(&stack, &brand, odd).await, 400, "{odd}");
        }
        assert_eq!(fetches(&stack, &brand).await, before);
        let invented = || random_hex().to_ascii_uppercase();
        let serials: Vec<String> = (0..100).map(|_| invented()).collect();
        for serials in serials.chunks(20) {
            let sent = serials.iter().map(|serial| forged(&stack, &brand, serial));
            let answers = join_all(sent).await;
            assert!(answers.iter().all(|status| *status == 400), "{answers:?}");
        }
        assert_eq!(fetches(&stack, &brand).await, before + 1);
        paid_and_back(&stack, &order).await;
        assert_eq!(fetches(&stack, &brand).await, before + 1);
    }
}
