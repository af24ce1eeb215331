//! The shop driven over HTTP from both sides, with a stand-in for the hub.
//!
//! It owns what the shop promises its users: the control side and the
//! callback addresses.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its stand-ins as well"
)]

mod stand;

use std::collections::BTreeMap;
use std::time::Duration;

use demo_shop::sign;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::{APP, Stand, now, signed};

#[tokio::test]
async fn a_closed_order_is_shown_as_such_and_is_not_paid() {
    let stand = Stand::open().await;
    let order = json!({"order_no": "A000000001", "total_fee": 100});
    stand.control("orders", order).await;
    let told = [("event", "order.closed"), ("reason", "expired")];
    assert_eq!(stand.call("/notify", &signed(&told)).await.1, "success");
    let summary = stand.show("orders/A000000001").await;
    assert_eq!(
        (&summary["paid"], &summary["closed"]),
        (&json!(false), &json!(true))
    );
    let page = stand.call("/", &BTreeMap::new()).await.1;
    assert!(page.contains("closed: expired"), "{page}");
}

#[tokio::test]
async fn an_order_is_paid_through_a_verified_callback_and_once() {
    let stand = Stand::open().await;
    let order =
        json!({"order_no": "A000000001", "total_fee": 100, "attach": null, "version": "2.0"});
    let (status, placed) = stand.control("orders", order).await;
    assert_eq!((status, &placed["status"]), (200, &json!(201)));
    assert_eq!(
        placed["body"]["sent"]["notify_url"],
        format!("{}/notify", stand.shop)
    );
    assert_eq!(placed["body"]["sent"]["version"], "2.0");
    assert_eq!(placed["body"]["sent"].get("attach"), None);

    let mut forged = signed(&[]);
    forged.insert("sign".to_owned(), "0".repeat(64));
    assert_eq!(
        stand.call("/notify", &forged).await,
        (200, "fail".to_owned())
    );
    let cheap = signed(&[("total_fee", "1")]);
    assert_eq!(stand.call("/notify", &cheap).await.1, "fail");
    let stale = signed(&[("timestamp", "1700000000")]);
    assert_eq!(stand.call("/notify", &stale).await.1, "fail");
    let summary = stand.show("orders/A000000001").await;
    assert_eq!(
        summary,
        json!({"paid": false, "closed": false, "callbacks": 3, "distinct_event_ids": 1})
    );

    for path in ["/return", "/notify"] {
        assert_eq!(
            stand.call(path, &signed(&[])).await,
            (200, "success".to_owned())
        );
    }
    let summary = stand.show("orders/A000000001").await;
    assert_eq!(
        summary,
        json!({"paid": true, "closed": false, "callbacks": 5, "distinct_event_ids": 1})
    );

    let list = stand.show("callbacks?order_no=A000000001&app_id=").await;
    let seen: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|callback| {
            let text = |name: &str| {
                callback
                    .get(name)
                    .map_or("", |value| value.as_str().unwrap())
            };
            (
                text("address"),
                callback["verified"] == true,
                text("answered"),
                text("refused"),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("notify", false, "fail", "bad_signature"),
            ("notify", true, "fail", "wrong_amount"),
            ("notify", false, "fail", "stale"),
            ("return", true, "success", ""),
            ("notify", true, "success", ""),
        ]
    );
    assert_eq!(list[4]["params"]["attach"], "a b+c&d=茶");
    assert_eq!(stand.show("callbacks?order_no=B").await, json!([]));
}

#[tokio::test]
async fn a_repeated_parameter_makes_a_callback_unbelievable() {
    let stand = Stand::open().await;
    let mut pairs: Vec<_> = signed(&[]).into_iter().collect();
    pairs.push(("total_fee".to_owned(), "100".to_owned()));
    let url = format!("{}/notify", stand.shop);
    let answer = stand
        .client
        .get(url)
        .query(&pairs)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(answer, "fail");
    assert_eq!(
        stand.show("callbacks").await[0]["refused"],
        "repeated_parameter"
    );
}

