//! WeChat's accounts: official accounts, mini programs, mobile apps and websites, as
//! rows of the registry. Which of them an app's payers meet, `hubctl app` says.

use clap::{Args, Subcommand};
use shared::aws::Failure;
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::audit::Entry;
use shared::domain::merchant::{Account, AccountId, AccountKind, MchId};

use crate::audit::Trail;
use crate::place::Place;
use crate::registered::{Desk, Registered, state};
use crate::{Done, Stop, print};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Registers an account; its secret comes by `hubctl credentials`.
    Create(Create),
    /// Lists all accounts.
    List(List),
    /// Shows an account.
    Show(Show),
    /// Changes an account's name and the merchants that it is bound to.
    Edit(Edit),
    /// Lets nobody log in or pay through this account any more.
    #[command(after_help = "  hubctl account disable wx8888888888888888 --reason sold")]
    Disable(Change),
    /// Lets people log in and pay through this account again.
    #[command(after_help = "  hubctl account enable wx8888888888888888")]
    Enable(Change),
}

// A change of an account. (A doc comment would become the help of each.)
#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// WeChat's appid.
    #[arg(value_parser = AccountId::parse)]
    account: AccountId,
}

impl Change {
    async fn desk(&self) -> Desk<'_> {
        let config = sdk_config_for_people().await;
        Desk::new(self.place.registry(&config), config, &self.trail)
    }
}

impl Registered for Account {
    const WHAT: &str = "account";

    fn id(&self) -> &str {
        self.account.as_str()
    }

    async fn save(self, desk: &Desk<'_>, entry: &Entry) -> Result<bool, Failure> {
        let audit = desk.trail.table(&desk.config);
        desk.registry.save_account(self, &audit, entry).await
    }
}

#[derive(Args)]
#[command(after_help = "\
  hubctl account create wx8888888888888888 --kind mini_program --name \"Tea to go\" \\
    --merchant 1900000110
  hubctl credentials import-account wx8888888888888888 --app-secret secret.txt")]
pub(crate) struct Create {
    #[command(flatten)]
    change: Change,
    /// official_account, mini_program, mobile_app or website.
    #[arg(long, value_parser = AccountKind::parse)]
    kind: AccountKind,
    /// For people.
    #[arg(long, default_value = "")]
    name: String,
    /// A merchant that it is bound to in WeChat's platform. Repeatable.
    #[arg(long = "merchant", value_name = "MCH_ID", value_parser = MchId::parse)]
    merchants: Vec<MchId>,
}

#[derive(Args)]
#[command(after_help = "  hubctl account list --json")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Print an array of what `account show --json` prints.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "  hubctl account show wx8888888888888888 --json")]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// WeChat's appid.
    #[arg(value_parser = AccountId::parse)]
    account: AccountId,
    /// Print an object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
What is not given stays as it is.

  hubctl account edit wx8888888888888888 --add-merchant 1900000111")]
pub(crate) struct Edit {
    #[command(flatten)]
    change: Change,
    /// For people.
    #[arg(long)]
    name: Option<String>,
    /// One more merchant that it is bound to. Repeatable.
    #[arg(long = "add-merchant", value_name = "MCH_ID", value_parser = MchId::parse)]
    add: Vec<MchId>,
    /// A merchant that it is not bound to any more. Repeatable.
    #[arg(long = "remove-merchant", value_name = "MCH_ID", value_parser = MchId::parse)]
    remove: Vec<MchId>,
}

impl Edit {
    fn apply(&self, account: &mut Account) {
        if let Some(name) = &self.name {
            account.name.clone_from(name);
        }
        account
            .merchants
            .retain(|known| !self.remove.contains(known));
        for merchant in &self.add {
            if !account.merchants.contains(merchant) {
                account.merchants.push(merchant.clone());
            }
        }
    }
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(new) => create(new).await,
        Command::List(list) => tell_all(list).await,
        Command::Show(show) => tell(show).await,
        Command::Edit(edit) => change(&edit.change, "edit", |account| edit.apply(account)).await,
        Command::Disable(disable) => {
            change(&disable, "disable", |account| account.disabled = true).await
        }
        Command::Enable(enable) => {
            change(&enable, "enable", |account| account.disabled = false).await
        }
    }
}

async fn create(new: Create) -> Done {
    let account = Account {
        name: new.name,
        merchants: new.merchants,
        ..Account::new(new.change.account.clone(), new.kind)
    };
    new.change.desk().await.create(account).await
}

async fn change(change: &Change, verb: &str, apply: impl Fn(&mut Account)) -> Done {
    let desk = change.desk().await;
    let before = read(&desk.registry, &change.account).await?;
    desk.change(before, verb, apply).await
}

async fn read(
    registry: &Registry,
    account: &AccountId,
) -> Result<Account, Box<dyn std::error::Error>> {
    let row = registry.account(account).await?;
    row.ok_or_else(|| Stop::NotFound(format!("there is no account {account}")).into())
}

async fn tell_all(list: List) -> Done {
    let registry = list.place.registry(&sdk_config_for_people().await);
    let mut accounts = Vec::new();
    for id in registry.directory().await?.accounts {
        accounts.push(read(&registry, &id).await?);
    }
    let head = ["ACCOUNT", "KIND", "STATE", "MERCHANTS", "NAME"];
    print::list(&accounts, list.json, head, |account| {
        let merchants: Vec<&str> = account.merchants.iter().map(MchId::as_str).collect();
        [
            account.account.to_string(),
            account.kind.to_string(),
            state(account.disabled),
            merchants.join(","),
            account.name.clone(),
        ]
    })
}

async fn tell(show: Show) -> Done {
    let registry = show.place.registry(&sdk_config_for_people().await);
    let account = read(&registry, &show.account).await?;
    print::object(&account, show.json)
}
