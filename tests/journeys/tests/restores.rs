//! Rows that were lost or damaged come back from a restored table by `hubctl
//! restore`, while the hub goes on, and everything is paid and told once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, WriteRequest,
};
use futures_util::future::{join_all, try_join_all};
use journeys::{DESKTOP, Ran, Row, Stack, WECHAT, eventually, random_order_no};
use serde_json::{Value, json};
use shared::aws::ledger::{Ledger, Saved};
use shared::domain::id::{AppId, OrderKey, OrderNo};

use crate::attempts::attempt;

/// A table as AWS restores one, with these rows.
async fn restored(stack: &Stack, rows: &[Row]) -> String {
    let client = aws_sdk_dynamodb::Client::new(&stack.aws);
    let table = format!("restored-{}", random_order_no());
    let mut create = client.create_table().table_name(&table);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let definition = AttributeDefinition::builder().attribute_name(name);
        let definition = definition.attribute_type(ScalarAttributeType::S).build();
        let key = KeySchemaElement::builder().attribute_name(name);
        create = create
            .attribute_definitions(definition.unwrap())
            .key_schema(key.key_type(kind).build().unwrap());
    }
    let create = create.billing_mode(BillingMode::PayPerRequest).send();
    create.await.unwrap();
    for rows in rows.chunks(25) {
        let puts = rows.iter().map(|row| {
            let put = PutRequest::builder().set_item(Some(row.clone())).build();
            WriteRequest::builder().put_request(put.unwrap()).build()
        });
        let write = client.batch_write_item();
        let write = write.request_items(&table, puts.collect()).send();
        assert!(
            write
                .await
                .unwrap()
                .unprocessed_items
                .unwrap_or_default()
                .is_empty()
        );
    }
    table
}

/// Runs `hubctl restore` on this app's rows, and counts what it did.
async fn restore(stack: &Stack, from: &str, more: &[&str]) -> (BTreeMap<String, u64>, Ran) {
    let mut arguments = vec!["restore", "--from", from, "--app-id", &stack.app.id];
    arguments.extend(more);
    let ran = stack.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let counts = ran.out.lines().last().unwrap().split(' ');
    let counts = counts.map(|pair| pair.split_once('=').unwrap());
    let counts = counts.map(|(name, count)| (name.to_owned(), count.parse().unwrap()));
    (counts.collect(), ran)
}

async fn paid(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    order
}

async fn told_once(stack: &Stack, order: &Value) {
    let order_no = &order["order_no"];
    let shown = stack.told(order_no, "payment.succeeded").await;
    assert_eq!(shown["status"], "paid");
    let told = stack.told_of(order_no, "payment.succeeded").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["verified"], true);
}

