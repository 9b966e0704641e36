//! `import-httpd` on the shapes of Debian's and Amazon Linux's stock files with what operators add: the whole output,
//! every kind of error, and mutated files, which never panic.
//!
//! `BLESS=1 cargo test --test import` writes the expected outputs anew.

use apim_proxy::import::{Import, Imported, import};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// Each folder below `tests/httpd`, its main file, what httpd is started with and how much is missed.
const SHAPES: [(&str, &str, usize); 4] = [
    ("debian", "/etc/apache2/apache2.conf", 1),
    ("amazon2", "/etc/httpd/conf/httpd.conf", 21),
    ("hosts", "/etc/httpd/conf/httpd.conf", 7),
    ("amazon2023", "/etc/httpd/conf/httpd.conf", 0),
];

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/httpd")
}

fn imported(root: &Path, file: &str) -> Result<Imported, String> {
    let root = Some(root.to_string_lossy().into_owned());
    import(&Import { files: vec![file.to_owned()], root, ..Import::default() })
}

#[test]
fn stock_shapes_become_what_they_should() {
    for (shape, file, lost) in SHAPES {
        let found = imported(&shapes().join(shape), file).expect(shape);
        let golden = shapes().join(format!("{shape}.properties"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &found.text).expect("the fixtures can be written");
        }
        assert_eq!(found.text, fs::read_to_string(&golden).unwrap_or_default(), "{shape}");
        assert_eq!(found.lost, lost, "{shape}");
        assert_eq!(found.text.matches("\n# not carried over: ").count(), lost, "{shape}");
    }
}

/// A folder that ends with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("apim-import-{}-{test}", process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        Self(folder)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }

    /// Imports `httpd.conf` with that text.
    fn import(&self, text: impl AsRef<[u8]>) -> Result<Imported, String> {
        self.write("httpd.conf", text);
        imported(&self.0, "/httpd.conf")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test made this folder");
    }
}

#[test]
fn what_httpd_would_not_start_with_is_named() {
    let folder = Folder::new("errors");
    folder.write("loop.conf", "Include loop.conf\n");
    folder.write("open.conf", "<VirtualHost *:80>\n");
    for n in 0..70 {
        folder.write(&format!("chain{n}.conf"), format!("Include chain{}.conf\n", n + 1));
    }
    let deep = |count: usize| "<Location />\n".repeat(count);
    for (text, what) in [
        ("Listen 80\n\n</Location>\n", "/httpd.conf:3: </Location> closes nothing"),
        (
            "<Location /a>\nListen 80\n</VirtualHost>",
            "/httpd.conf:3: </VirtualHost> closes nothing; <Location> of line 1 is open",
        ),
        ("<VirtualHost *:80>\nListen 80", "/httpd.conf:1: <VirtualHost> is not closed"),
        ("<IfModule nothing.c>\n<IfModule x>\n</IfModule>\n", "/httpd.conf:1: <IfModule> is not closed"),
        ("Include open.conf\n</VirtualHost>\n", "/open.conf:1: <VirtualHost> is not closed"),
        ("<VirtualHost *:80\nListen 80", "/httpd.conf:1: <VirtualHost is not ended by >"),
        ("Listen 80\nInclude loop.conf", "/loop.conf:1: /loop.conf includes itself"),
        ("# nothing\n", "/httpd.conf: no Listen names a port that can be opened"),
        ("Listen eighty", "/httpd.conf: no Listen names a port that can be opened"),
        (
            "Include chain0.conf",
            "/chain63.conf:1: more than 64 sections and files stand in each other, or more than 4096 files are read",
        ),
        (&deep(65), "/httpd.conf:65: more than 64 sections and files stand in each other"),
    ] {
        assert_eq!(folder.import(text), Err(what.to_owned()), "{text:.60}");
    }
    let missing = imported(&folder.0, "/none.conf").expect_err("it is not there");
    assert_eq!(missing, "/none.conf: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn variables_cannot_blow_up() {
    let folder = Folder::new("variables");
    let doubling: Vec<String> = (0..60).map(|n| format!("Define V{} ${{V{n}}}${{V{n}}}\n", n + 1)).collect();
    let said = folder.import(format!("Define V0 xx\n{}", doubling.concat())).expect_err("it grows");
    assert_eq!(said, "/httpd.conf:16: the line is longer than 64 KB");
}

#[test]
fn files_that_cannot_be_read_are_told_and_the_rest_counts() {
    let folder = Folder::new("unread");
    folder.write("a.d/2.conf", "ProxyPass /two http://h/two\n");
    folder.write("a.d/1.conf", "ProxyPass /one http://h/one\n");
    folder.write("a.d/1.conf.rpmsave", "ProxyPass /old http://h/old\n");
    folder.write("b.d/deep/3.conf", "ProxyPass /three http://h/three\n");
    let found = folder
        .import("Listen 80\nInclude a.d/*.conf\nInclude b.d\nInclude none.conf\nIncludeOptional none.conf none.d/*\n")
        .expect("it is read");
    let paths: Vec<&str> =
        found.text.lines().filter_map(|line| line.split_once(".path=")).map(|(_, path)| path).collect();
    assert_eq!(paths, ["/one", "/two", "/three"]);
    let told = "# not carried over: /httpd.conf:4 Include none.conf: not read: /none.conf cannot be read: No such file or \
                directory (os error 2)";
    assert_eq!(
        (found.lost, found.text.lines().filter(|line| *line == told).count()),
        (1, 1),
        "{}",
        found.text
    );
}

#[test]
fn a_value_cannot_break_out_of_its_line() {
    let folder = Folder::new("lines");
    let found = folder
        .import("Listen 80\nProxyPass / http://h/\nHeader set X-A \"a\\\\b\rserver.port=1\"\nFoo \"x\ry\"\nHeader set X-B a\\\\b\nHeader set X-C ${NO}\n")
        .expect("it is read");
    assert!(found.text.lines().all(|line| !line.contains('\r')), "{:?}", found.text);
    assert!(found.text.contains("response-headers[1]=set X-B a\\\\b\n"), "{}", found.text);
    assert_eq!(found.lost, 3, "{}", found.text);
}

#[test]
fn what_is_printed_is_what_check_accepts() {
    let folder = Folder::new("check");
    let pem = folder.0.join("both.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=h.test",
        ])
        .arg("-keyout")
        .arg(&pem)
        .arg("-out")
        .arg(folder.0.join("certificate.pem"))
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both =
        [&pem, &folder.0.join("certificate.pem")].map(|file| fs::read_to_string(file).expect("PEM")).concat();
    fs::write(&pem, both).expect("the file can be written");
    for (shape, file, _) in SHAPES {
        let found = imported(&shapes().join(shape), file).expect(shape);
        // The files the fixtures name are not on this machine.
        let is_file = |key: &str| {
            ["certificate", "certificate-private-key", "trust-certificate", "key-store", "trust-store"]
                .iter()
                .any(|name| key.ends_with(&format!(".{name}")))
        };
        let lines: Vec<String> = found
            .text
            .lines()
            .map(|line| match line.split_once('=') {
                Some((key, _)) if is_file(key) => format!("{key}={}\n", pem.display()),
                _ => format!("{line}\n"),
            })
            .collect();
        folder.write("application.properties", lines.concat());
        let output = Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
            .arg("check")
            .arg(folder.0.join("application.properties"))
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let unknown: Vec<&str> = said.lines().filter(|line| line.contains("unknown")).collect();
        assert!(output.status.success() && unknown.is_empty(), "{shape}: {said}");
    }
}

