//! Tests of several merchants and several accounts.

use serde_json::{Value, json};
use wechat_simulator::sign::{self, Fields, SignType};
use wechat_simulator::{Config, xml};

use crate::harness::World;

const OTHER: &str = "1900000109";
const OTHER_KEY: &str = "another0merchant0another0merchan";

async fn account(world: &World, app_id: &str, kind: &str, merchants: &[&str]) {
    let told = json!({"app_id": app_id, "kind": kind, "secret": "s", "merchants": merchants});
    let (status, answer) = world.post_status("/_control/accounts", &told).await;
    assert_eq!(status, 200, "{answer}");
}

/// A second merchant, with an account of each kind; the mini program is bound
/// to both merchants.
async fn start() -> World {
    let world = World::start().await;
    let merchant = json!({"mch_id": OTHER, "api_key": OTHER_KEY});
    let (status, _) = world.post_status("/_control/merchants", &merchant).await;
    assert_eq!(status, 200);
    account(&world, "wxofficial", "official_account", &[OTHER]).await;
    account(&world, "wxmini", "mini_program", &[OTHER, "10000100"]).await;
    account(&world, "wxmobile", "mobile_app", &[OTHER]).await;
    account(&world, "wxsite", "website", &[OTHER]).await;
    world
}

/// A call of the second merchant's.
async fn other(world: &World, path: &str, app_id: &str, pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    let own = [("appid", app_id), ("mch_id", OTHER), ("nonce_str", "n")];
    for (name, value) in own.iter().chain(pairs) {
        fields.insert((*name).to_owned(), (*value).to_owned());
    }
    let sign = sign::v2(&fields, SignType::Md5, OTHER_KEY);
    fields.insert("sign".to_owned(), sign);
    let answer = world.v2_raw(path, &xml::write(&fields)).await;
    if answer["return_code"] == "SUCCESS" {
        assert!(sign::v2_holds(&answer, SignType::Md5, OTHER_KEY));
    }
    answer
}

