//! A second merchant with its accounts, as an operator registers them, and what is
//! done with it in more than one file of journeys.

use std::path::{Path, PathBuf};

use journeys::Stack;
use serde_json::{Value, json};
use shared::ambient::random_hex;
use shared::domain::app::App;
use shared::domain::merchant::{AccountId, MchId};

/// A brand beside the installation's first merchant: a merchant of its own, with an
/// official account, a mini program and a mobile app.
pub(crate) struct Brand {
    pub(crate) mch_id: String,
    pub(crate) api_key: String,
    pub(crate) official: String,
    pub(crate) mini: String,
    pub(crate) mobile: String,
    signs: &'static str,
}

pub(crate) async fn done(stack: &Stack, arguments: &[&str]) {
    let ran = stack.run(arguments).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
}

pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

impl Brand {
    /// Known at WeChat, and registered at the hub with hubctl as an operator would.
    pub(crate) async fn register(stack: &Stack, api_version: &str) -> Self {
        Self::signed_for_by(stack, api_version, "public_key").await
    }

    /// One for which WeChat signs with platform certificates, and whose secret has
    /// none of WeChat's keys.
    pub(crate) async fn with_certificates_only(stack: &Stack) -> Self {
        Self::signed_for_by(stack, "3", "certificate").await
    }

    async fn signed_for_by(stack: &Stack, api_version: &str, signs: &'static str) -> Self {
        let digits = u64::from_str_radix(&random_hex()[..12], 16).unwrap() % 100_000_000;
        let appid = || format!("wx{}", &random_hex()[..16]);
        let brand = Self {
            mch_id: format!("16{digits:08}"),
            api_key: random_hex(),
            official: appid(),
            mini: appid(),
            mobile: appid(),
            signs,
        };
        brand.be_known(stack).await;
        brand.be_registered(stack, api_version).await;
        brand
    }

    pub(crate) fn accounts(&self) -> [(&str, &'static str); 3] {
        [
            (&self.official, "official_account"),
            (&self.mini, "mini_program"),
            (&self.mobile, "mobile_app"),
        ]
    }

    /// What changes of the merchant at WeChat.
    pub(crate) async fn becomes(&self, stack: &Stack, mut changes: Value) {
        changes["mch_id"] = json!(self.mch_id);
        assert_eq!(stack.wechat("merchants", &changes).await.status, 200);
    }

    async fn be_known(&self, stack: &Stack) {
        let certificate = std::fs::read_to_string(stack.setting("WECHAT_MCH_CERTIFICATE")).unwrap();
        let merchant = json!({
            "mch_id": self.mch_id, "api_key": self.api_key, "api_v3_key": self.api_key,
            "certificate": certificate, "signs": self.signs,
        });
        assert_eq!(stack.wechat("merchants", &merchant).await.status, 200);
        for (app_id, kind) in self.accounts() {
            let account = json!({
                "app_id": app_id, "kind": kind, "secret": self.api_key,
                "merchants": [self.mch_id],
            });
            assert_eq!(stack.wechat("accounts", &account).await.status, 200);
        }
    }

    async fn be_registered(&self, stack: &Stack, api_version: &str) {
        let mch_id = &*self.mch_id;
        let named = ["merchant", "create", mch_id, "--name", "A brand"];
        let versioned = ["--api-version", api_version];
        done(stack, &[&named[..], &versioned[..]].concat()).await;
        let url = format!("{}/_control/merchants", stack.setting("SIMULATOR_URL"));
        let known = stack.send(|http| http.get(url)).await.body;
        let known = known.as_array().unwrap().iter();
        let console = known.clone().find(|one| one["mch_id"] == mch_id).unwrap();
        let console = &console["console"];
        let folder = std::env::temp_dir().join(format!("brand-{mch_id}"));
        std::fs::create_dir_all(&folder).unwrap();
        let key = file(&folder, "key.txt", &self.api_key);
        let public = file(
            &folder,
            "pub_key.pem",
            console["public_key"].as_str().unwrap(),
        );
        let certificate = Path::new(stack.setting("WECHAT_MCH_CERTIFICATE"));
        let private = certificate.with_file_name("apiclient_key.pem");
        let [key, public, private] = [&key, &public, &private].map(|path| path.to_str().unwrap());
        let import = [
            "credentials",
            "import",
            mch_id,
            "--api-key",
            key,
            "--api-v3-key",
            key,
            "--private-key",
            private,
            "--certificate",
            certificate.to_str().unwrap(),
        ];
        let public = [
            "--public-key",
            public,
            "--public-key-id",
            console["public_key_id"].as_str().unwrap(),
        ];
        let keys = match self.signs {
            "public_key" => &public[..],
            _ => &[],
        };
        done(stack, &[&import[..], keys].concat()).await;
        for (account, kind) in self.accounts() {
            let bound = [
                "account",
                "create",
                account,
                "--kind",
                kind,
                "--merchant",
                mch_id,
            ];
            done(stack, &bound).await;
            let secret = [
                "credentials",
                "import-account",
                account,
                "--app-secret",
                key,
            ];
            done(stack, &secret).await;
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Makes it this app's.
    pub(crate) fn equip(&self, app: &mut App) {
        app.merchant = Some(MchId::parse(&self.mch_id).unwrap());
        app.accounts = self
            .accounts()
            .map(|(id, _)| AccountId::parse(id).unwrap())
            .to_vec();
    }

    /// A stack with an app of this brand's.
    pub(crate) async fn stack(&self) -> Stack {
        Stack::with_app(|app| self.equip(app)).await
    }
}

/// Paid at WeChat, told to the app, and given back.
pub(crate) async fn paid_and_back(stack: &Stack, order: &Value) {
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    let back = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1999}))
        .await;
    assert!(matches!(back.status, 200..=202), "{back:?}");
    stack.told(&order["order_no"], "refund.succeeded").await;
}
