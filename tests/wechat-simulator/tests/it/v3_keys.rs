//! Tests of WeChat's own keys: certificates, the switch-over to the public key,
//! trials, and what a test may have spoilt.

use serde_json::{Value, json};
use wechat_simulator::{Config, Signs};
use x509_parser::pem::parse_x509_pem;

use crate::harness::World;
use crate::v3_client::{Client, Odd, open, read};

/// Takes the platform certificates, as an older merchant does.
async fn fetch(client: &mut Client<'_>) -> Vec<String> {
    let path = "/v3/certificates?algorithm_type=RSA";
    let (status, headers, text) = client.send("GET", path, "", Odd::default()).await;
    assert_eq!(status, 200, "{text}");
    let list = read(&text)["data"].as_array().unwrap().clone();
    for one in &list {
        let pem = open(&one["encrypt_certificate"]).unwrap();
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let serial = one["serial_no"].as_str().unwrap();
        assert_eq!(hex::encode_upper(certificate.raw_serial()), serial);
        assert_eq!(serial.len(), 40);
        assert!(one["expire_time"].as_str() > one["effective_time"].as_str());
        let spki = certificate.public_key().raw.to_vec();
        client.keys.push((serial.to_owned(), spki));
    }
    // The first ones are proven by the seal alone, and then prove themselves.
    client.verify(&headers, &text).unwrap();
    list.iter()
        .map(|one| one["serial_no"].as_str().unwrap().to_owned())
        .collect()
}

