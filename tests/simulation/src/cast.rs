//! Who is paid and through which accounts: the same two merchants and five accounts
//! in every run. How a merchant stands, by which version new attempts go and which
//! keys the hub has, is the seed's. WeChat's keys and the merchants' are made once
//! per process, because RSA keys take long.

use std::error::Error;
use std::sync::OnceLock;

use serde_json::{Value, json};
use shared::domain::merchant::AccountKind;
use shared::domain::order::ApiVersion;
use wechat_simulator::v3::Own;
use wechat_simulator::{Account, Config, Console, Directory, Kind, Merchant, Signs};

/// WeChat's numbers of the merchants; the first is the installation's.
pub(crate) const MCH_IDS: [&str; 2] = ["1900000109", "1900000110"];
/// The installation's first account.
pub(crate) const FIRST: &str = "wx0123456789abcdef";
/// The mini program, which is bound to both merchants.
pub(crate) const MINI: &str = "wx0000000000000mini";

/// Version 2's keys, which sign payments.
const API_KEYS: [&str; 2] = [
    "simulation0simulation0simulation",
    "simulation1simulation1simulation",
];
/// What version 3's notifications are sealed with.
const API_V3_KEYS: [&str; 2] = [
    "simulation0simulation0version0v3",
    "simulation1simulation1version1v3",
];

/// An account: what it is, and to which merchants it is bound.
pub(crate) struct AccountOf {
    pub(crate) id: &'static str,
    kind: AccountKind,
    pub(crate) merchants: &'static [usize],
}

pub(crate) const ACCOUNTS: [AccountOf; 5] = [
    AccountOf {
        id: FIRST,
        kind: AccountKind::OfficialAccount,
        merchants: &[0],
    },
    AccountOf {
        id: "wx00000000000mobile",
        kind: AccountKind::MobileApp,
        merchants: &[0],
    },
    AccountOf {
        id: MINI,
        kind: AccountKind::MiniProgram,
        merchants: &[0, 1],
    },
    AccountOf {
        id: "wx11111111111111111",
        kind: AccountKind::OfficialAccount,
        merchants: &[1],
    },
    AccountOf {
        id: "wx11111111111mobile",
        kind: AccountKind::MobileApp,
        merchants: &[1],
    },
];

/// The name of the secret with the first merchant's keys of version 2.
pub(crate) const SECRET_ID: &str = "wechat";
/// The same of version 3.
pub(crate) const V3_SECRET_ID: &str = "wechat-v3";
/// The same of its client certificate.
pub(crate) const CERTIFICATE_ID: &str = "certificate";
/// How the names of the other merchants' secrets begin.
pub(crate) const SECRETS_PREFIX: &str = "hub";

/// How a merchant stands in the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    /// New attempts go by version 3.
    pub(crate) prefers_v3: bool,
    /// Version 2's keys are there.
    pub(crate) has_v2: bool,
    /// Version 3's are.
    pub(crate) has_v3: bool,
}

/// How both stand.
pub(crate) type Standings = [Standing; 2];

impl Standing {
    /// By which version new attempts go.
    pub(crate) const fn version(self) -> ApiVersion {
        match self.prefers_v3 {
            true => ApiVersion::V3,
            false => ApiVersion::V2,
        }
    }

    /// Whether this version's keys are there.
    pub(crate) const fn has(self, version: ApiVersion) -> bool {
        match version {
            ApiVersion::V2 => self.has_v2,
            ApiVersion::V3 => self.has_v3,
        }
    }
}

/// The keys of everybody.
#[derive(Debug)]
pub(crate) struct Cast {
    own: [Own; 2],
    console: [Console; 2],
}

/// Whose number this is, by their place.
pub(crate) fn place_of(mch_id: &str) -> Option<usize> {
    MCH_IDS.iter().position(|known| *known == mch_id)
}

