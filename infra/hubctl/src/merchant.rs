//! The merchants that are paid: rows of the registry. Their keys are in secrets,
//! which `hubctl credentials` fills in. The installation's first merchant is a
//! parameter of the stack, and becomes a row when it is edited here.

use std::time::Duration;

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use serde_json::json;
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::merchants::Merchants;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::aws::secrets::Kind;
use shared::config;
use shared::domain::id::OutTradeNo;
use shared::domain::merchant::{MchId, Merchant, SignType};
use shared::domain::order::ApiVersion;
use shared::wechat::{self, Gateway, Hosts, Http, Proven};

use crate::audit::Trail;
use crate::first::{FirstAccount, FirstMerchant};
use crate::{Done, Stop, print};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Registers a merchant; its keys come by `hubctl credentials`.
    Create(Create),
    /// Lists all merchants.
    List(List),
    /// Shows a merchant.
    Show(Show),
    /// Changes a merchant; the version is for new attempts only.
    Edit(Edit),
    /// Lets nobody pay this merchant any more.
    #[command(
        after_help = "  hubctl merchant disable 1900000109 --reason \"the contract has ended\""
    )]
    Disable(Change),
    /// Lets people pay this merchant again.
    #[command(after_help = "  hubctl merchant enable 1900000109")]
    Enable(Change),
    /// Asks WeChat something harmless with each credential.
    Check(Check),
}

/// Where merchants are, and the installation's first.
#[derive(Args)]
pub(crate) struct Place {
    /// The registry (the stack's output `RegistryTable`).
    #[arg(long, value_name = "TABLE", env = "REGISTRY_TABLE")]
    pub(crate) registry_table: String,
    #[command(flatten)]
    pub(crate) first: FirstMerchant,
    /// The parameter `WechatApiVersion`.
    #[arg(long, value_name = "2|3", env = "WECHAT_API_VERSION", value_parser = version)]
    first_api_version: Option<ApiVersion>,
    /// The parameter `WechatSignType`.
    #[arg(long, value_name = "TYPE", env = "WECHAT_SIGN_TYPE", value_parser = SignType::parse)]
    first_sign_type: Option<SignType>,
}

fn version(text: &str) -> Result<ApiVersion, &'static str> {
    match text {
        "2" => Ok(ApiVersion::V2),
        "3" => Ok(ApiVersion::V3),
        _ => Err("must be 2 or 3"),
    }
}

fn gateway(text: &str) -> Result<String, &'static str> {
    let base = text.trim_end_matches('/');
    let host = base.strip_prefix("https://").unwrap_or_default();
    match base.is_empty() || !(host.is_empty() || host.contains(['/', '?', '#', '@', ' '])) {
        true => Ok(base.to_owned()),
        false => Err("must be https:// and a host"),
    }
}

impl Place {
    pub(crate) fn registry(&self, config: &SdkConfig) -> Registry {
        Registry::new(config, self.registry_table.clone())
    }

    /// The row, or what the stack's parameters say of its first merchant.
    pub(crate) async fn read(
        &self,
        registry: &Registry,
        mch_id: &MchId,
    ) -> Result<Merchant, Box<dyn std::error::Error>> {
        if let Some(row) = registry.merchant(mch_id).await? {
            return Ok(row);
        }
        if !self.first.is(mch_id) {
            return Err(Stop::NotFound(format!("there is no merchant {mch_id}")).into());
        }
        // Its row would say something else than the stack does.
        let (Some(version), Some(sign_type)) = (self.first_api_version, self.first_sign_type)
        else {
            let text = "the stack's first merchant has no row yet: name the parameters that it has, \
                        WECHAT_API_VERSION and WECHAT_SIGN_TYPE";
            return Err(Stop::Refused(text.to_owned()).into());
        };
        let mut first = Merchant::new(mch_id.clone(), version);
        first.sign_type = sign_type;
        Ok(first)
    }
}

#[derive(Args)]
#[command(after_help = "\
  hubctl merchant create 1900000110 --name \"Tea brand\" --api-version 3
  hubctl credentials import 1900000110 --p12 apiclient_cert.p12 --api-v3-key key.txt \\
    --public-key pub_key.pem --public-key-id PUB_KEY_ID_...")]
pub(crate) struct Create {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
#[command(after_help = "  hubctl merchant list --json")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Print an array of what `merchant show --json` prints.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "  hubctl merchant show 1900000109 --json")]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// WeChat's number of the merchant.
    #[arg(value_parser = MchId::parse)]
    mch_id: MchId,
    /// Print an object instead of lines.
    #[arg(long)]
    json: bool,
}

