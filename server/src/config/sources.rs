//! Where settings come from, and how all their problems are found in one load.
//!
//! Sources become layers of one shape: presets (a mode's own defaults), the file, the environment, flags. In each layer `{secret}_file` is
//! replaced by what the file holds. Serde stops at the first error, so the key at fault is noted, taken out of all layers, and reading
//! starts over until nothing is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::Config;

/// Keys whose values are never shown, and which have a `_file` variant.
const SECRETS: [&str; 3] = ["master_keys", "root_key", "database.url"];

/// Variables with the prefix that are no settings: those of clients, of tests, and those that Kubernetes sets in every pod of a namespace
/// that has a service named `gatepost`.
fn is_no_setting(name: &str) -> bool {
    matches!(name, "CONFIG" | "URL" | "KEY" | "KEY_FILE" | "PORT" | "TENANT" | "CA_FILE" | "SIGNING_SECRET")
        || ["TEST_", "REQUIRE_", "ORACLE_", "CI_", "PORT_", "SERVICE_"].iter().any(|start| name.starts_with(start))
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, `section.key`, or the file.
    pub key: String,
    /// What is wrong, and where it was set if that is known. Never the value of a secret.
    pub problem: String,
}

impl Problem {
    pub(super) fn new(key: &str, problem: &str) -> Self {
        Self { key: key.to_owned(), problem: problem.to_owned() }
    }
}

/// Everything that is wrong with the configuration, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.key, problem.problem))
    }
}

/// Where settings come from. Later methods win over earlier ones, whatever the order of the calls.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    presets: Vec<(String, Value)>,
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<(String, Value)>,
}

impl Sources {
    /// Defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// A default of the mode that runs, such as `dev`: everything else wins over it.
    #[must_use]
    pub fn preset(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.presets.push((key.to_owned(), value.into()));
        self
    }

    /// A TOML file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Variables, of which those with the prefix `GATEPOST_` are read: `GATEPOST_LOG__FORMAT` is `log.format`. Empty ones are absent.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// A setting of the command line.
    #[must_use]
    pub fn flag(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.flags.push((key.to_owned(), value.into()));
        self
    }

    /// The settings with defaults for all that is wrong, and what is wrong.
    pub(super) fn read(self) -> (Config, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut layers = vec![
            Layer::of_pairs("defaults of this mode", self.presets),
            self.file.map(|file| Layer::of_file(&file, &mut problems)).unwrap_or_default(),
            Layer::of_environment(self.environment),
            Layer::of_pairs("command line", self.flags),
        ];
        for layer in &mut layers {
            layer.read_secret_files(&mut problems);
        }
        loop {
            let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer.clone()));
            let error = match figment.extract::<Config>() {
                Ok(config) => return (config, problems),
                Err(error) => error,
            };
            let (path, mut problem) = explain(error);
            let mut removed = None;
            for layer in layers.iter_mut().rev() {
                if remove(&mut layer.settings, &path) {
                    removed.get_or_insert_with(|| layer.source.clone());
                }
            }
            if let Some(source) = &removed {
                problem.problem.push_str(&format!(" ({source})"));
            }
            problems.push(problem);
            if removed.is_none() {
                // Nothing to take out: the defaults stand for the rest, and the problem is told.
                return (Config::default(), problems);
            }
        }
    }
}

/// The path of the key at fault, and the problem in words.
fn explain(error: figment::Error) -> (Vec<String>, Problem) {
    let mut path = error.path;
    let mut key = path.join(".");
    let text = match &error.kind {
        Kind::UnknownField(name, known) => {
            if path.last() != Some(name) {
                path.push(name.clone());
                key = path.join(".");
            }
            format!("is no setting; those here are {}", known.join(", "))
        }
        Kind::MissingField(name) => {
            key = format!("{key}.{name}");
            "is missing".to_owned()
        }
        Kind::UnknownVariant(name, known) => format!("`{name}` is none of {}", known.join(", ")),
        Kind::Message(text) => text.clone(),
        _ if SECRETS.contains(&key.as_str()) => "is not a text".to_owned(),
        kind => kind.to_string(),
    };
    (path, Problem { key, problem: text })
}