impl Cast {
    /// They, whose keys are made by whoever asks first.
    ///
    /// # Errors
    /// When this machine cannot make them.
    pub(crate) fn get() -> Result<&'static Self, Box<dyn Error + Send + Sync>> {
        static CAST: OnceLock<Result<Cast, String>> = OnceLock::new();
        let cast = CAST.get_or_init(|| Self::new().map_err(|error| error.to_string()));
        cast.as_ref().map_err(|error| error.as_str().into())
    }

    fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let own = [Own::new(MCH_IDS[0])?, Own::new(MCH_IDS[1])?];
        let directory = directory(&own, Signs::Both, 2)?;
        let console = |mch_id| directory.console(mch_id).ok_or("WeChat has no keys");
        let console = [console(MCH_IDS[0])?, console(MCH_IDS[1])?];
        Ok(Self { own, console })
    }

    /// Whom WeChat knows, when it signs with these keys of its own.
    ///
    /// # Errors
    /// When it cannot know somebody.
    pub(crate) fn directory(
        &self,
        signs: Signs,
        certificates: usize,
    ) -> Result<Directory, Box<dyn Error + Send + Sync>> {
        directory(&self.own, signs, certificates)
    }

    /// The text of a secret as it stands, if it is there.
    pub(crate) fn secret(&self, id: &str, standings: &Standings) -> Option<String> {
        let (kind, index) = match id {
            SECRET_ID => ("payment-keys", 0),
            V3_SECRET_ID => ("payment-keys-v3", 0),
            CERTIFICATE_ID => ("certificate", 0),
            _ => {
                let (kind, mch_id) = id.strip_prefix("hub/")?.split_once('/')?;
                (kind, place_of(mch_id)?)
            }
        };
        let standing = standings.get(index)?;
        let (own, console) = (self.own.get(index)?, self.console.get(index)?);
        match kind {
            "payment-keys" if standing.has_v2 => {
                Some(json!({"api_key": API_KEYS.get(index)?}).to_string())
            }
            "certificate" if standing.has_v2 => {
                Some(format!("{}{}", own.private_key, own.certificate))
            }
            "payment-keys-v3" if standing.has_v3 => Some(
                json!({
                    "api_v3_key": API_V3_KEYS.get(index)?,
                    "serial_no": own.serial,
                    "private_key": own.private_key,
                    "public_key_id": console.public_key_id,
                    "public_key": console.public_key,
                    "certificates": console.certificates,
                })
                .to_string(),
            ),
            _ => None,
        }
    }
}

fn directory(
    own: &[Own; 2],
    signs: Signs,
    certificates: usize,
) -> Result<Directory, Box<dyn Error + Send + Sync>> {
    let mut directory = Directory::default();
    for (index, (own, mch_id)) in own.iter().zip(MCH_IDS).enumerate() {
        directory.put_merchant(Merchant {
            mch_id: mch_id.to_owned(),
            api_key: API_KEYS.get(index).map(|key| (*key).to_owned()),
            api_v3_key: API_V3_KEYS.get(index).map(|key| (*key).to_owned()),
            certificate: Some(own.certificate.clone()),
            signs,
            public_key_percent: 50,
            platform_certificates: certificates,
            refund_notify_url: None,
        })?;
    }
    for account in &ACCOUNTS {
        let bound = account.merchants.iter();
        let bound = bound.filter_map(|index| MCH_IDS.get(*index));
        directory.put_account(Account {
            app_id: account.id.to_owned(),
            kind: match account.kind {
                AccountKind::OfficialAccount => Kind::OfficialAccount,
                AccountKind::MiniProgram => Kind::MiniProgram,
                AccountKind::MobileApp => Kind::MobileApp,
                AccountKind::Website => Kind::Website,
            },
            secret: String::new(),
            merchants: bound.map(|mch_id| (*mch_id).to_owned()).collect(),
        })?;
    }
    Ok(directory)
}

/// As whom the book of orders is opened.
pub(crate) fn first() -> Config {
    Config {
        app_id: FIRST.to_owned(),
        mch_id: MCH_IDS[0].to_owned(),
        api_key: API_KEYS[0].to_owned(),
        ..Config::default()
    }
}

/// A row of the registry, if there is one with this key.
pub(crate) fn row(pk: &str, standings: &Standings) -> Option<Value> {
    let (kind, id) = pk.split_once('#')?;
    match kind {
        "merchant" => {
            let index = place_of(id)?;
            let standing = standings.get(index)?;
            // The first needs no row: its settings are the stack's.
            (index > 0 || standing.prefers_v3).then(|| merchant(index, *standing))
        }
        "account" => ACCOUNTS.iter().find(|known| known.id == id).map(account),
        _ => None,
    }
}

/// A merchant's row.
pub(crate) fn merchant(index: usize, standing: Standing) -> Value {
    let mch_id = MCH_IDS.get(index).copied().unwrap_or_default();
    let version = match standing.version() {
        ApiVersion::V2 => "v2",
        ApiVersion::V3 => "v3",
    };
    json!({
        "pk": {"S": format!("merchant#{mch_id}")},
        "mch_id": {"S": mch_id},
        "api_version": {"S": version},
    })
}

fn account(account: &AccountOf) -> Value {
    let bound = account.merchants.iter();
    let bound = bound.filter_map(|index| MCH_IDS.get(*index));
    let bound: Vec<Value> = bound.map(|mch_id| json!({"S": mch_id})).collect();
    json!({
        "pk": {"S": format!("account#{}", account.id)},
        "account": {"S": account.id},
        "kind": {"S": account.kind.as_str()},
        "merchants": {"L": bound},
    })
}

/// The keys of all rows that are there from the beginning.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    let merchants = MCH_IDS.iter().map(|mch_id| format!("merchant#{mch_id}"));
    let accounts = ACCOUNTS.iter();
    merchants.chain(accounts.map(|account| format!("account#{}", account.id)))
}