// A change of a merchant. (A doc comment would become the help of each.)
#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// WeChat's number of the merchant.
    #[arg(value_parser = MchId::parse)]
    mch_id: MchId,
}

#[derive(Args)]
struct Settings {
    /// For people.
    #[arg(long)]
    name: Option<String>,
    /// By which version of WeChat Pay new attempts are opened.
    #[arg(long, value_name = "2|3", value_parser = version)]
    api_version: Option<ApiVersion>,
    /// How version 2 signs: MD5 or HMAC-SHA256.
    #[arg(long, value_parser = SignType::parse)]
    sign_type: Option<SignType>,
    /// Another gateway than the stack's, https://apihk.mch.weixin.qq.com say; empty
    /// for the stack's.
    #[arg(long, value_name = "URL", value_parser = gateway)]
    pay_base: Option<String>,
}

impl Settings {
    fn apply(&self, merchant: &mut Merchant) {
        if let Some(name) = &self.name {
            merchant.name.clone_from(name);
        }
        if let Some(version) = self.api_version {
            merchant.api_version = version;
        }
        if let Some(sign_type) = self.sign_type {
            merchant.sign_type = sign_type;
        }
        if let Some(base) = &self.pay_base {
            merchant.pay_base = (!base.is_empty()).then(|| base.clone());
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Each flag that is not given stays as it is. Functions see it within five minutes.

  hubctl merchant edit 1900000109 --api-version 3 --reason \"keys are in and checked\"")]
pub(crate) struct Edit {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
#[command(after_help = "\
It closes, and with a client certificate takes back, a payment that there is not, in each
version whose keys are there, and asks for the access token of each account. Nothing
changes at WeChat.

  hubctl merchant check 1900000109")]
pub(crate) struct Check {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    secrets: Secrets,
    /// WeChat's number of the merchant.
    #[arg(value_parser = MchId::parse)]
    mch_id: MchId,
    /// WeChat's payment gateway, if another than its own.
    #[arg(long, value_name = "URL", env = "WECHAT_PAY_BASE")]
    pay_base: Option<String>,
    /// WeChat's host of accounts, if another than its own.
    #[arg(long, value_name = "URL", env = "WECHAT_OAUTH_BASE")]
    oauth_base: Option<String>,
}

/// Where secrets are: those of the stack's first merchant and account are made with
/// it, the others by hubctl.
#[derive(Args)]
pub(crate) struct Secrets {
    /// How the names of all other secrets begin (the stack's output `SecretsPrefix`).
    #[arg(long, value_name = "PREFIX", env = "SECRETS_PREFIX")]
    pub(crate) secrets_prefix: String,
    #[command(flatten)]
    pub(crate) first_account: FirstAccount,
    /// The stack's output `WechatSecretName`.
    #[arg(long, value_name = "NAME", env = "WECHAT_SECRET_NAME")]
    pub(crate) first_secret: Option<String>,
    /// The stack's output `WechatV3SecretName`.
    #[arg(long, value_name = "NAME", env = "WECHAT_V3_SECRET_NAME")]
    pub(crate) first_v3_secret: Option<String>,
    /// The stack's output `WechatCertificateName`.
    #[arg(long, value_name = "NAME", env = "WECHAT_CERTIFICATE_NAME")]
    pub(crate) first_certificate: Option<String>,
    /// The stack's output `WechatAccountSecretName`.
    #[arg(long, value_name = "NAME", env = "WECHAT_ACCOUNT_SECRET_NAME")]
    pub(crate) first_account_secret: Option<String>,
}

impl Secrets {
    /// The name of a secret that was made with the stack.
    pub(crate) fn first(&self, kind: Kind) -> Result<&str, Stop> {
        let (name, variable) = match kind {
            Kind::PaymentKeys => (&self.first_secret, "WECHAT_SECRET_NAME"),
            Kind::PaymentKeysV3 => (&self.first_v3_secret, "WECHAT_V3_SECRET_NAME"),
            Kind::Certificate => (&self.first_certificate, "WECHAT_CERTIFICATE_NAME"),
            Kind::Account => (&self.first_account_secret, "WECHAT_ACCOUNT_SECRET_NAME"),
        };
        name.as_deref().ok_or_else(|| {
            Stop::Refused(format!(
                "{variable} must name the secret that was made with the stack"
            ))
        })
    }

