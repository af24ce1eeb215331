//! Third parties that may use the hub: their switches, sites and secrets. Every
//! change is written with an entry of the audit trail, under the condition that
//! nobody else has changed the app since it was read.

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::registry::Registry;
use shared::aws::sdk_config_for_people;
use shared::domain::app::{App, AppSecret, Rotation, check_site};
use shared::domain::id::AppId;
use shared::domain::merchant::{AccountId, MchId};
use shared::domain::time::Timestamp;

use crate::audit::Trail;
use crate::{Done, Stop, confirm, print};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Registers an app and prints its secret, once.
    Create(Create),
    /// Lists all apps.
    List(List),
    /// Shows an app: everything but its secrets.
    Show(Show),
    /// Changes an app's name, switches and sites.
    Edit(Edit),
    /// Refuses every request and pay page of an app from now on.
    #[command(
        after_help = "  hubctl app disable teashop000000001 --reason \"their server was broken into\""
    )]
    Disable(Change),
    /// Takes an app's requests again.
    #[command(after_help = "  hubctl app enable teashop000000001 --reason \"repaired\"")]
    Enable(Change),
    /// Writes down what operators want to remember about an app.
    Annotate(Annotate),
    /// Gives an app a new secret and prints it, once.
    Rotate(Rotate),
}

#[derive(Args)]
struct Place {
    /// The registry (the stack's output `RegistryTable`).
    #[arg(long, value_name = "TABLE", env = "REGISTRY_TABLE")]
    registry_table: String,
}

impl Place {
    fn registry(&self, config: &SdkConfig) -> Registry {
        Registry::new(config, self.registry_table.clone())
    }
}

#[derive(Args)]
#[command(
    after_help = "  hubctl app create --name \"Tea shop\" --site https://shop.example/wechat"
)]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// 16 letters and digits; random unless given.
    #[arg(long, value_parser = AppId::parse)]
    app_id: Option<AppId>,
    /// 32 letters and digits; random unless given.
    #[arg(long, value_parser = AppSecret::parse)]
    app_secret: Option<AppSecret>,
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
    /// Tell it the session keys of its mini programs' users.
    #[arg(long)]
    session_keys: bool,
    /// Who is paid; the stack's first merchant, or the only one, unless given.
    #[arg(long, value_name = "MCH_ID", value_parser = MchId::parse)]
    merchant: Option<MchId>,
    /// An account that its payers and users meet; the stack's first, or the only
    /// one, unless given. Repeatable; of several that serve the first is taken.
    #[arg(long = "account", value_name = "APPID", value_parser = AccountId::parse)]
    accounts: Vec<AccountId>,
    #[command(flatten)]
    first: First,
}

/// The stack's first merchant and account.
#[derive(Args)]
struct First {
    /// The parameter `WechatMchId`.
    #[arg(long, value_name = "MCH_ID", env = "WECHAT_MCH_ID", value_parser = MchId::parse)]
    first_merchant: Option<MchId>,
    /// The parameter `WechatAppId`.
    #[arg(long, value_name = "APPID", env = "WECHAT_APP_ID", value_parser = AccountId::parse)]
    first_account: Option<AccountId>,
}

#[derive(Args)]
#[command(
    after_help = "  hubctl app list\n  hubctl app list --json | jq -r '.[] | select(.disabled) | .app_id'"
)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Print an array of what `app show --json` prints.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "  hubctl app show teashop000000001 --json")]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// Print an object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Each flag that is not given stays as it is.

  hubctl app edit teashop000000001 --refund-by-hand true --add-site https://new.example/")]
