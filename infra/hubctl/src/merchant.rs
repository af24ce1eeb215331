//! The merchants that are paid: rows of the registry. Their keys are in secrets,
//! which `hubctl credentials` fills in. The installation's first merchant is a
//! parameter of the stack, and becomes a row when it is edited here.

mod check;

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use shared::aws::Failure;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::audit::Entry;
use shared::domain::id::Refused;
use shared::domain::merchant::{MchId, Merchant, SignType};
use shared::domain::order::ApiVersion;

use crate::audit::Trail;
use crate::first::FirstMerchant;
use crate::registered::{Desk, Registered, state};
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
    Check(check::Check),
}

/// Where merchants are, and the installation's first.
#[derive(Args)]
pub(crate) struct Place {
    #[command(flatten)]
    registry: crate::place::Place,
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
        self.registry.registry(config)
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

impl Change {
    async fn desk(&self) -> Desk<'_> {
        let config = sdk_config_for_people().await;
        Desk::new(self.place.registry(&config), config, &self.trail)
    }
}

impl Registered for Merchant {
    const WHAT: &str = "merchant";

    fn id(&self) -> &str {
        self.mch_id.as_str()
    }

    async fn save(self, desk: &Desk<'_>, entry: &Entry) -> Result<bool, Failure> {
        let audit = desk.trail.table(&desk.config);
        desk.registry.save_merchant(self, &audit, entry).await
    }
}

#[derive(Args)]
struct Settings {
    /// For people.
    #[arg(long)]
    name: Option<String>,
    /// By which version of WeChat Pay new attempts are opened.
    #[arg(long, value_name = "2|3", value_parser = version)]
    api_version: Option<ApiVersion>,
    /// Charge payers' codes by version 3, too (true or false). It needs --api-version 3.
    #[arg(long)]
    codepay: Option<bool>,
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
        if let Some(codepay) = self.codepay {
            merchant.codepay = codepay;
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

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(new) => create(new).await,
        Command::List(list) => tell_all(list).await,
        Command::Show(show) => tell(show).await,
        Command::Edit(edit) => {
            let apply = |merchant: &mut Merchant| edit.settings.apply(merchant);
            change(&edit.change, "edit", apply).await
        }
        Command::Disable(disable) => {
            change(&disable, "disable", |merchant| merchant.disabled = true).await
        }
        Command::Enable(enable) => {
            change(&enable, "enable", |merchant| merchant.disabled = false).await
        }
        Command::Check(check) => check::run(check).await,
    }
}

async fn create(new: Create) -> Done {
    let mch_id = &new.change.mch_id;
    if new.change.place.first.is(mch_id) {
        let text = format!("it is the stack's first: hubctl merchant edit {mch_id}");
        return Err(Stop::Refused(text).into());
    }
    let mut merchant = Merchant::new(mch_id.clone(), ApiVersion::V3);
    new.settings.apply(&mut merchant);
    merchant.check().map_err(refused)?;
    new.change.desk().await.create(merchant).await
}

async fn change(change: &Change, verb: &str, apply: impl Fn(&mut Merchant)) -> Done {
    let desk = change.desk().await;
    let before = change.place.read(&desk.registry, &change.mch_id).await?;
    let mut after = before.clone();
    apply(&mut after);
    after.check().map_err(refused)?;
    desk.change(before, verb, apply).await
}

fn refused(rule: Refused) -> Stop {
    Stop::Refused(rule.to_string())
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
    let head = ["MCH_ID", "STATE", "VERSION", "NAME"];
    print::list(&merchants, list.json, head, |merchant| {
        let version = match merchant.api_version {
            ApiVersion::V2 => "2",
            ApiVersion::V3 => "3",
        };
        [
            merchant.mch_id.to_string(),
            state(merchant.disabled),
            version.to_owned(),
            merchant.name.clone(),
        ]
    })
}

async fn tell(show: Show) -> Done {
    let config = sdk_config_for_people().await;
    let registry = show.place.registry(&config);
    let merchant = show.place.read(&registry, &show.mch_id).await?;
    print::object(&merchant, show.json)
}
