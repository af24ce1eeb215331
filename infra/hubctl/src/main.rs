//! The operators' command line: registers apps. It works on the tables through
//! the same code as the functions, with the operator's own AWS credentials.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::ambient::random_hex;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::app::{App, AppSecret};
use shared::domain::id::AppId;

/// Operates a WeChat Pay hub.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The registry table (the stack's output `RegistryTable`).
    #[arg(long, env = "REGISTRY_TABLE")]
    registry_table: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Third parties that may use the hub.
    #[command(subcommand)]
    App(AppCommand),
}

#[derive(Subcommand)]
enum AppCommand {
    /// Registers an app and prints its secret, once.
    Create {
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
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubctl: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(&sdk_config_for_people().await, arguments.registry_table);
    let Command::App(AppCommand::Create {
        app_id,
        app_secret,
        name,
        allow_http,
        allow_direct,
        skip_return_call,
    }) = arguments.command;
    let app_id = app_id.unwrap_or_else(|| random_hex().chars().take(16).collect());
    let app_secret = app_secret.unwrap_or_else(random_hex);
    let app = App {
        app_id: AppId::parse(&app_id).map_err(|rule| format!("--app-id {rule}"))?,
        app_secret: AppSecret::parse(&app_secret).map_err(|rule| format!("--app-secret {rule}"))?,
        name,
        disabled: false,
        allow_http,
        allow_direct,
        skip_return_call,
    };
    if !registry.add_app(&app).await? {
        return Err(format!("an app with the id {app_id} exists already").into());
    }
    println!("app_id={app_id}");
    println!("app_secret={app_secret}");
    eprintln!("Keep the secret now: it is not shown again.");
    Ok(())
}
