//! Several installations by their names: what a stack's outputs and parameters say
//! is kept in a file, and `hubctl --profile NAME` runs as if it stood in the
//! environment. No secret is in it, only where secrets are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process;

use clap::{Args, Subcommand};
use etcetera::{BaseStrategy, choose_base_strategy};
use shared::aws::sdk_config_for_people;

use crate::{Done, Stop, print};

/// Where a profile may also be named.
const VARIABLE: &str = "HUBCTL_PROFILE";
/// What of AWS is kept with it, as it stands when the profile is made.
const OF_AWS: [&str; 3] = ["AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"];
/// The stack's parameters that commands are told; the first two may be none.
const PARAMETERS: [&str; 6] = [
    "WechatMchId",
    "WechatAppId",
    "WechatApiVersion",
    "WechatSignType",
    "WechatPayBase",
    "WechatOauthBase",
];

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Remembers a deployed stack under a name; the same name again updates it.
    Add(Add),
    /// The names that are known.
    List(List),
    /// What a profile says.
    Show(Show),
    /// Forgets a profile. The stack stays as it is.
    Remove(Remove),
}

#[derive(Args)]
#[command(after_help = "\
Example: AWS_PROFILE=shop-prod hubctl profile add prod --stack wechat-pay-hub
         hubctl --profile prod order show APP_ID ORDER_NO")]
pub(crate) struct Add {
    /// Letters, digits and hyphens.
    #[arg(value_parser = name)]
    name: String,
    /// The name given to sam deploy.
    #[arg(long, value_name = "STACK", env = "STACK_NAME")]
    stack: String,
}

#[derive(Args)]
#[command(after_help = "Example: hubctl profile list")]
pub(crate) struct List {
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: hubctl profile show prod")]
pub(crate) struct Show {
    #[arg(value_parser = name)]
    name: String,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: hubctl profile remove prod")]
pub(crate) struct Remove {
    #[arg(value_parser = name)]
    name: String,
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Add(add) => self::add(add).await,
        Command::List(list) => self::list(&list),
        Command::Show(show) => print::object(&read(&show.name)?, show.json),
        Command::Remove(remove) => {
            read(&remove.name)?;
            Ok(fs::remove_file(path(&remove.name)?)?)
        }
    }
}

/// Runs this program again under the profile that its arguments or the environment
/// name, and does not come back; without one it returns the arguments.
pub(crate) fn enter() -> Result<Vec<OsString>, Box<dyn std::error::Error>> {
    let mut rest: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some(name) = named(&mut rest) else {
        return Ok(rest);
    };
    // What makes profiles must see the environment as it is.
    if rest.first().is_some_and(|command| command == "profile") {
        return Ok(rest);
    }
    let settings = read(&self::name(&name)?)?;
    let mut again = process::Command::new(std::env::current_exe()?);
    again.args(rest).env_remove(VARIABLE);
    for variable in OF_AWS {
        again.env_remove(variable);
    }
    if settings.contains_key("AWS_PROFILE") {
        // The SDK would take these first, and they may be another account's.
        for variable in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ] {
            again.env_remove(variable);
        }
    }
    Err(again.envs(settings).exec().into())
}

/// Takes `--profile NAME` out of the arguments; what follows `--` is none.
fn named(arguments: &mut Vec<OsString>) -> Option<String> {
    let flags = arguments.iter().take_while(|argument| *argument != "--");
    let mut flags = flags.map(|argument| argument.to_str().unwrap_or_default());
    let place = flags.position(|flag| flag == "--profile" || flag.starts_with("--profile="));
    let Some(place) = place else {
        #[expect(
            clippy::disallowed_methods,
            reason = "the other settings are made of this one, before clap reads them"
        )]
        return std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    };
    let flag = arguments.remove(place).to_string_lossy().into_owned();
    match flag.split_once('=') {
        Some((_, name)) => Some(name.to_owned()),
        None if place < arguments.len() => Some(arguments.remove(place).to_string_lossy().into()),
        None => Some(String::new()),
    }
}

fn name(text: &str) -> Result<String, Stop> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(Stop::Refused(
            "a profile's name is 1 to 64 letters, digits and hyphens".to_owned(),
        )),
    }
}