pub(crate) struct Edit {
    #[command(flatten)]
    change: Change,
    /// The app's name, for people.
    #[arg(long)]
    name: Option<String>,
    /// Let it name http:// addresses (test systems only).
    #[arg(long)]
    allow_http: Option<bool>,
    /// Let it ask for version 1.0, where WeChat calls it directly.
    #[arg(long)]
    allow_direct: Option<bool>,
    /// Do not call its synchronous address from the server.
    #[arg(long)]
    skip_return_call: Option<bool>,
    /// It refunds payments that do not fit their order itself.
    #[arg(long)]
    refund_by_hand: Option<bool>,
    /// Its APP payments go the way of 2014 (genprepay).
    #[arg(long)]
    genprepay: Option<bool>,
    /// End its log-ins with the signed profile instead of a code.
    #[arg(long)]
    signed_profile: Option<bool>,
    /// Tell it the session keys of its mini programs' users.
    #[arg(long)]
    session_keys: Option<bool>,
    /// Who is paid by its new orders; open ones stay where they are.
    #[arg(long, value_name = "MCH_ID", value_parser = MchId::parse)]
    merchant: Option<MchId>,
    /// One more account that its payers and users meet, after the others.
    /// Repeatable.
    #[arg(long = "add-account", value_name = "APPID", value_parser = AccountId::parse)]
    add_accounts: Vec<AccountId>,
    /// An account that is not its own any more. Repeatable.
    #[arg(long = "remove-account", value_name = "APPID", value_parser = AccountId::parse)]
    remove_accounts: Vec<AccountId>,
    #[command(flatten)]
    first: First,
    /// One more address prefix of its pages. Repeatable.
    #[arg(long = "add-site", value_name = "SITE")]
    add_sites: Vec<String>,
    /// An address prefix that is not its own any more. Repeatable.
    #[arg(long = "remove-site", value_name = "SITE")]
    remove_sites: Vec<String>,
}

// A change of an app that is there. (A doc comment would become the help of each.)
#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    trail: Trail,
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
}

#[derive(Args)]
#[command(
    after_help = "  hubctl app annotate teashop000000001 \"Ann, +86 10 5555 0100, knows their server\""
)]
pub(crate) struct Annotate {
    #[command(flatten)]
    change: Change,
    /// The new note, instead of the one before.
    note: String,
}

#[derive(Args)]
#[command(after_help = "\
The hub signs with the new secret at once and takes requests signed with either
until the old one ends. Print it where only the app's developer sees it.

  hubctl app rotate teashop000000001 --overlap-hours 72
  hubctl app rotate teashop000000001 --now --reason stolen --yes
  hubctl app rotate teashop000000001 --again     # the new one got lost on its way")]
pub(crate) struct Rotate {
    #[command(flatten)]
    change: Change,
    /// How long the old secret may still be used.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=2160))]
    overlap_hours: i64,
    /// The old secret was stolen: nobody may use it any more.
    #[arg(long, conflicts_with = "overlap_hours")]
    now: bool,
    /// Nobody has the new secret: make another one in its place. The old one ends
    /// when it was to.
    #[arg(long, conflicts_with_all = ["overlap_hours", "now"])]
    again: bool,
    /// 32 letters and digits; random unless given.
    #[arg(long, value_parser = AppSecret::parse)]
    app_secret: Option<AppSecret>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Create(new) => create(new).await,
        Command::List(list) => tell_all(list).await,
        Command::Show(show) => tell(show).await,
        Command::Edit(asked) => edit(asked).await,
        Command::Disable(disable) => {
            change(&disable, "app.disable", |app| {
                app.disabled = true;
                Ok(())
            })
            .await
        }
        Command::Enable(enable) => {
            change(&enable, "app.enable", |app| {
                app.disabled = false;
                Ok(())
            })
            .await
        }
        Command::Annotate(annotate) => {
            change(&annotate.change, "app.annotate", |app| {
                app.note.clone_from(&annotate.note);
                Ok(())
            })
            .await
        }
        Command::Rotate(asked) => rotate(asked).await,
    }
}

async fn edit(asked: Edit) -> Done {
    let registry = asked.change.place.registry(&sdk_config_for_people().await);
    let mut after = read(&registry, &asked.change.app_id).await?;
    asked.apply(&mut after).map_err(Stop::Refused)?;
    if asked.merchant.is_some() || !asked.add_accounts.is_empty() {
        asked.first.check(&registry, &after).await?;
    }
    change(&asked.change, "app.edit", |app| asked.apply(app)).await
}

impl First {
    /// Whether an app's merchant and accounts are registered and belong together.
    async fn check(&self, registry: &Registry, app: &App) -> Done {
        let merchant = app.merchant.as_ref().or(self.first_merchant.as_ref());
        if let Some(mch_id) = &app.merchant
            && self.first_merchant.as_ref() != Some(mch_id)
            && registry.merchant(mch_id).await?.is_none()
        {
            let text = format!("there is no merchant {mch_id}: hubctl merchant create {mch_id}");
            return Err(Stop::NotFound(text).into());
        }
        for id in &app.accounts {
            let Some(account) = registry.account(id).await? else {
                let text = format!("there is no account {id}: hubctl account create {id}");
                return Err(Stop::NotFound(text).into());
            };
            if merchant.is_some_and(|merchant| !account.merchants.contains(merchant)) {
                let text = format!(
                    "the account {id} is not bound to the app's merchant: bind it in WeChat's \
                     platform, then hubctl account edit {id} --add-merchant MCH_ID"
                );
                return Err(Stop::Refused(text).into());
            }
        }
        if app.merchant.is_some() && app.merchant != self.first_merchant && app.accounts.is_empty()
        {
            let text = "an app of another merchant than the first needs its accounts, too";
            return Err(Stop::Refused(text.to_owned()).into());
        }
        Ok(())
    }

