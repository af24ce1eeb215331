//! Third parties that may use the hub: their switches, sites and secrets.

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use shared::ambient::{Clock, random_hex};
use shared::aws::sdk_config_for_people;
use shared::domain::app::{self, App, AppSecret, Form, Rotation};
use shared::domain::delivery::Event;
use shared::domain::id::{AppId, Refused};
use shared::domain::merchant::{AccountId, MchId};
use shared::domain::signature::Params;
use shared::domain::time::Timestamp;
use shared::flows::apps::{self, Apps};

use crate::audit::Trail;
use crate::first::FirstMerchant;
use crate::place::Place;
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
    /// Tells an app nothing for now: what is owed to it is kept.
    #[command(
        after_help = "  hubctl app pause teashop000000001 --reason \"they move their servers\""
    )]
    Pause(Change),
    /// Tells an app again, within a day also what was kept: see `delivery wake`.
    Resume(Change),
    /// Writes down what operators want to remember about an app.
    Annotate(Annotate),
    /// Gives an app a new secret and prints it, once.
    Rotate(Rotate),
}

fn apps(place: &Place, config: &SdkConfig, trail: &Trail, first_merchant: Option<MchId>) -> Apps {
    Apps {
        registry: place.registry(config),
        audit: trail.table(config),
        first_merchant,
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
    /// Keep its events in a feed, for it to read at GET /v1/events.
    #[arg(long)]
    feed: bool,
    /// Do not call it at all: it reads its feed.
    #[arg(long)]
    skip_callbacks: bool,
    /// How it is called: query (GET, until `success`) or standard_webhooks (POST with
    /// JSON, until 2xx).
    #[arg(long, default_value = "query", value_parser = Form::parse)]
    form: Form,
    /// An event that it is not told of. Repeatable.
    #[arg(long = "mute", value_name = "EVENT", value_parser = Event::parse)]
    muted: Vec<Event>,
    /// Where it is told of an event, under one of its sites, in place of its orders'
    /// own address. Repeatable.
    #[arg(long = "notify-url", value_name = "EVENT=URL", value_parser = event_address)]
    notify_urls: Vec<EventAddress>,
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
    first: FirstMerchant,
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
    /// Keep its events in a feed, for it to read at GET /v1/events.
    #[arg(long)]
    feed: Option<bool>,
    /// Do not call it at all: it reads its feed.
    #[arg(long)]
    skip_callbacks: Option<bool>,
    /// How it is called: query (GET, until `success`) or standard_webhooks (POST with
    /// JSON, until 2xx).
    #[arg(long, value_parser = Form::parse)]
    form: Option<Form>,
    /// One more event that it is not told of. Repeatable.
    #[arg(long = "mute", value_name = "EVENT", value_parser = Event::parse)]
    add_muted: Vec<Event>,
    /// An event that it is told of again. Repeatable.
    #[arg(long = "unmute", value_name = "EVENT", value_parser = Event::parse)]
    remove_muted: Vec<Event>,
    /// Where it is told of an event, under one of its sites, in place of its orders'
    /// own address. Repeatable.
    #[arg(long = "notify-url", value_name = "EVENT=URL", value_parser = event_address)]
    add_notify_urls: Vec<EventAddress>,
    /// An event that it is told of at its orders' own address again. Repeatable.
    #[arg(long = "remove-notify-url", value_name = "EVENT", value_parser = Event::parse)]
    remove_notify_urls: Vec<Event>,
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
    first: FirstMerchant,
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
        Command::Edit(asked) => {
            let edit = apps::Change::Edit(Box::new(asked.edit()));
            let first = asked.first.id().cloned();
            change(&asked.change, first, edit).await
        }
        Command::Disable(asked) => change(&asked, None, apps::Change::Disable).await,
        Command::Enable(asked) => change(&asked, None, apps::Change::Enable).await,
        Command::Pause(asked) => change(&asked, None, apps::Change::Pause).await,
        Command::Resume(asked) => change(&asked, None, apps::Change::Resume).await,
        Command::Annotate(asked) => {
            change(&asked.change, None, apps::Change::Annotate(asked.note)).await
        }
        Command::Rotate(asked) => rotate(asked).await,
    }
}

async fn create(new: Create) -> Done {
    let random_id = || AppId::parse(&random_hex().chars().take(16).collect::<String>());
    let app_id = new.app_id.map_or_else(random_id, Ok)?;
    let app_secret = new.app_secret.map_or_else(random_secret, Ok)?;
    let edit = app::Edit {
        name: Some(new.name),
        allow_http: Some(new.allow_http),
        allow_direct: Some(new.allow_direct),
        skip_return_call: Some(new.skip_return_call),
        feed: Some(new.feed),
        skip_callbacks: Some(new.skip_callbacks),
        form: Some(new.form),
        add_muted: new.muted,
        remove_muted: Vec::new(),
        add_notify_urls: by_event(&new.notify_urls),
        remove_notify_urls: Vec::new(),
        refund_by_hand: Some(new.refund_by_hand),
        genprepay: Some(new.genprepay),
        signed_profile: Some(new.signed_profile),
        session_keys: Some(new.session_keys),
        merchant: new.merchant,
        add_accounts: new.accounts,
        remove_accounts: Vec::new(),
        add_sites: new.sites,
        remove_sites: Vec::new(),
    };
    let config = sdk_config_for_people().await;
    let first = new.first.id().cloned();
    let apps = apps(&new.place, &config, &new.trail, first);
    let actor = new.trail.actor(&config).await;
    let app = App::new(app_id, app_secret);
    let created = apps.create(app, &edit, &actor, Clock::System.now()).await;
    hand_out(&created.map_err(stop)?);
    Ok(())
}