#[tokio::test]
async fn what_was_lost_or_damaged_comes_back_while_payments_run_and_all_is_told_once() {
    let stack = Stack::new().await;
    // Lost as a whole, after it was paid and a part went back.
    let lost = paid(&stack).await;
    let refund = stack.refund(&lost["order_no"], "R1", json!({"refund_fee": 500}));
    assert_eq!(refund.await.status, 201);
    let before = stack.told(&lost["order_no"], "refund.succeeded").await;
    let mut backup = stack.rows(&lost["order_no"]).await;
    let lost_rows = u64::try_from(backup.len()).unwrap();
    assert_eq!(
        lost_rows, 4,
        "the order, its refund, and what its app was told"
    );
    // The others were not paid yet.
    let mut orders = Vec::new();
    for _ in 0..9 {
        let order = stack.native(json!({})).await;
        backup.extend(stack.rows(&order["order_no"]).await);
        orders.push(order);
    }
    let [headless, damaged, newer, running @ ..] = orders.as_slice() else {
        panic!("nine orders");
    };
    let table = restored(&stack, &backup).await;

    for row in stack.rows(&lost["order_no"]).await {
        stack.delete_row(row).await;
    }
    for order in [headless, newer] {
        stack.pay(&order["trade_no"], json!({})).await;
        stack.told(&order["order_no"], "payment.succeeded").await;
    }
    stack
        .delete_row(stack.row(&headless["order_no"], "order").await)
        .await;
    let mut row = stack.row(&damaged["order_no"], "order").await;
    row.insert("status".to_owned(), AttributeValue::S("closed".to_owned()));
    row.retain(|name, _| !matches!(name.as_str(), "wake" | "due" | "shard"));
    stack.put_row(row.clone()).await;
    let silent = json!({"notify": false});
    stack.pay(&damaged["trade_no"], silent).await;

    let options = ["--overwrite", "older"];
    let (counts, ran) = restore(&stack, &table, &["--dry-run", "--overwrite", "older"]).await;
    assert_eq!(
        (counts["copied"], counts["replaced"]),
        (lost_rows + 1, 1),
        "{ran:?}"
    );
    assert!(stack.rows(&lost["order_no"]).await.is_empty(), "a dry run");
    assert_eq!(stack.row(&damaged["order_no"], "order").await, row);

    let payments = join_all(running.iter().map(|order| async {
        stack.pay(&order["trade_no"], json!({})).await;
    }));
    let ((counts, ran), _) = tokio::join!(restore(&stack, &table, &options), payments);
    assert_eq!(
        (counts["copied"], counts["replaced"]),
        (lost_rows + 1, 1),
        "{ran:?}"
    );
    assert!(counts["newer"] >= 1, "{ran:?}");
    let order = format!("{}#{}", stack.app.id, damaged["order_no"].as_str().unwrap());
    assert!(
        ran.out.contains(&format!("replaced {order} order")),
        "{ran:?}"
    );

    // What was never lost goes on as if nothing had been.
    for order in running.iter().chain([newer]) {
        told_once(&stack, order).await;
    }
    assert_eq!(stack.show(&lost["order_no"]).await.body, before);
    let told = stack.callbacks(&lost["order_no"]).await;
    assert_eq!(told.len(), 2, "the payment and the refund, once each");
    let more = stack.refund(&lost["order_no"], "R2", json!({"refund_fee": 1500}));
    assert_eq!(more.await.body["code"], "refund_exceeds");
    // WeChat repeats its notification, or is asked.
    let repeated = stack
        .notify(&headless["trade_no"], json!({"copies": 4}))
        .await;
    assert!(repeated.iter().all(|answer| answer["accepted"] == true));
    told_once(&stack, headless).await;
    stack.age(&damaged["order_no"], 61).await;
    stack.sweep().await;
    told_once(&stack, damaged).await;

    let (counts, ran) = restore(&stack, &table, &options).await;
    assert_eq!((counts["copied"], counts["replaced"]), (0, 0), "{ran:?}");
    assert!(counts["restored_before"] >= 2, "{ran:?}");
}

#[tokio::test]
async fn an_order_that_is_set_back_to_before_its_payment_is_paid_and_told_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let order_no = &order["order_no"];
    let table = restored(&stack, &stack.rows(order_no).await).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let before = stack.told(order_no, "payment.succeeded").await;
    let (counts, ran) = restore(&stack, &table, &[]).await;
    assert_eq!((counts["newer"], counts["read"]), (1, 1), "{ran:?}");
    assert_eq!(stack.show(order_no).await.body, before);

    let options = [
        "--overwrite",
        "all",
        "--order-no",
        order_no.as_str().unwrap(),
    ];
    let (counts, ran) = restore(&stack, &table, &options).await;
    assert_eq!(counts["replaced"], 1, "{ran:?}");
    assert_eq!(stack.show(order_no).await.body["status"], "paying");
    // Twenty notifications, and the same restore again in between.
    let notified = stack.notify(&order["trade_no"], json!({"copies": 20}));
    let (_, (counts, ran)) = tokio::join!(notified, restore(&stack, &table, &options));
    assert_eq!(counts["replaced"], 0, "{ran:?}");
    let answers = stack.notify(&order["trade_no"], json!({})).await;
    assert_eq!(answers[0]["accepted"], true);
    assert_eq!(stack.show(order_no).await.body, before);
    assert_eq!(stack.callbacks(order_no).await.len(), 1);
    let (counts, ran) = restore(&stack, &table, &options).await;
    assert_eq!(counts["restored_before"], 1, "{ran:?}");
    // The hub has written the row since, and kept what it does not know.
    let no = order_no.as_str().unwrap();
    let shown = ["order", "show", &stack.app.id, no, "--no-logs"];
    let shown = stack.run(&shown).await;
    let put_back = format!("the row of the order was put back from {table} of 20");
    assert!(shown.out.contains(&put_back), "{shown:?}");
}

