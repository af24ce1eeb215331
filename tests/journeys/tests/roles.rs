//! What the deployed roles allow, and that they allow nothing else. The local
//! AWS enforces identity policies when it runs with IAM on.

use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use journeys::{Stack, operator};
use shared::aws::secrets::{Kind, store};

async fn as_function(stack: &Stack, function: &str) -> aws_config::SdkConfig {
    let credentials = credentials_of(stack, function).await;
    operator(stack.setting("AWS_ENDPOINT_URL"), credentials)
}

/// What a function signs its calls of AWS with.
pub(crate) async fn credentials_of(stack: &Stack, function: &str) -> Credentials {
    let deployed = aws_sdk_lambda::Client::new(&stack.aws)
        .get_function_configuration()
        .function_name(stack.setting(function))
        .send()
        .await
        .unwrap();
    let assumed = aws_sdk_sts::Client::new(&stack.aws)
        .assume_role()
        .role_arn(deployed.role().unwrap())
        .role_session_name("journey")
        .send()
        .await
        .unwrap();
    let given = assumed.credentials().unwrap();
    Credentials::new(
        given.access_key_id(),
        given.secret_access_key(),
        Some(given.session_token().to_owned()),
        None,
        "role",
    )
}

fn key(pk: &str) -> AttributeValue {
    AttributeValue::S(pk.to_owned())
}

#[tokio::test]
async fn the_function_that_shows_orders_cannot_remove_them_or_ring_deliveries() {
    let stack = Stack::new().await;
    let role = as_function(&stack, "ORDERS_FUNCTION_NAME").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&role);
    let app = format!("app#{}", stack.app.id);
    let read = dynamodb
        .get_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", key(&app));
    assert!(
        read.send().await.unwrap().item.is_some(),
        "it may read apps"
    );

    let ledger = stack.setting("LEDGER_TABLE");
    let delete = dynamodb
        .delete_item()
        .table_name(ledger)
        .key("pk", key("x"))
        .key("sk", key("order"));
    denied(delete.send().await);
    let app_put = dynamodb
        .put_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .item("pk", key("x"));
    denied(app_put.send().await);
}

#[tokio::test]
async fn the_function_that_calls_apps_can_neither_settle_orders_nor_register_apps() {
    let stack = Stack::new().await;
    let role = as_function(&stack, "DELIVER_FUNCTION_NAME").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&role);
    let put = dynamodb
        .put_item()
        .table_name(stack.setting("LEDGER_TABLE"))
        .item("pk", key("x"))
        .item("sk", key("order"));
    denied(put.send().await);
    let app_put = dynamodb
        .put_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .item("pk", key("x"));
    denied(app_put.send().await);
    let fed = dynamodb
        .delete_item()
        .table_name(stack.setting("FEED_TABLE"))
        .key("app_id", key("x"))
        .key("position", AttributeValue::N("1".to_owned()));
    denied(fed.send().await);
    let sqs = aws_sdk_sqs::Client::new(&role);
    let other = sqs
        .send_message()
        .queue_url(stack.setting("RECONCILE_QUEUE_URL"))
        .message_body("{}");
    denied(other.send().await);
}

#[tokio::test]
async fn the_sweeper_reads_its_index_and_not_the_table() {
    let stack = Stack::new().await;
    let role = as_function(&stack, "SWEEP_FUNCTION_NAME").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&role);
    let ledger = stack.setting("LEDGER_TABLE");
    let index = dynamodb
        .query()
        .table_name(ledger)
        .index_name("wake")
        .key_condition_expression("#shard = :shard")
        .expression_attribute_names("#shard", "shard")
        .expression_attribute_values(":shard", key("0"));
    index.send().await.unwrap();
    let get = dynamodb
        .get_item()
        .table_name(ledger)
        .key("pk", key("x"))
        .key("sk", key("order"));
    denied(get.send().await);
    denied(dynamodb.scan().table_name(ledger).send().await);
    denied(
        dynamodb
            .scan()
            .table_name(stack.setting("REGISTRY_TABLE"))
            .send()
            .await,
    );
}

#[tokio::test]
async fn no_function_may_read_everything_remove_orders_or_register_apps() {
    let stack = Stack::new().await;
    let (ledger, registry) = (
        stack.setting("LEDGER_TABLE"),
        stack.setting("REGISTRY_TABLE"),
    );
    for function in [
        "CREATE_ORDER",
        "ORDERS",
        "CASHIER",
        "OAUTH",
        "WECHAT_NOTIFY",
        "DELIVER",
        "RECONCILE",
        "SWEEP",
    ] {
        let role = as_function(&stack, &format!("{function}_FUNCTION_NAME")).await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&role);
        denied(dynamodb.scan().table_name(ledger).send().await);
        denied(dynamodb.scan().table_name(registry).send().await);
        let delete = dynamodb
            .delete_item()
            .table_name(ledger)
            .key("pk", key("x"))
            .key("sk", key("order"));
        denied(delete.send().await);
        // On AWS the cashier and oauth are further held to their own keys.
        if !matches!(function, "CASHIER" | "OAUTH") {
            let put = dynamodb
                .put_item()
                .table_name(registry)
                .item("pk", key("app#x"));
            denied(put.send().await);
        }
        nothing_of_the_trail(&dynamodb, stack.setting("AUDIT_TABLE")).await;
        let sqs = aws_sdk_sqs::Client::new(&role);
        denied(
            sqs.purge_queue()
                .queue_url(stack.setting("DELIVER_FIRST_QUEUE_URL"))
                .send()
                .await,
        );
        if matches!(function, "OAUTH" | "DELIVER") {
            let ring = sqs
                .send_message()
                .queue_url(stack.setting("DELIVER_FIRST_QUEUE_URL"))
                .message_body("{}");
            denied(ring.send().await);
        }
    }
}

