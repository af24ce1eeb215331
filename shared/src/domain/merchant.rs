//! The merchants that are paid and the WeChat accounts that their payers meet: rows
//! of the registry. An app names its merchant and its accounts; which of these an
//! order goes through, its trade type decides.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::UnknownAttributes;
use super::id::{Refused, checked_text, text_id};
use super::order::{ApiVersion, TradeType, is_false};

/// WeChat's number of a merchant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MchId(String);

impl MchId {
    /// Parses a merchant's number.
    ///
    /// # Errors
    /// When it is not 1 to 32 digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        match (1..=32).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Self(value.to_owned())),
            false => Err(Refused("must be 1 to 32 digits")),
        }
    }
}

text_id!(MchId);

/// WeChat's appid of an official account, a mini program, a mobile app or a
/// website.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// Parses an appid.
    ///
    /// # Errors
    /// When it is not 1 to 32 letters, digits, `-` and `_`.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match (1..=32).contains(&value.len()) && value.bytes().all(plain) {
            true => Ok(Self(value.to_owned())),
            false => Err(Refused(
                "must be 1 to 32 characters of 0-9, A-Z, a-z, - and _",
            )),
        }
    }
}

text_id!(AccountId);

/// How version 2 signs, pinned per merchant: a notification signed otherwise is
/// refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignType {
    /// 32 upper-case hex digits; what an absent `sign_type` means.
    #[serde(rename = "MD5")]
    Md5,
    /// 64 upper-case hex digits.
    #[default]
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
}

impl SignType {
    /// WeChat's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::HmacSha256 => "HMAC-SHA256",
        }
    }

    /// Reads WeChat's name.
    ///
    /// # Errors
    /// When it is another.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        match text {
            "MD5" => Ok(Self::Md5),
            "HMAC-SHA256" => Ok(Self::HmacSha256),
            _ => Err(Refused("must be MD5 or HMAC-SHA256")),
        }
    }
}

/// A merchant: a row of the registry. Its keys are in secrets of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// WeChat's number.
    pub mch_id: MchId,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// It is paid no more: no new order, and no new attempt. What it was paid can
    /// still be asked about and given back.
    #[serde(default)]
    pub disabled: bool,
    /// By which version new attempts are opened.
    #[serde(default)]
    pub api_version: ApiVersion,
    /// Payers' codes are charged by version 3, too. WeChat's sources contradict each
    /// other about whether it takes them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub codepay: bool,
    /// How version 2 signs.
    #[serde(default)]
    pub sign_type: SignType,
    /// Where its payments are asked for, unless where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_base: Option<String>,
    /// Counts the writes of this row.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl Merchant {
    /// A merchant that signs with HMAC-SHA256 at WeChat's own host.
    #[must_use]
    pub fn new(mch_id: MchId, api_version: ApiVersion) -> Self {
        Self {
            mch_id,
            name: String::new(),
            disabled: false,
            api_version,
            codepay: false,
            sign_type: SignType::default(),
            pay_base: None,
            revision: 0,
            unknown: UnknownAttributes::new(),
        }
    }

    /// By which version a new attempt of this type is opened.
    #[must_use]
    pub const fn version_of(&self, trade_type: TradeType) -> ApiVersion {
        match trade_type {
            TradeType::Genprepay => ApiVersion::V2,
            TradeType::Micropay if !self.codepay => ApiVersion::V2,
            TradeType::Micropay => ApiVersion::V3,
            TradeType::Jsapi | TradeType::Native | TradeType::App | TradeType::Mweb => {
                self.api_version
            }
        }
    }

    /// What a person must not ask for.
    ///
    /// # Errors
    /// When payers' codes would be charged by a version whose keys need not be there.
    pub const fn check(&self) -> Result<(), Refused> {
        match (self.codepay, self.api_version) {
            (true, ApiVersion::V2) => Err(Refused(
                "codepay needs version 3's keys: first --api-version 3, or --codepay false",
            )),
            _ => Ok(()),
        }
    }
}

