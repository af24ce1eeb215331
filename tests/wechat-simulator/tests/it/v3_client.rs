//! A small APIv3 client of the tests' own, by other cryptography than the
//! simulator's: signs as a merchant does, verifies and decrypts as one must.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::harness::World;

pub(crate) const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

/// A merchant's key and certificate.
pub(crate) struct Identity {
    key: RsaKeyPair,
    pub(crate) certificate: String,
    pub(crate) serial: String,
}

/// Two merchants' keys, which take their time to make.
static IDENTITIES: LazyLock<[Arc<Identity>; 2]> =
    LazyLock::new(|| [identity("5157F09E"), identity("0AC3BEEF")].map(Arc::new));

fn identity(serial: &str) -> Identity {
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let pair = KeyPair::from_pem(&pem).unwrap();
    let mut params = CertificateParams::default();
    params.serial_number = Some(hex::decode(serial).unwrap().into());
    let der = key.to_pkcs8_der().unwrap();
    Identity {
        key: RsaKeyPair::from_pkcs8(der.as_bytes()).unwrap(),
        certificate: params.self_signed(&pair).unwrap().pem(),
        serial: serial.to_owned(),
    }
}

impl Identity {
    pub(crate) fn sign(&self, message: &str) -> String {
        let mut signature = vec![0; self.key.public().modulus_len()];
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        self.key
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .unwrap();
        STANDARD.encode(signature)
    }
}

/// A merchant that calls APIv3.
pub(crate) struct Client<'w> {
    pub(crate) world: &'w World,
    pub(crate) mch_id: String,
    pub(crate) app_id: String,
    pub(crate) identity: Arc<Identity>,
    /// The keys of WeChat's that it holds, by their serials: SPKI in DER.
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    /// Sent as `Wechatpay-Serial`.
    pub(crate) wants: Option<String>,
}

/// What one header is instead, what the clock is off by, and so on.
#[derive(Default)]
pub(crate) struct Odd<'o> {
    pub(crate) clock: i64,
    pub(crate) serial: Option<&'o str>,
    pub(crate) authorization: Option<&'o str>,
    pub(crate) sent_body: Option<&'o str>,
    pub(crate) without: Option<&'o str>,
}

pub(crate) fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

impl<'w> Client<'w> {
    /// The simulator's first merchant, now with APIv3 and the public key.
    pub(crate) async fn start(world: &'w World) -> Self {
        let (mch_id, app_id) = (world.config.mch_id.clone(), world.config.app_id.clone());
        Self::of(world, &mch_id, &app_id, 0).await
    }

    /// Any merchant, with the key pair of that number.
    pub(crate) async fn of(world: &'w World, mch_id: &str, app_id: &str, pair: usize) -> Self {
        let identity = Arc::clone(&IDENTITIES[pair]);
        let told = json!({
            "mch_id": mch_id,
            "api_v3_key": API_V3_KEY,
            "certificate": identity.certificate,
        });
        let mut client = Self {
            world,
            mch_id: mch_id.to_owned(),
            app_id: app_id.to_owned(),
            identity,
            keys: Vec::new(),
            wants: None,
        };
        let console = client.tell(&told).await;
        let id = console["public_key_id"].as_str().unwrap();
        let (_, pem) = parse_x509_pem(console["public_key"].as_str().unwrap().as_bytes()).unwrap();
        client.keys.push((id.to_owned(), pem.contents));
        client.wants = Some(id.to_owned());
        client
    }

    /// Changes what WeChat knows of the merchant; what its console shows.
    pub(crate) async fn tell(&self, changed: &Value) -> Value {
        let mut changed = changed.clone();
        changed["mch_id"] = json!(self.mch_id);
        let told = self.world.post_status("/_control/merchants", &changed);
        let (status, all) = told.await;
        assert_eq!(status, 200, "{all}");
        let all = all.as_array().unwrap();
        let own = all.iter().find(|one| one["mch_id"] == self.mch_id.as_str());
        own.unwrap()["console"].clone()
    }