async fn add(add: Add) -> Done {
    let config = sdk_config_for_people().await;
    let client = aws_sdk_cloudformation::Client::new(&config);
    let described = client.describe_stacks().stack_name(&add.stack).send().await;
    let described = described.map_err(|error| shared::error::causes(&error))?;
    let stack = described.stacks().first();
    let stack = stack.ok_or_else(|| Stop::NotFound(format!("no stack {}", add.stack)))?;
    let outputs = stack.outputs().iter();
    let outputs = outputs.filter_map(|output| Some((output.output_key()?, output.output_value()?)));
    let parameters = stack.parameters().iter();
    let parameters = parameters
        .filter_map(|given| Some((given.parameter_key()?, given.parameter_value()?)))
        .filter(|(key, _)| PARAMETERS.contains(key));
    let mut settings: BTreeMap<String, String> = outputs
        .chain(parameters)
        .map(|(key, value)| (variable(key), value.to_owned()))
        .collect();
    for first in ["WECHAT_MCH_ID", "WECHAT_APP_ID"] {
        let value = settings.entry(first.to_owned()).or_default();
        if value.is_empty() {
            "none".clone_into(value);
        }
    }
    settings.retain(|_, value| !value.is_empty());
    if !settings.contains_key("LEDGER_TABLE") {
        return Err(Stop::Refused(format!("{} is no stack of a hub", add.stack)).into());
    }
    settings.insert("STACK_NAME".to_owned(), add.stack);
    for variable in OF_AWS {
        #[expect(clippy::disallowed_methods, reason = "it is kept for the next time")]
        if let Ok(value) = std::env::var(variable) {
            settings.insert(variable.to_owned(), value);
        }
    }
    let path = path(&add.name)?;
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, serde_json::to_string_pretty(&settings)?)?;
    eprintln!(
        "Kept in {}: hubctl --profile {} ...",
        path.display(),
        add.name
    );
    Ok(())
}

/// `LedgerTable` is `LEDGER_TABLE`.
fn variable(key: &str) -> String {
    let mut variable = String::new();
    for character in key.chars() {
        if character.is_ascii_uppercase() && !variable.is_empty() {
            variable.push('_');
        }
        variable.push(character.to_ascii_uppercase());
    }
    variable
}

fn list(list: &List) -> Done {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()?).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "json") {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    if list.json {
        return print::json(&names);
    }
    print::table(["NAME"], names.into_iter().map(|name| [name]));
    Ok(())
}

fn read(name: &str) -> Result<BTreeMap<String, String>, Box<dyn std::error::Error>> {
    let Ok(text) = fs::read_to_string(path(name)?) else {
        let known = format!("no profile {name}: hubctl profile add {name} --stack STACK");
        return Err(Stop::NotFound(known).into());
    };
    Ok(serde_json::from_str(&text)?)
}

fn path(name: &str) -> Result<PathBuf, Stop> {
    Ok(folder()?.join(format!("{name}.json")))
}

fn folder() -> Result<PathBuf, Stop> {
    match choose_base_strategy() {
        Ok(places) => Ok(places.config_dir().join("hubctl")),
        Err(_) => Err(Stop::Refused(
            "there is no home to keep profiles in".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_before_or_after_the_command_and_taken_out() {
        for (given, rest) in [
            ("--profile prod order show", "order show"),
            ("--profile=prod order show", "order show"),
            ("order show --profile prod", "order show"),
        ] {
            let mut arguments = given.split(' ').map(OsString::from).collect();
            assert_eq!(named(&mut arguments).as_deref(), Some("prod"), "{given}");
            assert_eq!(arguments.join(" ".as_ref()), rest);
        }
        let mut none = vec![OsString::from("--"), OsString::from("--profile")];
        assert_eq!(named(&mut none), None);
        assert_eq!(none.len(), 2);
        assert_eq!(
            named(&mut vec![OsString::from("--profile")]).as_deref(),
            Some("")
        );
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for refused in ["", "..", "a/b", "a b", "ä"] {
            assert!(name(refused).is_err(), "{refused}");
        }
        assert!(name("shop-1").is_ok());
    }

    #[test]
    fn an_output_is_the_variable_that_commands_read() {
        assert_eq!(variable("WechatV3SecretName"), "WECHAT_V3_SECRET_NAME");
    }
}
