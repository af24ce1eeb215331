//! The only reader of the environment: one typed reader for each variable or
//! group. Every setting of a function is read once at its start; a missing or
//! malformed one is named in the error.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::HeaderName;
use ipnet::IpNet;

use crate::domain::delivery::Schedule;
use crate::domain::merchant::{AccountId, MchId, Merchant, SignType};
use crate::domain::money::Fen;
use crate::domain::order::{ApiVersion, MicropayTiming};
use crate::wechat::{Gateway, Hosts};

/// A variable that is missing or malformed.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name}: {rule}")]
pub struct Invalid {
    name: &'static str,
    rule: String,
}

fn invalid(name: &'static str, rule: impl fmt::Display) -> Invalid {
    Invalid {
        name,
        rule: rule.to_string(),
    }
}

/// An empty variable is as good as none: a template cannot leave one out.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn optional(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn required(name: &'static str) -> Result<String, Invalid> {
    optional(name).ok_or_else(|| invalid(name, "is not set"))
}

/// Where AWS is; Lambda sets both.
#[derive(Debug, Clone)]
pub struct Aws {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL`, set on the local stack only.
    pub endpoint_url: Option<String>,
}

/// Where AWS is.
///
/// # Errors
/// When the region is not set.
pub fn aws() -> Result<Aws, Invalid> {
    Ok(Aws {
        region: required("AWS_REGION")?,
        endpoint_url: optional("AWS_ENDPOINT_URL"),
    })
}

/// Defines readers of variables that a function cannot do without.
macro_rules! required {
    ($($(#[$doc:meta])+ $reader:ident = $name:literal;)+) => {$(
        $(#[$doc])+
        ///
        /// # Errors
        /// When it is not set.
        pub fn $reader() -> Result<String, Invalid> {
            required($name)
        }
    )+};
}

required! {
    /// `LEDGER_TABLE`: orders and what is owed for them.
    ledger_table = "LEDGER_TABLE";
    /// `REGISTRY_TABLE`: apps, log-ins under way, cached tokens.
    registry_table = "REGISTRY_TABLE";
    /// `AUDIT_TABLE`: who changed what.
    audit_table = "AUDIT_TABLE";
    /// `FEED_TABLE`: the events of apps that read them.
    feed_table = "FEED_TABLE";
    /// `DELIVER_FIRST_QUEUE_URL`: doorbells of first tries.
    deliver_first_queue_url = "DELIVER_FIRST_QUEUE_URL";
    /// `DELIVER_RETRY_QUEUE_URL`: doorbells of later tries.
    deliver_retry_queue_url = "DELIVER_RETRY_QUEUE_URL";
    /// `RECONCILE_QUEUE_URL`: doorbells of questions to WeChat.
    reconcile_queue_url = "RECONCILE_QUEUE_URL";
    /// `NOTIFY_URL`: where WeChat reports payments and refunds.
    notify_url = "NOTIFY_URL";
}

/// `PUBLIC_URL`: the address that apps, browsers and WeChat know the hub by,
/// without a trailing slash.
///
/// # Errors
/// When it is not set.
pub fn public_url() -> Result<String, Invalid> {
    Ok(required("PUBLIC_URL")?.trim_end_matches('/').to_owned())
}

/// Host and port of `PUBLIC_URL`, by which people tell hubs apart.
///
/// # Errors
/// When it is not set.
pub fn public_host() -> Result<String, Invalid> {
    let url = public_url()?;
    let host = url.split_once("://").map_or(&*url, |(_, host)| host);
    Ok(host.to_owned())
}

/// `PAYER_ADDRESS_HEADER`: the header in which the proxy before the gateway
/// says who called it. None unless set: then the gateway knows.
///
/// # Errors
/// When it is no name of a header.
pub fn payer_address_header() -> Result<Option<HeaderName>, Invalid> {
    const NAME: &str = "PAYER_ADDRESS_HEADER";
    let header = optional(NAME).map(|text| text.parse());
    header
        .transpose()
        .map_err(|_| invalid(NAME, "must be the name of a header"))
}

/// The merchants: the installation's first, which has settings and secrets of the
/// stack's own, and where the secrets of the others are.
#[derive(Debug, Clone)]
pub struct Merchants {
    /// `WECHAT_MCH_ID`, `WECHAT_SIGN_TYPE` and `WECHAT_API_VERSION`; none where all
    /// merchants are rows of the registry.
    pub first: Option<FirstMerchant>,
    /// WeChat's hosts.
    pub hosts: Hosts,
    /// `SECRETS_PREFIX`: how the names of the others' secrets begin.
    pub secrets_prefix: String,
    /// `WECHAT_CERTIFICATE_ID`: the secret with the first merchant's client
    /// certificate, in the functions that may hold such.
    pub certificate_id: Option<String>,
    /// `CREDENTIALS_FRESH_SECONDS`: how long what was read of a merchant is used
    /// before it is looked at again.
    pub fresh: Duration,
}

/// The installation's first merchant.
#[derive(Debug, Clone)]
pub struct FirstMerchant {
    /// As a row would have it.
    pub merchant: Merchant,
    /// `WECHAT_APP_ID`: the account that its rows of before there were several mean.
    pub account: AccountId,
    /// `WECHAT_SECRET_ID`: the secret with version 2's keys of payments.
    pub secret_id: String,
    /// `WECHAT_V3_SECRET_ID`: the secret with version 3's.
    pub v3_secret_id: Option<String>,
}

/// The merchants.
///
/// # Errors
/// The variable that is missing or malformed.
pub fn merchants() -> Result<Merchants, Invalid> {
    Ok(Merchants {
        first: first_merchant()?,
        hosts: hosts(),
        secrets_prefix: required("SECRETS_PREFIX")?,
        certificate_id: optional("WECHAT_CERTIFICATE_ID"),
        fresh: fresh()?,
    })
}

/// 300 unless set.
fn fresh() -> Result<Duration, Invalid> {
    const NAME: &str = "CREDENTIALS_FRESH_SECONDS";
    let seconds = optional(NAME).map_or(Ok(300), |text| text.parse::<u64>());
    let seconds = seconds.ok().filter(|seconds| (1..=3600).contains(seconds));
    let seconds = seconds.ok_or_else(|| invalid(NAME, "must be 1 to 3600"))?;
    Ok(Duration::from_secs(seconds))
}

fn first_merchant() -> Result<Option<FirstMerchant>, Invalid> {
    const MCH_ID: &str = "WECHAT_MCH_ID";
    const SIGN_TYPE: &str = "WECHAT_SIGN_TYPE";
    let Some(mch_id) = optional(MCH_ID) else {
        return Ok(None);
    };
    let mch_id = MchId::parse(&mch_id).map_err(|rule| invalid(MCH_ID, rule))?;
    let account = first_account()?.ok_or_else(|| invalid(ACCOUNT, "is not set"))?;
    let mut merchant = Merchant::new(mch_id, api_version()?);
    if let Some(name) = optional(SIGN_TYPE) {
        merchant.sign_type = SignType::parse(&name).map_err(|rule| invalid(SIGN_TYPE, rule))?;
    }
    Ok(Some(FirstMerchant {
        merchant,
        account,
        secret_id: required("WECHAT_SECRET_ID")?,
        v3_secret_id: optional("WECHAT_V3_SECRET_ID"),
    }))
}

const ACCOUNT: &str = "WECHAT_APP_ID";

fn first_account() -> Result<Option<AccountId>, Invalid> {
    let account = optional(ACCOUNT).map(|text| AccountId::parse(&text));
    account.transpose().map_err(|rule| invalid(ACCOUNT, rule))
}

fn api_version() -> Result<ApiVersion, Invalid> {
    const NAME: &str = "WECHAT_API_VERSION";
    match optional(NAME).as_deref() {
        None | Some("2") => Ok(ApiVersion::V2),
        Some("3") => Ok(ApiVersion::V3),
        Some(_) => Err(invalid(NAME, "must be 2 or 3")),
    }
}

/// The accounts: the installation's first, and where the secrets of the others are.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// `WECHAT_APP_ID`: the official account of apps that name no other.
    pub first: Option<AccountId>,
    /// `WECHAT_ACCOUNT_SECRET_ID`: the secret with its keys, in the functions that
    /// may read them.
    pub secret_id: Option<String>,
    /// WeChat's hosts.
    pub hosts: Hosts,
    /// `SECRETS_PREFIX`: how the names of the others' secrets begin.
    pub secrets_prefix: String,
    /// The same as the merchants'.
    pub fresh: Duration,
}

/// The accounts.
///
/// # Errors
/// The variable that is missing or malformed.
pub fn accounts() -> Result<Accounts, Invalid> {
    Ok(Accounts {
        first: first_account()?,
        secret_id: optional("WECHAT_ACCOUNT_SECRET_ID"),
        hosts: hosts(),
        secrets_prefix: required("SECRETS_PREFIX")?,
        fresh: fresh()?,
    })
}

fn hosts() -> Hosts {
    let mut hosts = Hosts::default();
    if let Some(other) = optional("WECHAT_PAY_BASE") {
        hosts.pay = Gateway::at(other.trim_end_matches('/'));
    }
    for (name, base) in [
        ("WECHAT_OAUTH_BASE", &mut hosts.api),
        ("WECHAT_OPEN_BASE", &mut hosts.open),
    ] {
        if let Some(other) = optional(name) {
            other.trim_end_matches('/').clone_into(base);
        }
    }
    hosts
}

/// Whether a notification is confirmed by a query before it is believed;
/// yes unless `CONFIRM_NOTIFICATIONS` is `false`.
#[must_use]
pub fn confirm_notifications() -> bool {
    optional("CONFIRM_NOTIFICATIONS").as_deref() != Some("false")
}

/// `REFUND_CONFIRM_ABOVE`: how much of a payment, in fen, one operator alone may
/// give back.
///
/// # Errors
/// When it is missing or no amount.
pub fn refund_confirm_above() -> Result<Fen, Invalid> {
    const NAME: &str = "REFUND_CONFIRM_ABOVE";
    Fen::parse(&required(NAME)?).map_err(|rule| invalid(NAME, rule))
}

/// `RETRY_SCHEDULE`: the offsets of the notifications after the first.
///
/// # Errors
/// When it is missing or does not rise.
pub fn schedule() -> Result<Schedule, Invalid> {
    const NAME: &str = "RETRY_SCHEDULE";
    Schedule::parse(&required(NAME)?).map_err(|rule| invalid(NAME, rule))
}

/// `DOORBELL_GRACE_SECONDS`: how long after a doorbell should have been heard
/// the sweeper rings again. 60 unless set.
///
/// # Errors
/// When it is no number of 1 to 600.
pub fn grace_seconds() -> Result<i64, Invalid> {
    const NAME: &str = "DOORBELL_GRACE_SECONDS";
    match optional(NAME).map(|text| text.parse::<i64>()) {
        None => Ok(60),
        Some(Ok(seconds)) if (1..=600).contains(&seconds) => Ok(seconds),
        Some(_) => Err(invalid(NAME, "must be 1 to 600")),
    }
}

/// `MICROPAY_QUERY_SECONDS` and `MICROPAY_GIVE_UP_SECONDS`: how long a till
/// waits for a payer's password. 5 and 30 unless set.
///
/// # Errors
/// When one is no number, or WeChat would refuse to take a payment back so
/// soon.
pub fn micropay_timing() -> Result<MicropayTiming, Invalid> {
    let seconds = |name, default, range: RangeInclusive<u16>, rule: &'static str| {
        let given = optional(name).map_or(Ok(default), |text| text.parse());
        given
            .ok()
            .filter(|seconds| range.contains(seconds))
            .ok_or_else(|| invalid(name, rule))
    };
    Ok(MicropayTiming {
        query_seconds: seconds("MICROPAY_QUERY_SECONDS", 5, 1..=60, "must be 1 to 60")?,
        give_up_seconds: seconds(
            "MICROPAY_GIVE_UP_SECONDS",
            30,
            MicropayTiming::GIVE_UP_MIN_SECONDS..=600,
            "must be 30 to 600",
        )?,
    })
}

/// `AUTH_CODE_PREFIXES`: the two digits with which payers' codes begin.
/// WeChat's 10 to 15 unless set.
///
/// # Errors
/// When one is not two digits.
pub fn auth_code_prefixes() -> Result<Vec<String>, Invalid> {
    const NAME: &str = "AUTH_CODE_PREFIXES";
    let text = optional(NAME).unwrap_or_else(|| "10,11,12,13,14,15".to_owned());
    let prefixes: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    let two_digits = |part: &String| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    match prefixes.iter().all(two_digits) {
        true => Ok(prefixes),
        false => Err(invalid(
            NAME,
            "must be pairs of digits, separated by commas",
        )),
    }
}

/// `CALLBACK_ALLOWED_NETWORKS`: networks that apps may live in although they
/// are not public, `10.1.0.0/16,fd00::/8`. Empty unless set.
///
/// # Errors
/// When one is malformed.
pub fn callback_networks() -> Result<Vec<IpNet>, Invalid> {
    const NAME: &str = "CALLBACK_ALLOWED_NETWORKS";
    let text = optional(NAME).unwrap_or_default();
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse()
                .map_err(|_| invalid(NAME, "must be networks like 10.1.0.0/16"))
        })
        .collect()
}

/// `MP_VERIFY_CODES`: the codes of WeChat's domain files, `a,b`. None unless set.
#[must_use]
pub fn mp_verify_codes() -> Vec<String> {
    let text = optional("MP_VERIFY_CODES").unwrap_or_default();
    let codes = text.split(',').map(str::trim);
    codes
        .filter(|code| !code.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `RUST_LOG`: the log level.
#[must_use]
pub fn log_level() -> Option<String> {
    optional("RUST_LOG")
}
