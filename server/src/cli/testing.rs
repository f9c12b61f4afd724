//! Reads arguments in tests.

use clap::{Args, FromArgMatches};

/// The arguments of one command.
pub(crate) fn parse<T: Args + FromArgMatches>(arguments: &[&str]) -> T {
    let matches = T::augment_args(clap::Command::new("test")).try_get_matches_from(line(arguments)).expect("it is valid");
    T::from_arg_matches(&matches).expect("it is valid")
}

/// The exit code of arguments that are refused.
pub(crate) fn refuse<T: Args + FromArgMatches>(arguments: &[&str]) -> i32 {
    T::augment_args(clap::Command::new("test")).try_get_matches_from(line(arguments)).expect_err("it must be refused").exit_code()
}

fn line<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    std::iter::once("test").chain(arguments.iter().copied()).collect()
}