    /// Calls, and checks the signature of what succeeds.
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, headers, text) = self.send(method, target, &body, Odd::default()).await;
        if status < 300 {
            self.verify(&headers, &text).unwrap();
        } else {
            assert!(headers.get("wechatpay-signature").is_none(), "{text}");
        }
        assert!(headers["request-id"].to_str().unwrap().contains('-'));
        (status, read(&text))
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> (u16, Value) {
        self.call("POST", target, Some(body)).await
    }

    pub(crate) async fn get(&self, target: &str) -> (u16, Value) {
        self.call("GET", target, None).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        body: &str,
        odd: Odd<'_>,
    ) -> (u16, HeaderMap, String) {
        let (timestamp, nonce) = (now() + odd.clock, "593BEC0C930BF1AFEB40B4A08C8FB242");
        let message = format!("{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n");
        let signature = self.identity.sign(&message);
        let (mch_id, serial) = (&self.mch_id, odd.serial.unwrap_or(&self.identity.serial));
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mch_id}\",nonce_str=\"{nonce}\",\
             signature=\"{signature}\",timestamp=\"{timestamp}\",serial_no=\"{serial}\""
        );
        let authorization = odd.authorization.unwrap_or(&authorization);
        let mut request = self
            .world
            .http
            .request(
                method.parse().unwrap(),
                format!("{}{target}", self.world.url),
            )
            .body(odd.sent_body.unwrap_or(body).to_owned());
        for (name, value) in [
            ("accept", "application/json"),
            ("authorization", authorization),
            ("content-type", "application/json"),
            ("user-agent", "tests"),
            (
                "wechatpay-serial",
                self.wants.as_deref().unwrap_or_default(),
            ),
        ] {
            if odd.without != Some(name) && !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.text().await.unwrap())
    }

    /// Whether WeChat has signed this, as a careful merchant sees it.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &str) -> Result<(), String> {
        let one = |name: &str| {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            match all.as_slice() {
                [value] => Ok(value.to_str().unwrap().to_owned()),
                _ => Err(format!("{name}: {}", all.len())),
            }
        };
        let (timestamp, nonce) = (one("wechatpay-timestamp")?, one("wechatpay-nonce")?);
        let (serial, signature) = (one("wechatpay-serial")?, one("wechatpay-signature")?);
        if (now() - timestamp.parse::<i64>().unwrap()).abs() >= 300 {
            return Err("clock".to_owned());
        }
        let key = self.keys.iter().find(|(known, _)| *known == serial);
        let (_, key) = key.ok_or(format!("unknown serial {serial}"))?;
        let signature = STANDARD.decode(signature).map_err(|_| "base64")?;
        let message = format!("{timestamp}\n{nonce}\n{body}\n");
        // ring wants the key without its algorithm.
        let (_, spki) = SubjectPublicKeyInfo::from_der(key).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki.subject_public_key.data)
            .verify(message.as_bytes(), &signature)
            .map_err(|_| "signature".to_owned())
    }

    /// Orders, with more or other fields.
    pub(crate) async fn order(&self, kind: &str, number: &str, more: Value) -> (u16, Value) {
        let path = format!("/v3/pay/transactions/{kind}");
        self.post(&path, &self.wanted(kind, number, more)).await
    }

    pub(crate) fn wanted(&self, kind: &str, number: &str, more: Value) -> Value {
        let mut body = json!({
            "appid": self.app_id,
            "mchid": self.mch_id,
            "description": "a book & more",
            "out_trade_no": number,
            "notify_url": self.world.notify_url,
            "amount": {"total": 1999, "currency": "CNY"},
        });
        match kind {
            "jsapi" => body["payer"] = json!({"openid": "oSimulatedPayerBob0000000002"}),
            "h5" => {
                body["scene_info"] =
                    json!({"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}});
            }
            _ => {}
        }
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    pub(crate) async fn query(&self, number: &str) -> (u16, Value) {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}");
        self.get(&format!("{path}?mchid={}", self.mch_id)).await
    }

    /// Charges a payer's code.
    pub(crate) async fn codepay(&self, number: &str, code: &str, more: Value) -> (u16, Value) {
        let mut body = self.wanted("codepay", number, json!({}));
        body.as_object_mut().unwrap().remove("notify_url");
        body["payer"] = json!({"auth_code": code});
        body["scene_info"] = json!({"device_ip": "203.0.113.9"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("/v3/pay/transactions/codepay", &body).await
    }

    pub(crate) async fn reverse(&self, number: &str, body: &Value) -> (u16, Value) {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/reverse");
        self.post(&path, body).await
    }

    pub(crate) async fn close(&self, number: &str) -> (u16, Value) {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        self.post(&path, &json!({"mchid": self.mch_id})).await
    }

    pub(crate) async fn refund(
        &self,
        number: &str,
        refund_no: &str,
        fee: i64,
        more: Value,
    ) -> (u16, Value) {
        let mut body = json!({
            "out_trade_no": number,
            "out_refund_no": refund_no,
            "notify_url": self.world.notify_url,
            "amount": {"refund": fee, "total": 1999, "currency": "CNY"},
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("/v3/refund/domestic/refunds", &body).await
    }
}

/// Opens `resource` or `encrypt_certificate`.
pub(crate) fn open(sealed: &Value) -> Result<String, String> {
    let text = |name: &str| sealed[name].as_str().unwrap_or_default();
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes());
    let nonce = nonce.map_err(|_| "nonce")?;
    let key = UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap();
    let mut data = STANDARD.decode(text("ciphertext")).map_err(|_| "base64")?;
    let aad = Aad::from(text("associated_data").as_bytes());
    let plain = LessSafeKey::new(key).open_in_place(nonce, aad, &mut data);
    let plain = plain.map_err(|_| "ciphertext")?;
    Ok(String::from_utf8(plain.to_vec()).unwrap())
}

pub(crate) fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