    /// The name of the secret that belongs to this merchant or account.
    pub(crate) fn name(&self, kind: Kind, id: &str, is_first: bool) -> Result<String, Stop> {
        match is_first {
            true => self.first(kind).map(str::to_owned),
            false => Ok(kind.name(&self.secrets_prefix, id)),
        }
    }
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(new) => create(new).await,
        Command::List(list) => tell_all(list).await,
        Command::Show(show) => tell(show).await,
        Command::Edit(edit) => {
            let apply = |merchant: &mut Merchant| edit.settings.apply(merchant);
            change(&edit.change, "merchant.edit", apply).await
        }
        Command::Disable(disable) => {
            change(&disable, "merchant.disable", |merchant| {
                merchant.disabled = true
            })
            .await
        }
        Command::Enable(enable) => {
            change(&enable, "merchant.enable", |merchant| {
                merchant.disabled = false
            })
            .await
        }
        Command::Check(check) => ask_wechat(check).await,
    }
}

async fn create(new: Create) -> Done {
    let mch_id = &new.change.mch_id;
    if new.change.place.first.is(mch_id) {
        let text = format!("it is the stack's first: hubctl merchant edit {mch_id}");
        return Err(Stop::Refused(text).into());
    }
    let config = sdk_config_for_people().await;
    let mut merchant = Merchant::new(mch_id.clone(), ApiVersion::V3);
    new.settings.apply(&mut merchant);
    let change = &new.change;
    let entry = change
        .trail
        .entry(&config, "merchant.create", merchant.mch_id.to_string());
    let entry = entry.await.between(&json!({}), &merchant);
    let audit = change.trail.table(&config);
    let registry = change.place.registry(&config);
    let taken = format!("a merchant {} is registered already", merchant.mch_id);
    match registry.save_merchant(merchant, &audit, &entry).await? {
        true => Ok(()),
        false => Err(Stop::Refused(taken).into()),
    }
}

async fn change(change: &Change, action: &str, apply: impl Fn(&mut Merchant)) -> Done {
    let config = sdk_config_for_people().await;
    let registry = change.place.registry(&config);
    let before = change.place.read(&registry, &change.mch_id).await?;
    let mut after = before.clone();
    apply(&mut after);
    let entry = change
        .trail
        .entry(&config, action, change.mch_id.to_string());
    let entry = entry.await.between(&before, &after);
    let audit = change.trail.table(&config);
    match registry.save_merchant(after, &audit, &entry).await? {
        true => Ok(()),
        false => Err(Stop::lost_race("merchant").into()),
    }
}

async fn tell_all(list: List) -> Done {
    let config = sdk_config_for_people().await;
    let registry = list.place.registry(&config);
    let mut known = registry.directory().await?.merchants;
    known.extend(list.place.first.id().cloned());
    let mut merchants = Vec::new();
    for mch_id in &known {
        merchants.push(list.place.read(&registry, mch_id).await?);
    }
    if list.json {
        return print::json(&merchants);
    }
    let rows = merchants.iter().map(|merchant| {
        let state = if merchant.disabled { "disabled" } else { "" };
        let version = match merchant.api_version {
            ApiVersion::V2 => "2",
            ApiVersion::V3 => "3",
        };
        [
            merchant.mch_id.to_string(),
            state.to_owned(),
            version.to_owned(),
            merchant.name.clone(),
        ]
    });
    print::table(["MCH_ID", "STATE", "VERSION", "NAME"], rows);
    Ok(())
}

async fn tell(show: Show) -> Done {
    let config = sdk_config_for_people().await;
    let registry = show.place.registry(&config);
    let merchant = show.place.read(&registry, &show.mch_id).await?;
    print::object(&merchant, show.json)
}

impl Check {
    fn hosts(&self) -> Hosts {
        let mut hosts = Hosts::default();
        if let Some(base) = &self.pay_base {
            hosts.pay = Gateway::at(base.trim_end_matches('/'));
        }
        if let Some(base) = &self.oauth_base {
            base.trim_end_matches('/').clone_into(&mut hosts.api);
        }
        hosts
    }

    async fn merchants(
        &self,
        config: &SdkConfig,
        registry: &Registry,
    ) -> Result<Merchants, Box<dyn std::error::Error>> {
        let secrets = &self.secrets;
        let first = match (self.place.first.id(), secrets.first_account.id()) {
            (Some(first), Some(account)) => Some(config::FirstMerchant {
                merchant: self.place.read(registry, first).await?,
                account: account.clone(),
                secret_id: secrets.first(Kind::PaymentKeys)?.to_owned(),
                v3_secret_id: Some(secrets.first(Kind::PaymentKeysV3)?.to_owned()),
            }),
            _ => None,
        };
        let settings = config::Merchants {
            first,
            hosts: self.hosts(),
            secrets_prefix: secrets.secrets_prefix.clone(),
            certificate_id: Some(secrets.first_certificate.clone().unwrap_or_default()),
            fresh: Duration::from_secs(300),
        };
        Ok(Merchants::new(
            config,
            registry.clone(),
            settings,
            Http::new()?,
        ))
    }

