//! The command line: words in, a [`Command`] out. Parsing only; nothing here touches a file or starts anything.
//!
//! Besides our own words it understands what the legacy's scripts say: Spring's `--key=value`, Java's `-Dkey=value`,
//! and words meant for the JVM, which are set aside so that the start can note them.

use crate::import::Import;
use std::fmt;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve until told to stop.
    Run(Arguments),
    /// Print the effective configuration and all its problems.
    Check(Arguments),
    /// Serve beside an embedded origin and show one request.
    Demo(Arguments),
    /// Print the settings table in Markdown.
    Settings,
    /// Print a list of targets from these logs; `-` is standard input.
    Learn(Vec<String>),
    /// Print what a key or trust store holds.
    KeystoreList(StoreFile),
    /// Print the properties that mean what an httpd configuration means.
    ImportHttpd(Import),
    /// Print [`USAGE`].
    Help,
    /// Print name and version.
    Version,
}

/// A store named on the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreFile {
    /// Its path.
    pub file: String,
    /// Its password, when the command line says it.
    pub password: Option<String>,
}

impl fmt::Debug for StoreFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFile").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The properties file named as a plain word.
    pub file: Option<String>,
    /// `--key=value` in order; `--key` alone means `true`.
    pub flags: Vec<(String, String)>,
    /// `-Dkey=value` in order; `-Dkey` alone is empty, as in Java.
    pub properties: Vec<(String, String)>,
    /// Words for a JVM, without effect here.
    pub ignored: Vec<String>,
}

/// A command line that makes no sense; shown above the usage, exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `--help` prints.
pub const USAGE: &str = "\
Usage:
  apim-proxy [run] [FILE] [--key=value ...]   serve; FILE defaults to conf/application.properties
  apim-proxy check [FILE] [--key=value ...]   print the effective configuration and every problem; exit 0 or 1
  apim-proxy demo [--key=value ...]           serve beside an embedded origin and show one request through both
  apim-proxy settings                         print every setting as a Markdown table
  apim-proxy learn LOG...                     print a proxy.target.allow for what proxy.target.mode=report has logged (-: standard input)
  apim-proxy keystore list FILE [--password=PASSWORD]
                                              print what a JKS, PKCS12 or PEM file holds: names, dates, SHA-256
  apim-proxy import-httpd [-D NAME ...] [--root=DIR] FILE [FILE ...]
                                              print an Apache httpd.conf as properties of the reverse listeners, and what
                                              could not be carried over; exit 0 everything was, 1 look at that list
  apim-proxy --help | --version

A key is looked up in --key=value, -Dkey=value, the environment (SERVER_PORT for server.port), then the file.
--spring.config.location=file:../conf/application.properties names the file as Spring does.
Words for a JVM (-Xmx1g, -server, -jar app.jar, -cp DIR) are ignored with a note.
The password of a store can stand in APIM_PROXY_STORE_PASSWORD, where ps does not show it. Without one a JKS store is
listed unverified; passwords of keys are never needed.
import-httpd follows Include; further FILEs (or folders) are read after the first. -D NAME is what httpd is started with,
--root=DIR says where the files of another machine were copied to.
";

/// JVM options that take the next word with them.
const JVM_PAIRS: [&str; 8] =
    ["-jar", "-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-opens", "--add-exports"];
/// How JVM options begin that stand alone.
const JVM_PREFIXES: [&str; 13] = [
    "-X",
    "-server",
    "-client",
    "-ea",
    "-da",
    "-esa",
    "-verbose",
    "-javaagent:",
    "-agentlib:",
    "-agentpath:",
    "-splash:",
    "--add-",
    "--enable-preview",
];
/// Main classes that legacy scripts name.
const LOADER: &str = "org.springframework.boot.loader.";

/// Parses the words after the program's name.
///
/// # Errors
/// An unknown word or option, or more words than the command takes.
pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Command, Misuse> {
    let mut words = words.into_iter().peekable();
    if words.next_if(|word| word == "keystore").is_some() {
        return keystore(words);
    }
    if words.next_if(|word| word == "learn").is_some() {
        return learn(words);
    }
    if words.next_if(|word| word == "import-httpd").is_some() {
        return import_httpd(words);
    }
    let mut command: Option<String> = None;
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            "run" | "check" | "demo" | "settings" | "help"
                if command.is_none() && arguments.file.is_none() =>
            {
                command = Some(word);
            }
            pair if JVM_PAIRS.contains(&pair) => {
                let value = words.next().ok_or_else(|| Misuse(format!("{word} lacks its value")))?;
                arguments.ignored.push(format!("{word} {value}"));
            }
            _ => arguments.take(word)?,
        }
    }
    let command = command.as_deref().unwrap_or("run");
    match (command, arguments.file.as_deref()) {
        ("run", _) => Ok(Command::Run(arguments)),
        ("check", _) => Ok(Command::Check(arguments)),
        ("demo", None) => Ok(Command::Demo(arguments)),
        ("settings", None) => Ok(Command::Settings),
        ("help", None) => Ok(Command::Help),
        (command, file) => Err(Misuse(format!("{command} takes no file ({})", file.unwrap_or_default()))),
    }
}

