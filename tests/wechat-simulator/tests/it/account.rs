//! Tests of the official account: consent, tokens, tickets and the
//! APP flow of 2014.

use serde_json::{Value, json};
use url::Url;
use wechat_simulator::sign::{self, Fields, SignType};

use crate::harness::World;

async fn authorize(world: &World, scope: &str, more: &str) -> (u16, Option<Url>, String) {
    let path = format!(
        "{}/connect/oauth2/authorize?appid={}&redirect_uri=http%3A%2F%2Fhub.example%2Fback%3Fa%3D1\
         &response_type=code&scope={scope}&state=xyz{more}",
        world.url, world.config.app_id
    );
    let answer = world.http.get(path).send().await.unwrap();
    let location = answer
        .headers()
        .get("location")
        .map(|to| to.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    (
        status,
        location.map(|to| Url::parse(&to).unwrap()),
        answer.text().await.unwrap(),
    )
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

async fn exchange(world: &World, code: &str) -> Value {
    let (id, secret) = (&world.config.app_id, &world.config.app_secret);
    let query = format!("appid={id}&secret={secret}&code={code}&grant_type=authorization_code");
    world
        .get(&format!("/sns/oauth2/access_token?{query}"))
        .await
}

#[tokio::test]
async fn a_code_works_once_and_not_for_long() {
    let world = World::start().await;
    let (_, to, _) = authorize(&world, "snsapi_base", "").await;
    let to = to.unwrap();
    assert_eq!(parameter(&to, "state").as_deref(), Some("xyz"));
    assert_eq!(parameter(&to, "a").as_deref(), Some("1"));
    let code = parameter(&to, "code").unwrap();
    let tokens = exchange(&world, &code).await;
    assert_eq!(tokens["openid"], "oSimulatedPayerAlice00000001");
    assert_eq!(tokens["scope"], "snsapi_base");
    assert_eq!(exchange(&world, &code).await["errcode"], 40163);
    assert_eq!(exchange(&world, "made-up").await["errcode"], 40029);
    let (_, to, _) = authorize(&world, "snsapi_base", "&_user=bob").await;
    world.set(json!({"clock_ahead_seconds": 301})).await;
    let code = parameter(&to.unwrap(), "code").unwrap();
    assert_eq!(exchange(&world, &code).await["errcode"], 40029);
}

#[tokio::test]
async fn user_information_needs_consent() {
    let world = World::start().await;
    let (status, to, page) = authorize(&world, "snsapi_userinfo", "").await;
    assert_eq!((status, to), (200, None));
    assert!(page.contains("Alice") && page.contains("Bob") && page.contains("_user=refuse"));
    let (_, to, _) = authorize(&world, "snsapi_userinfo", "&_user=refuse").await;
    let to = to.unwrap();
    assert!(parameter(&to, "code").is_none() && parameter(&to, "state").is_some());
    world.set(json!({"oauth_user": "snapshot"})).await;
    let (_, to, _) = authorize(&world, "snsapi_userinfo", "").await;
    let tokens = exchange(&world, &parameter(&to.unwrap(), "code").unwrap()).await;
    assert_eq!(tokens["is_snapshotuser"], 1);
    let (_, to, _) = authorize(&world, "snsapi_userinfo", "&_user=bob").await;
    let tokens = exchange(&world, &parameter(&to.unwrap(), "code").unwrap()).await;
    let (token, openid) = (
        tokens["access_token"].as_str().unwrap(),
        tokens["openid"].as_str(),
    );
    let path = format!(
        "/sns/userinfo?access_token={token}&openid={}",
        openid.unwrap()
    );
    assert_eq!(world.get(&path).await["nickname"], "Bob");
    world.set(json!({"clock_ahead_seconds": 7201})).await;
    assert_eq!(world.get(&path).await["errcode"], 42001);
}

#[tokio::test]
async fn the_authorize_address_must_be_exact() {
    let world = World::start().await;
    assert_eq!(authorize(&world, "snsapi_login", "").await.0, 400);
    world.set(json!({"oauth_domain": "other.example"})).await;
    assert_eq!(authorize(&world, "snsapi_base", "").await.0, 400);
    world.set(json!({"oauth_domain": "hub.example"})).await;
    assert_eq!(authorize(&world, "snsapi_base", "").await.0, 303);
    let shuffled = format!(
        "{}/connect/oauth2/authorize?response_type=code&appid={}&redirect_uri=http%3A%2F%2Fhub.example%2F\
         &scope=snsapi_base&state=x",
        world.url, world.config.app_id
    );
    assert_eq!(world.http.get(shuffled).send().await.unwrap().status(), 400);
}

async fn stable(world: &World, force: bool) -> Value {
    let asked = json!({
        "grant_type": "client_credential",
        "appid": world.config.app_id,
        "secret": world.config.app_secret,
        "force_refresh": force,
    });
    world.post("/cgi-bin/stable_token", &asked).await
}

#[tokio::test]
async fn stable_tokens_overlap_and_plain_ones_do_not() {
    let world = World::start().await;
    let ticket = |token: Value| {
        let path = "/cgi-bin/ticket/getticket?type=jsapi&access_token=";
        let path = format!("{path}{}", token.as_str().unwrap());
        let world = &world;
        async move { world.get(&path).await }
    };
    let first = stable(&world, false).await;
    assert_eq!(first["expires_in"], 7200);
    assert_eq!(
        stable(&world, false).await["access_token"],
        first["access_token"]
    );
    world.set(json!({"clock_ahead_seconds": 6901})).await;
    let second = stable(&world, false).await;
    assert_ne!(second["access_token"], first["access_token"]);
    let one = ticket(first["access_token"].clone()).await;
    assert_eq!(one["errcode"], 0);
    assert_eq!(
        ticket(second["access_token"].clone()).await["ticket"],
        one["ticket"]
    );
    world.set(json!({"clock_ahead_seconds": 7201})).await;
    assert_eq!(
        ticket(first["access_token"].clone()).await["errcode"],
        42001
    );
    stable(&world, true).await;
    assert_eq!(
        ticket(second["access_token"].clone()).await["errcode"],
        40001
    );

    let (id, secret) = (&world.config.app_id, &world.config.app_secret);
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={id}&secret={secret}");
    let plain = world.get(&path).await;
    assert_eq!(ticket(plain["access_token"].clone()).await["errcode"], 0);
    world.get(&path).await;
    assert_eq!(
        ticket(plain["access_token"].clone()).await["errcode"],
        40001
    );
    let wrong = world.get(&path.replace(secret.as_str(), "x")).await;
    assert_eq!(wrong["errcode"], 40125);
}

#[tokio::test]
async fn the_flow_of_2014_works_from_package_to_notification() {
    let world = World::start().await;
    let mut package = Fields::new();
    for (name, value) in [
        ("bank_type", "WX"),
        ("body", "支付 + 测试"),
        ("fee_type", "1"),
        ("input_charset", "UTF-8"),
        ("notify_url", &world.notify_url),
        ("out_trade_no", "legacy-1"),
        ("partner", &world.config.mch_id),
        ("spbill_create_ip", "196.168.1.1"),
        ("total_fee", "1"),
    ] {
        package.insert(name.to_owned(), value.to_owned());
    }
    let sign = sign::v2(&package, SignType::Md5, &world.config.api_key);
    package.insert("sign".to_owned(), sign);
    let encoded: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&package)
        .finish()
        .replace('+', "%20");
    let app_signature = sign::sha1_sorted(&[
        ("appid", &world.config.app_id),
        ("appkey", world.config.legacy_key()),
        ("noncestr", "n"),
        ("package", &encoded),
        ("timestamp", "1395712654"),
        ("traceid", "t"),
    ]);
    let asked = json!({
        "appid": world.config.app_id, "noncestr": "n", "package": encoded,
        "timestamp": "1395712654", "traceid": "t",
        "app_signature": app_signature, "sign_method": "sha1",
    });
    let refused = world.post("/pay/genprepay?access_token=old", &asked).await;
    assert_eq!(refused["errcode"], 40001);
    let token = stable(&world, false).await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/pay/genprepay?access_token={token}");
    let mut forged = asked.clone();
    forged["traceid"] = json!("other");
    assert_eq!(world.post(&path, &forged).await["errcode"], 49004);
    let answer = world.post(&path, &asked).await;
    assert_eq!(answer["errcode"], 0, "{answer}");

    let mut client = Fields::new();
    for (name, value) in [
        ("appid", world.config.app_id.as_str()),
        ("appkey", world.config.legacy_key()),
        ("noncestr", "n"),
        ("package", "Sign=WXPay"),
        ("partnerid", &world.config.mch_id),
        ("prepayid", answer["prepayid"].as_str().unwrap()),
        ("timestamp", "1395712654"),
    ] {
        client.insert(name.to_owned(), value.to_owned());
    }
    let pairs: Vec<(&str, &str)> = client
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let sign = sign::sha1_sorted(&pairs);
    client.remove("appkey");
    client.insert("sign".to_owned(), sign);
    world.merchant_answers(&["success"]);
    let paid = world.post("/phone/app", &json!(client)).await;
    assert_eq!(paid["err_msg"], "get_brand_wcpay_request:ok", "{paid}");
    let heard = world.hears(1).await;
    let query: Fields = url::form_urlencoded::parse(heard[0].0.as_bytes())
        .into_owned()
        .collect();
    assert!(sign::v2_holds(&query, SignType::Md5, &world.config.api_key));
    assert_eq!(query["out_trade_no"], "legacy-1");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(
        world.get("/_control/orders/legacy-1").await["notifications"][0]["accepted"],
        true
    );
}