async fn ordered(world: &World, kind: &str, app_id: &str, number: &str, openid: &str) -> Fields {
    let pairs = [
        ("body", "a book"),
        ("out_trade_no", number),
        ("total_fee", "5"),
        ("spbill_create_ip", "203.0.113.9"),
        ("notify_url", &world.notify_url),
        ("trade_type", kind),
        ("openid", openid),
        ("product_id", "1"),
        ("scene_info", r#"{"h5_info":{"type":"Wap"}}"#),
    ];
    other(world, "/pay/unifiedorder", app_id, &pairs).await
}

async fn session(world: &World, app_id: &str, secret: &str, code: &str) -> Value {
    let query =
        format!("appid={app_id}&secret={secret}&js_code={code}&grant_type=authorization_code");
    world.get(&format!("/sns/jscode2session?{query}")).await
}

#[tokio::test]
async fn the_kind_of_an_account_decides_what_it_pays() {
    let world = start().await;
    for (kind, app_id, taken) in [
        ("JSAPI", "wxofficial", true),
        ("JSAPI", "wxmini", true),
        ("JSAPI", "wxmobile", false),
        ("JSAPI", "wxsite", false),
        ("APP", "wxmobile", true),
        ("APP", "wxofficial", false),
        ("APP", "wxmini", false),
        ("NATIVE", "wxsite", true),
        ("NATIVE", "wxmobile", true),
        ("MWEB", "wxofficial", true),
    ] {
        let number = format!("order-{kind}-{app_id}");
        let answer = ordered(&world, kind, app_id, &number, "oMadeUp").await;
        let code = answer.get("err_code").map(String::as_str);
        assert_eq!(code, (!taken).then_some("PARAM_ERROR"), "{kind} {app_id}");
    }
    world.set(json!({"strict_kinds": false})).await;
    let lenient = ordered(&world, "APP", "wxofficial", "order-lenient", "").await;
    assert_eq!(lenient["result_code"], "SUCCESS");
}

#[tokio::test]
async fn an_account_pays_for_the_merchants_it_is_bound_to() {
    let world = start().await;
    let stranger = ordered(&world, "NATIVE", &world.config.app_id, "order-1", "").await;
    assert_eq!(stranger["return_code"], "FAIL");
    assert_eq!(world.why().await, "APPID_MCHID_NOT_MATCH");
    let unknown = ordered(&world, "NATIVE", "wxnobody", "order-1", "").await;
    assert_eq!(unknown["return_code"], "FAIL");
    let both = world.order("NATIVE", "order-1", &[("appid", "wxmini")]);
    assert_eq!(both.await["result_code"], "SUCCESS");
}

#[tokio::test]
async fn merchants_do_not_see_each_others_numbers() {
    let world = start().await;
    assert_eq!(
        world.order("NATIVE", "order-1", &[]).await["result_code"],
        "SUCCESS"
    );
    let query = [("out_trade_no", "order-1")];
    let none = other(&world, "/pay/orderquery", "wxsite", &query).await;
    assert_eq!(none["err_code"], "ORDERNOTEXIST");
    let own = ordered(&world, "NATIVE", "wxsite", "order-1", "").await;
    assert_eq!(own["result_code"], "SUCCESS");
    let code_url = json!({"code_url": own["code_url"]});
    let receipt = world.post("/_control/pay", &code_url).await;
    let told = other(&world, "/pay/orderquery", "wxsite", &query).await;
    assert_eq!(told["trade_state"], "SUCCESS");
    assert_eq!(told["total_fee"], "5");
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    let id = receipt["transaction_id"].as_str().unwrap();
    let foreign = world.v2("/pay/orderquery", &[("transaction_id", id)]).await;
    assert_eq!(foreign["err_code"], "ORDERNOTEXIST");
    let (_, body) = world.hears(1).await[0].clone();
    let heard = xml::read(&body).unwrap();
    assert_eq!(
        (heard["appid"].as_str(), heard["mch_id"].as_str()),
        ("wxsite", OTHER)
    );
    assert!(sign::v2_holds(&heard, SignType::Md5, OTHER_KEY));
    assert!(!sign::v2_holds(
        &heard,
        SignType::Md5,
        &world.config.api_key
    ));
    let refund = [
        ("out_trade_no", "order-1"),
        ("out_refund_no", "r-1"),
        ("total_fee", "1999"),
        ("refund_fee", "5"),
    ];
    let unpaid = world.v2("/secapi/pay/refund", &refund).await;
    assert_eq!(unpaid["err_code"], "TRADE_STATE_ERROR");
}

#[tokio::test]
async fn a_mini_program_logs_in_by_codes_of_its_own() {
    let world = start().await;
    let log_in = json!({"app_id": "wxmini", "user": "bob"});
    let code = world.post("/_control/js_code", &log_in).await;
    let code = code["js_code"].as_str().unwrap();
    assert_eq!(session(&world, "wxmini", "x", code).await["errcode"], 40125);
    assert_eq!(session(&world, "wxsite", "s", code).await["errcode"], 40013);
    let any = &world.config;
    let elsewhere = session(&world, &any.app_id, &any.app_secret, code).await;
    assert_eq!(elsewhere["errcode"], 40029);
    let told = session(&world, "wxmini", "s", code).await;
    let openid = told["openid"].as_str().unwrap();
    assert_eq!(
        (openid.len(), told["session_key"].as_str().unwrap().len()),
        (28, 24)
    );
    assert_ne!(openid, "oSimulatedPayerBob0000000002");
    assert_eq!(told["unionid"], "uSimulatedPayerBob0000000002");
    assert_eq!(session(&world, "wxmini", "s", code).await["errcode"], 40163);
    let order = ordered(&world, "JSAPI", "wxmini", "order-1", openid).await;
    assert_eq!(order["result_code"], "SUCCESS");
    let wrong = ordered(
        &world,
        "JSAPI",
        "wxmini",
        "order-2",
        "oSimulatedPayerBob0000000002",
    );
    assert_eq!(wrong.await["err_code"], "PARAM_ERROR");
    let code = world.post("/_control/js_code", &log_in).await;
    world.set(json!({"clock_ahead_seconds": 301})).await;
    let late = session(&world, "wxmini", "s", code["js_code"].as_str().unwrap());
    assert_eq!(late.await["errcode"], 40029);
    let nobody = json!({"app_id": "wxofficial"});
    let (status, _) = world.post_status("/_control/js_code", &nobody).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn tokens_and_tickets_are_one_accounts() {
    let world = start().await;
    let token = async |app_id: &str, secret: &str| {
        let asked = json!({
            "grant_type": "client_credential", "appid": app_id, "secret": secret,
        });
        world.post("/cgi-bin/stable_token", &asked).await
    };
    let (id, secret) = (&world.config.app_id, &world.config.app_secret);
    assert_eq!(token("wxofficial", secret).await["errcode"], 40125);
    let one = token(id, secret).await;
    let two = token("wxofficial", "s").await;
    assert_ne!(one["access_token"], two["access_token"]);
    assert_eq!(token(id, secret).await["access_token"], one["access_token"]);
    let ticket = async |token: &Value| {
        let path = "/cgi-bin/ticket/getticket?type=jsapi&access_token=";
        world
            .get(&format!(
                "{path}{}",
                token["access_token"].as_str().unwrap()
            ))
            .await
    };
    assert_ne!(ticket(&one).await["ticket"], ticket(&two).await["ticket"]);
}

#[tokio::test]
async fn a_file_names_those_who_are_known_from_the_start() {
    let path = std::env::temp_dir().join(format!("accounts-{}.json", std::process::id()));
    let listed = json!({
        "merchants": [{"mch_id": OTHER, "api_key": OTHER_KEY}],
        "accounts": [{"app_id": "wxsite", "kind": "website", "secret": "s", "merchants": [OTHER]}],
    });
    std::fs::write(&path, listed.to_string()).unwrap();
    let config = Config {
        accounts: Some(path.clone()),
        ..Config::default()
    };
    let world = World::start_as(config).await;
    let order = ordered(&world, "NATIVE", "wxsite", "order-1", "").await;
    assert_eq!(order["result_code"], "SUCCESS");
    account(&world, "wxlater", "website", &[OTHER]).await;
    world.post("/_control/reset", &json!({})).await;
    let known = world.get("/_control/accounts").await;
    assert_eq!(known.as_array().unwrap().len(), 2, "{known}");
    std::fs::write(&path, r#"{"merchant": []}"#).unwrap();
    let config = Config {
        accounts: Some(path.clone()),
        ..Config::default()
    };
    let refused = wechat_simulator::router(config).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("merchant"));
    std::fs::remove_file(&path).unwrap();
}
