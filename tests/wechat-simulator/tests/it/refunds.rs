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

#[tokio::test]
async fn people_give_back_in_the_platform_under_a_number_of_its_own() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    let by_hand = |fee: i64| json!({"out_trade_no": "order-1", "refund_fee": fee});
    let unpaid = world.post_status("/_control/refund", &by_hand(1)).await;
    assert_eq!(unpaid, (409, json!({"error": "TRADE_STATE_ERROR"})));
    let silently = json!({"out_trade_no": "order-1", "notify": false});
    world.post("/_control/pay", &silently).await;
    let part = world.post("/_control/refund", &by_hand(999)).await;
    let number = part["out_refund_no"].as_str().unwrap();
    let merchant = &world.config.mch_id;
    assert!(number.starts_with(merchant) && number.len() == merchant.len() + 24);
    assert_eq!(world.query("order-1").await["trade_state"], "REFUND");
    // The merchant's own notify address hears of it.
    assert_eq!(world.hears(1).await.len(), 1);
    let id = part["refund_id"].as_str().unwrap();
    let told = world.v2("/pay/refundquery", &[("refund_id", id)]).await;
    assert_eq!(told["out_refund_no_0"], number);
    // Whoever comes second gets what is left.
    assert_eq!(
        refund(&world, "r-1", "1999").await["err_code"],
        "INVALID_REQUEST"
    );
    let more = world.post_status("/_control/refund", &by_hand(1001)).await;
    assert_eq!(more, (409, json!({"error": "INVALID_REQUEST"})));
    let rest = json!({"out_trade_no": "order-1", "notify": false, "status": "PROCESSING"});
    let rest = world.post("/_control/refund", &rest).await;
    assert_eq!(
        (&rest["refund_fee"], &rest["status"]),
        (&json!(1000), &json!("PROCESSING"))
    );
    let closed = json!({"out_refund_no": rest["out_refund_no"], "status": "REFUNDCLOSE"});
    world.post("/_control/refund_becomes", &closed).await;
    assert_eq!(world.hears(2).await.len(), 2);
    assert_eq!(
        refund(&world, "r-1", "1000").await["result_code"],
        "SUCCESS"
    );
}

#[tokio::test]
async fn refunds_of_a_payment_are_told_ten_at_a_time() {
    let world = paid().await;
    let order = world.get("/_control/orders/order-1").await;
    let id = order["transaction_id"].as_str().unwrap();
    let ask = async |offset: &str| {
        let fields = [("transaction_id", id), ("offset", offset)];
        world.v2("/pay/refundquery", &fields).await
    };
    assert_eq!(ask("0").await["err_code"], "REFUNDNOTEXIST");
    for _ in 0..20 {
        let part = json!({"out_trade_no": "order-1", "refund_fee": 1, "notify": false});
        world.post("/_control/refund", &part).await;
    }
    for offset in ["0", "10"] {
        let page = ask(offset).await;
        assert_eq!(
            (&*page["refund_count"], &*page["total_refund_count"]),
            ("10", "20")
        );
        assert!(page.contains_key("refund_id_9") && !page.contains_key("refund_id_10"));
    }
    assert_eq!(ask("20").await["err_code"], "REFUNDNOTEXIST");
    assert_eq!(ask("x").await["err_code"], "PARAM_ERROR");
    let whole = world
        .v2("/pay/refundquery", &[("transaction_id", id)])
        .await;
    assert_eq!(whole["refund_count"], "10");
    assert!(!whole.contains_key("total_refund_count"));
}

#[tokio::test]
async fn a_balance_that_lacks_refuses_until_it_is_filled() {
    let world = paid().await;
    world.set(json!({"balance_fen": 100})).await;
    assert_eq!(refund(&world, "r-1", "101").await["err_code"], "NOTENOUGH");
    assert_eq!(refund(&world, "r-2", "100").await["result_code"], "SUCCESS");
    // The same again draws nothing.
    assert_eq!(refund(&world, "r-2", "100").await["result_code"], "SUCCESS");
    let by_hand = json!({"out_trade_no": "order-1", "refund_fee": 1});
    let refused = world.post_status("/_control/refund", &by_hand).await;
    assert_eq!(refused, (409, json!({"error": "NOTENOUGH"})));
    world.set(json!({"balance_fen": null})).await;
    assert_eq!(refund(&world, "r-1", "101").await["result_code"], "SUCCESS");
}

#[tokio::test]
async fn obstacles_stand_in_the_way_of_one_orders_refunds_as_long_as_told() {
    let world = paid().await;
    let obstacles = json!({"out_trade_no": "order-1", "refund_lag_seconds": 60, "refund": [
        {"err_code": "SYSTEMERROR", "times": 1, "although_done": true},
        {"err_code": "ERROR", "times": 2},
        {"err_code": "TRADE_OVERDUE"},
    ]});
    world.post("/_control/obstacles", &obstacles).await;
    for code in [
        "SYSTEMERROR",
        "ERROR",
        "ERROR",
        "TRADE_OVERDUE",
        "TRADE_OVERDUE",
    ] {
        assert_eq!(refund(&world, "r-1", "1999").await["err_code"], code);
        let query = [("out_refund_no", "r-1")];
        let lagging = world.v2("/pay/refundquery", &query).await;
        assert_eq!(lagging["err_code"], "REFUNDNOTEXIST", "{code}");
    }
    assert_eq!(world.query("order-1").await["trade_state"], "REFUND");
    world.set(json!({"clock_ahead_seconds": 60})).await;
    let found = world
        .v2("/pay/refundquery", &[("out_refund_no", "r-1")])
        .await;
    assert_eq!(found["refund_fee_0"], "1999");
    let none = json!({"out_trade_no": "order-1", "refund": []});
    world.post("/_control/obstacles", &none).await;
    let again = refund(&world, "r-1", "1999").await;
    assert_eq!(again["refund_id"], found["refund_id_0"]);
}