#[tokio::test]
async fn each_function_reads_the_secrets_that_it_needs_and_no_other() {
    let stack = Stack::new().await;
    // Those of the stack's first merchant and account, and those that hubctl makes.
    let prefix = stack.setting("SECRETS_PREFIX");
    let made = |kind: Kind| kind.name(prefix, "journey");
    let secrets = [
        vec![
            stack.setting("WECHAT_SECRET_NAME").to_owned(),
            stack.setting("WECHAT_V3_SECRET_NAME").to_owned(),
            made(Kind::PaymentKeys),
            made(Kind::PaymentKeysV3),
        ],
        vec![
            stack.setting("WECHAT_ACCOUNT_SECRET_NAME").to_owned(),
            made(Kind::Account),
        ],
        vec![
            stack.setting("WECHAT_CERTIFICATE_NAME").to_owned(),
            made(Kind::Certificate),
        ],
    ];
    for kind in [
        Kind::PaymentKeys,
        Kind::PaymentKeysV3,
        Kind::Account,
        Kind::Certificate,
    ] {
        let text = "a secret".to_owned();
        store(&stack.aws, &made(kind), text).await.unwrap();
    }
    for (function, own) in [
        // The account's for the APP flow of 2014.
        ("CREATE_ORDER", [true, true, false]),
        ("ORDERS", [true, false, true]),
        ("CASHIER", [true, false, false]),
        ("OAUTH", [false, true, false]),
        ("WECHAT_NOTIFY", [true, false, false]),
        ("DELIVER", [false, false, false]),
        ("RECONCILE", [true, false, true]),
        ("SWEEP", [false, false, false]),
        ("OPERATOR", [true, false, true]),
    ] {
        let role = as_function(&stack, &format!("{function}_FUNCTION_NAME")).await;
        let manager = aws_sdk_secretsmanager::Client::new(&role);
        for (ids, may) in secrets.iter().zip(own) {
            for id in ids {
                let read = manager.get_secret_value().secret_id(id).send().await;
                match may {
                    true => drop(read.unwrap_or_else(|error| {
                        panic!("{function} must read {id}: {error:?}");
                    })),
                    false => denied(read),
                }
            }
        }
    }
}

#[tokio::test]
async fn the_operators_api_adds_to_the_trail_and_can_neither_change_nor_delete_it() {
    let stack = Stack::new().await;
    let role = as_function(&stack, "OPERATOR_FUNCTION_NAME").await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&role);
    let audit = stack.setting("AUDIT_TABLE");
    let (pk, sk) = (key("1999-01"), key(&stack.app.id));
    let put = dynamodb.put_item().table_name(audit);
    let put = put.item("pk", pk.clone()).item("sk", sk.clone());
    put.send().await.unwrap();
    let update = dynamodb.update_item().table_name(audit);
    let update = update.key("pk", pk.clone()).key("sk", sk.clone());
    denied(update.send().await);
    let delete = dynamodb.delete_item().table_name(audit);
    let delete = delete.key("pk", pk).key("sk", sk);
    denied(delete.send().await);
    denied(dynamodb.scan().table_name(audit).send().await);
    for table in ["REGISTRY_TABLE", "LEDGER_TABLE"] {
        let table = stack.setting(table);
        denied(dynamodb.scan().table_name(table).send().await);
    }
}

/// Nobody is to change or remove what is remembered of changes, and no function
/// but the operators' API adds to it.
async fn nothing_of_the_trail(dynamodb: &aws_sdk_dynamodb::Client, audit: &str) {
    let (pk, sk) = (key("2026-11"), key("x"));
    let put = dynamodb.put_item().table_name(audit);
    denied(
        put.item("pk", pk.clone())
            .item("sk", sk.clone())
            .send()
            .await,
    );
    let update = dynamodb.update_item().table_name(audit);
    let update = update.key("pk", pk.clone()).key("sk", sk.clone());
    denied(update.send().await);
    let delete = dynamodb.delete_item().table_name(audit);
    denied(
        delete
            .key("pk", pk.clone())
            .key("sk", sk.clone())
            .send()
            .await,
    );
    let get = dynamodb.get_item().table_name(audit);
    denied(get.key("pk", pk).key("sk", sk).send().await);
    denied(dynamodb.scan().table_name(audit).send().await);
}

fn denied<T: std::fmt::Debug, E: std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, aws_sdk_dynamodb::error::SdkError<E, R>>,
) {
    let error = format!("{:?}", result.expect_err("the role must not allow this"));
    assert!(error.contains("AccessDenied"), "{error}");
}