    fn accounts(
        &self,
        config: &SdkConfig,
        registry: &Registry,
    ) -> Result<Accounts, Box<dyn std::error::Error>> {
        let settings = config::Accounts {
            first: self.secrets.first_account.id().cloned(),
            secret_id: self.secrets.first_account_secret.clone(),
            hosts: self.hosts(),
            secrets_prefix: self.secrets.secrets_prefix.clone(),
            fresh: Duration::from_secs(300),
        };
        Ok(Accounts::new(
            config,
            registry.clone(),
            settings,
            Http::new()?,
        ))
    }
}

async fn ask_wechat(check: Check) -> Done {
    let config = sdk_config_for_people().await;
    let registry = check.place.registry(&config);
    let merchants = check.merchants(&config, &registry).await?;
    let found = merchants.find(&check.mch_id).await?;
    let Some(wechat) = found else {
        return Err(Stop::NotFound(format!("there is no merchant {}", check.mch_id)).into());
    };
    let mut bound = Vec::new();
    if check.place.first.is(&check.mch_id) {
        bound.extend(check.secrets.first_account.id().cloned());
    }
    for id in registry.directory().await?.accounts {
        let row = registry.account(&id).await?;
        let is_bound = row.is_some_and(|row| row.merchants.contains(&check.mch_id));
        if is_bound && !bound.contains(&id) {
            bound.push(id);
        }
    }
    let now = Clock::System.now();
    // No app has this identifier, so no order has this number.
    let number = OutTradeNo::parse("hubctl0000000000CHECK0000001")?;
    let accounts = check.accounts(&config, &registry)?;
    let mut rows = Vec::new();
    for account in &bound {
        for (what, answer) in wechat.check(account, &number, now).await {
            rows.push([
                account.to_string(),
                what.to_owned(),
                payments_verdict(answer),
            ]);
        }
        let token = match accounts.client(account).await {
            Ok(client) => match client
                .stable_token(wechat::official_account::token::Renewal::Plain)
                .await
            {
                Ok(_) => "good".to_owned(),
                Err(error) => account_verdict(&error),
            },
            Err(failure) => {
                format!("BAD: {failure}: import it with hubctl credentials import-account")
            }
        };
        rows.push([account.to_string(), "account's secret".to_owned(), token]);
    }
    let is_bad = rows
        .iter()
        .any(|[_, _, verdict]| verdict.starts_with("BAD"));
    let is_good = !rows.is_empty() && !is_bad;
    print::table(["ACCOUNT", "CREDENTIAL", "VERDICT"], rows);
    match is_good {
        true => Ok(()),
        false if bound.is_empty() => {
            let text = "no account is bound to it: hubctl account edit APPID --add-merchant MCH_ID";
            Err(Stop::Refused(text.to_owned()).into())
        }
        false => Err(Stop::Refused("not every credential serves".to_owned()).into()),
    }
}

fn payments_verdict(answer: Result<Proven, wechat::Error>) -> String {
    let error = match answer {
        Ok(Proven::Yes) => return "good".to_owned(),
        Ok(Proven::No) => {
            let text =
                "not proven: WeChat signs nothing for this merchant before its first payment";
            return text.to_owned();
        }
        Err(error) => error,
    };
    let help = match error.business_code() {
        Some("APPID_MCHID_NOT_MATCH") => "bind the account to the merchant in WeChat's platform",
        Some("NOAUTH" | "NO_AUTH") => "the merchant has no contract for this at WeChat",
        Some("SIGNERROR" | "SIGN_ERROR") => "the key is not the merchant's: import it again",
        _ => match &error {
            wechat::Error::Refused(_) => {
                "the key or its serial is not the merchant's: import it again"
            }
            wechat::Error::Unreachable(_) | wechat::Error::Unknown(_) => {
                "nothing is known: is WeChat reachable from here? try again"
            }
            wechat::Error::Forged(_) => {
                "the key that WeChat's answers are verified with is not WeChat's"
            }
            wechat::Error::NoCertificate => "import it with --p12",
            _ => "see WeChat's list of codes",
        },
    };
    format!("BAD: {error}: {help}")
}

fn account_verdict(error: &wechat::Error) -> String {
    let help = match error.business_code() {
        Some("40013") => "there is no such appid",
        Some("40125" | "40001") => "the secret is not the account's: import it again",
        Some("40164") => {
            "this machine's address is not on the account's list; the functions' may be"
        }
        _ => "see WeChat's list of codes",
    };
    format!("BAD: {error}: {help}")
}
