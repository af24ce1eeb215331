//! Who operates the hub through its API: operators, and the keys of machines. None
//! of them is needed by hubctl itself, so that nobody can be locked out for good.

use clap::{Args, Subcommand};
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::operator::{NewApiKey, OperatorName, Role};
use shared::flows::staff::{self, Change, Staff};

use crate::audit::Trail;
use crate::{Done, Stop, print};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Adds an operator and prints the token of the enrolment, once.
    #[command(
        after_help = "  hubctl operator create ann --role operator --reason \"our new colleague\""
    )]
    Create(Create),
    /// Shows an operator: everything but secrets.
    Show(Show),
    /// Lets an operator in no more, and ends all sessions.
    #[command(after_help = "  hubctl operator disable ann --reason \"has left us\"")]
    Disable(Named),
    /// Lets an operator in again.
    Enable(Named),
    /// Gives an operator another role.
    #[command(after_help = "  hubctl operator role ann --role finance")]
    Role(Create),
    /// Prints a new token: the password or the telephone is lost.
    #[command(after_help = "\
The password and codes of before are good until it is used: disable first whoever
may have been robbed, and enable again afterwards.

  hubctl operator enrol ann --reason \"a new telephone\"")]
    Enrol(Named),
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key and prints it, once.
    #[command(
        after_help = "  hubctl apikey create --name \"nightly report\" --role auditor --days 90"
    )]
    Create(CreateKey),
    /// Shows a key: everything but its secret.
    Show(ShowKey),
    /// Ends a key before its time.
    #[command(after_help = "  hubctl apikey revoke 0123456789abcdef --reason \"was in a log\"")]
    Revoke(RevokeKey),
}

#[derive(Args)]
struct Place {
    /// The registry (the stack's output `RegistryTable`).
    #[arg(long, value_name = "TABLE", env = "REGISTRY_TABLE")]
    registry_table: String,
}

// An operator who is there. (A doc comment would become the help of each.)
#[derive(Args)]
pub(crate) struct Named {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// What the operator logs in by.
    #[arg(value_parser = OperatorName::parse)]
    name: OperatorName,
}

#[derive(Args)]
pub(crate) struct Create {
    #[command(flatten)]
    named: Named,
    /// What the operator is here for: owner, operator, finance or auditor.
    #[arg(long, value_parser = Role::parse)]
    role: Role,
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// What the operator logs in by.
    #[arg(value_parser = OperatorName::parse)]
    name: OperatorName,
}

#[derive(Args)]
pub(crate) struct CreateKey {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// What it is for.
    #[arg(long)]
    name: String,
    /// What it may do: operator, finance or auditor.
    #[arg(long, value_parser = Role::parse)]
    role: Role,
    /// How long it lasts.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
}

#[derive(Args)]
pub(crate) struct ShowKey {
    #[command(flatten)]
    place: Place,
    /// The first half of the key, after `hub_`.
    id: String,
}

#[derive(Args)]
pub(crate) struct RevokeKey {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// The first half of the key, after `hub_`.
    id: String,
}

impl Place {
    async fn staff(&self, trail: &Trail) -> (Staff, aws_config::SdkConfig) {
        let config = sdk_config_for_people().await;
        let staff = Staff {
            registry: Registry::new(&config, self.registry_table.clone()),
            audit: trail.table(&config),
        };
        (staff, config)
    }

    async fn registry(&self) -> Registry {
        Registry::new(&sdk_config_for_people().await, self.registry_table.clone())
    }
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(create) => add(create).await,
        Command::Show(show) => {
            let operator = show.place.registry().await.operator(&show.name).await?;
            let operator = operator.ok_or_else(|| not_found(&show.name))?;
            print::json(&operator.shown(Clock::System.now()))
        }
        Command::Disable(named) => change(named, Change::Disable).await,
        Command::Enable(named) => change(named, Change::Enable).await,
        Command::Role(Create { named, role }) => change(named, Change::Become(role)).await,
        Command::Enrol(named) => enrol(named).await,
    }
}

fn not_found(name: &OperatorName) -> Stop {
    Stop::NotFound(format!("there is no operator {name}"))
}

async fn add(create: Create) -> Done {
    let Create { named, role } = create;
    let (staff, config) = named.place.staff(&named.trail).await;
    let actor = named.trail.actor(&config).await;
    let added = staff.add(named.name.clone(), role, &actor, Clock::System.now());
    hand_out(&named.name, &added.await.map_err(stop)?);
    Ok(())
}

async fn change(named: Named, change: Change) -> Done {
    let (staff, config) = named.place.staff(&named.trail).await;
    let actor = named.trail.actor(&config).await;
    let changed = staff.change(&named.name, change, &actor, Clock::System.now());
    changed.await.map_err(stop)?;
    eprintln!("Changed. All sessions of {} have ended.", named.name);
    Ok(())
}

async fn enrol(named: Named) -> Done {
    let (staff, config) = named.place.staff(&named.trail).await;
    let actor = named.trail.actor(&config).await;
    let token = staff.enrol_again(&named.name, &actor, Clock::System.now());
    hand_out(&named.name, &token.await.map_err(stop)?);
    Ok(())
}

/// The only place where a token is printed.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
fn hand_out(name: &OperatorName, token: &str) {
    println!("name={name}");
    println!("token={token}");
    eprintln!("For {name} alone, within a day. It is not shown again.");
}

pub(crate) async fn run_key(command: KeyCommand) -> Done {
    match command {
        KeyCommand::Create(create) => add_key(create).await,
        KeyCommand::Show(show) => {
            let key = show.place.registry().await.api_key(&show.id).await?;
            let key = key.ok_or_else(|| Stop::NotFound(format!("there is no key {}", show.id)))?;
            print::json(&key.shown())
        }
        KeyCommand::Revoke(revoke) => {
            let (staff, config) = revoke.place.staff(&revoke.trail).await;
            let actor = revoke.trail.actor(&config).await;
            let revoked = staff.revoke_key(&revoke.id, &actor, Clock::System.now());
            revoked.await.map_err(stop)?;
            eprintln!("Revoked, from the next request on.");
            Ok(())
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn add_key(create: CreateKey) -> Done {
    let (staff, config) = create.place.staff(&create.trail).await;
    let actor = create.trail.actor(&config).await;
    let new = NewApiKey {
        name: create.name,
        role: create.role,
        days: create.days,
    };
    let added = staff.add_key(new, &actor, Clock::System.now());
    let (key, text) = added.await.map_err(stop)?;
    println!("id={}", key.id);
    println!("key={text}");
    eprintln!("Keep the key now: it is not shown again.");
    Ok(())
}

fn stop(error: staff::Error) -> Box<dyn std::error::Error> {
    match error {
        staff::Error::NotFound => Stop::NotFound(error.to_string()).into(),
        staff::Error::Taken | staff::Error::Refused(_) => Stop::Refused(error.to_string()).into(),
        staff::Error::Aws(failure) => failure.into(),
    }
}