#[tokio::test]
async fn another_app_is_believed_once_it_is_known() {
    let stand = Stand::open().await;
    let mut other = signed(&[("app_id", "other00000000001")]);
    assert_eq!(stand.call("/notify", &other).await.1, "fail");
    let app = json!({"app_id": "other00000000001", "app_secret": "another secret"});
    assert_eq!(stand.control("apps", app).await.0, 204);
    other.insert("sign".to_owned(), sign(&other, "another secret"));
    assert_eq!(stand.call("/notify", &other).await.1, "success");
    assert_eq!(
        stand
            .show("orders/A000000001?app_id=other00000000001")
            .await["paid"],
        true
    );
    assert_eq!(
        stand.show(&format!("orders/A000000001?app_id={APP}")).await["paid"],
        false
    );
    let (status, _) = stand.control("orders", json!({"app_id": "nobody"})).await;
    assert_eq!(status, 400);
    stand.control("reset", json!(null)).await;
    assert_eq!(stand.show("callbacks").await, json!([]));
    assert_eq!(stand.call("/notify", &other).await.1, "fail");
}

#[tokio::test]
async fn the_shops_clock_follows_the_hubs() {
    let stand = Stand::open().await;
    let tomorrow = (now().parse::<i64>().unwrap() + 86_400).to_string();
    let late = signed(&[("timestamp", &tomorrow)]);
    assert_eq!(stand.call("/notify", &late).await.1, "fail");
    assert_eq!(
        stand
            .control("clock", json!({"offset_seconds": 86_400}))
            .await
            .0,
        204
    );
    assert_eq!(stand.call("/notify", &late).await.1, "success");
}