    /// Where the stack has no first of its own, the only one that is registered.
    async fn complete(&self, registry: &Registry, app: &mut App) -> Done {
        if self.first_merchant.is_some() || app.merchant.is_some() {
            return Ok(());
        }
        let known = registry.directory().await?;
        let mut merchants = known.merchants.into_iter();
        app.merchant = merchants.next();
        if app.merchant.is_none() || merchants.next().is_some() {
            let text = "name the app's --merchant: there is none, or more than one";
            return Err(Stop::Refused(text.to_owned()).into());
        }
        if app.accounts.is_empty() && known.accounts.len() == 1 {
            app.accounts.extend(known.accounts);
        }
        Ok(())
    }
}

async fn create(new: Create) -> Done {
    for site in &new.sites {
        check_site(site, new.allow_http).map_err(|rule| format!("--site {site} {rule}"))?;
    }
    let random_id = || AppId::parse(&random_hex().chars().take(16).collect::<String>());
    let app_id = new.app_id.map_or_else(random_id, Ok)?;
    let app_secret = new.app_secret.map_or_else(random_secret, Ok)?;
    let mut app = App {
        name: new.name,
        allow_http: new.allow_http,
        allow_direct: new.allow_direct,
        skip_return_call: new.skip_return_call,
        refund_by_hand: new.refund_by_hand,
        genprepay: new.genprepay,
        sites: new.sites,
        signed_profile: new.signed_profile,
        session_keys: new.session_keys,
        merchant: new.merchant,
        accounts: new.accounts,
        ..App::new(app_id, app_secret)
    };
    let config = sdk_config_for_people().await;
    let registry = new.place.registry(&config);
    new.first.complete(&registry, &mut app).await?;
    new.first.check(&registry, &app).await?;
    let subject = app.app_id.to_string();
    let entry = new.trail.entry(&config, "app.create", subject).await;
    let entry = entry.between(&json!({}), &app.shown(Clock::System.now()));
    let audit = new.trail.table(&config);
    if !registry.add_app(&app, &audit, &entry).await? {
        let text = format!("an app with the id {} exists already", app.app_id);
        return Err(Stop::Refused(text).into());
    }
    hand_out(&app);
    Ok(())
}

fn random_secret() -> Result<AppSecret, shared::domain::id::Refused> {
    AppSecret::parse(&random_hex())
}

/// The only place where a secret is printed.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
fn hand_out(app: &App) {
    println!("app_id={}", app.app_id);
    println!("app_secret={}", app.app_secret.expose());
    eprintln!("Keep the secret now: it is not shown again.");
}

async fn tell_all(list: List) -> Done {
    let registry = list.place.registry(&sdk_config_for_people().await);
    let mut apps = registry.apps().await?;
    apps.sort_by(|one, other| (&one.name, &one.app_id).cmp(&(&other.name, &other.app_id)));
    let now = Clock::System.now();
    if list.json {
        let shown: Vec<_> = apps.iter().map(|app| app.shown(now)).collect();
        return print::json(&shown);
    }
    let rows = apps.iter().map(|app| {
        let state = if app.disabled { "disabled" } else { "" };
        [
            app.app_id.to_string(),
            state.to_owned(),
            app.name.clone(),
            app.note.clone(),
        ]
    });
    print::table(["APP_ID", "STATE", "NAME", "NOTE"], rows);
    Ok(())
}

async fn tell(show: Show) -> Done {
    let registry = show.place.registry(&sdk_config_for_people().await);
    let app = read(&registry, &show.app_id).await?;
    print::object(&app.shown(Clock::System.now()), show.json)
}

async fn read(registry: &Registry, app_id: &AppId) -> Result<App, Box<dyn std::error::Error>> {
    let app = registry.app_to_change(app_id).await?;
    app.ok_or_else(|| Stop::NotFound(format!("there is no app {app_id}")).into())
}

