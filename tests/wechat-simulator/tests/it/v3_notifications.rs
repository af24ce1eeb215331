//! Tests of APIv3's notifications, right and wrong ones, and of both versions'
//! repeats.

use serde_json::{Value, json};

use crate::harness::World;
use crate::v3_client::{API_V3_KEY, Client, open, read};

async fn ordered(world: &World) -> Client<'_> {
    let client = Client::start(world).await;
    client.order("native", "order-1", json!({})).await;
    client
}

fn opened(body: &str) -> Value {
    read(&open(&read(body)["resource"]).unwrap())
}

#[tokio::test]
async fn a_payment_is_told_sealed_and_signed() {
    let world = World::start().await;
    let client = ordered(&world).await;
    world.pay("order-1").await;
    let (_, body) = world.hears(1).await[0].clone();
    client.verify(&world.headers()[0], &body).unwrap();
    assert_eq!(world.headers()[0]["content-type"], "application/json");
    let event = read(&body);
    assert_eq!(event["id"].as_str().unwrap().len(), 36);
    assert_eq!(event["event_type"], "TRANSACTION.SUCCESS");
    assert_eq!(event["resource_type"], "encrypt-resource");
    assert_eq!(event["resource"]["original_type"], "transaction");
    assert_eq!(event["resource"]["nonce"].as_str().unwrap().len(), 12);
    assert_eq!(opened(&body), client.query("order-1").await.1);
}

#[tokio::test]
async fn refunds_are_told_as_they_end() {
    let world = World::start().await;
    let client = ordered(&world).await;
    let quiet = json!({"out_trade_no": "order-1", "notify": false});
    world.post("/_control/pay", &quiet).await;
    world.set(json!({"refund_delay_ms": 60_000})).await;
    for (n, (becomes, event, told)) in [
        ("SUCCESS", "REFUND.SUCCESS", "SUCCESS"),
        ("CHANGE", "REFUND.ABNORMAL", "ABNORMAL"),
        ("REFUNDCLOSE", "REFUND.CLOSED", "CLOSED"),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("r-{n}");
        assert_eq!(client.refund("order-1", &number, 5, json!({})).await.0, 200);
        let end = json!({"out_refund_no": number, "status": becomes});
        world.post("/_control/refund_becomes", &end).await;
        let (_, body) = world.hears(n + 1).await[n].clone();
        client.verify(&world.headers()[n], &body).unwrap();
        assert_eq!(read(&body)["event_type"], event);
        let plain = opened(&body);
        assert_eq!(plain["refund_status"], told);
        assert_eq!(plain["success_time"].is_string(), told == "SUCCESS");
        assert_eq!(plain["amount"]["refund"], 5);
        assert!(plain.get("appid").is_none() && plain.get("status").is_none());
    }
}

#[tokio::test]
async fn a_persons_refund_is_told_in_the_older_form_only() {
    let world = World::start().await;
    let client = ordered(&world).await;
    let quiet = json!({"out_trade_no": "order-1", "notify": false});
    world.post("/_control/pay", &quiet).await;
    let by_hand = json!({"out_trade_no": "order-1", "refund_fee": 5});
    world.post("/_control/refund", &by_hand).await;
    let (_, body) = world.hears(1).await[0].clone();
    assert!(body.contains("<req_info>"), "{body}");
    assert!(world.headers()[0].get("wechatpay-signature").is_none());
    // So is an own one that names no address: the console's is asked.
    client
        .tell(&json!({"refund_notify_url": world.notify_url}))
        .await;
    let mut nowhere = json!({
        "out_trade_no": "order-1", "out_refund_no": "r-1",
        "amount": {"refund": 5, "total": 1999, "currency": "CNY"},
    });
    world.set(json!({"refund_delay_ms": 0})).await;
    client.post("/v3/refund/domestic/refunds", &nowhere).await;
    let (_, body) = world.hears(2).await[1].clone();
    assert!(body.contains("<req_info>"), "{body}");
    // Without a v2 key there is nothing to seal it with.
    client.tell(&json!({"api_key": null})).await;
    nowhere["out_refund_no"] = json!("r-2");
    client.post("/v3/refund/domestic/refunds", &nowhere).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(world.heard().len(), 2);
}

#[tokio::test]
async fn without_an_apiv3_key_nothing_is_sent() {
    let world = World::start().await;
    let client = ordered(&world).await;
    client.tell(&json!({"api_v3_key": null})).await;
    world.pay("order-1").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(world.heard().is_empty());
    let asked = json!({"out_trade_no": "order-1"});
    assert_eq!(world.post_status("/_control/notify", &asked).await.0, 409);
    client.tell(&json!({"api_v3_key": API_V3_KEY})).await;
    assert_eq!(world.post_status("/_control/notify", &asked).await.0, 200);
}