/// Where an app is told of an event.
#[derive(Clone)]
struct EventAddress {
    event: Event,
    address: String,
}

fn event_address(text: &str) -> Result<EventAddress, Refused> {
    let parts = text.split_once('=');
    let (event, address) = parts.ok_or(Refused("must be EVENT=URL"))?;
    Ok(EventAddress {
        event: Event::parse(event)?,
        address: address.to_owned(),
    })
}

fn by_event(addresses: &[EventAddress]) -> Params {
    let pairs = addresses.iter();
    pairs
        .map(|one| (one.event.as_str().to_owned(), one.address.clone()))
        .collect()
}

fn names(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| event.as_str().to_owned())
        .collect()
}

fn random_secret() -> Result<AppSecret, Refused> {
    AppSecret::parse(&random_hex())
}

/// The only place where a secret is printed.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
fn hand_out(app: &App) {
    println!("app_id={}", app.app_id);
    println!("app_secret={}", app.app_secret.expose());
    if app.form == Form::StandardWebhooks {
        println!("webhook_secret={}", app.app_secret.webhook_form());
    }
    let merchant = app.merchant.as_ref().map(MchId::as_str);
    let accounts: Vec<&str> = app.accounts.iter().map(AccountId::as_str).collect();
    eprintln!(
        "Its orders pay {}, through {}.",
        merchant.unwrap_or("the stack's first merchant"),
        match accounts.is_empty() {
            true => "the stack's first account".to_owned(),
            false => accounts.join(", "),
        }
    );
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
        let state = match (app.disabled, app.paused) {
            (true, _) => "disabled",
            (_, true) => "paused",
            _ => "",
        };
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
    let app = registry.app_to_change(&show.app_id).await?;
    let app = app.ok_or_else(|| stop(apps::Error::NotFound(show.app_id)))?;
    print::object(&app.shown(Clock::System.now()), show.json)
}

impl Edit {
    fn edit(&self) -> app::Edit {
        app::Edit {
            name: self.name.clone(),
            allow_http: self.allow_http,
            allow_direct: self.allow_direct,
            skip_return_call: self.skip_return_call,
            feed: self.feed,
            skip_callbacks: self.skip_callbacks,
            form: self.form,
            add_muted: self.add_muted.clone(),
            remove_muted: self.remove_muted.clone(),
            add_notify_urls: by_event(&self.add_notify_urls),
            remove_notify_urls: names(&self.remove_notify_urls),
            refund_by_hand: self.refund_by_hand,
            genprepay: self.genprepay,
            signed_profile: self.signed_profile,
            session_keys: self.session_keys,
            merchant: self.merchant.clone(),
            add_accounts: self.add_accounts.clone(),
            remove_accounts: self.remove_accounts.clone(),
            add_sites: self.add_sites.clone(),
            remove_sites: self.remove_sites.clone(),
        }
    }
}

async fn change(asked: &Change, first: Option<MchId>, change: apps::Change) -> Done {
    let config = sdk_config_for_people().await;
    let apps = apps(&asked.place, &config, &asked.trail, first);
    let actor = asked.trail.actor(&config).await;
    let changed = apps.change(&asked.app_id, change, &actor, Clock::System.now());
    match changed.await.map_err(stop)?.is_new {
        true => eprintln!("Changed, from the next request on."),
        false => eprintln!("Nothing to change."),
    }
    Ok(())
}

async fn rotate(asked: Rotate) -> Done {
    let config = sdk_config_for_people().await;
    let change = &asked.change;
    let apps = apps(&change.place, &config, &change.trail, None);
    let before = apps.read(&change.app_id).await.map_err(stop)?;
    let now = Clock::System.now();
    let (rotation, what) = asked.kind(&before, now);
    confirm(&what, asked.yes)?;
    let new = asked.app_secret.clone().map_or_else(random_secret, Ok)?;
    let actor = change.trail.actor(&config).await;
    let rotated = apps.rotate(&change.app_id, rotation, new, &actor, now);
    let app = rotated.await.map_err(|error| {
        let ends = before.previous_secret(now).map(|old| old.until.rfc3339());
        match (&error, ends) {
            (apps::Error::Rotation(_), Some(ends)) => Stop::Refused(format!(
                "{error} ({ends}): --again replaces the newer one, --now leaves only a new one"
            ))
            .into(),
            _ => stop(error),
        }
    })?;
    hand_out(&app);
    Ok(())
}

fn stop(error: apps::Error) -> Box<dyn std::error::Error> {
    let text = error.to_string();
    match error {
        apps::Error::NotFound(_)
        | apps::Error::MerchantUnknown(_)
        | apps::Error::AccountUnknown(_) => Stop::NotFound(text).into(),
        apps::Error::Exists(_)
        | apps::Error::Broken(_)
        | apps::Error::Misfit(_)
        | apps::Error::Rotation(_)
        | apps::Error::Changed => Stop::Refused(text).into(),
        apps::Error::Aws(failure) => failure.into(),
    }
}

impl Rotate {
    /// What is asked, and what a person is told before.
    fn kind(&self, app: &App, now: Timestamp) -> (Rotation, String) {
        let name = print::plain(&format!("{} {}", app.app_id, app.name));
        match (self.now, self.again) {
            (true, _) => (
                Rotation::Now,
                format!("{name}: the present secret ends at once, with all its pay addresses."),
            ),
            (_, true) => (
                Rotation::Again,
                format!("{name}: the newer secret ends at once, the older one when it was to."),
            ),
            _ => {
                let until = now.plus_seconds(self.overlap_hours.saturating_mul(3600));
                let text = format!(
                    "{name}: the present secret may be used until {}. Callbacks carry the new \
                     signature from now on.",
                    until.rfc3339()
                );
                (Rotation::Overlap(until), text)
            }
        }
    }
}
