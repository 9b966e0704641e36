//! Reading the sources, lowest precedence first, into one [`Effective`].
//!
//! Without `spring.config.location` the first of these is read: `conf/application.properties` and
//! `application.properties` in the working directory, `../conf/application.properties` beside the binary's folder.
//! A relative location is looked for in the working directory, then beside the binary.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::Arguments;
use crate::config::files::{self, Search};
use crate::config::later::spring::{CONFIG_ADDITIONAL, CONFIG_LOCATION, CONFIG_NAME, PROFILES};
use crate::config::sources::{Effective, Entry, Level, Origin, Problem, Unknown};
use crate::config::spring::{self, Known, Names};
use crate::config::{properties, registry};
use crate::logging;
use crate::setting::{Setting, Standing};

/// Everything the configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The command line.
    pub arguments: Arguments,
    /// The environment; variables that name no key are ignored.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub working_folder: PathBuf,
    /// The folder the binary lies in.
    pub program_folder: PathBuf,
}

impl Inputs {
    /// The running process's own. Bytes that are not UTF-8 become U+FFFD, so that such a value is refused
    /// rather than overlooked.
    pub fn of_process(arguments: Arguments) -> Self {
        let program = std::env::current_exe().unwrap_or_default();
        let text = |(name, text): (OsString, OsString)| {
            Some((name.into_string().ok()?, text.to_string_lossy().into_owned()))
        };
        let mut environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
        // What placeholders may name although no shell exports it.
        let own = [
            ("hostname", logging::host_name()),
            ("HOSTNAME", logging::host_name()),
            ("PID", std::process::id().to_string()),
        ];
        for (name, text) in own {
            if !environment.iter().any(|(known, _)| known == name) {
                environment.push((name.to_owned(), text));
            }
        }
        Self {
            arguments,
            environment,
            working_folder: std::env::current_dir().unwrap_or_default(),
            program_folder: program.parent().map(Path::to_path_buf).unwrap_or_default(),
        }
    }
}

/// Beginnings of `-D` names that only a JVM understands.
const JVM_NAMES: [&str; 9] =
    ["java.", "javax.", "sun.", "com.sun.", "jdk.", "file.", "user.", "loader.", "io.netty."];

/// Names that Spring Boot defines for Logback's patterns, and the keys and defaults behind them.
const LOGBACK_NAMES: [(&str, &str, &str); 5] = [
    ("LOG_FILE", "logging.file.name", ""),
    ("LOG_PATH", "logging.file.path", ""),
    ("LOG_DATEFORMAT_PATTERN", "logging.pattern.dateformat", "yyyy-MM-dd HH:mm:ss.SSS"),
    ("LOG_LEVEL_PATTERN", "logging.pattern.level", "%5p"),
    ("LOG_EXCEPTION_CONVERSION_WORD", "", "%wEx"),
];

/// The sources while they are read.
pub(crate) struct Reading<'a> {
    inputs: &'a Inputs,
    names: &'static Names,
    out: Effective,
    /// Values of keys that no setting has, for placeholders.
    others: HashMap<String, String>,
}

impl<'a> Reading<'a> {
    /// Reads everything; values are expanded but not yet judged.
    pub(crate) fn all(inputs: &'a Inputs) -> Effective {
        let names = registry::names();
        let mut reading = Self { inputs, names, out: Effective::default(), others: HashMap::new() };
        reading.files();
        reading.stores();
        reading.environment();
        reading.command_line();
        reading.expand();
        reading.out
    }

    fn problem(&mut self, level: Level, place: &str, subject: &str, what: impl Into<String>) {
        let problem =
            Problem { level, place: place.to_owned(), subject: subject.to_owned(), what: what.into() };
        self.out.problems.push(problem);
    }

    /// The files that the sources above them name, or the default one.
    fn files(&mut self) {
        let search = self.config_search();
        let mut locations = self.early(&CONFIG_LOCATION);
        locations.extend(self.inputs.arguments.file.clone());
        if locations.is_empty() {
            match self.default_file() {
                Some(path) => self.file(&path),
                None => self.problem(
                    Level::Warning,
                    "command line",
                    "no file",
                    "was named or found (conf/application.properties, application.properties); defaults count",
                ),
            }
        }
        locations.extend(self.early(&CONFIG_ADDITIONAL));
        for location in &locations {
            self.location(&search, location);
        }
        self.profile_files();
    }

    /// Where configuration files are looked for.
    fn config_search(&self) -> Search {
        let Inputs { working_folder: working, program_folder: program, .. } = self.inputs;
        Search {
            folders: vec![working.clone(), program.clone()],
            class_path: vec![working.join("conf"), program.join("../conf")],
        }
    }

