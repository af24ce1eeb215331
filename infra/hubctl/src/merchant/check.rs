//! Asks WeChat something harmless with each of a merchant's credentials, and says in
//! words what is wrong.

use std::time::Duration;

use aws_config::SdkConfig;
use clap::Args;
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::merchants::Merchants;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::aws::secrets::Kind;
use shared::config;
use shared::domain::id::OutTradeNo;
use shared::domain::merchant::MchId;
use shared::wechat::{self, Gateway, Hosts, Http, Proven};

use super::Place;
use crate::secrets::Secrets;
use crate::{Done, Stop, print};

#[derive(Args)]
#[command(after_help = "\
It closes, and with a client certificate takes back, a payment that there is not, in each
version whose keys are there, and asks for the access token of each account. Nothing
changes at WeChat. WeChat's certificates are fetched, as the functions do, if the
merchant needs them and nobody has.

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
            Clock::System,
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

pub(crate) async fn run(check: Check) -> Done {
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
    for certificate in registry.certificates(&check.mch_id).await?.certificates {
        rows.push([
            check.mch_id.to_string(),
            format!("WeChat's certificate {}", certificate.serial),
            format!("fetched, until {}", certificate.expires_at.rfc3339()),
        ]);
    }
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
    let is_good = !bound.is_empty() && !is_bad;
    print::table(["OF", "CREDENTIAL", "VERDICT"], rows);
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