impl Edit {
    fn apply(&self, app: &mut App) -> Result<(), String> {
        if let Some(name) = &self.name {
            app.name.clone_from(name);
        }
        for (new, switch) in [
            (self.allow_http, &mut app.allow_http),
            (self.allow_direct, &mut app.allow_direct),
            (self.skip_return_call, &mut app.skip_return_call),
            (self.refund_by_hand, &mut app.refund_by_hand),
            (self.genprepay, &mut app.genprepay),
            (self.signed_profile, &mut app.signed_profile),
            (self.session_keys, &mut app.session_keys),
        ] {
            *switch = new.unwrap_or(*switch);
        }
        for site in &self.remove_sites {
            let before = app.sites.len();
            app.sites.retain(|known| known != site);
            if app.sites.len() == before {
                return Err(format!("--remove-site {site} is none of its sites"));
            }
        }
        for site in &self.add_sites {
            check_site(site, app.allow_http).map_err(|rule| format!("--add-site {site} {rule}"))?;
            if !app.sites.contains(site) {
                app.sites.push(site.clone());
            }
        }
        if let Some(merchant) = &self.merchant {
            app.merchant = Some(merchant.clone());
        }
        app.accounts
            .retain(|known| !self.remove_accounts.contains(known));
        for account in &self.add_accounts {
            if !app.accounts.contains(account) {
                app.accounts.push(account.clone());
            }
        }
        Ok(())
    }
}

/// Reads an app, changes it, and writes it with its entry if that is a change.
async fn change(
    asked: &Change,
    action: &str,
    apply: impl FnOnce(&mut App) -> Result<(), String>,
) -> Done {
    let config = sdk_config_for_people().await;
    let registry = asked.place.registry(&config);
    let before = read(&registry, &asked.app_id).await?;
    let mut app = before.clone();
    apply(&mut app).map_err(Stop::Refused)?;
    if app == before {
        eprintln!("Nothing to change.");
        return Ok(());
    }
    write(asked, &config, action, &before, app).await?;
    eprintln!("Changed, from the next request on.");
    Ok(())
}

async fn write(asked: &Change, config: &SdkConfig, action: &str, before: &App, app: App) -> Done {
    let subject = asked.app_id.to_string();
    let entry = asked.trail.entry(config, action, subject).await;
    let now = entry.at;
    let entry = entry.between(&before.shown(now), &app.shown(now));
    let (registry, audit) = (asked.place.registry(config), asked.trail.table(config));
    match registry.change_app(app, &audit, &entry).await? {
        true => Ok(()),
        false => Err(Stop::lost_race("app").into()),
    }
}

async fn rotate(asked: Rotate) -> Done {
    let config = sdk_config_for_people().await;
    let change = &asked.change;
    let before = read(&change.place.registry(&config), &change.app_id).await?;
    let now = Clock::System.now();
    let (rotation, action, what) = asked.kind(&before, now);
    let mut app = before.clone();
    let new = asked.app_secret.clone().map_or_else(random_secret, Ok)?;
    app.rotate(new, rotation, now).map_err(|rule| {
        let ends = before.previous_secret(now).map(|old| old.until.rfc3339());
        let ends = ends.map(|ends| {
            format!(" ({ends}): --again replaces the newer one, --now leaves only a new one")
        });
        let text = format!("the app {rule}{}", ends.unwrap_or_default());
        Stop::Refused(text)
    })?;
    confirm(&what, asked.yes)?;
    write(change, &config, action, &before, app.clone()).await?;
    hand_out(&app);
    Ok(())
}

impl Rotate {
    /// What is asked, its name in the trail, and what a person is told before.
    fn kind(&self, app: &App, now: Timestamp) -> (Rotation, &'static str, String) {
        let name = print::plain(&format!("{} {}", app.app_id, app.name));
        match (self.now, self.again) {
            (true, _) => (
                Rotation::Now,
                "app.rotate.now",
                format!("{name}: the present secret ends at once, with all its pay addresses."),
            ),
            (_, true) => (
                Rotation::Again,
                "app.rotate.again",
                format!("{name}: the newer secret ends at once, the older one when it was to."),
            ),
            _ => {
                let until = now.plus_seconds(self.overlap_hours.saturating_mul(3600));
                let until_text = until.rfc3339();
                (
                    Rotation::Overlap(until),
                    "app.rotate",
                    format!(
                        "{name}: the present secret may be used until {until_text}. Callbacks \
                         carry the new signature from now on."
                    ),
                )
            }
        }
    }
}
