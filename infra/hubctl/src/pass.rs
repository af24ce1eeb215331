//! The keys of machines, and the links with which apps' owners look after their own
//! apps.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use shared::ambient::Clock;
use shared::domain::id::AppId;
use shared::domain::operator::{NewPass, Pass, PassKind, Role};

use crate::audit::Trail;
use crate::operator::{PAGE, registry, staff, stop};
use crate::place::Place;
use crate::{Done, Stop, print};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key and prints it, once.
    #[command(
        after_help = "  hubctl apikey create --name \"nightly report\" --role auditor --days 90"
    )]
    Create(CreateKey),
    /// Lists all keys that have not ended long ago.
    #[command(after_help = "  hubctl apikey list --json")]
    List(List),
    /// Shows a key: everything but its secret.
    Show(Show),
    /// Ends a key before its time.
    #[command(after_help = "  hubctl apikey revoke 0123456789abcdef --reason \"was in a log\"")]
    Revoke(Revoke),
}

#[derive(Subcommand)]
pub(crate) enum LinkCommand {
    /// Makes a link and prints its token, once.
    #[command(
        after_help = "  hubctl owner-link create teashop000000001 --name \"Tea shop\" --days 7"
    )]
    Create(CreateLink),
    /// Lists all links that have not ended long ago.
    #[command(after_help = "  hubctl owner-link list --json")]
    List(List),
    /// Shows a link: everything but its token.
    Show(Show),
    /// Ends a link before its time, and every session that was opened with it.
    #[command(after_help = "  hubctl owner-link revoke 0123456789abcdef --reason \"is done\"")]
    Revoke(Revoke),
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
    /// What it may do: operator, finance, auditor or app_owner.
    #[arg(long, value_parser = Role::parse)]
    role: Role,
    /// An app that it reaches, as app_owner. Repeatable.
    #[arg(long = "app", value_name = "APP_ID", value_parser = AppId::parse)]
    apps: Vec<AppId>,
    /// How long it lasts.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
}

#[derive(Args)]
pub(crate) struct CreateLink {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// The apps that it reaches.
    #[arg(required = true, value_name = "APP_ID", value_parser = AppId::parse)]
    apps: Vec<AppId>,
    /// Whose it is.
    #[arg(long)]
    name: String,
    /// How long it lasts.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=31))]
    days: u16,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Print an array of what `show` prints.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// The first half, after `hub_` or `link_`.
    id: String,
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// The first half, after `hub_` or `link_`.
    id: String,
}

pub(crate) async fn run_key(command: KeyCommand) -> Done {
    const KIND: PassKind = PassKind::ApiKey;
    match command {
        KeyCommand::Create(create) => {
            let new = NewPass {
                kind: KIND,
                name: create.name,
                role: create.role,
                apps: create.apps.into_iter().collect(),
                days: create.days,
            };
            add(&create.place, &create.trail, new).await
        }
        KeyCommand::List(list) => tell_all(KIND, list).await,
        KeyCommand::Show(show) => tell(KIND, show).await,
        KeyCommand::Revoke(ended) => revoke(KIND, ended).await,
    }
}

pub(crate) async fn run_link(command: LinkCommand) -> Done {
    const KIND: PassKind = PassKind::OwnerLink;
    match command {
        LinkCommand::Create(create) => {
            let new = NewPass {
                kind: KIND,
                name: create.name,
                role: Role::AppOwner,
                apps: create.apps.into_iter().collect::<BTreeSet<_>>(),
                days: create.days,
            };
            add(&create.place, &create.trail, new).await
        }
        LinkCommand::List(list) => tell_all(KIND, list).await,
        LinkCommand::Show(show) => tell(KIND, show).await,
        LinkCommand::Revoke(ended) => revoke(KIND, ended).await,
    }
}

/// The only place where the text of a key or a link is printed.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn add(place: &Place, trail: &Trail, new: NewPass) -> Done {
    let (staff, config) = staff(place, trail).await;
    let actor = trail.actor(&config).await;
    let what = match new.kind {
        PassKind::ApiKey => "key",
        PassKind::OwnerLink => "token",
    };
    let added = staff.add_pass(new, &actor, Clock::System.now());
    let (pass, text) = added.await.map_err(stop)?;
    println!("id={}", pass.id);
    println!("{what}={text}");
    eprintln!("Keep the {what} now: it is not shown again.");
    Ok(())
}

async fn tell_all(kind: PassKind, list: List) -> Done {
    let registry = registry(&list.place).await;
    let (mut known, mut after): (Vec<Pass>, _) = (Vec::new(), None);
    loop {
        let page = registry.passes_after(kind, after.as_deref(), PAGE).await?;
        known.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if list.json {
        let shown: Vec<_> = known.iter().map(Pass::shown).collect();
        return print::json(&shown);
    }
    let now = Clock::System.now();
    let rows = known.iter().map(|pass| {
        let state = match (pass.revoked, pass.is_good(now)) {
            (true, _) => "revoked",
            (false, false) => "ended",
            (false, true) => "",
        };
        let apps: Vec<&str> = pass.apps.iter().map(AppId::as_str).collect();
        [
            pass.id.clone(),
            pass.role.to_string(),
            state.to_owned(),
            pass.ends_at.rfc3339(),
            apps.join(","),
            pass.name.clone(),
        ]
    });
    print::table(["ID", "ROLE", "STATE", "ENDS AT", "APPS", "NAME"], rows);
    Ok(())
}

async fn tell(kind: PassKind, show: Show) -> Done {
    let pass = registry(&show.place).await.pass(kind, &show.id).await?;
    let text = || format!("there is none of the id {}", show.id);
    let pass = pass.ok_or_else(|| Stop::NotFound(text()))?;
    print::json(&pass.shown())
}

async fn revoke(kind: PassKind, ended: Revoke) -> Done {
    let (staff, config) = staff(&ended.place, &ended.trail).await;
    let actor = ended.trail.actor(&config).await;
    let revoked = staff.revoke_pass(kind, &ended.id, &actor, Clock::System.now());
    revoked.await.map_err(stop)?;
    eprintln!("Revoked, from the next request on.");
    Ok(())
}
