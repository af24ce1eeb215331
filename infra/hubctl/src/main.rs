//! The operators' command line: registers apps, imports the merchant's client
//! certificate, tells an order's story, puts rows back from a backup. It works on
//! the tables and secrets through the same code as the functions, or on the raw
//! rows, with the operator's own AWS credentials. Each subject is a module with
//! its flags and its `run`.

mod app;
mod certificate;
mod order;
mod restore;

use std::process::ExitCode;

use clap::Parser;

/// How a command went, and what a person can do about it.
type Done = Result<(), Box<dyn std::error::Error>>;

/// Operates a WeChat Pay hub.
#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Third parties that may use the hub.
    #[command(subcommand)]
    App(app::Command),
    /// The merchant's client certificate, which refunds need.
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// Orders, as the ledger and the functions' logs know them.
    #[command(subcommand)]
    Order(order::Command),
    /// Puts rows of a restored table back into the live one, while the hub runs.
    Restore(restore::Restore),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::App(command) => app::run(command).await,
        Command::Certificate(command) => certificate::run(command).await,
        Command::Order(command) => order::run(command).await,
        Command::Restore(restore) => restore::run(restore).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubctl: {error}");
            ExitCode::FAILURE
        }
    }
}