    fn default_file(&self) -> Option<PathBuf> {
        let Inputs { working_folder: working, program_folder: program, .. } = self.inputs;
        let candidates = [
            working.join("conf/application.properties"),
            working.join("application.properties"),
            program.join("../conf/application.properties"),
        ];
        candidates.into_iter().find(|path| path.is_file())
    }

    /// One item of `spring.config.location`.
    fn location(&mut self, search: &Search, location: &str) {
        let (location, optional) = match location.strip_prefix("optional:") {
            Some(location) => (location, true),
            None => (location, false),
        };
        let mut file = location.to_owned();
        if file.ends_with('/') {
            file = format!("{file}{}.properties", self.early(&CONFIG_NAME));
        }
        match search.find(&file) {
            Ok(path) if path.extension().is_some_and(|suffix| suffix == "yml" || suffix == "yaml") => {
                let what = "is YAML, which is not read; write its keys as .properties";
                self.problem(Level::Error, CONFIG_LOCATION.key, &file, what);
            }
            Ok(path) => self.file(&path),
            Err(_) if optional => {}
            Err(missing) => self.problem(Level::Error, CONFIG_LOCATION.key, &file, missing.to_string()),
        }
    }

    /// `application-NAME.properties` beside each file, for each active profile.
    fn profile_files(&mut self) {
        let mut profiles = self.early(&PROFILES);
        if profiles.is_empty()
            && let Some(entry) = self.out.entries.get(PROFILES.key)
        {
            profiles = (PROFILES.parse)(&entry.text).unwrap_or_default();
        }
        for plain in self.out.files.clone() {
            let Some(stem) = plain.file_stem().and_then(|stem| stem.to_str()) else { continue };
            for profile in &profiles {
                let path = plain.with_file_name(format!("{stem}-{profile}.properties"));
                if path.is_file() {
                    self.file(&path);
                }
            }
        }
    }

    /// Reads one file; a second mention of it changes nothing.
    fn file(&mut self, path: &Path) {
        if self.out.files.iter().any(|read| read == path) {
            return;
        }
        let shown = path.strip_prefix(&self.inputs.working_folder).unwrap_or(path).to_path_buf();
        let place = shown.display().to_string();
        let bytes = match files::read(path) {
            Ok(bytes) => bytes,
            Err(what) => return self.problem(Level::Error, CONFIG_LOCATION.key, &place, what),
        };
        self.out.files.push(path.to_path_buf());
        let read = properties::read(&bytes);
        for malformed in read.malformed {
            self.problem(Level::Error, &format!("{place}:{}", malformed.line), "the line", malformed.what);
        }
        for property in read.entries {
            let origin = Origin::File { path: shown.clone(), line: property.line };
            self.add(self.names.find(&property.key), &property.key, property.value, origin);
        }
    }

    /// Where stores are looked for: the working directory, then the folder above the configuration file.
    fn stores(&mut self) {
        let Inputs { working_folder: working, program_folder: program, arguments, .. } = self.inputs;
        let conf = self.out.files.last().and_then(|file| file.parent());
        let conf = conf.map_or_else(|| program.join("../conf"), Path::to_path_buf);
        // By name, not by `..`: the folder may be a link to elsewhere.
        let above = match conf.file_name() {
            Some(_) => conf.parent().map(Path::to_path_buf).unwrap_or_default(),
            None => conf.join(".."),
        };
        let loader = arguments.properties.iter().filter(|(name, _)| name == "loader.path");
        let class_path = loader.flat_map(|(_, text)| text.split(',')).map(|path| working.join(path.trim()));
        self.out.search = Search {
            folders: vec![working.clone(), above],
            class_path: std::iter::once(conf.clone()).chain(class_path).collect(),
        };
    }

    fn environment(&mut self) {
        let mut variables: Vec<&(String, String)> = self.inputs.environment.iter().collect();
        variables.sort();
        for (name, text) in variables {
            if name == "SPRING_APPLICATION_JSON" {
                let what = "is not read; write its keys as SERVER_PORT, PROXY_IP_ALLOW and so on";
                self.problem(Level::Error, "environment", name, what);
            } else if let Some(known) = self.names.find_environment(name) {
                self.add(Some(known), name, text.clone(), Origin::Environment(name.clone()));
            }
        }
    }

