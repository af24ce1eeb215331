//! The operators' command line: looks after merchants, accounts and their
//! credentials, apps and what they are told, and who may use the operators' API,
//! tells an order's story, puts rows back from a backup. It works on the tables and
//! secrets through the same code as the functions, or on the raw rows, with the
//! operator's own AWS credentials. Each subject is a module with its flags and its
//! `run`.

mod account;
mod app;
mod audit;
mod certificate;
mod credentials;
mod delivery;
mod first;
mod merchant;
mod operator;
mod order;
mod pass;
mod place;
mod print;
mod profile;
mod registered;
mod restore;
mod secrets;

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// How a command went, and what a person can do about it.
type Done = Result<(), Box<dyn std::error::Error>>;

/// Why a command did not do what it was asked, for a script by its exit code.
/// What fails otherwise, such as AWS, is 1, and 2 is a mistake in the flags.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// 3
    #[error("{0}")]
    NotFound(String),
    /// 4
    #[error("{0}")]
    Refused(String),
    /// 5
    #[error("nothing was done: it was not confirmed; --yes does without")]
    Unconfirmed,
}

impl Stop {
    /// Somebody else was faster.
    fn lost_race(what: &str) -> Self {
        let text =
            format!("somebody else has changed the {what} just now: look at it, and try again");
        Self::Refused(text)
    }

    fn code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unconfirmed => 5,
        }
    }
}

/// Asks before what cannot be taken back.
fn confirm(what: &str, yes: bool) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    eprintln!("{what}");
    if !stdin().is_terminal() {
        return Err(Stop::Unconfirmed);
    }
    eprint!("Go on? Type yes: ");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    match read.is_ok() && answer.trim() == "yes" {
        true => Ok(()),
        false => Err(Stop::Unconfirmed),
    }
}

/// Operates a WeChat Pay hub.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong flags, 3 not found, 4 refused as things
are, 5 not confirmed. Where things are is said by flags, by environment variables,
or by a profile: hubctl profile add NAME --stack STACK, then hubctl --profile NAME."
)]
enum Command {
    /// WeChat's accounts: official accounts, mini programs, mobile apps, websites.
    #[command(subcommand)]
    Account(account::Command),
    /// Keys with which machines use the operators' API.
    #[command(subcommand)]
    Apikey(pass::KeyCommand),
    /// Third parties that may use the hub.
    #[command(subcommand)]
    App(app::Command),
    /// Who changed what.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The keys and certificates of merchants and accounts.
    #[command(subcommand)]
    Credentials(credentials::Command),
    /// What apps are told, and were not.
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// What a shell needs to complete hubctl's words: eval "$(hubctl completions bash)".
    Completions {
        /// Whose.
        shell: Shell,
    },
    /// The merchants that are paid.
    #[command(subcommand)]
    Merchant(merchant::Command),
    /// People who use the operators' API.
    #[command(subcommand)]
    Operator(operator::Command),
    /// Orders, as the ledger and the functions' logs know them.
    #[command(subcommand)]
    Order(order::Command),
    /// Links with which apps' owners look after their own apps.
    #[command(subcommand)]
    OwnerLink(pass::LinkCommand),
    /// Several stacks by their names.
    #[command(subcommand)]
    Profile(profile::Command),
    /// Puts rows of a restored table back into the live one, while the hub runs.
    Restore(restore::Restore),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match profile::enter() {
        Ok(arguments) => {
            let program = std::iter::once("hubctl".into());
            run(Command::parse_from(program.chain(arguments))).await
        }
        Err(refused) => Err(refused),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hubctl: {error}");
            let stop: Option<&Stop> = error.downcast_ref();
            stop.map_or(ExitCode::FAILURE, |stop| ExitCode::from(stop.code()))
        }
    }
}

async fn run(command: Command) -> Done {
    match command {
        Command::Account(command) => account::run(command).await,
        Command::Apikey(command) => pass::run_key(command).await,
        Command::App(command) => app::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Command::command(), "hubctl", &mut stdout());
            Ok(())
        }
        Command::Delivery(command) => delivery::run(command).await,
        Command::Credentials(command) => credentials::run(command).await,
        Command::Merchant(command) => merchant::run(command).await,
        Command::Operator(command) => operator::run(command).await,
        Command::Order(command) => order::run(command).await,
        Command::OwnerLink(command) => pass::run_link(command).await,
        Command::Profile(command) => profile::run(command).await,
        Command::Restore(restore) => restore::run(restore).await,
    }
}
