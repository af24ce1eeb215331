//! Which secret is whose: those of the stack's first merchant and account were made
//! with it, the others' have names that follow from the merchant or account.

use clap::Args;
use shared::aws::secrets::Kind;

use crate::Stop;
use crate::first::FirstAccount;

/// Where secrets are.
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