/// Parses what follows `learn`.
fn learn(words: impl Iterator<Item = String>) -> Result<Command, Misuse> {
    let logs: Vec<String> = words.collect();
    match logs.iter().find(|word| word.starts_with('-') && *word != "-") {
        Some(word) if word == "-h" || word == "--help" => Ok(Command::Help),
        Some(word) => Err(Misuse(format!("unknown option {word}"))),
        None if logs.is_empty() => Err(Misuse("learn lacks its logs".to_owned())),
        None => Ok(Command::Learn(logs)),
    }
}

/// Parses what follows `keystore`.
fn keystore(words: impl Iterator<Item = String>) -> Result<Command, Misuse> {
    let (mut list, mut file, mut password) = (false, None, None);
    for word in words {
        match word.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "list" if !list => list = true,
            option if option.starts_with("--password=") => {
                password = option.split_once('=').map(|(_, password)| password.to_owned());
            }
            option if option.starts_with('-') => {
                // What follows the sign may be a password misspelt; it is not repeated.
                let name = option.split('=').next().unwrap_or_default();
                return Err(Misuse(format!("unknown option {name}")));
            }
            _ if list && file.is_none() => file = Some(word),
            _ => return Err(Misuse(format!("keystore does not understand {word}"))),
        }
    }
    match file {
        Some(file) => Ok(Command::KeystoreList(StoreFile { file, password })),
        None if list => Err(Misuse("keystore list lacks its file".to_owned())),
        None => Err(Misuse("keystore lacks its command: list".to_owned())),
    }
}

/// Parses what follows `import-httpd`.
fn import_httpd(mut words: impl Iterator<Item = String>) -> Result<Command, Misuse> {
    let mut import = Import::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "-D" => {
                let name = words.next().ok_or_else(|| Misuse("-D lacks its name".to_owned()))?;
                import.defines.push(name);
            }
            option if option.starts_with("--root=") => import.root = Some(option[7..].to_owned()),
            option if option.starts_with("-D") => import.defines.push(option[2..].to_owned()),
            option if option.starts_with('-') => return Err(Misuse(format!("unknown option {option}"))),
            _ => import.files.push(word),
        }
    }
    if import.files.is_empty() {
        return Err(Misuse("import-httpd lacks its file, such as /etc/httpd/conf/httpd.conf".to_owned()));
    }
    Ok(Command::ImportHttpd(import))
}

impl Arguments {
    /// Sorts one word that is not a command.
    fn take(&mut self, word: String) -> Result<(), Misuse> {
        if JVM_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) || word.starts_with(LOADER) {
            self.ignored.push(word);
        } else if let Some(definition) = word.strip_prefix("-D") {
            self.properties.push(key_and_value(definition, "", &word)?);
        } else if let Some(definition) = word.strip_prefix("--") {
            self.flags.push(key_and_value(definition, "true", &word)?);
        } else if word.starts_with('-') {
            return Err(Misuse(format!("unknown option {word}")));
        } else if !word.contains(['/', '.']) {
            return Err(Misuse(format!("unknown word {word} (a file is written with a folder or a suffix)")));
        } else if let Some(file) = &self.file {
            return Err(Misuse(format!("two files: {file} and {word}")));
        } else {
            self.file = Some(word);
        }
        Ok(())
    }
}