/// An order whose row in the restored table knows the desktop's attempt, and which
/// was paid by WeChat's browser since.
async fn paid_by_a_newer_attempt(stack: &Stack) -> (Value, String) {
    let order = stack.native(json!({"trade_type": null})).await;
    let address = order["pay_url"].as_str().unwrap();
    stack.page(address, DESKTOP, "en").await;
    let table = restored(stack, &stack.rows(&order["order_no"]).await).await;
    stack.browser(WECHAT).open(address).await;
    stack.pay(&attempt(&order, 2), json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    (order, table)
}

/// Puts this order back, whatever has happened since.
async fn set_back(stack: &Stack, order: &Value, table: &str) {
    let order_no = order["order_no"].as_str().unwrap();
    let options = ["--overwrite", "all", "--order-no", order_no];
    let (counts, ran) = restore(stack, table, &options).await;
    assert_eq!(counts["replaced"], 1, "{ran:?}");
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
}

#[tokio::test]
async fn a_payment_of_an_attempt_that_the_backup_lacks_is_taken_when_wechat_tells_of_it() {
    let stack = Stack::new().await;
    let (order, table) = paid_by_a_newer_attempt(&stack).await;
    let before = stack.show(&order["order_no"]).await.body;
    set_back(&stack, &order, &table).await;
    let told = stack.notify(&attempt(&order, 2), json!({})).await;
    assert_eq!(told[0]["accepted"], true, "{told:?}");
    assert_eq!(stack.show(&order["order_no"]).await.body, before);
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 1);
}

