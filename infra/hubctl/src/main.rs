//! The operators' command line: registers apps, imports the merchant's client
//! certificate. It works on the tables and secrets through the same code as the
//! functions, with the operator's own AWS credentials.

mod certificate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::Ledger;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::aws::secrets::store_certificate;
use shared::domain::app::{App, AppSecret, check_site};
use shared::domain::credential::{CLIENT_CERTIFICATE, Credential};
use shared::domain::id::AppId;

use certificate::Certificate;

/// Operates a WeChat Pay hub.
#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Third parties that may use the hub.
    #[command(subcommand)]
    App(AppCommand),
    /// The merchant's client certificate, which refunds need.
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

#[derive(Subcommand)]
enum AppCommand {
    /// Registers an app and prints its secret, once.
    Create(NewApp),
}

#[derive(Args)]
struct NewApp {
    /// The registry table (the stack's output `RegistryTable`).
    #[arg(long, env = "REGISTRY_TABLE")]
    registry_table: String,
    /// 16 letters and digits; random unless given.
    #[arg(long)]
    app_id: Option<String>,
    /// 32 letters and digits; random unless given.
    #[arg(long)]
    app_secret: Option<String>,
    /// The app's name, for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Let it name http:// addresses (test systems only).
    #[arg(long)]
    allow_http: bool,
    /// Let it ask for version 1.0, where WeChat calls it directly.
    #[arg(long)]
    allow_direct: bool,
    /// Do not call its synchronous address from the server.
    #[arg(long)]
    skip_return_call: bool,
    /// It refunds payments that do not fit their order itself.
    #[arg(long)]
    refund_by_hand: bool,
    /// Its APP payments go the way of 2014 (genprepay), which old clients need.
    #[arg(long)]
    genprepay: bool,
    /// An address prefix of its pages, https://shop.example/wechat say:
    /// log-ins may return there, pages there may use the JS-SDK. Repeatable.
    #[arg(long = "site")]
    sites: Vec<String>,
    /// End its log-ins with the signed profile instead of a code.
    #[arg(long)]
    signed_profile: bool,
}

#[derive(Subcommand)]
enum CertificateCommand {
    /// Checks a .p12 and puts its key and certificate into the secret.
    Import(Import),
}

#[derive(Args)]
struct Import {
    /// WeChat's `apiclient_cert.p12`.
    #[arg(long)]
    p12: PathBuf,
    /// The file's password; `WECHAT_MCH_ID` unless given, as WeChat makes it.
    #[arg(
        long,
        env = "CERTIFICATE_PASSWORD",
        hide_env_values = true,
        required_unless_present = "mch_id"
    )]
    password: Option<String>,
    /// The merchant number.
    #[arg(long, env = "WECHAT_MCH_ID")]
    mch_id: Option<String>,
    /// The secret (the stack's output `WechatCertificateName`).
    #[arg(long, env = "WECHAT_CERTIFICATE_NAME")]
    secret_id: String,
    /// The ledger table (the stack's output `LedgerTable`), where the warnings of
    /// its end are.
    #[arg(long, env = "LEDGER_TABLE")]
    ledger_table: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::App(AppCommand::Create(new)) => create(new).await,
        Command::Certificate(CertificateCommand::Import(import)) => take(import).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubctl: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn create(new: NewApp) -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(&sdk_config_for_people().await, new.registry_table);
    for site in &new.sites {
        check_site(site, new.allow_http).map_err(|rule| format!("--site {site} {rule}"))?;
    }
    let app_id = new
        .app_id
        .unwrap_or_else(|| random_hex().chars().take(16).collect());
    let app_secret = new.app_secret.unwrap_or_else(random_hex);
    let app = App {
        name: new.name,
        allow_http: new.allow_http,
        allow_direct: new.allow_direct,
        skip_return_call: new.skip_return_call,
        refund_by_hand: new.refund_by_hand,
        genprepay: new.genprepay,
        sites: new.sites,
        signed_profile: new.signed_profile,
        ..App::new(
            AppId::parse(&app_id).map_err(|rule| format!("--app-id {rule}"))?,
            AppSecret::parse(&app_secret).map_err(|rule| format!("--app-secret {rule}"))?,
        )
    };
    if !registry.add_app(&app).await? {
        return Err(format!("an app with the id {app_id} exists already").into());
    }
    println!("app_id={app_id}");
    println!("app_secret={app_secret}");
    eprintln!("Keep the secret now: it is not shown again.");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn take(import: Import) -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::read(&import.p12)
        .map_err(|error| format!("{} cannot be read: {error}", import.p12.display()))?;
    let password = import.password.or(import.mch_id).unwrap_or_default();
    let now = Clock::System.now();
    let certificate = Certificate::open(&file, &password, now)?;
    let config = sdk_config_for_people().await;
    store_certificate(&config, &import.secret_id, certificate.pem).await?;
    // After the certificate: the row must not speak of one that is not in force.
    let end = Credential::new(CLIENT_CERTIFICATE.to_owned(), certificate.ends_at, now);
    let ledger = Ledger::new(&config, import.ledger_table);
    let kept = ledger.keep_credential(&end).await;
    kept.map_err(|failure| {
        format!("it is stored, but nobody will be warned of its end, so import it again: {failure}")
    })?;
    println!("subject={}", certificate.subject);
    println!("serial={}", certificate.serial);
    println!("expires={}", certificate.ends_at.rfc3339());
    eprintln!(
        "Imported. The functions use it within five minutes. The hub alarms 30, 7 and 1 days before \
         it expires, next at {}.",
        end.due.rfc3339()
    );
    Ok(())
}