#[tokio::test]
async fn bad_answers_come_on_request() {
    let stand = Stand::open().await;
    stand
        .behave(json!({"mode": "fail", "times": 1, "address": "both"}))
        .await;
    assert_eq!(stand.call("/notify", &signed(&[])).await.1, "fail");
    assert_eq!(stand.show("orders/A000000001").await["paid"], false);
    assert_eq!(stand.call("/notify", &signed(&[])).await.1, "success");
    assert_eq!(stand.show("orders/A000000001").await["paid"], true);

    stand.behave(json!({"mode": "http_500"})).await;
    assert_eq!(stand.call("/return", &signed(&[])).await.0, 500);

    stand.behave(json!({"mode": "slow", "delay_ms": 30})).await;
    let before = tokio::time::Instant::now();
    assert_eq!(stand.call("/notify", &signed(&[])).await.1, "success");
    assert!(before.elapsed() >= Duration::from_millis(30));

    stand.behave(json!({"mode": "redirect"})).await;
    let url = format!("{}/notify", stand.shop);
    let answer = stand
        .client
        .get(url)
        .query(&signed(&[]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let followed = stand
        .client
        .get(location)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(followed, "success");
    let list = stand.show("callbacks").await;
    assert_eq!(
        list.as_array().unwrap().last().unwrap()["address"],
        "redirected"
    );

    let url = format!("{}/_control/behaviour", stand.shop);
    assert_eq!(stand.client.delete(url).send().await.unwrap().status(), 204);
    assert_eq!(stand.call("/notify", &signed(&[])).await.1, "success");
    let (status, _) = stand.control("behaviour", json!({"mode": "sulk"})).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_body_never_ends_a_connection_drops_and_an_answer_never_comes() {
    let stand = Stand::open().await;
    stand.behave(json!({"mode": "huge"})).await;
    let url = format!("{}/notify", stand.shop);
    let mut answer = stand
        .client
        .get(&url)
        .query(&signed(&[]))
        .send()
        .await
        .unwrap();
    let mut bytes = 0;
    while bytes < 4 * 1024 * 1024 {
        bytes += answer.chunk().await.unwrap().unwrap().len();
    }
    drop(answer);

    stand.behave(json!({"mode": "drop"})).await;
    let request = stand.client.get(&url).query(&signed(&[])).build().unwrap();
    let head = format!(
        "GET {}?{} HTTP/1.1\r\nHost: shop\r\n\r\n",
        request.url().path(),
        request.url().query().unwrap()
    );
    let authority = stand.shop.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(authority).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    // A reset connection is a dropped one, too.
    let _ = socket.read_to_end(&mut received).await;
    assert_eq!(String::from_utf8_lossy(&received), "");

    stand.behave(json!({"mode": "hang"})).await;
    let hung = stand
        .client
        .get(&url)
        .query(&signed(&[]))
        .timeout(Duration::from_millis(100));
    assert!(hung.send().await.unwrap_err().is_timeout());
    let list = stand.show("callbacks").await;
    let answered: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["answered"])
        .collect();
    assert_eq!(answered, ["huge", "drop", "hang"]);
    assert_eq!(list[1]["verified"], true);
}

#[tokio::test]
async fn a_person_buys_is_sent_to_the_till_and_comes_back() {
    let stand = Stand::open().await;
    let url = format!("{}/buy", stand.shop);
    let form = "application/x-www-form-urlencoded";
    let buy = stand
        .client
        .post(&url)
        .header("content-type", form)
        .body("product=bun");
    let answer = buy.send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let till = answer.headers()["location"].to_str().unwrap().to_owned();
    let order_no = till
        .strip_prefix("https://hub.example/pay?order_no=")
        .unwrap();

    let (_, front) = stand.call("/", &BTreeMap::new()).await;
    assert!(front.contains(order_no) && front.contains("¥18.80") && front.contains("not paid"));

    let back = signed(&[("order_no", order_no), ("event", "")]);
    let browser: BTreeMap<_, _> = back
        .into_iter()
        .filter(|(name, _)| name != "event")
        .collect();
    let (status, page) = stand.call("/return", &browser).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("Thank you") && page.contains("T&#60;1&#62;"),
        "{page}"
    );
    assert!(page.contains("data-told=\"false\""));
    assert_eq!(stand.show("callbacks").await, json!([]));
    assert_eq!(
        stand.show(&format!("orders/{order_no}")).await["paid"],
        false
    );

    let notice = signed(&[("order_no", order_no), ("total_fee", "1880")]);
    assert_eq!(stand.call("/notify", &notice).await.1, "success");
    assert!(
        stand
            .call("/return", &browser)
            .await
            .1
            .contains("data-told=\"true\"")
    );

    let mut forged = browser;
    forged.insert("order_no".to_owned(), "B000000001".to_owned());
    assert_eq!(stand.call("/return", &forged).await.0, 400);
}

#[tokio::test]
async fn a_refused_order_is_struck_out_and_its_reason_passed_back() {
    let stand = Stand::open().await;
    let (_, placed) = stand
        .control("orders", json!({"order_no": "REFUSED000"}))
        .await;
    assert_eq!(
        (&placed["status"], &placed["body"]["code"]),
        (&json!(409), &json!("conflict"))
    );
    assert!(
        !stand
            .call("/", &BTreeMap::new())
            .await
            .1
            .contains("REFUSED000")
    );
    let (_, placed) = stand.control("orders", json!({"sign": "X"})).await;
    assert_eq!(placed["status"], 401);
    let (status, _) = stand
        .control("orders", json!({"attach": {"not": "flat"}}))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn wechats_notification_is_believed_when_the_hub_says_so() {
    let stand = Stand::open().await;
    let order = json!({"order_no": "A000000001", "total_fee": 100, "version": "1.0"});
    stand.control("orders", order).await;
    for (notification, answer, paid) in [
        ("forged", "FAIL", false),
        ("dear", "SUCCESS", false),
        ("odd", "SUCCESS", false),
        ("paid", "SUCCESS", true),
        ("paid", "SUCCESS", true),
    ] {
        let url = format!("{}/notify", stand.shop);
        let said = stand.client.post(url).body(notification).send().await;
        let said = said.unwrap().text().await.unwrap();
        assert!(said.contains(answer), "{notification}: {said}");
        let summary = stand.show("orders/A000000001").await;
        assert_eq!(summary["paid"], paid, "{notification}");
    }
}
