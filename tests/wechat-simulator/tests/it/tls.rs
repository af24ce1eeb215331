//! Tests of the merchant's door: who may call `/secapi/`, and where.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Identity};
use tokio::net::TcpListener;
use wechat_simulator::tls::{Shown, TlsListener};
use wechat_simulator::{Config, router, xml};

use crate::harness::World;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of that authority, and its key.
fn signed(by: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn folder(ca: &Authority) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulator-tls");
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = signed(ca, "127.0.0.1");
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(folder.join("server.pem"), certificate).unwrap();
    std::fs::write(folder.join("server.key"), key).unwrap();
    folder
}

fn client(ca: &Authority, shows: Option<&Authority>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(ca.pem().as_bytes()).unwrap()]);
    if let Some(issuer) = shows {
        let (certificate, key) = signed(issuer, "1900000109");
        builder = builder.identity(Identity::from_pem((key + &certificate).as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn secapi_is_for_holders_of_the_merchants_certificate_only() {
    // For its requests, and for the provider that it installs.
    let world = World::start().await;
    let ca = authority("The CA");
    let tls = TlsListener::bind(0, &folder(&ca)).await.unwrap();
    let tls_address = axum::serve::Listener::local_addr(&tls).unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (safe, open) = (
        format!("https://{tls_address}"),
        format!("http://{}", plain.local_addr().unwrap()),
    );
    let app = router(Config {
        tls_port: Some(tls_address.port()),
        ..Config::default()
    })
    .unwrap();
    let service = app.clone().into_make_service_with_connect_info::<Shown>();
    tokio::spawn(async move { axum::serve(tls, service).await });
    tokio::spawn(async move { axum::serve(plain, app).await });

    let (stranger, holder) = (client(&ca, None), client(&ca, Some(&ca)));
    let body = world.request(&[
        ("out_trade_no", "order-1"),
        ("out_refund_no", "r-1"),
        ("total_fee", "1"),
        ("refund_fee", "1"),
    ]);
    // It is taken in when the answer is about the order.
    for (client, base, path, taken_in) in [
        (&stranger, &safe, "/secapi/pay/refund", false),
        (&stranger, &safe, "/secapi/pay/reverse", false),
        (&holder, &open, "/secapi/pay/refund", false),
        (&stranger, &safe, "/pay/orderquery", true),
        (&stranger, &open, "/pay/orderquery", true),
        (&holder, &safe, "/secapi/pay/refund", true),
        (&holder, &safe, "/secapi/pay/reverse", true),
        (&holder, &safe, "/pay/orderquery", true),
    ] {
        let request = client.post(format!("{base}{path}")).body(body.clone());
        let text = request.send().await.unwrap().text().await.unwrap();
        let answer = xml::read(&text).unwrap();
        let wanted = if taken_in { "SUCCESS" } else { "FAIL" };
        assert_eq!(answer["return_code"], wanted, "{base}{path}: {answer:?}");
        assert_eq!(answer["return_msg"].contains("证书"), !taken_in);
    }
    let rejections = holder.get(format!("{safe}/_control/rejections"));
    let rejections = rejections.send().await.unwrap().text().await.unwrap();
    assert_eq!(rejections.matches(r#""code":"CERTIFICATE""#).count(), 3);

    let another = client(&ca, Some(&authority("Another CA")));
    let refused = another.post(format!("{safe}/secapi/pay/refund")).body(body);
    assert!(refused.send().await.is_err());
}
