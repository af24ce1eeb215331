//! The only reader of the environment. Every variable a function needs is read
//! once at start; a missing or malformed one is named in the error.

use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::domain::delivery::Schedule;
use crate::domain::order::Patience;
use crate::wechat::Account;
use crate::wechat::sign::SignType;

/// A variable that is missing or malformed.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name}: {rule}")]
pub struct Invalid {
    name: &'static str,
    rule: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn optional(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a variable that must be set.
///
/// # Errors
/// When it is not.
pub fn required(name: &'static str) -> Result<String, Invalid> {
    optional(name).ok_or_else(|| Invalid {
        name,
        rule: "is not set".to_owned(),
    })
}

fn invalid(name: &'static str, rule: impl fmt::Display) -> Invalid {
    Invalid {
        name,
        rule: rule.to_string(),
    }
}

/// Where AWS is; Lambda sets both.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL`, set on the local stack only.
    pub endpoint_url: Option<String>,
}

impl Environment {
    /// Reads it.
    ///
    /// # Errors
    /// When the region is not set.
    pub fn read() -> Result<Self, Invalid> {
        Ok(Self {
            region: required("AWS_REGION")?,
            endpoint_url: optional("AWS_ENDPOINT_URL"),
        })
    }
}

/// The address that apps, browsers and WeChat know the hub by, without a
/// trailing slash.
///
/// # Errors
/// When `PUBLIC_URL` is not set.
pub fn public_url() -> Result<String, Invalid> {
    Ok(required("PUBLIC_URL")?.trim_end_matches('/').to_owned())
}

/// The merchant's account at WeChat, the name of the secret with its keys, and
/// in the functions that may hold it that of its client certificate
/// (`WECHAT_CERTIFICATE_ID`).
///
/// # Errors
/// The variable that is missing or malformed.
pub fn wechat() -> Result<(Account, String, Option<String>), Invalid> {
    let base = |name, default: &str| {
        let text = optional(name).unwrap_or_else(|| default.to_owned());
        text.trim_end_matches('/').to_owned()
    };
    let sign_type = optional("WECHAT_SIGN_TYPE").unwrap_or_else(|| "HMAC-SHA256".to_owned());
    let account = Account {
        app_id: required("WECHAT_APP_ID")?,
        mch_id: required("WECHAT_MCH_ID")?,
        sign_type: SignType::parse(&sign_type)
            .ok_or_else(|| invalid("WECHAT_SIGN_TYPE", "must be MD5 or HMAC-SHA256"))?,
        pay_base: base("WECHAT_PAY_BASE", "https://api.mch.weixin.qq.com"),
        api_base: base("WECHAT_OAUTH_BASE", "https://api.weixin.qq.com"),
        open_base: base("WECHAT_OPEN_BASE", "https://open.weixin.qq.com"),
    };
    let certificate_id = optional("WECHAT_CERTIFICATE_ID");
    Ok((account, required("WECHAT_SECRET_ID")?, certificate_id))
}

/// Whether a notification is confirmed by a query before it is believed;
/// yes unless `CONFIRM_NOTIFICATIONS` is `false`.
#[must_use]
pub fn confirm_notifications() -> bool {
    optional("CONFIRM_NOTIFICATIONS").as_deref() != Some("false")
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
pub fn micropay_patience() -> Result<Patience, Invalid> {
    let seconds = |name, default, range: RangeInclusive<u16>, rule: &'static str| {
        let given = optional(name).map_or(Ok(default), |text| text.parse());
        given
            .ok()
            .filter(|seconds| range.contains(seconds))
            .ok_or_else(|| invalid(name, rule))
    };
    Ok(Patience {
        query_seconds: seconds("MICROPAY_QUERY_SECONDS", 5, 1..=60, "must be 1 to 60")?,
        give_up_seconds: seconds(
            "MICROPAY_GIVE_UP_SECONDS",
            30,
            15..=600,
            "must be 15 to 600",
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