#[tokio::test]
async fn the_status_alone_ends_the_repeats() {
    let world = World::start().await;
    ordered(&world).await;
    // 200 counts although the body says FAIL; other successes do not.
    world.merchant_says(&[500, 202, 200]);
    world.pay("order-1").await;
    world.hears(3).await;
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let order = world.get("/_control/orders/order-1").await;
    let accepted: Vec<bool> = order["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["accepted"].as_bool().unwrap())
        .collect();
    assert_eq!(accepted, [false, false, true]);
    let client = Client::start(&world).await;
    client.order("native", "order-2", json!({})).await;
    world.merchant_says(&[204]);
    world.pay("order-2").await;
    world.hears(4).await;
    let again = json!({"out_trade_no": "order-2"});
    for _ in 0..100 {
        let (status, why) = world.post_status("/_control/repeat", &again).await;
        assert_eq!(status, 409);
        if why["error"] == "it was accepted" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("204 was not accepted");
}

#[tokio::test]
async fn both_versions_repeat_by_both_schedules() {
    let newer = [
        15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600,
    ];
    let older = [15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600];
    let world = World::start().await;
    let client = Client::start(&world).await;
    let mut heard = 0;
    for (number, schedule) in [
        ("order-v3-newer", newer.as_slice()),
        ("order-v2-newer", &newer),
        ("order-v3-older", &older),
        ("order-v2-older", &older),
    ] {
        world
            .set(json!({"notify_stepped": true, "notify_older_schedule": schedule.len() == 9}))
            .await;
        match number.contains("v3") {
            true => assert_eq!(client.order("native", number, json!({})).await.0, 200),
            false => assert_eq!(
                world.order("NATIVE", number, &[]).await["result_code"],
                "SUCCESS"
            ),
        }
        world.merchant_says(&vec![503; schedule.len() + 1]);
        world.pay(number).await;
        heard += 1;
        world.hears(heard).await;
        let step = json!({"out_trade_no": number});
        for (n, seconds) in schedule.iter().enumerate() {
            // The first attempt is remembered a moment after it was heard.
            let (mut status, mut repeated) = world.post_status("/_control/repeat", &step).await;
            while status == 409 && repeated["error"] == "nothing was sent yet" {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                (status, repeated) = world.post_status("/_control/repeat", &step).await;
            }
            assert_eq!(status, 200, "{repeated}");
            assert_eq!(repeated["waited_seconds"], json!(seconds), "{number} {n}");
            assert_eq!(repeated["left"], schedule.len() - n - 1);
            assert_eq!(repeated["attempt"]["status"], 503);
            heard += 1;
        }
        let (status, why) = world.post_status("/_control/repeat", &step).await;
        assert_eq!(
            (status, &why["error"]),
            (409, &json!("the schedule has ended"))
        );
        assert_eq!(world.heard().len(), heard);
    }
    // Each repeat is signed anew.
    let headers = world.headers();
    assert_ne!(headers[0]["wechatpay-nonce"], headers[1]["wechatpay-nonce"]);
}

/// What verifying, or opening, comes to: the beginning of the reason.
type Found = Result<(), &'static str>;

#[tokio::test]
async fn every_flaw_is_what_it_is_called() {
    let world = World::start().await;
    let client = ordered(&world).await;
    let table: [(&str, Found, Found); 19] = [
        ("forged_sign", Err("signature"), Ok(())),
        ("no_sign", Err("wechatpay-signature: 0"), Ok(())),
        ("two_signs", Err("wechatpay-signature: 2"), Ok(())),
        ("sign_test", Err("base64"), Ok(())),
        ("bad_base64", Err("base64"), Ok(())),
        ("wrong_serial", Err("unknown serial"), Ok(())),
        ("unknown_serial", Err("unknown serial"), Ok(())),
        ("old", Err("clock"), Ok(())),
        ("ahead", Err("clock"), Ok(())),
        ("changed_body", Err("signature"), Ok(())),
        ("wrong_amount", Ok(()), Ok(())),
        ("wrong_appid", Ok(()), Ok(())),
        ("wrong_mch_id", Ok(()), Ok(())),
        ("unknown_order", Ok(()), Ok(())),
        ("other_key", Ok(()), Err("ciphertext")),
        ("short_nonce", Ok(()), Err("nonce")),
        ("no_nonce", Ok(()), Err("nonce")),
        ("bad_ciphertext", Ok(()), Err("base64")),
        ("short_ciphertext", Ok(()), Err("ciphertext")),
    ];
    for (n, (flaw, signed, sealed)) in table.into_iter().enumerate() {
        let asked = json!({"out_trade_no": "order-1", "fault": flaw, "transaction_id": "42"});
        let (status, attempts) = world.post_status("/_control/notify", &asked).await;
        assert_eq!((status, &attempts[0]["fault"]), (200, &json!(flaw)));
        let (_, body) = world.hears(n + 1).await[n].clone();
        let found = client.verify(&world.headers()[n], &body);
        match signed {
            Ok(()) => assert_eq!(found, Ok(()), "{flaw}"),
            Err(why) => assert!(found.unwrap_err().starts_with(why), "{flaw}"),
        }
        let plain = open(&read(&body)["resource"]);
        assert_eq!(
            plain.as_ref().map(|_| ()).map_err(String::as_str),
            sealed,
            "{flaw}"
        );
        let Ok(plain) = plain else { continue };
        let plain = read(&plain);
        assert_eq!(plain["transaction_id"], "42");
        let honest = (
            &json!(1999),
            client.app_id.as_str(),
            client.mch_id.as_str(),
            "order-1",
        );
        let text = |name: &str| plain[name].as_str().unwrap();
        let told = (
            &plain["amount"]["total"],
            text("appid"),
            text("mchid"),
            text("out_trade_no"),
        );
        let is_untrue =
            flaw == "unknown_order" || flaw.starts_with("wrong_") && flaw != "wrong_serial";
        assert_eq!(told != honest, is_untrue, "{flaw}");
    }
    for (flaw, field, value) in [
        ("other_event", "event_type", json!("TRANSACTION.FAIL")),
        ("not_json", "", Value::Null),
        ("oversized", "event_type", json!("TRANSACTION.SUCCESS")),
    ] {
        let asked = json!({"out_trade_no": "order-1", "fault": flaw});
        let composed = world.post("/_control/compose", &asked).await;
        let body = composed["body"].as_str().unwrap();
        assert_eq!(read(body)[field], value, "{flaw}");
        assert_eq!(body.len() > 70_000, flaw == "oversized");
        assert_eq!(composed["headers"].as_array().unwrap().len(), 5);
    }
    for foreign in ["doctype", "no_return_code", "duplicate_element", "not_xml"] {
        let asked = json!({"out_trade_no": "order-1", "fault": foreign});
        assert_eq!(
            world.post_status("/_control/notify", &asked).await.0,
            409,
            "{foreign}"
        );
    }
    world.order("NATIVE", "order-2", &[]).await;
    for foreign in ["sign_test", "short_nonce", "changed_body"] {
        let asked = json!({"out_trade_no": "order-2", "fault": foreign});
        assert_eq!(
            world.post_status("/_control/notify", &asked).await.0,
            409,
            "{foreign}"
        );
    }
    assert_eq!(client.query("order-1").await.1["trade_state"], "NOTPAY");
}

#[tokio::test]
async fn refund_notifications_have_flaws_too() {
    let world = World::start().await;
    let client = ordered(&world).await;
    let quiet = json!({"out_trade_no": "order-1", "notify": false});
    world.post("/_control/pay", &quiet).await;
    world
        .set(json!({"auto_notify_refunds": false, "refund_delay_ms": 60_000}))
        .await;
    client.refund("order-1", "r-1", 5, json!({})).await;
    let asked = json!({"out_refund_no": "r-1", "fault": "sign_test"});
    assert_eq!(world.post_status("/_control/notify", &asked).await.0, 409);
    let end = json!({"out_refund_no": "r-1", "status": "SUCCESS"});
    world.post("/_control/refund_becomes", &end).await;
    world.post("/_control/notify", &asked).await;
    let (_, body) = world.hears(1).await[0].clone();
    let found = client.verify(&world.headers()[0], &body);
    assert_eq!(found, Err("base64".to_owned()));
    let repeated = world
        .post("/_control/repeat", &json!({"out_refund_no": "r-1"}))
        .await;
    assert_eq!(repeated["error"], "it was accepted");
}

#[tokio::test]
async fn one_merchants_keys_are_not_anothers() {
    let world = World::start().await;
    let client = ordered(&world).await;
    let told = json!({"mch_id": "1900000109"});
    world.post("/_control/merchants", &told).await;
    let bound =
        json!({"app_id": "wxsite", "kind": "website", "secret": "s", "merchants": ["1900000109"]});
    world.post("/_control/accounts", &bound).await;
    let other = Client::of(&world, "1900000109", "wxsite", 1).await;
    other.order("native", "order-2", json!({})).await;
    world.pay("order-2").await;
    let (_, body) = world.hears(1).await[0].clone();
    let headers = world.headers()[0].clone();
    other.verify(&headers, &body).unwrap();
    assert!(
        client
            .verify(&headers, &body)
            .unwrap_err()
            .starts_with("unknown serial")
    );
    let mixed = Client {
        keys: vec![(other.keys[0].0.clone(), client.keys[0].1.clone())],
        ..client
    };
    assert_eq!(mixed.verify(&headers, &body), Err("signature".to_owned()));
}
