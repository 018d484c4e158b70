//! The command as clap knows it, with what its derive can't say.

use std::ffi::OsString;

use clap::builder::{OsStr, Resettable, StyledStr};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::Cli;
use crate::cli::{local, plan};

impl Cli {
    /// What was typed, over what the environment says.
    pub fn read(typed: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(typed).map_err(|error| {
            // Flags that were not needed have no name to show before.
            command.build();
            with_variable(error, &command)
        })?;
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

fn command() -> Command {
    Cli::command().mut_subcommands(|command| {
        let defaults: &[(&str, &str)] = match command.get_name() {
            "run" | "plan" => &plan::DEFAULTS,
            "local" => &local::DEFAULTS,
            _ => &[],
        };
        command.mut_args(|arg| empty_is_unset(with_default(arg, defaults)))
    })
}

/// Adds to a shared flag's help what it defaults to in this command.
fn with_default(arg: Arg, defaults: &[(&str, &str)]) -> Arg {
    let default = defaults.iter().find(|(flag, _)| *arg.get_id() == **flag);
    match (default, arg.get_help()) {
        (Some((_, default)), Some(help)) => {
            let help = format!("{help} [default: {default}]");
            arg.help(help)
        }
        _ => arg,
    }
}

/// An empty variable counts as unset: Compose's `${NAME:-}` makes such ones.
fn empty_is_unset(arg: Arg) -> Arg {
    match variable(&arg) {
        Some((_, value)) if value.is_empty() => arg.env(Resettable::<OsStr>::Reset),
        _ => arg,
    }
}

/// The variable that stands in for a flag, if it is set.
fn variable(arg: &Arg) -> Option<(String, OsString)> {
    let name = arg.get_env()?;
    Some((name.to_string_lossy().into_owned(), std::env::var_os(name)?))
}

/// `error`, which names the variable too that the wrong value is from.
fn with_variable(mut error: clap::Error, command: &Command) -> clap::Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(flag), Some(value)) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let source = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter(|arg| arg.to_string() == flag)
        .find_map(variable)
        .filter(|(_, set)| *set == *value);
    if let Some((name, _)) = source {
        let tip = StyledStr::from(format!("the environment's {name} has this value"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
