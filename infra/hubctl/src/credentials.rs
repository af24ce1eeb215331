//! A merchant's and an account's credentials: read from WeChat's files, checked
//! against each other, and put into the secrets that the functions read. What is not
//! given stays as it is. Nothing of them is ever shown.

use std::path::{Path, PathBuf};

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::sdk_config_for_people;
use shared::aws::secrets::{Kind, store, stored};
use shared::domain::credential::{CLIENT_CERTIFICATE, Credential};
use shared::domain::merchant::{AccountId, MchId};
use shared::wechat::official_account::Keys;
use shared::wechat::v2::PaymentKeys;
use shared::wechat::v3;
use x509_parser::pem::parse_x509_pem;

use crate::audit::Trail;
use crate::certificate::Certificate;
use crate::first::FirstMerchant;
use crate::secrets::Secrets;
use crate::{Done, Stop};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Checks a merchant's keys and certificates and stores them.
    Import(Box<Import>),
    /// Checks an account's secret and stores it.
    ImportAccount(Box<ImportAccount>),
}

#[derive(Args)]
#[command(after_help = "\
All files are WeChat's, or have nothing but the key in them. `hubctl merchant check` then
asks WeChat whether they serve.

  Version 2:
  hubctl credentials import 1900000109 --api-key key.txt --p12 apiclient_cert.p12
  Version 3:
  hubctl credentials import 1900000109 --p12 apiclient_cert.p12 --api-v3-key key3.txt \\
    --public-key pub_key.pem --public-key-id PUB_KEY_ID_0119...")]
pub(crate) struct Import {
    /// WeChat's number of the merchant.
    #[arg(value_parser = MchId::parse)]
    mch_id: MchId,
    /// A file with version 2's key, 32 characters.
    #[arg(long, value_name = "FILE")]
    api_key: Option<PathBuf>,
    /// A file with what signed APP payments in 2014.
    #[arg(long, value_name = "FILE")]
    app_key: Option<PathBuf>,
    /// WeChat's `apiclient_cert.p12`: version 2's certificate for refunds, and with
    /// `--api-v3-key` version 3's private key.
    #[arg(long, value_name = "FILE")]
    p12: Option<PathBuf>,
    /// Its password; the merchant's number unless given, as WeChat makes it.
    #[arg(long, env = "CERTIFICATE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Instead of `--p12`: WeChat's `apiclient_key.pem`...
    #[arg(
        long,
        value_name = "FILE",
        requires = "certificate",
        conflicts_with = "p12"
    )]
    private_key: Option<PathBuf>,
    /// ...and `apiclient_cert.pem`.
    #[arg(long, value_name = "FILE", requires = "private_key")]
    certificate: Option<PathBuf>,
    /// A file with version 3's key, 32 characters.
    #[arg(long, value_name = "FILE")]
    api_v3_key: Option<PathBuf>,
    /// WeChat's public key, `pub_key.pem`.
    #[arg(long, value_name = "FILE", requires = "public_key_id")]
    public_key: Option<PathBuf>,
    /// Its id, `PUB_KEY_ID_...`, from the merchant platform.
    #[arg(long, value_name = "ID", requires = "public_key")]
    public_key_id: Option<String>,
    /// A platform certificate of WeChat's, PEM. Repeatable.
    #[arg(long = "platform-certificate", value_name = "FILE")]
    platform_certificates: Vec<PathBuf>,
    #[command(flatten)]
    first: FirstMerchant,
    #[command(flatten)]
    secrets: Secrets,
    /// The ledger (the stack's output `LedgerTable`), where the warnings of the
    /// certificate's end are.
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    #[command(flatten)]
    trail: Trail,
}

#[derive(Args)]
#[command(
    after_help = "  hubctl credentials import-account wx8888888888888888 --app-secret secret.txt"
)]
pub(crate) struct ImportAccount {
    /// WeChat's appid.
    #[arg(value_parser = AccountId::parse)]
    account: AccountId,
    /// A file with the account's secret.
    #[arg(long, value_name = "FILE")]
    app_secret: Option<PathBuf>,
    /// A file with the token of its server address.
    #[arg(long, value_name = "FILE")]
    server_token: Option<PathBuf>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    trail: Trail,
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Import(import) => take(*import).await,
        Command::ImportAccount(import) => take_account(*import).await,
    }
}

