//! Tests of refunds and their notifications.

use serde_json::json;
use wechat_simulator::sign::Fields;
use wechat_simulator::{sign, xml};

use crate::harness::World;

async fn refund(world: &World, number: &str, fee: &str) -> Fields {
    let url = world.notify_url.clone();
    let fields = [
        ("out_trade_no", "order-1"),
        ("out_refund_no", number),
        ("total_fee", "1999"),
        ("refund_fee", fee),
        ("notify_url", url.as_str()),
    ];
    world.v2("/secapi/pay/refund", &fields).await
}

async fn paid() -> World {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    assert_eq!(
        refund(&world, "r-0", "1").await["err_code"],
        "TRADE_STATE_ERROR"
    );
    world
        .post(
            "/_control/pay",
            &json!({"out_trade_no": "order-1", "notify": false}),
        )
        .await;
    world.set(json!({"refund_delay_ms": 10})).await;
    world
}

#[tokio::test]
async fn never_more_is_refunded_than_was_paid() {
    let world = paid().await;
    let first = refund(&world, "r-1", "1000").await;
    assert_eq!(first["result_code"], "SUCCESS");
    assert_eq!(
        refund(&world, "r-1", "1000").await["refund_id"],
        first["refund_id"]
    );
    assert_eq!(
        refund(&world, "r-1", "999").await["err_code"],
        "INVALID_REQUEST"
    );
    assert_eq!(
        refund(&world, "r-2", "1000").await["err_code"],
        "INVALID_REQUEST"
    );
    assert_eq!(refund(&world, "r-2", "999").await["result_code"], "SUCCESS");
    assert_eq!(world.query("order-1").await["trade_state"], "REFUND");
    world.set(json!({"full_refund_state": "CLOSED"})).await;
    assert_eq!(world.query("order-1").await["trade_state"], "CLOSED");
    let told = world
        .v2("/pay/refundquery", &[("out_trade_no", "order-1")])
        .await;
    assert_eq!(told["refund_count"], "2");
    assert_eq!(told["refund_fee_1"], "999");
    let one = world
        .v2("/pay/refundquery", &[("out_refund_no", "r-2")])
        .await;
    assert_eq!(one["refund_count"], "1");
    let none = world
        .v2("/pay/refundquery", &[("out_refund_no", "r-9")])
        .await;
    assert_eq!(none["err_code"], "REFUNDNOTEXIST");
}

#[tokio::test]
async fn a_refund_settles_later_and_says_so_under_encryption() {
    let world = paid().await;
    refund(&world, "r-1", "1999").await;
    let heard = world.hears(1).await;
    let fields = xml::read(&heard[0].1).unwrap();
    assert!(!fields.contains_key("sign"));
    assert_eq!(fields["return_code"], "SUCCESS");
    let order = world.get("/_control/orders/order-1").await;
    let id = order["refunds"][0]["refund_id"].as_str().unwrap();
    assert_eq!(order["refunds"][0]["status"], "SUCCESS");
    let told = world.v2("/pay/refundquery", &[("refund_id", id)]).await;
    assert_eq!(told["refund_status_0"], "SUCCESS");
    assert_eq!(told["refund_success_time_0"].len(), 19);
    // The plain text begins with a known block, which ECB encrypts alone.
    let known = sign::seal("<root><out_refun", &world.config.api_key);
    assert_eq!(fields["req_info"][..20], known[..20]);
}

#[tokio::test]
async fn a_closed_refund_leaves_the_money() {
    let world = paid().await;
    world.set(json!({"refund_result": "REFUNDCLOSE"})).await;
    refund(&world, "r-1", "1999").await;
    world.hears(1).await;
    let told = world
        .v2("/pay/refundquery", &[("out_refund_no", "r-1")])
        .await;
    assert_eq!(told["refund_status_0"], "REFUNDCLOSE");
    world.set(json!({"refund_result": "SUCCESS"})).await;
    assert_eq!(
        refund(&world, "r-2", "1999").await["result_code"],
        "SUCCESS"
    );
    // It left the money to the second one.
    assert_eq!(
        refund(&world, "r-1", "1999").await["err_code"],
        "INVALID_REQUEST"
    );
}

#[tokio::test]
async fn refunds_of_a_payment_keep_their_distance() {
    let world = paid().await;
    world.set(json!({"refund_gap_seconds": 60})).await;
    assert_eq!(refund(&world, "r-1", "1").await["result_code"], "SUCCESS");
    assert_eq!(
        refund(&world, "r-2", "1").await["err_code"],
        "FREQUENCY_LIMITED"
    );
    world.set(json!({"clock_ahead_seconds": 60})).await;
    assert_eq!(refund(&world, "r-2", "1").await["result_code"], "SUCCESS");
}