#[tokio::test]
async fn both_payments_of_an_order_that_is_set_back_to_before_them_are_found_again() {
    let stack = Stack::new().await;
    let (order, table) = paid_by_a_newer_attempt(&stack).await;
    let order_no = &order["order_no"];
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(order_no, "payment.anomaly").await;
    stack.sweep().await;
    let before = stack.told(order_no, "refund.succeeded").await;
    set_back(&stack, &order, &table).await;
    stack.age(order_no, 61).await;
    stack.sweep().await;
    let after = stack
        .order_when(order_no, |order| order["status"] == "paid")
        .await;
    for name in ["transaction_id", "refunded_fee", "refunds", "deliveries"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    let anomalies = [&before, &after].map(|shown| {
        let anomaly = &shown["anomalies"][0];
        ["transaction_id", "kind", "refunded_fee"].map(|name| anomaly[name].clone())
    });
    assert_eq!(anomalies[0], anomalies[1], "{after}");
    assert_eq!(stack.callbacks(order_no).await.len(), 3, "each once");
}

#[tokio::test]
async fn whoever_read_a_row_before_it_was_put_back_writes_nothing() {
    let stack = Stack::new().await;
    let ledger = Ledger::new(&stack.aws, stack.setting("LEDGER_TABLE").to_owned());
    for is_lost in [false, true] {
        let order = stack.native(json!({})).await;
        let order_no = &order["order_no"];
        let key = OrderKey {
            app_id: AppId::parse(&stack.app.id).unwrap(),
            order_no: OrderNo::parse(order_no.as_str().unwrap()).unwrap(),
        };
        let write = async || {
            let mut row = ledger.order(&key).await.unwrap().unwrap();
            let saved = ledger.save(&mut row).await.unwrap();
            assert!(matches!(saved, Saved::Done));
        };
        let backup = stack.row(order_no, "order").await;
        let table = restored(&stack, &[backup]).await;
        write().await;
        write().await;
        let mut stale = ledger.order(&key).await.unwrap().unwrap();
        let mut row = stack.row(order_no, "order").await;
        row.insert("body".to_owned(), AttributeValue::S("garbage".to_owned()));
        match is_lost {
            true => stack.delete_row(row).await,
            false => stack.put_row(row).await,
        }
        let options = [
            "--overwrite",
            "all",
            "--order-no",
            order_no.as_str().unwrap(),
        ];
        let (counts, ran) = restore(&stack, &table, &options).await;
        assert_eq!(counts["copied"] + counts["replaced"], 1, "{ran:?}");
        // As often as the row's other life was written.
        write().await;
        write().await;
        stale.close().unwrap();
        let saved = ledger.save(&mut stale).await.unwrap();
        assert!(matches!(saved, Saved::Changed(_)), "{is_lost}");
        assert_eq!(stack.show(order_no).await.body["status"], "paying");
    }
}

#[tokio::test]
async fn no_write_that_comes_in_between_is_lost() {
    let stack = Stack::new().await;
    let ledger = &Ledger::new(&stack.aws, stack.setting("LEDGER_TABLE").to_owned());
    let mut keys = Vec::new();
    let mut backup = Vec::new();
    for _ in 0..30 {
        let order_no = &stack.native(json!({})).await["order_no"];
        backup.push(stack.row(order_no, "order").await);
        keys.push(OrderKey {
            app_id: AppId::parse(&stack.app.id).unwrap(),
            order_no: OrderNo::parse(order_no.as_str().unwrap()).unwrap(),
        });
    }
    let table = restored(&stack, &backup).await;
    // Each row is written all the time: what is put back stands above the last
    // write, whenever that was.
    let is_over = &AtomicBool::new(false);
    let writers = join_all(keys.iter().map(async |key| {
        let mut last = 0;
        let mut writes = 0;
        while !is_over.load(Ordering::SeqCst) {
            let mut row = ledger.order(key).await.unwrap().unwrap();
            let above = row.revision - last;
            let is_first = writes == 0;
            assert!(
                is_first || above == 0 || above >= 1000,
                "a write was lost: {above}"
            );
            row.step = row.step % 100 + 1;
            last = match ledger.save(&mut row).await.unwrap() {
                Saved::Done => row.revision,
                Saved::Changed(now) => now.revision,
            };
            writes += 1;
        }
        writes
    }));
    let restored = async {
        // Each differs from the backup by then.
        eventually(|| async {
            let rows = keys.iter().map(|key| ledger.order(key));
            let rows = try_join_all(rows).await.unwrap().into_iter().flatten();
            let written = rows.filter(|row| row.step > 0).count();
            if written == keys.len() {
                Ok(())
            } else {
                Err(json!(written))
            }
        })
        .await;
        let arguments = [
            "restore",
            "--from",
            &table,
            "--app-id",
            &stack.app.id,
            "--overwrite",
            "all",
        ];
        let mut replaced = 0;
        // A row that is written all the time may be left to the next run.
        for _ in 0..20 {
            let ran = stack.run(&arguments).await;
            replaced += ran.out.matches("replaced ").count();
            if ran.code == 0 {
                break;
            }
            assert!(ran.err.contains("run it again"), "{ran:?}");
        }
        is_over.store(true, Ordering::SeqCst);
        replaced
    };
    let (writes, replaced) = tokio::join!(writers, restored);
    assert_eq!(replaced, keys.len());
    assert!(writes.iter().all(|writes| *writes > 0), "{writes:?}");
}

#[tokio::test]
async fn a_restore_that_was_killed_goes_on_where_it_was() {
    const ROWS: u64 = 1500;
    let stack = Stack::new().await;
    let rows: Vec<Row> = (0..ROWS)
        .map(|number| {
            let pk = format!("{}#K{number:09}", stack.app.id);
            Row::from([
                ("pk".to_owned(), AttributeValue::S(pk)),
                ("sk".to_owned(), AttributeValue::S("order".to_owned())),
                ("kept".to_owned(), AttributeValue::Ns(vec!["1".to_owned()])),
            ])
        })
        .collect();
    let table = restored(&stack, &rows).await;
    let arguments = ["restore", "--from", &table, "--app-id", &stack.app.id];
    let mut command = stack.hubctl(&arguments);
    let state = command
        .get_current_dir()
        .unwrap()
        .join("hubctl-restore.json");
    let mut first = command.spawn().unwrap();
    while !state.exists() {
        assert!(
            first.try_wait().unwrap().is_none(),
            "it was too fast to kill"
        );
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(state.exists(), "it was too fast to kill");

    let other = restored(&stack, &[]).await;
    let other = ["restore", "--from", &other, "--app-id", &stack.app.id];
    let refused = stack.run(&other).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("belongs to another restore"),
        "{refused:?}"
    );

    let (counts, ran) = restore(&stack, &table, &[]).await;
    assert!(ran.err.contains("Going on after"), "{ran:?}");
    assert_eq!(counts["read"], ROWS, "{ran:?}");
    assert_eq!(counts["copied"] + counts["same"], ROWS, "{ran:?}");
    assert!(!state.exists());
    for number in [0, ROWS / 2, ROWS - 1] {
        let back = stack.row(&json!(format!("K{number:09}")), "order").await;
        assert_eq!(back["kept"], AttributeValue::Ns(vec!["1".to_owned()]));
        assert!(back["restored_from"].as_s().unwrap().starts_with(&table));
    }
}