fn key_and_value(definition: &str, alone: &str, word: &str) -> Result<(String, String), Misuse> {
    let (key, value) = definition.split_once('=').unwrap_or((definition, alone));
    if key.is_empty() {
        return Err(Misuse(format!("{word} names no key")));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, Misuse> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn no_words_run() {
        assert_eq!(parsed(""), Ok(Command::Run(Arguments::default())));
        assert_eq!(parsed("run"), parsed(""));
    }

    #[test]
    fn a_command_a_file_and_keys() {
        let arguments = Arguments {
            file: Some("conf/a.properties".to_owned()),
            flags: vec![pair("server.port", "9001"), pair("debug", "true"), pair("a", "b=c")],
            ..Arguments::default()
        };
        let line = "conf/a.properties --server.port=9001 --debug --a=b=c";
        assert_eq!(parsed(&format!("check {line}")), Ok(Command::Check(arguments.clone())));
        assert_eq!(parsed(line), Ok(Command::Run(arguments)));
    }

    #[test]
    fn the_legacy_command_line() {
        let line = "-server -Xms512m -XX:+UseG1GC -Dloader.path=../lib -Dspring.profiles.active -cp ../lib/a.jar \
                    org.springframework.boot.loader.PropertiesLauncher -jar ../lib/apim-proxy.jar \
                    --spring.config.location=file:../conf/application.properties";
        let ignored = [
            "-server",
            "-Xms512m",
            "-XX:+UseG1GC",
            "-cp ../lib/a.jar",
            "org.springframework.boot.loader.PropertiesLauncher",
            "-jar ../lib/apim-proxy.jar",
        ];
        let arguments = Arguments {
            file: None,
            flags: vec![pair("spring.config.location", "file:../conf/application.properties")],
            properties: vec![pair("loader.path", "../lib"), pair("spring.profiles.active", "")],
            ignored: ignored.map(str::to_owned).to_vec(),
        };
        assert_eq!(parsed(line), Ok(Command::Run(arguments)));
    }

    #[test]
    fn help_version_settings_and_demo() {
        assert_eq!(parsed("check --help"), Ok(Command::Help));
        assert_eq!(parsed("-V"), Ok(Command::Version));
        assert_eq!(parsed("settings"), Ok(Command::Settings));
        assert_eq!(parsed("demo"), Ok(Command::Demo(Arguments::default())));
        assert_eq!(parsed("learn a.log -"), Ok(Command::Learn(vec!["a.log".into(), "-".into()])));
        assert_eq!(parsed("learn a.log -h"), Ok(Command::Help));
    }

    #[test]
    fn a_store_is_listed() {
        for (line, password) in [
            ("keystore list a.jks", None),
            ("keystore list --password=a=b a.jks", Some("a=b")),
            ("keystore --password= list a.jks", Some("")),
        ] {
            let store = StoreFile { file: "a.jks".to_owned(), password: password.map(str::to_owned) };
            assert_eq!(parsed(line), Ok(Command::KeystoreList(store)), "{line}");
        }
        assert_eq!(parsed("keystore --help"), Ok(Command::Help));
        let said = format!("{:?}", parsed("keystore list --password=secret a.jks"));
        assert_eq!(said, "Ok(KeystoreList(StoreFile { file: \"a.jks\", .. }))");
    }

    #[test]
    fn a_configuration_is_imported() {
        let import = Import {
            files: vec!["httpd.conf".to_owned(), "conf.d".to_owned()],
            defines: vec!["A".to_owned(), "B".to_owned()],
            root: Some("/copy".to_owned()),
        };
        let line = "import-httpd -D A httpd.conf --root=/copy -DB conf.d";
        assert_eq!(parsed(line), Ok(Command::ImportHttpd(import)));
        assert_eq!(parsed("import-httpd --help"), Ok(Command::Help));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, what) in [
            ("learn", "learn lacks its logs"),
            ("learn --all a.log", "unknown option --all"),
            ("import-httpd", "import-httpd lacks its file, such as /etc/httpd/conf/httpd.conf"),
            ("import-httpd -D", "-D lacks its name"),
            ("import-httpd a.conf --force", "unknown option --force"),
            ("keystore", "keystore lacks its command: list"),
            ("keystore list", "keystore list lacks its file"),
            ("keystore a.jks", "keystore does not understand a.jks"),
            ("keystore list a.jks b.jks", "keystore does not understand b.jks"),
            ("keystore list a.jks --pass=x", "unknown option --pass"),
            ("chekc", "unknown word chekc (a file is written with a folder or a suffix)"),
            ("--server.port 9000", "unknown word 9000 (a file is written with a folder or a suffix)"),
            ("-x", "unknown option -x"),
            ("a.properties b.properties", "two files: a.properties and b.properties"),
            ("demo a.properties", "demo takes no file (a.properties)"),
            ("-jar", "-jar lacks its value"),
            ("--=x", "--=x names no key"),
        ] {
            assert_eq!(parsed(line), Err(Misuse(what.to_owned())), "{line}");
        }
    }
}
