//! Tests of micropay and reverse.

use std::time::Duration;

use serde_json::json;
use wechat_simulator::sign::Fields;

use crate::harness::World;

async fn charge(world: &World, number: &str, code: &str) -> Fields {
    let fields = [
        ("body", "tea"),
        ("out_trade_no", number),
        ("total_fee", "100"),
        ("spbill_create_ip", "203.0.113.9"),
        ("auth_code", code),
    ];
    world.v2("/pay/micropay", &fields).await
}

async fn turns(world: &World, number: &str, state: &str) {
    for _ in 0..500 {
        if world.query(number).await["trade_state"] == state {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{number} never became {state}");
}

#[tokio::test]
async fn the_last_digits_choose_the_case() {
    let world = World::start().await;
    world.set(json!({"userpaying_ms": 20})).await;
    let at_once = charge(&world, "micro-00", "130000000000000000").await;
    assert_eq!(at_once["result_code"], "SUCCESS");
    assert_eq!(at_once["trade_type"], "MICROPAY");
    assert_eq!(at_once["transaction_id"].len(), 28);
    let table = [
        ("01", "USERPAYING", "SUCCESS"),
        ("02", "USERPAYING", "USERPAYING"),
        ("03", "SYSTEMERROR", "SUCCESS"),
        ("04", "BANKERROR", "PAYERROR"),
        ("05", "NOTENOUGH", "PAYERROR"),
    ];
    for (case, code, state) in table {
        let number = format!("micro-{case}");
        let answer = charge(&world, &number, &format!("1300000000000000{case}")).await;
        assert_eq!(answer["return_code"], "SUCCESS");
        assert_eq!(answer["err_code"], code);
        turns(&world, &number, state).await;
    }
    let expired = charge(&world, "micro-06", "130000000000000006").await;
    assert_eq!(expired["err_code"], "AUTHCODEEXPIRE");
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn a_code_is_bound_to_its_order() {
    let world = World::start().await;
    charge(&world, "micro-1", "130000000000000002").await;
    assert_eq!(
        charge(&world, "micro-1", "130000000000000002").await["err_code"],
        "USERPAYING"
    );
    assert_eq!(
        charge(&world, "micro-2", "130000000000000002").await["err_code"],
        "AUTH_CODE_ERROR"
    );
    assert_eq!(
        charge(&world, "micro-1", "130000000000000099").await["err_code"],
        "INVALID_REQUEST"
    );
    for odd in [
        "990000000000000000",
        "13",
        "13000000000000000x",
        "支付支付支付",
    ] {
        assert_eq!(
            charge(&world, "micro-3", odd).await["err_code"],
            "AUTH_CODE_INVALID"
        );
    }
}

#[tokio::test]
async fn an_answer_can_come_too_late() {
    let world = World::start().await;
    world.set(json!({"hang_ms": 200})).await;
    let started = std::time::Instant::now();
    charge(&world, "micro-1", "130000000000000007").await;
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(world.query("micro-1").await["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn reversing_revokes_open_and_paid_payments() {
    let world = World::start().await;
    world.set(json!({"reverse_recalls": 1})).await;
    charge(&world, "micro-1", "130000000000000002").await;
    charge(&world, "micro-2", "130000000000000000").await;
    let first = world
        .v2("/secapi/pay/reverse", &[("out_trade_no", "micro-1")])
        .await;
    assert_eq!(first["recall"], "Y");
    assert_eq!(world.query("micro-1").await["trade_state"], "USERPAYING");
    for number in ["micro-1", "micro-2", "micro-2"] {
        let answer = world
            .v2("/secapi/pay/reverse", &[("out_trade_no", number)])
            .await;
        assert_eq!(
            (answer["result_code"].as_str(), answer["recall"].as_str()),
            ("SUCCESS", "N")
        );
        assert_eq!(world.query(number).await["trade_state"], "REVOKED");
    }
    let order = world.get("/_control/orders/micro-2").await;
    assert_eq!(order["refunds"][0]["refund_fee"], 100);
    let again = charge(&world, "micro-2", "130000000000000000").await;
    assert_eq!(again["err_code"], "ORDERREVERSED");
    world.order("NATIVE", "order-1", &[]).await;
    let refused = world
        .v2("/secapi/pay/reverse", &[("out_trade_no", "order-1")])
        .await;
    assert_eq!(refused["err_code"], "INVALID_REQUEST");
    assert_eq!(refused["recall"], "N");
}

#[tokio::test]
async fn reversing_waits_and_can_be_told_as_a_refund() {
    let world = World::start().await;
    world.set(json!({"reverse_guard_seconds": 15})).await;
    charge(&world, "micro-1", "130000000000000000").await;
    let number = [("out_trade_no", "micro-1")];
    let young = world.v2("/secapi/pay/reverse", &number).await;
    assert_eq!(young["err_code"], "SYSTEMERROR");
    assert_eq!(young["recall"], "Y");
    let later = json!({"clock_ahead_seconds": 15, "reversed_state": "REFUND"});
    world.set(later).await;
    let reversed = world.v2("/secapi/pay/reverse", &number).await;
    assert_eq!(reversed["result_code"], "SUCCESS");
    assert_eq!(world.query("micro-1").await["trade_state"], "REFUND");
}

#[tokio::test]
async fn a_password_typed_after_the_expiry_still_pays() {
    let world = World::start().await;
    world.set(json!({"userpaying_ms": 300})).await;
    let fields = [
        ("body", "tea"),
        ("out_trade_no", "micro-1"),
        ("total_fee", "100"),
        ("spbill_create_ip", "203.0.113.9"),
        ("auth_code", "130000000000000001"),
        ("time_start", "20990101000000"),
        ("time_expire", "20990101000100"),
    ];
    let asked = world.v2("/pay/micropay", &fields).await;
    assert_eq!(asked["err_code"], "USERPAYING");
    // A little under a century, which takes the clock behind the expiry.
    world
        .set(json!({"clock_ahead_seconds": 3_155_760_000_i64}))
        .await;
    turns(&world, "micro-1", "SUCCESS").await;
}

#[tokio::test]
async fn a_charge_can_reach_wechat_long_after_its_call() {
    let world = World::start().await;
    world
        .set(json!({"hang_ms": 10, "late_charge_ms": 150}))
        .await;
    let unanswered = world.request(&[
        ("body", "tea"),
        ("out_trade_no", "micro-1"),
        ("total_fee", "100"),
        ("spbill_create_ip", "203.0.113.9"),
        ("auth_code", "130000000000000008"),
    ]);
    let url = format!("{}/pay/micropay", world.url);
    let answer = world.http.post(&url).body(unanswered).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 504);
    let number = [("out_trade_no", "micro-1")];
    for path in ["/pay/orderquery", "/secapi/pay/reverse"] {
        assert_eq!(world.v2(path, &number).await["err_code"], "ORDERNOTEXIST");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    turns(&world, "micro-1", "SUCCESS").await;
    let nothing = json!({"out_trade_no": "micro-1"});
    assert_eq!(world.post_status("/_control/charge", &nothing).await.0, 404);
    let reversed = world.v2("/secapi/pay/reverse", &number).await;
    assert_eq!(reversed["recall"], "N");
    assert_eq!(world.query("micro-1").await["trade_state"], "REVOKED");
}