async fn signer(client: &Client<'_>) -> String {
    let path = format!(
        "/v3/pay/transactions/out-trade-no/order-1?mchid={}",
        client.mch_id
    );
    let (status, headers, text) = client.send("GET", &path, "", Odd::default()).await;
    assert_eq!(status, 200, "{text}");
    client.verify(&headers, &text).unwrap();
    headers["wechatpay-serial"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_merchant_has_a_public_key_and_no_certificates() {
    let world = World::start().await;
    let mut client = Client::start(&world).await;
    client.order("native", "order-1", json!({})).await;
    let id = client.keys[0].0.clone();
    assert!(id.starts_with("PUB_KEY_ID_") && id.len() == 43, "{id}");
    assert_eq!(signer(&client).await, id);
    let (status, none) = client.get("/v3/certificates").await;
    assert_eq!((status, none["code"].as_str()), (404, Some("NOT_FOUND")));
    client.wants = None;
    assert_eq!(signer(&client).await, id);
    client.wants = Some(format!("PUB_KEY_ID_{}", "1".repeat(32)));
    let (status, foreign) = client.query("order-1").await;
    assert_eq!(
        (status, foreign["code"].as_str()),
        (400, Some("PARAM_ERROR"))
    );
    world.set(json!({"v3_strict_serial": false})).await;
    assert_eq!(signer(&client).await, id);
}

#[tokio::test]
async fn an_older_merchant_has_certificates_whatever_it_asks_for() {
    let world = World::start().await;
    let mut client = Client::start(&world).await;
    client.tell(&json!({"signs": "certificate"})).await;
    let older = fetch(&mut client).await;
    assert_eq!(older.len(), 1);
    client.order("native", "order-1", json!({})).await;
    assert!(client.wants.as_deref().unwrap().starts_with("PUB_KEY_ID_"));
    assert_eq!(signer(&client).await, older[0]);
    // A new certificate appears and signs: its serial is not known yet.
    client.tell(&json!({"platform_certificates": 2})).await;
    let path = format!(
        "/v3/pay/transactions/out-trade-no/order-1?mchid={}",
        client.mch_id
    );
    let (_, headers, text) = client.send("GET", &path, "", Odd::default()).await;
    let unknown = client.verify(&headers, &text).unwrap_err();
    assert!(unknown.starts_with("unknown serial"), "{unknown}");
    let both = fetch(&mut client).await;
    assert_eq!((both.len(), &both[0]), (2, &older[0]));
    assert_eq!(signer(&client).await, both[1]);
    let foreign = Client {
        keys: vec![(both[1].clone(), client.keys[1].1.clone())],
        ..client
    };
    assert_eq!(foreign.verify(&headers, &text), Err("signature".to_owned()));
}

#[tokio::test]
async fn during_the_switch_over_both_keys_are_in_use() {
    let world = World::start().await;
    let mut client = Client::start(&world).await;
    client.order("native", "order-1", json!({})).await;
    let id = client.keys[0].0.clone();
    client.tell(&json!({"signs": "both"})).await;
    let platform = fetch(&mut client).await;
    assert_eq!(signer(&client).await, id);
    client.wants = Some(platform[0].clone());
    assert_eq!(signer(&client).await, platform[0]);
    client.wants = None;
    assert_eq!(signer(&client).await, platform[0]);
    world.pay("order-1").await;
    world.hears(1).await;
    let mut heard = 1;
    for (percent, serials) in [
        (0, vec![&platform[0]]),
        (100, vec![&id]),
        (50, vec![&id, &platform[0]]),
    ] {
        client.tell(&json!({"public_key_percent": percent})).await;
        let asked = json!({"out_trade_no": "order-1", "copies": 1});
        let mut seen = Vec::new();
        for _ in 0..40 {
            world.post("/_control/notify", &asked).await;
            heard += 1;
            let (_, body) = world.hears(heard).await[heard - 1].clone();
            let headers = world.headers()[heard - 1].clone();
            client.verify(&headers, &body).unwrap();
            seen.push(headers["wechatpay-serial"].to_str().unwrap().to_owned());
        }
        seen.sort();
        seen.dedup();
        let mut serials: Vec<String> = serials.into_iter().cloned().collect();
        serials.sort();
        assert_eq!(seen, serials, "{percent}");
    }
    // After it: the public key alone.
    client.tell(&json!({"signs": "public_key"})).await;
    client.wants = Some(id.clone());
    assert_eq!(signer(&client).await, id);
}

#[tokio::test]
async fn answers_are_spoilt_as_ordered() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client.order("native", "order-1", json!({})).await;
    let pattern = "/v3/pay/transactions/out-trade-no/{out_trade_no}";
    let path = format!(
        "/v3/pay/transactions/out-trade-no/order-1?mchid={}",
        client.mch_id
    );
    for (spoilt, why) in [
        ("forged_sign", "signature"),
        ("sign_test", "base64"),
        ("bad_base64", "base64"),
        ("no_sign", "wechatpay-signature: 0"),
        ("two_signs", "wechatpay-signature: 2"),
        ("wrong_serial", "unknown serial"),
        (
            "unknown_serial",
            "unknown serial PUB_KEY_ID_99999999999999999999999999999999",
        ),
        ("old", "clock"),
        ("ahead", "clock"),
        ("changed_body", "signature"),
    ] {
        let fault = json!({"path": pattern, "kind": "spoilt", "spoilt": spoilt});
        assert_eq!(world.post_status("/_control/faults", &fault).await.0, 200);
        let (status, headers, text) = client.send("GET", &path, "", Odd::default()).await;
        assert_eq!(status, 200);
        assert_eq!(read(&text)["trade_state"], "NOTPAY");
        let found = client.verify(&headers, &text).unwrap_err();
        assert!(found.starts_with(why), "{spoilt}: {found}");
        let (_, headers, text) = client.send("GET", &path, "", Odd::default()).await;
        client.verify(&headers, &text).unwrap();
    }
    let counters = world.get("/_control/counters").await;
    assert_eq!(counters[pattern], 20);
}

#[tokio::test]
async fn errors_come_unsigned_before_and_after_the_deed() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let path = "/v3/pay/transactions/native";
    for (fault, status, code, exists) in [
        (
            json!({"kind": "system_error"}),
            500,
            json!("SYSTEM_ERROR"),
            false,
        ),
        (
            json!({"kind": "error", "err_code": "FREQUENCY_LIMITED"}),
            429,
            json!("FREQUENCY_LIMITED"),
            false,
        ),
        (
            json!({"kind": "error", "err_code": "SERVICE_UNAVAILABLE"}),
            503,
            json!("SERVICE_UNAVAILABLE"),
            false,
        ),
        (
            json!({"kind": "error", "err_code": "ODD", "http_status": 502}),
            502,
            json!("ODD"),
            false,
        ),
        (json!({"kind": "http_500"}), 500, Value::Null, false),
        (
            json!({"kind": "error_after", "err_code": "FREQUENCY_LIMITED"}),
            429,
            json!("FREQUENCY_LIMITED"),
            true,
        ),
        (
            json!({"kind": "system_error_after"}),
            500,
            json!("SYSTEM_ERROR"),
            true,
        ),
    ] {
        let mut fault = fault;
        fault["path"] = json!(path);
        world.post("/_control/faults", &fault).await;
        let number = format!(
            "order-{}-{status}-{exists}",
            fault["kind"].as_str().unwrap()
        );
        let number = number.chars().take(32).collect::<String>();
        let body = client.wanted("native", &number, json!({})).to_string();
        let (given, headers, text) = client.send("POST", path, &body, Odd::default()).await;
        assert_eq!((given, &read(&text)["code"]), (status, &code), "{fault}");
        assert!(headers.get("wechatpay-signature").is_none());
        assert_eq!(client.query(&number).await.0 == 200, exists, "{fault}");
    }
    for odd in [
        json!({"path": path, "kind": "spoilt"}),
        json!({"path": path, "kind": "reset", "spoilt": "old"}),
        json!({"path": "/pay/orderquery", "kind": "spoilt", "spoilt": "old"}),
        json!({"path": path, "kind": "error_after"}),
        json!({"path": "/v3/pay/transactions/out-trade-no/order-1", "kind": "reset"}),
    ] {
        assert_eq!(
            world.post_status("/_control/faults", &odd).await.0,
            400,
            "{odd}"
        );
    }
    world.set(json!({"v3_signs_errors": true})).await;
    let none = format!(
        "/v3/pay/transactions/out-trade-no/none-1?mchid={}",
        client.mch_id
    );
    let (status, headers, text) = client.send("GET", &none, "", Odd::default()).await;
    assert_eq!(status, 404);
    client.verify(&headers, &text).unwrap();
}