    fn command_line(&mut self) {
        let Arguments { flags, properties, ignored, .. } = &self.inputs.arguments;
        let mut without_effect = ignored.clone();
        for (name, text) in properties {
            let known = self.names.find(name);
            if known.is_none() && JVM_NAMES.iter().any(|jvm| name.starts_with(jvm)) {
                without_effect.push(format!("-D{name}"));
            } else {
                self.add(known, name, text.clone(), Origin::Property);
            }
        }
        for (name, text) in flags {
            self.add(self.names.find(name), name, text.clone(), Origin::CommandLine);
        }
        if !without_effect.is_empty() {
            let subject = without_effect.join(" ");
            self.problem(Level::Note, "command line", &subject, "is for a JVM and has no effect here");
        }
    }

    /// One value of a higher source than all before.
    fn add(&mut self, known: Option<Known>, name: &str, text: String, origin: Origin) {
        let Some(Known { setting, key }) = known else {
            self.others.insert(spring::uniform(name), text);
            let nearest = self.names.nearest(name);
            self.out.unknown.push(Unknown { key: name.to_owned(), origin, nearest });
            return;
        };
        if let Some(earlier) = self.out.entries.get(&key) {
            let place = earlier.origin.to_string();
            if earlier.origin.same_source(&origin) {
                let what = format!("is hidden by {origin}, which sets the key again");
                self.problem(Level::Warning, &place, &key, what);
            } else if text.is_empty() && !earlier.text.is_empty() {
                let what = format!("is hidden by {origin}, which sets the key to nothing");
                self.problem(Level::Warning, &place, &key, what);
            }
        }
        self.out.entries.insert(key, Entry { setting, text, origin, unresolved: false });
    }

    /// Replaces the placeholders of every known key's value.
    fn expand(&mut self) {
        let variables: HashMap<&str, &str> =
            self.inputs.environment.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let lookup = |name: &str| {
            let known = self.names.find(name).and_then(|known| self.out.entries.get(&known.key));
            let other = || self.others.get(&spring::uniform(name)).cloned();
            let variable = || {
                let upper = name.to_ascii_uppercase().replace(['.', '-'], "_");
                variables.get(name).or_else(|| variables.get(upper.as_str())).map(|&text| text.to_owned())
            };
            let logback = || {
                let (_, key, default) = LOGBACK_NAMES.iter().find(|(known, ..)| *known == name)?;
                let text = self.out.entries.get(*key).map(|entry| entry.text.clone());
                Some(text.filter(|text| !text.is_empty()).unwrap_or_else(|| (*default).to_owned()))
            };
            known.map(|entry| entry.text.clone()).or_else(other).or_else(variable).or_else(logback)
        };
        let expanded: Vec<(String, Result<String, String>)> = self
            .out
            .entries
            .iter()
            .filter(|(_, entry)| entry.text.contains("${"))
            .map(|(key, entry)| (key.clone(), spring::expand(&entry.text, &lookup)))
            .collect();
        for (key, outcome) in expanded {
            match outcome {
                Ok(text) => {
                    if let Some(entry) = self.out.entries.get_mut(&key) {
                        entry.text = text;
                    }
                }
                Err(what) => self.unresolved(&key, what),
            }
        }
    }

    /// A placeholder without meaning ends the start only where the value counts; Logback's patterns hold some that
    /// nothing but Logback defines.
    fn unresolved(&mut self, key: &str, what: String) {
        let Some(entry) = self.out.entries.get_mut(key) else { return };
        entry.unresolved = true;
        let setting = entry.setting;
        let level = match setting.standing() {
            Standing::Active | Standing::Refused(_) => Level::Error,
            Standing::NotYet | Standing::NoEffect => Level::Warning,
        };
        let what =
            if setting.secret() { "has a placeholder that cannot be replaced".to_owned() } else { what };
        self.out.complain(level, key, what);
    }

    /// The value of a key that decides which files are read, from the sources above the files.
    fn early<T>(&self, setting: &Setting<T>) -> T
    where
        T: Default,
    {
        let means = |known: Option<Known>| known.is_some_and(|known| known.key == setting.key);
        let pair = |list: &'a [(String, String)]| {
            list.iter().rev().find(|(name, _)| means(self.names.find(name))).map(|(_, text)| text.as_str())
        };
        let Inputs { arguments, environment, .. } = self.inputs;
        let variable = || {
            let variable = environment.iter().find(|(name, _)| means(self.names.find_environment(name)));
            variable.map(|(_, text)| text.as_str())
        };
        let text = pair(&arguments.flags).or_else(|| pair(&arguments.properties)).or_else(variable);
        (setting.parse)(text.unwrap_or(setting.default)).unwrap_or_default()
    }
}