/// SplitMix64: small, seeded, good enough to mutate with.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Words that mean something to the reader.
const ALPHABET: [&str; 28] = [
    "\\",
    "\n",
    "\"",
    "'",
    "<",
    ">",
    "</",
    "<VirtualHost *:80>\n",
    "</VirtualHost>\n",
    "<Location /a>\n",
    "</Location>\n",
    "<Proxy balancer://x>\n",
    "</Proxy>\n",
    "ProxyPass ",
    "/a ",
    "http://h/ ",
    "balancer://x ",
    "${A}",
    "Define A ",
    "$1 ",
    "^/(.*)$ ",
    "ProxyPassMatch ",
    "BalancerMember ",
    "Include httpd.conf\n",
    "%",
    "\u{0}",
    "\u{FFFD}",
    "Listen ",
];

#[test]
fn mutated_files_never_panic_and_every_line_is_a_property_or_a_comment() {
    let folder = Folder::new("fuzz");
    let seeds: Vec<Vec<u8>> =
        ["amazon2/etc/httpd/conf.d/proxy.conf", "debian/etc/apache2/sites-enabled/mydata.conf"]
            .iter()
            .map(|seed| {
                [b"Listen 80\nListen 443\n", fs::read(shapes().join(seed)).expect("a fixture").as_slice()]
                    .concat()
            })
            .collect();
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    for round in 0..rounds {
        let mut random = Random(round);
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(12) {
            let at = random.below(bytes.len() + 1);
            match random.below(4) {
                0 => drop(bytes.splice(at..at, ALPHABET[random.below(ALPHABET.len())].bytes())),
                1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                2 => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
                _ => bytes.truncate(at.max(20)),
            }
        }
        let Ok(found) = folder.import(&bytes) else { continue };
        for line in found.text.split(['\n', '\r']) {
            let sound = line.is_empty() || line.starts_with('#') || line.starts_with("proxy.");
            assert!(sound, "round {round}: {line:?}");
        }
    }
}

#[test]
fn the_command_says_by_its_status_whether_all_was_carried_over() {
    let folder = Folder::new("command");
    folder.write("httpd.conf", "Listen 80\nProxyPass / http://h/\nProxyPassReverse / http://h/\n");
    folder.write("more.d/a.conf", "<IfDefine X>\nRedirect /a http://b/\n</IfDefine>\n");
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
            .arg("import-httpd")
            .args(words)
            .current_dir(&folder.0)
            .output()
            .expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, out, err) = run(&["httpd.conf", "more.d"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("\nproxy.reverse.routes[0].target=http://h/\n"), "{out}");

    let (status, out, err) = run(&["-D", "X", "httpd.conf", "more.d"]);
    assert_eq!((status, err.as_str()), (Some(1), "not carried over: 1; the end of the output lists them\n"));
    assert!(out.contains("more.d/a.conf:2 Redirect /a http://b/: "), "{out}");

    let (status, out, err) = run(&["none.conf"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.ends_with("/none.conf: cannot be read: No such file or directory (os error 2)\n"), "{err}");

    let (status, out, err) = run(&[]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("import-httpd lacks its file, such as /etc/httpd/conf/httpd.conf\n"), "{err}");
}

#[test]
fn debians_own_files_are_carried_over() {
    // Installed by scripts/test; elsewhere there is nothing to read.
    if !Path::new("/etc/apache2/apache2.conf").exists() {
        return;
    }
    let found = imported(Path::new("/"), "/etc/apache2/apache2.conf").expect("Debian's files");
    assert!(found.text.contains("\nproxy.reverse.port=80\n"), "{}", found.text);
    assert!(found.text.contains("\nproxy.reverse.log.dir=/var/log/apache2\n"), "{}", found.text);
    assert_eq!(found.lost, 0, "{}", found.text);
}
