//! What the targets share: a merchant, and how an input becomes a signed
//! document that is then changed: two bytes choose where, one into what, the
//! rest are names and values.

pub mod host;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde_json::json;
use shared::domain::merchant::{AccountId, MchId, Merchant, SignType};
use shared::domain::order::ApiVersion;
use shared::domain::time::Timestamp;
use shared::wechat::v2::{Client, PaymentKeys};
use shared::wechat::v3::{self, Proof};
use shared::wechat::{Hosts, Http, Identity, Wechat};
use tokio::runtime::{Builder, Runtime};

use host::{Answer, Host, Received};

/// The official account that notifications must be of.
pub const APP_ID: &str = "wx0000000000000000";
/// The merchant that notifications must be of.
pub const MCH_ID: &str = "1900000109";
/// No input holds what was made with it, but by finding a collision.
pub const KEY: &str = "0123456789abcdef0123456789ABCDEF";

fn merchant(sign_type: SignType) -> Merchant {
    let mch_id = MchId::parse(MCH_ID).expect("it is a merchant's number");
    let mut merchant = Merchant::new(mch_id, ApiVersion::V2);
    merchant.sign_type = sign_type;
    merchant
}

static HTTP: LazyLock<Http> = LazyLock::new(|| Http::new().expect("a client can be made"));
static HOST: LazyLock<Host> = LazyLock::new(Host::start);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("it can be built")
});

/// The result of asking a host of WeChat's that answers like this, and what the host
/// received meanwhile.
pub fn ask<T>(answer: Answer, question: impl Future<Output = T>) -> (T, Vec<Received>) {
    HOST.answers(answer);
    let result = RUNTIME.block_on(question);
    (result, HOST.received())
}

/// The merchant's side of WeChat, by version 2.
#[must_use]
pub fn wechat(sign_type: SignType) -> Client {
    let secrets = format!(r#"{{"api_key": "{KEY}"}}"#);
    let secrets = PaymentKeys::parse(&secrets).expect("the secrets are complete");
    let identity = Identity::new(&merchant(sign_type), &Hosts::default());
    Client::new(identity, secrets, HTTP.clone())
}

/// The id of WeChat's public key in these targets.
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000000000000000000000001";
/// The key of the hub's own tests, which stands for WeChat's here as well.
const PRIVATE_KEY: &str = include_str!("../../../shared/src/wechat/v3/fixtures/merchant.key");

/// The merchant by version 3, and WeChat's side of it.
#[derive(Debug)]
pub struct V3 {
    /// The merchant.
    pub wechat: Wechat,
    key: RsaKeyPair,
}

/// What names the merchant of version 3, and WeChat's key for it.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// `mchid`.
    pub mch_id: &'a str,
    /// The merchant's certificate's.
    pub serial_no: &'a str,
    /// WeChat's key's.
    pub public_key_id: &'a str,
}

impl V3 {
    /// Both, made once.
    #[must_use]
    pub fn new() -> Self {
        let names = Names {
            mch_id: MCH_ID,
            serial_no: "01",
            public_key_id: PUBLIC_KEY_ID,
        };
        Self::of(names).expect("the secret is complete")
    }

    /// The same under other names; none when the hub does not take them.
    #[must_use]
    pub fn of(names: Names<'_>) -> Option<Self> {
        let secret = json!({
            "api_v3_key": KEY, "serial_no": names.serial_no, "private_key": PRIVATE_KEY,
            "public_key_id": names.public_key_id, "public_key": include_str!("wechat.pem"),
        });
        let keys = v3::Keys::parse(&secret.to_string()).ok()??;
        let mut merchant = Merchant::new(MchId::parse(names.mch_id).ok()?, ApiVersion::V3);
        merchant.pay_base = Some(HOST.address.clone());
        let identity = Identity::new(&merchant, &Hosts::default());
        let client = v3::Client::new(identity, keys, HTTP.clone());
        let account = AccountId::parse(APP_ID).expect("it is an appid");
        let lines = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-'));
        let pkcs8 = BASE64_STANDARD.decode(lines.collect::<String>());
        let pkcs8 = pkcs8.expect("the key is base64");
        Some(Self {
            wechat: Wechat::new(merchant, Some(account), None, Some(client)),
            key: RsaKeyPair::from_pkcs8(&pkcs8).expect("the key is RSA"),
        })
    }

    /// Whether the key, WeChat's and the merchant's alike, has signed this.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public());
        let signature = BASE64_STANDARD.decode(signature);
        signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }

    /// WeChat's signature of a body.
    #[must_use]
    pub fn sign(&self, at: Timestamp, body: &[u8]) -> Proof {
        let (timestamp, nonce) = (at.seconds().to_string(), "nonce".to_owned());
        let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                &message,
                &mut signature,
            )
            .expect("the key can sign");
        Proof {
            timestamp,
            nonce,
            serial: PUBLIC_KEY_ID.to_owned(),
            signature: BASE64_STANDARD.encode(signature),
        }
    }

    /// A payment's notification with this in it, sealed with the merchant's key.
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let key = UnboundKey::new(&AES_256_GCM, KEY.as_bytes()).expect("32 bytes");
        let mut text = plain.to_vec();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(*b"fdasflkja484"),
                Aad::from("transaction"),
                &mut text,
            )
            .expect("it can be sealed");
        let event = json!({
            "event_type": "TRANSACTION.SUCCESS",
            "resource": {
                "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM",
                "nonce": "fdasflkja484", "associated_data": "transaction",
                "ciphertext": BASE64_STANDARD.encode(text),
            },
        });
        event.to_string().into_bytes()
    }
}

impl Default for V3 {
    fn default() -> Self {
        Self::new()
    }
}

/// What is to be changed in a document, and the fields it is made of.
#[derive(Debug)]
pub struct Rejection {
    at: usize,
    into: u8,
    /// Names and values; no name twice.
    pub fields: BTreeMap<String, String>,
}

impl Rejection {
    /// Reads an input; none if it is too short or no text.
    #[must_use]
    pub fn read(input: &[u8]) -> Option<Self> {
        let (&[high, low, into], rest) = input.split_first_chunk()?;
        let lines = std::str::from_utf8(rest).ok()?.split('\n');
        let fields = lines.filter_map(|line| line.split_once('='));
        Some(Self {
            at: usize::from(u16::from_be_bytes([high, low])),
            into,
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        })
    }

    /// Changes one byte of the document: to another, away, or twice.
    pub fn change(&self, document: &mut Vec<u8>) {
        let Some(at) = self.at.checked_rem(document.len()) else {
            return;
        };
        match self.into {
            0 => drop(document.remove(at)),
            1 => document.insert(at, document[at]),
            other => document[at] = other,
        }
    }
}
