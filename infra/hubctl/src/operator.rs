//! Who operates the hub through its API: operators. None of them is needed by hubctl
//! itself, so that nobody can be locked out for good.

use clap::{Args, Subcommand};
use shared::ambient::Clock;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::operator::{OperatorName, Role};
use shared::domain::time::Timestamp;
use shared::flows::staff::{self, Change, Staff};

use crate::audit::Trail;
use crate::place::Place;
use crate::{Done, Stop, confirm, print};

/// As many as are read in one call.
pub(crate) const PAGE: i32 = 100;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Adds an operator and prints the token of the enrolment, once.
    #[command(
        after_help = "  hubctl operator create ann --role operator --reason \"our new colleague\""
    )]
    Create(Create),
    /// Lists all operators.
    List(List),
    /// Removes an operator, and ends all sessions; the name is free again.
    Remove(Remove),
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
#[command(after_help = "  hubctl operator list --json")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Print an array of what `operator show` prints.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "  hubctl operator remove ann --reason \"has left us\" --yes")]
pub(crate) struct Remove {
    #[command(flatten)]
    named: Named,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn staff(place: &Place, trail: &Trail) -> (Staff, aws_config::SdkConfig) {
    let config = sdk_config_for_people().await;
    let staff = Staff {
        registry: place.registry(&config),
        audit: trail.table(&config),
    };
    (staff, config)
}

pub(crate) async fn registry(place: &Place) -> Registry {
    place.registry(&sdk_config_for_people().await)
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(create) => add(create).await,
        Command::List(list) => tell_all(list).await,
        Command::Remove(removed) => remove(removed).await,
        Command::Show(show) => {
            let operator = registry(&show.place).await.operator(&show.name).await?;
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
    let (staff, config) = staff(&named.place, &named.trail).await;
    let actor = named.trail.actor(&config).await;
    let added = staff.add(named.name.clone(), role, &actor, Clock::System.now());
    hand_out(&named.name, &added.await.map_err(stop)?);
    Ok(())
}

async fn change(named: Named, change: Change) -> Done {
    let (staff, config) = staff(&named.place, &named.trail).await;
    let actor = named.trail.actor(&config).await;
    let changed = staff.change(&named.name, change, &actor, Clock::System.now());
    changed.await.map_err(stop)?;
    eprintln!("Changed. All sessions of {} have ended.", named.name);
    Ok(())
}

async fn enrol(named: Named) -> Done {
    let (staff, config) = staff(&named.place, &named.trail).await;
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

async fn tell_all(list: List) -> Done {
    let registry = registry(&list.place).await;
    let (mut known, mut after) = (Vec::new(), None);
    loop {
        let page = registry.operators_after(after.as_deref(), PAGE).await?;
        known.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let now = Clock::System.now();
    if list.json {
        let shown: Vec<_> = known.iter().map(|operator| operator.shown(now)).collect();
        return print::json(&shown);
    }
    let rows = known.iter().map(|operator| {
        let state = match (operator.disabled, &operator.password) {
            (true, _) => "disabled",
            (false, None) => "not enrolled",
            (false, Some(_)) => "",
        };
        let last = operator.signed_in_at.map(Timestamp::rfc3339);
        [
            operator.name.to_string(),
            operator.role.to_string(),
            state.to_owned(),
            last.unwrap_or_default(),
        ]
    });
    print::table(["NAME", "ROLE", "STATE", "LAST LOG-IN"], rows);
    Ok(())
}

async fn remove(remove: Remove) -> Done {
    let Remove { named, yes } = remove;
    confirm(&format!("This removes the operator {}.", named.name), yes)?;
    let (staff, config) = staff(&named.place, &named.trail).await;
    let actor = named.trail.actor(&config).await;
    let removed = staff.remove(&named.name, &actor, Clock::System.now());
    removed.await.map_err(stop)?;
    eprintln!("Removed. All sessions of {} have ended.", named.name);
    Ok(())
}

pub(crate) fn stop(error: staff::Error) -> Box<dyn std::error::Error> {
    match error {
        staff::Error::NotFound | staff::Error::NoPass(_) | staff::Error::NoApp(_) => {
            Stop::NotFound(error.to_string()).into()
        }
        staff::Error::Taken | staff::Error::Refused(_) => Stop::Refused(error.to_string()).into(),
        staff::Error::Aws(failure) => failure.into(),
    }
}
