//! Tests of payment notifications, right and wrong ones.

use serde_json::json;
use wechat_simulator::sign::{self, SignType};
use wechat_simulator::xml;

use crate::harness::World;

#[tokio::test]
async fn a_notification_is_repeated_until_the_exact_answer() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    world.merchant_answers(&["success", "<xml></xml>"]);
    let receipt = world.pay("order-1").await;
    let heard = world.hears(3).await;
    for (_, body) in &heard {
        let fields = xml::read(body).unwrap();
        assert!(sign::v2_holds(
            &fields,
            SignType::Md5,
            &world.config.api_key
        ));
        assert_eq!(
            fields["transaction_id"],
            receipt["transaction_id"].as_str().unwrap()
        );
        assert_eq!(fields["total_fee"], "1999");
    }
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let order = world.get("/_control/orders/order-1").await;
    let accepted: Vec<bool> = order["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["accepted"].as_bool().unwrap())
        .collect();
    assert_eq!(accepted, [false, false, true]);
}

#[tokio::test]
async fn copies_are_sent_at_once_and_hmac_names_itself() {
    let world = World::start().await;
    world
        .order("NATIVE", "order-1", &[("sign_type", "HMAC-SHA256")])
        .await;
    world
        .post(
            "/_control/pay",
            &json!({"out_trade_no": "order-1", "copies": 5}),
        )
        .await;
    let heard = world.hears(5).await;
    let fields = xml::read(&heard[4].1).unwrap();
    assert_eq!(fields["sign_type"], "HMAC-SHA256");
    assert!(sign::v2_holds(
        &fields,
        SignType::HmacSha256,
        &world.config.api_key
    ));
}

#[tokio::test]
async fn nothing_is_sent_when_told_so() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    world.order("NATIVE", "order-2", &[]).await;
    world
        .post(
            "/_control/pay",
            &json!({"out_trade_no": "order-1", "notify": false}),
        )
        .await;
    world.set(json!({"auto_notify": false})).await;
    world.pay("order-2").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn every_flaw_is_what_it_is_called() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    let key = world.config.api_key.clone();
    // Flaw, whether it parses, whether its signature holds.
    let table = [
        ("forged_sign", true, false),
        ("no_sign", true, false),
        ("no_return_code", true, false),
        ("wrong_amount", true, true),
        ("wrong_appid", true, true),
        ("wrong_mch_id", true, true),
        ("unknown_order", true, true),
        ("result_fail", true, true),
        ("doctype", false, false),
        ("duplicate_element", false, false),
        ("oversized", false, false),
        ("not_xml", false, false),
    ];
    for (n, (flaw, parses, holds)) in table.into_iter().enumerate() {
        let asked = json!({"out_trade_no": "order-1", "fault": flaw, "transaction_id": "42"});
        let attempts = world.post("/_control/notify", &asked).await;
        assert_eq!(attempts[0]["status"], 200);
        assert_eq!(attempts[0]["fault"], flaw);
        let heard = world.hears(n + 1).await;
        let fields = xml::read(&heard[n].1);
        assert_eq!(fields.is_ok(), parses, "{flaw}");
        if let Ok(fields) = fields {
            assert_eq!(
                sign::v2_holds(&fields, SignType::Md5, &key),
                holds,
                "{flaw}"
            );
            assert_eq!(fields["transaction_id"], "42");
        }
    }
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    let odd = json!({"out_trade_no": "order-1", "fault": "no such"});
    assert_eq!(world.post_status("/_control/notify", &odd).await.0, 400);
}

#[tokio::test]
async fn a_right_notification_can_be_sent_again_by_hand() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    let asked = json!({"out_trade_no": "order-1", "copies": 3});
    let attempts = world.post("/_control/notify", &asked).await;
    assert_eq!(attempts.as_array().unwrap().len(), 3);
    assert_eq!(attempts[0]["accepted"], true);
    let nowhere = json!({"out_trade_no": "order-1", "url": "http://127.0.0.1:1/"});
    let attempts = world.post("/_control/notify", &nowhere).await;
    assert!(attempts[0]["status"].is_null());
}