/// A secret's new text.
struct Change {
    id: String,
    text: String,
    what: &'static str,
}

async fn take(import: Import) -> Done {
    let config = sdk_config_for_people().await;
    let now = Clock::System.now();
    let certificate = import.opened()?;
    let changes = import.changes(&config, certificate.as_ref()).await?;
    if changes.is_empty() {
        let text = "nothing to import: name at least one file (hubctl credentials import --help)";
        return Err(Stop::Refused(text.to_owned()).into());
    }
    let trail = &import.trail;
    let entry = trail.entry(&config, "credentials.import", import.mch_id.to_string());
    let kinds: Vec<&str> = changes.iter().map(|change| change.what).collect();
    let what = json!({
        "stored": kinds,
        "serial": certificate.as_ref().map(|certificate| &certificate.serial),
        "expires": certificate.as_ref().map(|certificate| certificate.ends_at.rfc3339()),
    });
    let entry = entry.await.between(&json!({}), &what);
    trail.table(&config).announce(&entry).await?;
    for change in changes {
        store(&config, &change.id, change.text).await?;
        told(change.what, &change.id);
    }
    let Some(certificate) = certificate else {
        return Ok(());
    };
    // After the certificate: the row must not speak of one that is not in force.
    let name = match import.is_first() {
        true => CLIENT_CERTIFICATE.to_owned(),
        false => format!("{CLIENT_CERTIFICATE}-{}", import.mch_id),
    };
    let end = Credential::new(name, certificate.ends_at, now);
    let ledger = Ledger::new(&config, import.ledger_table);
    let kept = ledger.keep_credential(&end).await;
    kept.map_err(|failure| {
        format!("it is stored, but nobody will be warned of its end, so import it again: {failure}")
    })?;
    introduce(&certificate, &end);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
fn introduce(certificate: &Certificate, end: &Credential) {
    println!("subject={}", certificate.subject);
    println!("serial={}", certificate.serial);
    println!("expires={}", certificate.ends_at.rfc3339());
    eprintln!(
        "The hub alarms 30, 7 and 1 days before the certificate expires, next at {}.",
        end.due.rfc3339()
    );
}

fn told(what: &str, id: &str) {
    eprintln!("Stored {what} in {id}. The functions use it within five minutes.");
}

impl Import {
    fn is_first(&self) -> bool {
        self.first.is(&self.mch_id)
    }

    fn opened(&self) -> Result<Option<Certificate>, Box<dyn std::error::Error>> {
        let now = Clock::System.now();
        let opened = match (&self.p12, &self.private_key, &self.certificate) {
            (Some(p12), ..) => {
                let password = self.password.as_deref().unwrap_or(self.mch_id.as_str());
                Certificate::open(&bytes(p12)?, password, now)?
            }
            (None, Some(key), Some(certificate)) => {
                Certificate::of_pem(&text(key)?, &text(certificate)?, now)?
            }
            _ => return Ok(None),
        };
        Ok(Some(opened))
    }

    /// Where a kind of this merchant's secrets is.
    fn secret(&self, kind: Kind) -> Result<String, Stop> {
        self.secrets
            .name(kind, self.mch_id.as_str(), self.is_first())
    }

    async fn changes(
        &self,
        config: &SdkConfig,
        certificate: Option<&Certificate>,
    ) -> Result<Vec<Change>, Box<dyn std::error::Error>> {
        let mut changes = Vec::new();
        let mut keys = Map::new();
        put(&mut keys, "api_key", self.api_key.as_deref())?;
        put(&mut keys, "app_key", self.app_key.as_deref())?;
        if !keys.is_empty() {
            let id = self.secret(Kind::PaymentKeys)?;
            let text = merged(&stored(config, &id).await?, keys);
            PaymentKeys::parse(&text)?;
            changes.push(Change {
                id,
                text,
                what: "version 2's keys",
            });
        }
        let mut keys = Map::new();
        put(&mut keys, "api_v3_key", self.api_v3_key.as_deref())?;
        put(&mut keys, "public_key", self.public_key.as_deref())?;
        if let Some(id) = &self.public_key_id {
            keys.insert("public_key_id".to_owned(), json!(id));
        }
        let id = self.secret(Kind::PaymentKeysV3)?;
        let known = stored(config, &id).await?;
        let speaks_v3 =
            !keys.is_empty() || v3::Keys::parse(&known).is_ok_and(|keys| keys.is_some());
        if let Some(certificate) = certificate.filter(|_| speaks_v3) {
            keys.insert("private_key".to_owned(), json!(certificate.key));
            keys.insert("serial_no".to_owned(), json!(certificate.serial));
        }
        if !self.platform_certificates.is_empty() {
            keys.insert(
                "certificates".to_owned(),
                self.platform_certificates(&known)?,
            );
        }
        if !keys.is_empty() {
            let text = merged(&known, keys);
            v3::Keys::parse(&text)?.ok_or("version 3 needs --api-v3-key")?;
            changes.push(Change {
                id,
                text,
                what: "version 3's keys",
            });
        }
        if let Some(certificate) = certificate {
            changes.push(Change {
                id: self.secret(Kind::Certificate)?,
                text: certificate.pem.clone(),
                what: "version 2's client certificate",
            });
        }
        Ok(changes)
    }

    /// Those that are known and these, by their serials.
    fn platform_certificates(&self, known: &str) -> Result<Value, Box<dyn std::error::Error>> {
        let known: Value = serde_json::from_str(known).unwrap_or_default();
        let known = known.get("certificates").and_then(Value::as_object);
        let mut all = known.cloned().unwrap_or_default();
        for path in &self.platform_certificates {
            let pem = text(path)?;
            let not_one = || format!("{} is no certificate in PEM", path.display());
            let (_, parsed) = parse_x509_pem(pem.as_bytes()).map_err(|_| not_one())?;
            let certificate = parsed.parse_x509().map_err(|_| not_one())?;
            all.insert(hex::encode_upper(certificate.raw_serial()), json!(pem));
        }
        Ok(Value::Object(all))
    }
}

async fn take_account(import: ImportAccount) -> Done {
    let config = sdk_config_for_people().await;
    let mut keys = Map::new();
    put(&mut keys, "app_secret", import.app_secret.as_deref())?;
    put(&mut keys, "server_token", import.server_token.as_deref())?;
    if keys.is_empty() {
        let text = "nothing to import: name --app-secret or --server-token";
        return Err(Stop::Refused(text.to_owned()).into());
    }
    let is_first = import.secrets.first_account.id() == Some(&import.account);
    let id = import
        .secrets
        .name(Kind::Account, import.account.as_str(), is_first)?;
    let text = merged(&stored(&config, &id).await?, keys);
    Keys::parse(&text)?;
    let trail = &import.trail;
    let entry = trail.entry(&config, "credentials.import", import.account.to_string());
    let what = json!({"stored": ["the account's keys"]});
    let entry = entry.await.between(&json!({}), &what);
    trail.table(&config).announce(&entry).await?;
    store(&config, &id, text).await?;
    told("the account's keys", &id);
    Ok(())
}

/// What a secret has, with these in it. One that nobody has filled in has nothing.
fn merged(known: &str, new: Map<String, Value>) -> String {
    let mut all: Map<String, Value> = serde_json::from_str(known).unwrap_or_default();
    all.extend(new);
    Value::Object(all).to_string()
}

fn put(
    into: &mut Map<String, Value>,
    name: &str,
    file: Option<&Path>,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(file) = file {
        into.insert(name.to_owned(), json!(text(file)?));
    }
    Ok(())
}

fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// A file's text without the line's end that editors add.
fn text(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(bytes(file)?);
    let text = text.map_err(|_| format!("{} is no text", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_a_placeholder_is_nothing() {
        let new = || Map::from_iter([("api_key".to_owned(), json!("new"))]);
        assert_eq!(merged("fLxg4hW1oX", new()), r#"{"api_key":"new"}"#);
        let known = r#"{"api_key":"old","app_key":"stays"}"#;
        let all: Value = serde_json::from_str(&merged(known, new())).unwrap();
        assert_eq!(all, json!({"api_key": "new", "app_key": "stays"}));
    }
}