/// What an account is, and so which payers meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// Its pages are opened inside WeChat; users log in through it.
    OfficialAccount,
    /// Runs inside WeChat, and has openids of its own.
    MiniProgram,
    /// An app on a phone, which opens WeChat to pay.
    MobileApp,
    /// A page in any browser.
    Website,
}

impl AccountKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::OfficialAccount,
        Self::MiniProgram,
        Self::MobileApp,
        Self::Website,
    ];

    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OfficialAccount => "official_account",
            Self::MiniProgram => "mini_program",
            Self::MobileApp => "mobile_app",
            Self::Website => "website",
        }
    }

    /// Reads the name in our API.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text).ok_or(Refused(
            "must be official_account, mini_program, mobile_app or website",
        ))
    }

    /// Whether WeChat takes payments of this type through it.
    #[must_use]
    pub const fn serves(self, trade_type: TradeType) -> bool {
        match trade_type {
            TradeType::Jsapi => matches!(self, Self::OfficialAccount | Self::MiniProgram),
            TradeType::App | TradeType::Genprepay => matches!(self, Self::MobileApp),
            TradeType::Native | TradeType::Mweb | TradeType::Micropay => true,
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An account: a row of the registry. Its secret is apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// WeChat's appid.
    pub account: AccountId,
    /// What it is.
    pub kind: AccountKind,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Nobody logs in or pays through it any more.
    #[serde(default)]
    pub disabled: bool,
    /// To which merchants it is bound in WeChat's platform.
    #[serde(default)]
    pub merchants: Vec<MchId>,
    /// Counts the writes of this row.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl Account {
    /// An account that is bound to nobody.
    #[must_use]
    pub fn new(account: AccountId, kind: AccountKind) -> Self {
        Self {
            account,
            kind,
            name: String::new(),
            disabled: false,
            merchants: Vec::new(),
            revision: 0,
            unknown: UnknownAttributes::new(),
        }
    }
}

/// What an account is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To pay in this way.
    Pay(TradeType),
    /// To log users in, to sign their pages, and to learn a payer's openid.
    OfficialAccount,
    /// To learn who uses a mini program.
    MiniProgram,
}

impl Need {
    /// Whether an account of this kind will do.
    #[must_use]
    pub const fn is_met(self, kind: AccountKind) -> bool {
        match self {
            Self::Pay(trade_type) => kind.serves(trade_type),
            Self::OfficialAccount => matches!(kind, AccountKind::OfficialAccount),
            Self::MiniProgram => matches!(kind, AccountKind::MiniProgram),
        }
    }
}