#[tokio::test]
async fn the_clock_of_signatures_is_moved_apart() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    world.set(json!({"clock_ahead_seconds": 4000})).await;
    assert_eq!(client.order("native", "order-1", json!({})).await.0, 200);
    for ahead in [-400, 400] {
        world
            .set(json!({"signing_clock_ahead_seconds": ahead}))
            .await;
        let (_, refused) = client.query("order-1").await;
        assert_eq!(refused["code"], "SIGN_ERROR");
    }
}

#[tokio::test]
async fn keys_are_kept_where_the_start_says() {
    let folder = std::env::temp_dir().join(format!("keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let first = {
        let world = World::start().await;
        let client = Client::start(&world).await;
        client.identity.certificate.clone()
    };
    let certificate = folder.join("merchant.pem");
    std::fs::write(&certificate, first).unwrap();
    let config = Config {
        api_v3_key: Some(crate::v3_client::API_V3_KEY.to_owned()),
        mch_certificate: Some(certificate.clone()),
        signs: Signs::Both,
        keys_dir: Some(folder.clone()),
        ..Config::default()
    };
    let mut shown = Vec::new();
    for _ in 0..2 {
        let world = World::start_as(config.clone()).await;
        let merchants = world.get("/_control/merchants").await;
        let console = merchants[0]["console"].clone();
        assert_eq!(console["serial"], "5157F09E");
        let pem = std::fs::read_to_string(folder.join("10000100-public.pem")).unwrap();
        assert_eq!(console["public_key"], pem);
        shown.push(console);
    }
    assert_eq!(shown[0], shown[1]);
    std::fs::write(&certificate, "no PEM").unwrap();
    assert!(wechat_simulator::router(config).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_merchant_is_told_rightly_or_not_at_all() {
    let world = World::start().await;
    for odd in [
        json!({}),
        json!({"mch_id": ""}),
        json!({"mch_id": "1", "api_v3_key": "short"}),
        json!({"mch_id": "1", "certificate": "no PEM"}),
        json!({"mch_id": "1", "public_key_percent": 101}),
        json!({"mch_id": "1", "platform_certificates": 3}),
        json!({"mch_id": "1", "colour": "red"}),
    ] {
        assert_eq!(
            world.post_status("/_control/merchants", &odd).await.0,
            400,
            "{odd}"
        );
    }
    let nameless = json!({"app_id": "", "kind": "website", "secret": "s"});
    assert_eq!(
        world.post_status("/_control/accounts", &nameless).await.0,
        400
    );
}
