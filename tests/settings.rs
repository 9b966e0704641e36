//! The configuration as an operator meets it: files on disk, environment, command line; and the documents made from
//! the settings. `BLESS=1 cargo test --test settings` rewrites the documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use apim_proxy::cli::{self, Command};
use apim_proxy::config::reading::Inputs;
use apim_proxy::config::sources::Effective;
use apim_proxy::config::{banner, registry};
use apim_proxy::credentials::load::{self, Credentials};
use apim_proxy::logging::streams;

/// A folder laid out as `/app/apim-proxy`, removed when dropped.
struct Installation(PathBuf);

impl Installation {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("apim-proxy-settings-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("conf")).unwrap();
        Self(root)
    }

    /// With `conf/application.properties`.
    fn with(properties: &str) -> Self {
        let app = Self::new();
        app.write("conf/application.properties", properties);
        app
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.join(path), text).unwrap();
    }

    /// What counts when started with `line` and `environment` from `folder`.
    fn load_in(&self, folder: &str, line: &str, environment: &[(&str, &str)]) -> Effective {
        let words = line.split_whitespace().map(str::to_owned);
        let Ok(Command::Run(arguments)) = cli::parse(words) else { panic!("{line} does not run") };
        let mut effective = Effective::load(&Inputs {
            arguments,
            environment: environment.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect(),
            working_folder: self.0.join(folder),
            program_folder: self.0.join("bin"),
        });
        load::judge(&mut effective, &Arc::default());
        effective
    }

    /// The stores that the operators' file names, as keytool makes them, with the passwords that stand there.
    fn make_stores(&self) {
        let (own, trust) = (self.0.join("conf/client-prod.jks"), self.0.join("cacerts"));
        let keytool = |words: &str, store: &Path, password: &str| {
            let mut command = std::process::Command::new("keytool");
            command.args(words.split(' ')).args(["-storepass", password, "-keypass", password, "-noprompt"]);
            let done = command.arg("-keystore").arg(store).output().expect("scripts/test installs a JDK");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        };
        let pair = "-genkeypair -keyalg EC -dname CN=client -validity 30 -storetype JKS -alias";
        keytool(&format!("{pair} client"), &own, "changeme");
        keytool(&format!("{pair} other"), &trust, "changeit");
    }

    fn load(&self, line: &str) -> Effective {
        self.load_in("", line, &[])
    }

    /// The problems, without this test's folder.
    fn problems(&self, effective: &Effective) -> Vec<String> {
        let root = format!("{}/", self.0.display());
        effective.problems.iter().map(|problem| problem.to_string().replace(&root, "/app/")).collect()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `text [origin]` of a key.
fn value(effective: &Effective, key: &str) -> String {
    effective.entry(key).map_or("unset".to_owned(), |entry| format!("{} [{}]", entry.text, entry.origin))
}

#[test]
fn sources_hide_each_other_in_springs_order() {
    let app = Installation::with("server.port=1\nserver.address=127.0.0.1\n");
    let environment = [("SERVER_PORT", "2"), ("HOME", "/root")];
    let file = "conf/application.properties";
    for (line, environment, expected) in [
        ("", &environment[1..], format!("1 [{file}:1]")),
        ("", &environment[..], "2 [environment SERVER_PORT]".to_owned()),
        ("-Dserver.port=3", &environment[..], "3 [command line -D]".to_owned()),
        ("-Dserver.port=3 --server.port=4", &environment[..], "4 [command line]".to_owned()),
    ] {
        let effective = app.load_in("", line, environment);
        assert_eq!(value(&effective, "server.port"), expected, "{line}");
        assert_eq!(app.problems(&effective), [""; 0]);
    }
    assert_eq!(value(&app.load(""), "server.address"), format!("127.0.0.1 [{file}:2]"));
}

#[test]
fn the_operators_file_is_explained_and_starts_once_its_stores_exist() {
    let app = Installation::with(include_str!("fixtures/application.properties"));
    let line = "-Dloader.path=../lib -jar ../lib/apim-proxy.jar --spring.config.location=file:../conf/application.properties \
                --server.ssl.trust-store=file:cacerts";
    let note =
        "note: command line: -jar ../lib/apim-proxy.jar -Dloader.path is for a JVM and has no effect here";
    let before = app.load_in("bin", line, &[]);
    assert!(before.has_errors());
    assert_eq!(
        app.problems(&before),
        [
            "error: ../conf/application.properties:5: server.ssl.key-store=file:./conf/client-prod.jks is not there; \
             tried /app/bin/conf/client-prod.jks, /app/bin/../conf/client-prod.jks"
                .to_owned(),
            "error: command line: server.ssl.trust-store=file:cacerts is not there; \
             tried /app/bin/cacerts, /app/bin/../cacerts"
                .to_owned(),
            note.to_owned(),
        ]
    );
    assert!(banner::report(&before, None).contains("server.ssl.key-store-password = ******"));
    assert!(!banner::report(&before, None).contains("changeme"));

    app.make_stores();
    let after = app.load_in("bin", line, &[]);
    assert_eq!(app.problems(&after), [note]);
    assert_eq!(after.files, [app.0.join("bin/../conf/application.properties")]);
    assert_eq!(value(&after, "server.port"), "9000 [../conf/application.properties:12]");
    assert_eq!(after.unknown, []);
}

#[test]
fn stores_are_found_on_the_class_path_and_must_be_files() {
    let app = Installation::with(
        "server.ssl.enabled=false\nserver.ssl.key-store=classpath:a.jks\nserver.ssl.trust-store=classpath:/b.jks\n\
         proxy.targets[0].match=a\nproxy.targets[0].key-store=bin\nproxy.targets[0].trust-store=http://h/c.pem\n",
    );
    app.write("conf/a.jks", "");
    let file = "error: conf/application.properties";
    assert_eq!(
        app.problems(&app.load("-Dloader.path=lib"))[..2],
        [
            format!(
                "{file}:2: server.ssl.key-store=classpath:a.jks leads to /app/conf/a.jks: the file is empty"
            ),
            format!(
                "{file}:3: server.ssl.trust-store=classpath:/b.jks is not there; tried /app/conf/b.jks, /app/lib/b.jks"
            ),
        ]
    );
    app.write("bin/b.jks", "no store");
    app.write("conf/a.jks", "-----BEGIN CERTIFICATE-----\n");
    let problems = app.problems(&app.load("-Dloader.path=lib,bin"));
    assert!(
        problems[0].starts_with(&format!(
            "{file}:2: server.ssl.key-store=classpath:a.jks leads to /app/conf/a.jks: "
        ))
    );
    assert!(problems[1].starts_with(&format!(
        "{file}:3: server.ssl.trust-store=classpath:/b.jks leads to /app/bin/b.jks: "
    )));
    let app = Installation::with(
        "proxy.targets[0].match=a\nproxy.targets[0].key-store=bin\nproxy.targets[1].match=b\n\
         proxy.targets[1].trust-store=http://h/c.pem\nproxy.targets[4].trust-store=bin\n",
    );
    assert_eq!(
        app.problems(&app.load("")),
        [
            format!("{file}:2: proxy.targets[0].key-store=bin leads to /app/bin, which is not a file"),
            format!(
                "{file}:4: proxy.targets[1].trust-store=http://h/c.pem is no location; write file:/path, a path, or \
                 classpath:name"
            ),
            "error: default: proxy.targets[4].match is missing: nothing says which targets the entry is for"
                .to_owned(),
        ]
    );
}

#[test]
fn of_two_keys_for_one_thing_neither_is_taken() {
    let app = Installation::with(
        "server.ssl.enabled=false\nserver.ssl.trust-store=a.jks\nserver.ssl.trust-certificate=b.pem\n",
    );
    assert_eq!(
        app.problems(&app.load(""))[0],
        "error: conf/application.properties:3: server.ssl.trust-certificate=b.pem stands beside server.ssl.trust-store, \
         which names the same thing; remove one of them"
    );
}

#[test]
fn a_key_in_quotes_is_not_told() {
    let app = Installation::with(
        "server.ssl.enabled=false\nserver.ssl.certificate-private-key=\"-----BEGIN PRIVATE KEY-----\\nc2VjcmV0\"\n\
         server.ssl.certificate=\"-----BEGIN CERTIFICATE-----\\nb3Blbg==\"\n",
    );
    let problems = app.problems(&app.load(""));
    assert!(!problems.iter().any(|problem| problem.contains("c2VjcmV0")), "{problems:?}");
    let what = "holds PEM text behind something else; it has to begin with -----BEGIN";
    assert_eq!(problems.iter().filter(|problem| problem.ends_with(what)).count(), 2, "{problems:?}");
}

#[test]
fn every_problem_is_named_at_once_with_its_place() {
    let app = Installation::with(
        "server.port=90000\nproxy.error.compat=ture\nlogging.level.root=verbose\nproxy.ssl.client.tls-version=SSLv3\n\
         proxy.ssl.client.connectTimeout=soon\nserver.ssl.enabled=maybe\nx=\\u12\nserver.max-http-header-size=8KiB",
    );
    let file = "error: conf/application.properties";
    assert_eq!(
        app.problems(&app.load("")),
        [
            format!(
                "{file}:7: the line malformed \\uXXXX escape; write four hexadecimal digits after \\u, and \\\\ for a backslash"
            ),
            format!(
                "{file}:3: logging.level.root=verbose is not a level; write one of trace, debug, info, warn, error, fatal, off"
            ),
            format!(
                "{file}:2: proxy.error.compat=ture is not a yes or no; write true or false (or yes/no, on/off, 1/0)"
            ),
            format!(
                "{file}:5: proxy.ssl.client.connectTimeout=soon is not a duration; write a number of seconds, or one with a unit such as 500ms, 30s or 5m"
            ),
            format!(
                "{file}:4: proxy.ssl.client.tls-version=SSLv3 names SSLv3, which is broken (RFC 7568, RFC 8996) and not spoken; write TLSv1.2, TLSv1.3 or both"
            ),
            format!(
                "{file}:8: server.max-http-header-size=8KiB is not a size; write a number of bytes, or one with a unit such as 8KB, 20MB or 1GB"
            ),
            format!("{file}:1: server.port=90000 is not a whole number from 0 to 65535"),
            format!(
                "{file}:6: server.ssl.enabled=maybe is not a yes or no; write true or false (or yes/no, on/off, 1/0)"
            ),
        ]
    );
}

#[test]
fn protection_this_build_lacks_ends_the_start() {
    for (text, begins) in [
        (
            "server.ssl.enabled=on",
            "server.ssl.enabled=on switches the TLS listener on, which needs server.ssl.key-store,",
        ),
        (
            "server.ssl.client-auth=none",
            "server.ssl.client-auth=none switches the TLS listener on, which needs",
        ),
        (
            "server.ssl.key-password=x",
            "server.ssl.key-password=****** switches the TLS listener on, which needs",
        ),
        ("server.ssl.unheard-of=x", "server.ssl.unheard-of switches the TLS listener on, which needs"),
        (
            "server.ssl.enabled=false\nserver.ssl.certificate-private-key=k",
            "server.ssl.certificate-private-key=k needs its",
        ),
        ("proxy.targets[0].key-alias=a", "proxy.targets[0].match is missing:"),
        ("proxy.ip.trusted-proxies=10.0.0.1/8", "proxy.ip.trusted-proxies=10.0.0.1/8 has the rule"),
        ("proxy.protocol=v2", "proxy.protocol=v2 is not a yes or no"),
        ("proxy.client.allow-subjects=CN=a", "proxy.client.allow-subjects=CN=a names subjects"),
        ("proxy.client.allow-subjects=a", "proxy.client.allow-subjects=a has the rule"),
        ("proxy.client.max-connections=0", "proxy.client.max-connections=0 is not a whole number"),
        ("proxy.target.deny=a:0", "proxy.target.deny=a:0 has the item"),
        ("proxy.target.default=never", "proxy.target.default=never is not one of"),
        ("proxy.groups[0].allow=a", "proxy.groups[0].allow=a is for nobody;"),
        ("proxy.groups[0].name=a", "proxy.groups[0].name=a names no client;"),
        ("proxy.targets[0].match=a:0", "proxy.targets[0].match=a:0 is not a host,"),
        ("proxy.reverse.ssl.port=443", "proxy.reverse.ssl.port=443 opens a TLS listener, which needs"),
        ("proxy.reverse.port=x", "proxy.reverse.port=x is not a whole number"),
        ("proxy.forward.forms=headers", "proxy.forward.forms=headers is not a list of"),
        ("proxy.connect.ports=9-8", "proxy.connect.ports=9-8 has the item"),
        (
            "proxy.ip.allow=10.0.0.1\nserver.forward-headers-strategy=native",
            "server.forward-headers-strategy=native asks",
        ),
        (
            "proxy.ip.allow=10.0.0.1\nserver.tomcat.remoteip.internal-proxies=10",
            "server.tomcat.remoteip.internal-proxies=10 asks",
        ),
        (
            "proxy.ip.trusted-proxies=10.0.0.1\nserver.tomcat.remoteip.remote-ip-header=x-real-ip",
            "server.tomcat.remoteip.remote-ip-header=x-real-ip names a header",
        ),
    ] {
        let app = Installation::with(text);
        let effective = app.load("");
        assert!(effective.has_errors(), "{text}");
        let sentences: Vec<_> =
            effective.problems.iter().map(|p| format!("{} {}", p.subject, p.what)).collect();
        assert!(sentences[0].starts_with(begins), "{text}: {sentences:?}");
    }
}

#[test]
fn the_same_keys_at_their_defaults_start() {
    let app = Installation::with(
        "server.ssl.enabled=no\nserver.ssl.client-auth=NEED\nproxy.ssl.client.enabled=0\nproxy.protocol=false\n\
         proxy.target.default=Allow\nproxy.target.deny=\nproxy.forward.forms=header,connect\n\
         server.forward-headers-strategy=native\nmanagement.server.port=-1\nspring.resources.add-mappings=false",
    );
    let effective = app.load("");
    assert_eq!(app.problems(&effective), [""; 0]);
    let waiting: Vec<&str> = effective.not_active_yet().collect();
    assert_eq!(waiting, ["management.server.port"]);
}

#[test]
fn duplicates_and_emptied_keys_are_warned_of() {
    let app = Installation::with(
        "server.ssl.enabled=false\nproxy.ip.allow=10.0.0.1\nserver.ssl.keyAlias=a\n\nserver.ssl.key-alias=b\n",
    );
    let effective = app.load_in("", "--server.port=1 --server.port=2", &[("PROXY_IP_ALLOW", "")]);
    assert_eq!(value(&effective, "server.ssl.key-alias"), "b [conf/application.properties:5]");
    assert_eq!(value(&effective, "server.port"), "2 [command line]");
    assert_eq!(
        app.problems(&effective),
        [
            "warning: conf/application.properties:3: server.ssl.key-alias is hidden by conf/application.properties:5, which sets the key again",
            "warning: conf/application.properties:2: proxy.ip.allow is hidden by environment PROXY_IP_ALLOW, which sets the key to nothing",
            "warning: command line: server.port is hidden by command line, which sets the key again",
        ]
    );
}

#[test]
fn placeholders_reach_keys_variables_and_defaults() {
    let app = Installation::with(
        "base=app\nserver.port=${PORT:${fallback:9}}\nproxy.header.filter=${base}-${server.port}-${USER}\n\
         server.address=${nobody}\nserver.workers=${\nserver.ssl.enabled=false\nserver.ssl.key-password=${nothing}\nlogging.config=${nobody}",
    );
    let effective = app.load_in("", "", &[("USER", "me")]);
    assert_eq!(value(&effective, "server.port"), "9 [conf/application.properties:2]");
    assert_eq!(value(&effective, "proxy.header.filter"), "app-9-me [conf/application.properties:3]");
    let place = "conf/application.properties";
    assert_eq!(
        app.problems(&effective),
        [
            format!(
                "error: {place}:4: server.address=${{nobody}} has a placeholder that nothing defines: ${{nobody}}"
            ),
            format!(
                "error: {place}:7: server.ssl.key-password=****** has a placeholder that cannot be replaced"
            ),
            format!("error: {place}:5: server.workers=${{ is not a whole number from 0 to 1024"),
            format!(
                "warning: {place}:8: logging.config=${{nobody}} has a placeholder that nothing defines: ${{nobody}}"
            ),
        ]
    );
}

#[test]
fn the_file_is_found_where_spring_and_the_scripts_look() {
    let app = Installation::with("server.port=1");
    app.write("application.properties", "server.port=2");
    app.write("conf/other.properties", "server.port=3\nserver.address=127.0.0.1");
    app.write("conf/application-prod.properties", "server.port=4");
    let conf = "conf/application.properties:1";
    for (folder, line, expected) in [
        ("", "", format!("1 [{conf}]")),
        ("bin", "", format!("1 [../{conf}]")),
        ("conf", "", "1 [application.properties:1]".to_owned()),
        ("bin/elsewhere", "", format!("1 [{}/bin/../{conf}]", app.0.display())),
        (
            "bin/elsewhere",
            "../conf/other.properties",
            format!("3 [{}/bin/../conf/other.properties:1]", app.0.display()),
        ),
        ("", "application.properties", "2 [application.properties:1]".to_owned()),
        ("", "--spring.config.location=file:./", "2 [application.properties:1]".to_owned()),
        (
            "",
            "--spring.config.location=classpath:/other.properties",
            "3 [conf/other.properties:1]".to_owned(),
        ),
        (
            "",
            "--spring.config.location=optional:file:none/,conf/other.properties",
            "3 [conf/other.properties:1]".to_owned(),
        ),
        ("", "-Dspring.config.location=conf/other.properties,conf/", format!("1 [{conf}]")),
        (
            "",
            "--spring.config.additionalLocation=conf/other.properties",
            "3 [conf/other.properties:1]".to_owned(),
        ),
        (
            "",
            "--spring.config.location=conf/ --spring.config.name=other",
            "3 [conf/other.properties:1]".to_owned(),
        ),
        ("", "--spring.profiles.active=test,prod", "4 [conf/application-prod.properties:1]".to_owned()),
    ] {
        let effective = app.load_in(folder, line, &[]);
        assert_eq!(value(&effective, "server.port"), expected, "{folder}: {line}");
        assert_eq!(app.problems(&effective), [""; 0], "{line}");
    }
    app.write("b.yml", "");
    let location = "file:conf/none.properties,a.yml,b.yml";
    let effective = app.load_in("", "", &[("SPRING_CONFIG_LOCATION", location)]);
    assert_eq!(
        app.problems(&effective),
        [
            "error: spring.config.location: file:conf/none.properties is not there; tried /app/conf/none.properties, /app/bin/conf/none.properties",
            "error: spring.config.location: a.yml is not there; tried /app/a.yml, /app/bin/a.yml",
            "error: spring.config.location: b.yml is YAML, which is not read; write its keys as .properties",
        ]
    );
}

#[test]
fn without_a_file_defaults_count_and_a_warning_says_so() {
    let app = Installation::new();
    assert_eq!(
        app.problems(&app.load("")),
        [
            "warning: command line: no file was named or found (conf/application.properties, application.properties); \
             defaults count"
        ]
    );
}

#[test]
fn unknown_keys_are_listed_with_the_nearest_name() {
    let app = Installation::with("server.prot=1\nspring.datasource.url=x");
    let effective = app.load_in("", "--proxy.ip.alow=1 -Djava.io.tmpdir=/tmp", &[("SERVER_PROT", "1")]);
    assert!(!effective.has_errors());
    let unknown: Vec<String> =
        effective.unknown.iter().map(|u| format!("{} {} {:?}", u.origin, u.key, u.nearest)).collect();
    assert_eq!(
        unknown,
        [
            "conf/application.properties:1 server.prot Some(\"server.port\")",
            "conf/application.properties:2 spring.datasource.url None",
            "command line proxy.ip.alow Some(\"proxy.ip.allow\")",
        ]
    );
}

#[test]
fn names_that_spring_defines_for_logback_are_defined_here() {
    let app = Installation::with(
        "server.ssl.enabled=false\nlogging.file.name=/log/${hostname}.log\n\
         logging.pattern.rolling-file-name=${LOG_FILE}.%d{yyyyMMdd}.%i.gz\n\
         logging.pattern.file=%d{${LOG_DATEFORMAT_PATTERN:-HH:mm}} ${LOG_LEVEL_PATTERN:-%p} ${PID:- } %m%n${LOG_EXCEPTION_CONVERSION_WORD:-%wEx}",
    );
    let effective = app.load_in("", "", &[("hostname", "node-a"), ("PID", "4711")]);
    assert_eq!(app.problems(&effective), [""; 0]);
    let text = |key| &effective.entry(key).unwrap().text;
    assert_eq!(text("logging.pattern.rolling-file-name"), "/log/node-a.log.%d{yyyyMMdd}.%i.gz");
    assert_eq!(text("logging.pattern.file"), "%d{yyyy-MM-dd HH:mm:ss.SSS} %5p 4711 %m%n%wEx");
}

#[test]
fn patterns_that_are_not_understood_end_the_start() {
    let app = Installation::with(
        "server.ssl.enabled=false\nlogging.pattern.file=%d %foo\nlogging.pattern.rolling-file-name=a.%d.gz\n\
         logging.pattern.dateformat=ww",
    );
    let place = "error: conf/application.properties";
    assert_eq!(
        app.problems(&app.load("")),
        [
            format!(
                "{place}:4: logging.pattern.dateformat=ww has a date with w, which is not understood; quote it ('w') if it is text"
            ),
            format!(
                "{place}:2: logging.pattern.file=%d %foo has %foo, which is not understood; leave it out"
            ),
            format!(
                "{place}:3: logging.pattern.rolling-file-name=a.%d.gz has no %i; write the pattern of the default, <file>.%d{{yyyy-MM-dd}}.%i.gz"
            ),
        ]
    );
}

#[test]
fn the_banner_names_maxima_risks_and_what_waits() {
    let app =
        Installation::with("proxy.ssl.client.verifyHostname=no\nlogging.file.name=a.log\nserver.prot=1");
    assert_eq!(
        banner::banner(
            vec!["forward 0.0.0.0:9000".to_owned()],
            "maxima: 2 workers",
            &app.load(""),
            &Credentials::default()
        ),
        [
            format!("apim-proxy {}", env!("CARGO_PKG_VERSION")),
            "listener forward 0.0.0.0:9000".to_owned(),
            "maxima: 2 workers".to_owned(),
            "transaction log access.log: json".to_owned(),
            "risk: proxy.ip.allow is unset: every client that reaches this port may use the proxy".to_owned(),
            "risk: proxy.ssl.client.verifyHostname is off: any trusted certificate passes for any target"
                .to_owned(),
            "unknown key: conf/application.properties:3: server.prot (nearest known: server.port)".to_owned(),
        ]
    );
}

#[test]
fn the_banner_says_where_the_transaction_log_is() {
    let said = |text: &str| streams::remark(&Installation::with(text).load("")).unwrap();
    assert_eq!(said(""), "transaction log: off, neither proxy.log.file nor logging.file.name is set");
    assert_eq!(
        said("proxy.log.file=/l/t.log\nproxy.log.format=OFF"),
        "transaction log: off (proxy.log.format)"
    );
    assert_eq!(
        said("logging.file.name=/l/a.log\nproxy.log.format=%h %m"),
        "transaction log /l/access.log: %h %m"
    );
    assert_eq!(said("logging.file.name=/l/a.log\nproxy.log.file=/k/t.log"), "transaction log /k/t.log: json");
}

#[test]
fn the_banner_says_where_the_logs_of_reverse_listeners_are() {
    let said = |text: &str| streams::reverse_remark(&Installation::with(text).load("")).unwrap();
    assert_eq!(said("proxy.reverse.log.dir=/l"), None, "there is no such listener");
    assert_eq!(said("proxy.reverse.port=80\nproxy.listeners=forward"), None, "another process has it");
    let shown = |text: &str| Some(format!("reverse listeners' logs{text}"));
    assert_eq!(said("proxy.reverse.port=80"), shown(" in /mnt/proxy/log: combined"));
    let off = "proxy.reverse.ssl.port=443\nproxy.reverse.log.format=OFF";
    assert_eq!(said(off), shown(": off (proxy.reverse.log.format)"));
    let own = "proxy.reverse.port=80\nproxy.reverse.log.dir=/l/n\nproxy.reverse.log.format=%h %D";
    assert_eq!(said(own), shown(" in /l/n: %h %D"));
}

#[test]
fn a_format_that_is_not_known_ends_the_start() {
    let app = Installation::with("proxy.log.format=%h %f\nproxy.log.mask-paths=cards/*");
    let effective = app.load("");
    assert!(effective.has_errors());
    assert_eq!(
        app.problems(&effective),
        [
            "error: conf/application.properties:1: proxy.log.format=%h %f `%f` is not a directive of LogFormat that is \
             known here",
            "error: conf/application.properties:2: proxy.log.mask-paths=cards/* `cards/*` does not begin with a slash and \
             name segments of which one is `*`: `/cards/*`",
        ]
    );
}

#[test]
fn the_banner_says_when_anybody_may_use_the_forms_that_everybody_knows() {
    let remark = |text: &str| {
        let app = Installation::with(text);
        let lines = banner::banner(vec![], "", &app.load(""), &Credentials::default());
        lines.into_iter().find(|line| line.starts_with("risk: proxy.forward.forms"))
    };
    for (forms, which) in [
        ("header,absolute,connect", "absolute and connect"),
        ("absolute", "absolute"),
        ("connect, header", "connect"),
    ] {
        let expected = format!(
            "risk: proxy.forward.forms has {which} on without proxy.ip.allow or proxy.auth.file: an open proxy for everyone who reaches \
             this port"
        );
        assert_eq!(remark(&format!("proxy.forward.forms={forms}")), Some(expected));
        assert_eq!(remark(&format!("proxy.forward.forms={forms}\nproxy.ip.allow=10.0.0.1")), None);
    }
    assert_eq!(remark("proxy.forward.forms=header"), None);
}

#[test]
fn the_report_shows_origin_defaults_and_no_secret() {
    let app = Installation::with(
        "server.ssl.enabled=false\nserver.ssl.key-store-password=hush\nproxy.targets[0].key-password=hush2\n\
         proxy.targets[0].match=a\n",
    );
    let report = banner::report(&app.load("--server.port=1"), None);
    for line in [
        "server.port = 1 [command line]\n",
        "server.ssl.key-store-password = ****** [conf/application.properties:2]\n",
        "proxy.targets[0].key-password = ****** [conf/application.properties:3]\n",
        "proxy.error.compat = false [default]\n",
        "\n# problems\nnone\n",
    ] {
        assert!(report.contains(line), "{line} in {report}");
    }
    assert!(!report.contains("hush"), "{report}");
}

/// Compares a document with what the settings say, or rewrites it.
fn agrees(path: &Path, now: &str, expected: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, expected).unwrap();
    } else {
        assert!(
            now == expected,
            "{} is not what the settings say; run BLESS=1 cargo test --test settings",
            path.display()
        );
    }
}

#[test]
fn readme_holds_the_settings_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- settings -->\n", "<!-- /settings -->");
    let (head, rest) = readme.split_once(begin).expect("README.md has the opening mark");
    let (_, tail) = rest.split_once(end).expect("README.md has the closing mark");
    agrees(&path, &readme, &format!("{head}{begin}\n{}{end}{tail}", registry::markdown()));
}

#[test]
fn the_shipped_file_is_made_from_the_settings_and_has_no_problem() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/application.properties");
    let shipped = registry::shipped();
    agrees(&path, &fs::read_to_string(&path).unwrap_or_default(), &shipped);

    let app = Installation::with(&shipped);
    let effective = app.load("");
    assert_eq!((app.problems(&effective), &effective.unknown), (vec![], &vec![]));
    assert_eq!(
        effective.entries().map(|(key, _)| key).collect::<Vec<_>>(),
        ["proxy.forward.forms", "proxy.log.file", "server.port"]
    );

    let spoken: String =
        shipped.lines().map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n").collect();
    let keys: String = spoken
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let app = Installation::with(&keys);
    let effective = app.load("");
    assert_eq!(
        (app.problems(&effective), &effective.unknown),
        (vec![], &vec![]),
        "the defaults, spelled out"
    );
}