/// Of an app's accounts, in its order, the one that serves: an official account
/// before the others, because payers know that one.
#[must_use]
pub fn choose<'a>(
    accounts: impl IntoIterator<Item = &'a Account>,
    need: Need,
) -> Option<&'a Account> {
    let mut serving: Vec<&Account> = accounts.into_iter().collect();
    serving.retain(|account| !account.disabled && need.is_met(account.kind));
    let official = |account: &&&Account| account.kind == AccountKind::OfficialAccount;
    serving.iter().find(official).or(serving.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, kind: AccountKind) -> Account {
        Account::new(AccountId::parse(id).unwrap(), kind)
    }

    #[test]
    fn the_trade_type_decides_among_an_apps_accounts() {
        use AccountKind::{MiniProgram, MobileApp, OfficialAccount, Website};
        let all = [
            account("web", Website),
            account("mini", MiniProgram),
            account("first", OfficialAccount),
            account("second", OfficialAccount),
            account("mobile", MobileApp),
        ];
        let chosen = |accounts: &[Account], need| {
            choose(accounts, need).map(|account| account.account.to_string())
        };
        for (need, id) in [
            (Need::Pay(TradeType::Jsapi), "first"),
            (Need::Pay(TradeType::Native), "first"),
            (Need::Pay(TradeType::Mweb), "first"),
            (Need::Pay(TradeType::Micropay), "first"),
            (Need::Pay(TradeType::App), "mobile"),
            (Need::Pay(TradeType::Genprepay), "mobile"),
            (Need::OfficialAccount, "first"),
            (Need::MiniProgram, "mini"),
        ] {
            assert_eq!(chosen(&all, need).as_deref(), Some(id), "{need:?}");
        }
        let jsapi = Need::Pay(TradeType::Jsapi);
        assert_eq!(chosen(&all[..2], jsapi).as_deref(), Some("mini"));
        assert_eq!(chosen(&all[..1], jsapi), None);
        assert_eq!(
            chosen(&all[4..], Need::Pay(TradeType::Native)).as_deref(),
            Some("mobile")
        );
        assert_eq!(chosen(&all[..4], Need::Pay(TradeType::App)), None);
        assert_eq!(chosen(&[], Need::OfficialAccount), None);
        let mut off = all.clone();
        off[2].disabled = true;
        assert_eq!(chosen(&off, jsapi).as_deref(), Some("second"));
    }

    #[test]
    fn numbers_and_names_are_what_wechat_gives() {
        for good in ["1", "1900000109", &"9".repeat(32)] {
            assert_eq!(MchId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "19a", "+1", "１", "1/2", &"9".repeat(33)] {
            assert!(MchId::parse(bad).is_err(), "{bad}");
        }
        for good in ["wx8888888888888888", "a-b_c", &"x".repeat(32)] {
            assert_eq!(AccountId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "wx#1", "a&b", "a/b", "a b", &"x".repeat(33)] {
            assert!(AccountId::parse(bad).is_err(), "{bad}");
        }
        for kind in AccountKind::ALL {
            assert_eq!(AccountKind::parse(kind.as_str()), Ok(kind));
            assert_eq!(serde_json::json!(kind), kind.as_str());
        }
        assert!(AccountKind::parse("app").is_err());
    }

    #[test]
    fn payment_codes_are_version_2s_until_the_switch_and_the_flow_of_2014_is_always() {
        use ApiVersion::{V2, V3};
        for (api_version, codepay, versions) in [
            (V2, false, [V2, V2, V2]),
            (V3, false, [V3, V2, V2]),
            (V3, true, [V3, V3, V2]),
        ] {
            let mut merchant = Merchant::new(MchId::parse("1").unwrap(), api_version);
            merchant.codepay = codepay;
            assert_eq!(merchant.check(), Ok(()));
            let by = [TradeType::Jsapi, TradeType::Micropay, TradeType::Genprepay]
                .map(|trade_type| merchant.version_of(trade_type));
            assert_eq!(by, versions, "{api_version:?} {codepay}");
        }
        let mut merchant = Merchant::new(MchId::parse("1").unwrap(), V2);
        merchant.codepay = true;
        assert!(merchant.check().is_err());
        let old: Merchant = serde_json::from_value(serde_json::json!({"mch_id": "1"})).unwrap();
        assert!(!old.codepay);
        let written = serde_json::to_value(old).unwrap();
        assert_eq!(written.get("codepay"), None);
    }

    #[test]
    fn rows_keep_what_only_newer_versions_know() {
        for row in [
            serde_json::json!({"mch_id": "1", "colour": "red", "sign_type": "MD5"}),
            serde_json::json!({"mch_id": "1", "api_version": "v3", "pay_base": "https://hk"}),
        ] {
            let merchant: Merchant = serde_json::from_value(row.clone()).unwrap();
            let written = serde_json::to_value(merchant).unwrap();
            for (name, value) in row.as_object().unwrap() {
                assert_eq!(&written[name], value);
            }
        }
    }

    #[test]
    fn wechats_names_of_the_algorithms_are_read_as_they_are_written() {
        for (sign_type, name) in [
            (SignType::Md5, "MD5"),
            (SignType::HmacSha256, "HMAC-SHA256"),
        ] {
            assert_eq!(sign_type.as_str(), name);
            assert_eq!(SignType::parse(name), Ok(sign_type));
        }
        for text in ["", "md5", "SHA1", "HMAC-SHA256 "] {
            assert!(SignType::parse(text).is_err(), "{text}");
        }
    }
}