/// The settings of one source.
#[derive(Debug, Clone, Default)]
struct Layer {
    source: String,
    settings: Dict,
}

impl Layer {
    fn of_pairs(source: &str, pairs: Vec<(String, Value)>) -> Self {
        let mut layer = Self { source: source.to_owned(), settings: Dict::new() };
        for (key, value) in pairs {
            let path: Vec<_> = key.split('.').map(str::to_owned).collect();
            insert(&mut layer.settings, &path, value);
        }
        layer
    }

    fn of_file(file: &Path, problems: &mut Vec<Problem>) -> Self {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
        let settings = text.and_then(|text| toml(&text)).unwrap_or_else(|problem| {
            problems.push(Problem { key: file.display().to_string(), problem });
            Dict::new()
        });
        Self { source: file.display().to_string(), settings }
    }

    fn of_environment(variables: Vec<(String, String)>) -> Self {
        let mut layer = Self { source: "environment".to_owned(), settings: Dict::new() };
        for (name, text) in variables {
            let Some(name) = name.strip_prefix("GATEPOST_").filter(|name| !is_no_setting(name)) else { continue };
            if text.is_empty() {
                continue;
            }
            let path: Vec<_> = name.to_ascii_lowercase().split("__").map(str::to_owned).collect();
            // A secret is a text, even one of digits; so is a path.
            let is_text = SECRETS.contains(&path.join(".").as_str()) || name.ends_with("_FILE");
            let value = if is_text { Value::from(text) } else { parse(&text) };
            insert(&mut layer.settings, &path, value);
        }
        layer
    }

    /// Puts what a file holds in the place of `{secret}_file`.
    fn read_secret_files(&mut self, problems: &mut Vec<Problem>) {
        for secret in SECRETS {
            let path: Vec<_> = secret.split('.').map(str::to_owned).collect();
            let file_key = format!("{secret}_file");
            let file_path: Vec<_> = file_key.split('.').map(str::to_owned).collect();
            let Some(file) = take(&mut self.settings, &file_path) else { continue };
            let mut wrong =
                |text: String| problems.push(Problem { key: file_key.clone(), problem: format!("{text} ({})", self.source) });
            let Some(file) = file.into_string() else {
                wrong("is not a path".to_owned());
                continue;
            };
            if take(&mut self.settings, &path).is_some() {
                wrong(format!("stands beside `{secret}`: set one of them"));
                continue;
            }
            match std::fs::read_to_string(&file) {
                Ok(text) => insert(&mut self.settings, &path, Value::from(text.trim())),
                Err(error) => wrong(format!("{file}: cannot be read: {error}")),
            }
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

/// The settings of a TOML text, or where it is wrong: the parser's other lines repeat the text, which may hold secrets.
fn toml(text: &str) -> Result<Dict, String> {
    use figment::providers::{Format, Toml};
    Figment::from(Toml::string(text))
        .extract()
        .map_err(|error| error.to_string().lines().next().unwrap_or("is not TOML").to_owned())
}

/// A number, a flag or a list where the text reads as one, else a text.
fn parse(text: &str) -> Value {
    text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})
}

fn insert(settings: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => drop(settings.insert(key.clone(), value)),
        [section, rest @ ..] => {
            let section = settings.entry(section.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, settings) = section {
                insert(settings, rest, value);
            }
        }
    }
}

fn take(settings: &mut Dict, path: &[String]) -> Option<Value> {
    match path {
        [] => None,
        [key] => settings.remove(key),
        [section, rest @ ..] => match settings.get_mut(section) {
            Some(Value::Dict(_, settings)) => take(settings, rest),
            _ => None,
        },
    }
}

/// Takes out the setting of this path, or the list that the path leads into.
fn remove(settings: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [section, rest @ ..] => match settings.get_mut(section) {
            Some(Value::Dict(_, settings)) if !rest.is_empty() => remove(settings, rest),
            _ => settings.remove(section).is_some(),
        },
    }
}
