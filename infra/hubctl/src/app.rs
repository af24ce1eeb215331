//! Third parties that may use the hub.

use clap::{Args, Subcommand};
use shared::ambient::random_hex;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::app::{App, AppSecret, check_site};
use shared::domain::id::AppId;

use crate::Done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Registers an app and prints its secret, once.
    Create(NewApp),
}

#[derive(Args)]
pub(crate) struct NewApp {
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

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(new) => create(new).await,
    }
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn create(new: NewApp) -> Done {
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
