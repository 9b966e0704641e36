//! The logs of reverse listeners: each line beside the one that the real httpd writes of the same request, and the files
//! of each listener.
//!
//! What differs between two runs, times and sizes of each one's own answers, is checked against what the client saw and
//! then replaced. Where we differ on purpose the table says why, and the difference is checked as well.

use crate::beside_apache::Apache;
use crate::origin::Origin;
use crate::process::{Folder, Proxy, Running, until};
use crate::raw::Client;
use crate::recorder::Recorder;
use crate::tls::{World, here, s_client};
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// A column of both logs: its name here and its directive.
const COLUMNS: &[(&str, &str)] = &[
    ("h", "%h"),
    ("a", "%a"),
    ("l", "%l"),
    ("u", "%u"),
    ("t", "%t"),
    ("r", "\"%r\""),
    ("s", "%s"),
    (">s", "%>s"),
    ("b", "%b"),
    ("B", "%B"),
    ("O", "%O"),
    ("I", "%I"),
    ("D", "%D"),
    ("T", "%T"),
    ("ms", "%{ms}T"),
    ("referer", "\"%{Referer}i\""),
    ("agent", "\"%{User-Agent}i\""),
    ("odd", "\"%{X-Odd}i\""),
    ("one", "\"%{X-One}o\""),
    ("cookie", "%{k}C"),
    ("404", "%404{User-Agent}i"),
    ("not 200", "%!200{User-Agent}i"),
    ("X", "%X"),
    ("p", "%p"),
    ("v", "%v"),
    ("V", "%V"),
    ("m", "%m"),
    ("U", "%U"),
    ("q", "%q"),
    ("H", "%H"),
    ("k", "%k"),
    ("percent", "%%"),
];

/// Columns that differ, and why.
type Differences = &'static [(&'static str, &'static str)];

/// A request, and what differs.
type Row = (&'static str, Differences);

/// The request, with what `{long}` stands for.
fn bytes(request: &str) -> Vec<u8> {
    let text = request.replace("{long}", &"l".repeat(3000)).replace("{9000}", &"h".repeat(9000));
    // One character a byte, so that bytes outside of ASCII can be written.
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

/// Sends the request; the bytes of the head and of the body that came back.
fn ask(client: &mut Client, request: &str) -> (u64, u64) {
    client.send(bytes(request));
    let answer = if request.starts_with("HEAD ") { client.head_answer() } else { client.answer() };
    (answer.head.len() as u64, answer.body.len() as u64)
}

/// A line as columns, with what cannot be the same replaced by what it means.
fn columns(line: &str, sent: u64, (head, body): (u64, u64)) -> Vec<String> {
    let mut values: Vec<String> = line.split('\t').map(str::to_owned).collect();
    assert_eq!(values.len(), COLUMNS.len(), "{line}");
    for ((name, _), value) in COLUMNS.iter().zip(&mut values) {
        let number = value.parse::<u64>().ok();
        let known = match *name {
            "t" => {
                let shape: String = value.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
                let month = shape.get(4..7).expect("a time").to_owned();
                assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(&month), "{line}");
                Some(shape.replacen(&month, "Mon", 1).replace('-', "+"))
            }
            "D" | "T" | "ms" => number.map(|_| "a number".to_owned()),
            "b" | "B" if number == Some(body) => Some("the body".to_owned()),
            "O" if number == Some(head + body) => Some("the answer".to_owned()),
            "I" if number == Some(sent) => Some("the request".to_owned()),
            _ => None,
        };
        if let Some(known) = known {
            *value = known;
        }
    }
    values
}

/// The lines of `file` but for those of the search for httpd's port.
fn lines(folder: &Folder, file: &str) -> Vec<String> {
    folder.text(file).lines().filter(|line| !line.contains("/httpd-token")).map(str::to_owned).collect()
}

fn combined_columns() -> String {
    COLUMNS.iter().map(|(_, directive)| *directive).collect::<Vec<_>>().join("\\t")
}

macro_rules! get {
    ($path:literal $(, $line:literal)*) => {
        concat!("GET ", $path, " HTTP/1.1\r\nHost: front.test:8080\r\n", $($line, "\r\n",)* "\r\n")
    };
}

const PORT: &str =
    "httpd shows its ServerName's port, we the one that the client names, or that it came in by";
const NAME: &str = "httpd shows its ServerName, we the name that the client asked for";
const WRITTEN: &str = "the path is the one that the client wrote";
const CUT: &str = "a path has 2,048 bytes at most";
const KEPT: &str = "httpd closes behind such an answer, we need not";

/// Differs in every row.
const EVERYWHERE: Differences = &[("p", PORT)];

/// Of a request that could not be read.
const UNREAD: Differences = &[
    ("v", "what could not be read names no host"),
    ("V", "what could not be read names no host"),
    ("H", "what could not be read has no version"),
];
/// The same, where httpd stopped reading at the first line.
const LINE: Differences =
    &[UNREAD[0], UNREAD[1], UNREAD[2], ("I", "httpd counts what it looked at, we what arrived")];
/// The same, where the line has a method that is none.
const NO_METHOD: Differences = &[
    UNREAD[0],
    UNREAD[1],
    UNREAD[2],
    LINE[3],
    ("m", "what is no token is no method"),
    ("U", "what follows it is no path"),
];
/// A head that is too long.
const LONG_HEAD: Differences = &[
    UNREAD[0],
    UNREAD[1],
    UNREAD[2],
    LINE[3],
    ("s", "that is 431 (RFC 6585)"),
    (">s", "that is 431 (RFC 6585)"),
];
/// A version that nobody speaks here.
const VERSION: Differences = &[
    UNREAD[0],
    UNREAD[1],
    UNREAD[2],
    ("s", "httpd takes 3.0 for 1.1, we say 505"),
    (">s", "httpd takes 3.0 for 1.1, we say 505"),
    ("X", "what cannot be read ends the connection"),
];
const BLANK: Differences =
    &[UNREAD[0], UNREAD[1], UNREAD[2], LINE[3], ("r", "httpd cuts the line off behind the path, we show it")];

const ROWS: &[Row] = &[
    (get!("/a", "User-Agent: curl/8", "Referer: http://r.test/x?y=z"), &[]),
    (get!("/a?b=c&d=%41%20", "X-Say: 200 OK|X-One: 1"), &[]),
    (get!("/%41%20b/%ec%9d%b4?%22"), &[]),
    (get!("/a?"), &[]),
    (get!("/a?b?c"), &[]),
    (get!("/a", "X-Odd: a \"b\" \\ \u{1}\u{e9}\u{ff}"), UNREAD),
    (get!("/a", "X-Odd: tab\tin"), &[]),
    (get!("/a", "X-Odd: one", "X-Odd: two"), &[]),
    (get!("/a", "X-Odd:"), &[("odd", "what is empty is shown as what is not there")]),
    (get!("/a", "User-Agent: \u{ec}\u{9d}\u{b4}"), &[]),
    (get!("/a", "Cookie: x=1; k=v; k=w"), &[]),
    (get!("/a", "Cookie: kk=v"), &[]),
    (get!("/\"a\""), &[]),
    (get!("/a", "Connection: close"), &[]),
    ("GET /a HTTP/1.0\r\nHost: front.test:8080\r\n\r\n", &[]),
    ("GET /a HTTP/1.0\r\nHost: front.test:8080\r\nConnection: keep-alive\r\n\r\n", &[]),
    ("HEAD /a HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", &[]),
    ("POST /a HTTP/1.1\r\nHost: front.test:8080\r\nContent-Length: 5\r\n\r\nhello", &[]),
    (
        "PUT /a HTTP/1.1\r\nHost: front.test:8080\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[],
    ),
    ("BREW /a HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", &[]),
    (get!("/a", "X-Say: 404 Nope", "User-Agent: u"), &[]),
    (get!("/a", "X-Say: 304 Not Modified"), &[]),
    (get!("/a", "X-Say: 204 No Content"), &[]),
    (get!("/a", "X-Say: 500 Oops|X-One: 1|X-One: 2"), &[("X", KEPT)]),
    (get!("/none", "User-Agent: u"), &[]),
    (get!("/none/x?y"), &[]),
    (get!("/{long}?q=1"), &[("r", CUT), ("U", CUT), ("q", CUT)]),
    ("GET http://front.test:8080/a?b HTTP/1.1\r\nHost: other\r\n\r\n", &[("v", NAME), ("V", NAME)]),
    ("GET /a HTTP/1.1\r\nHost: front.test\r\n\r\n", &[]),
    ("GET /a HTTP/1.1\r\nHost: other.test:81\r\n\r\n", &[("v", NAME)]),
    ("GET /a//b/../c HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", &[("U", WRITTEN)]),
    ("GET /a%zz HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", &[("X", KEPT)]),
    ("GET /a b HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", BLANK),
    ("G\"T /a HTTP/1.1\r\nHost: front.test:8080\r\n\r\n", NO_METHOD),
    ("GET /a HTTP/x\r\nHost: front.test:8080\r\n\r\n", LINE),
    ("GET /a HTTP/1.1\r\n\r\n", UNREAD),
    ("GET /a HTTP/1.1\r\nHost: front.test:8080\r\nno colon\r\n\r\n", UNREAD),
    ("GET /a HTTP/3.0\r\nHost: front.test:8080\r\n\r\n", VERSION),
    ("\u{16}\u{3}\u{1}\u{80} x\r\n\r\n", NO_METHOD),
    ("GET /a HTTP/1.1\r\nHost: front.test:8080\r\nX-Odd: {9000}\r\n\r\n", LONG_HEAD),
];

#[test]
fn lines_are_httpds() {
    let (folder, origin) = (Folder::new(), Recorder::start());
    let o = origin.address;
    let format = combined_columns();
    let apache = Apache::start(
        &folder,
        &format!(
            "LogFormat \"{}\" columns\nCustomLog {}/access_log columns\nProxyPass /none !\nProxyPass / http://{o}/",
            format.replace('"', "\\\""),
            folder.path("").display()
        ),
    );
    let own = Folder::new();
    let properties = own.path("application.properties");
    fs::write(&properties, format!("proxy.reverse.log.format={}\n", format.replace('\\', "\\\\")))
        .expect("the folder is writable");
    let mut proxy = Proxy::start(&[
        &format!("spring.config.location=file:{}", properties.display()),
        // One worker writes in order.
        "server.workers=1",
        "proxy.reverse.port=0",
        &format!("proxy.reverse.log.dir={}", own.path("").display()),
        "proxy.logging.mask=false",
        "proxy.reverse.routes[0].path=/",
        &format!("proxy.reverse.routes[0].target=http://{o}/"),
        "proxy.reverse.routes[1].path=/none",
        "proxy.reverse.routes[1].target=!",
    ]);
    let ask_all = |address: SocketAddr, written: &dyn Fn(usize)| -> Vec<(u64, u64)> {
        let rows = ROWS.iter().enumerate();
        let each = rows.map(|(at, (request, _))| {
            let answer = ask(&mut Client::connect(address), request);
            written(at + 1);
            answer
        });
        each.collect()
    };
    // Threads of httpd write in any order.
    let theirs = ask_all(apache.address, &|count| {
        until("httpd has written a line", || (lines(&folder, "access_log").len() >= count).then_some(()));
    });
    let ours = ask_all(proxy.listeners[1], &|_| {});
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    let (their_lines, our_lines) = (lines(&folder, "access_log"), lines(&own, "access_log"));
    assert_eq!((their_lines.len(), our_lines.len()), (ROWS.len(), ROWS.len()), "{our_lines:#?}");
    let mut wrong = Vec::new();
    for (at, (request, differs)) in ROWS.iter().enumerate() {
        let sent = bytes(request).len() as u64;
        let their = columns(&their_lines[at], sent, theirs[at]);
        let our = columns(&our_lines[at], sent, ours[at]);
        for (((name, _), their), our) in COLUMNS.iter().zip(&their).zip(&our) {
            match differs.iter().chain(EVERYWHERE).find(|(column, _)| column == name) {
                None if their != our => {
                    wrong.push(format!("{request:.60?}: {name}: httpd {their:.80}, we {our:.80}"));
                }
                Some((_, why)) if their == our => {
                    wrong.push(format!("{request:.60?}: {name}: no longer differs, though {why}"));
                }
                None | Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A line with its digits replaced where they differ from run to run.
fn shape(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

#[test]
fn each_listener_has_its_files() {
    let (world, origin) = (World::new(), Origin::start());
    let server = world.pki.issue(&world.middle, &here());
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let refused = nobody.local_addr().expect("it is bound");
    drop(nobody);
    let folder = Folder::new();
    let logs = folder.path("made/log");
    let mut proxy = Proxy::start(&[
        // One worker writes in order.
        "server.workers=1",
        "proxy.reverse.port=0",
        "proxy.reverse.ssl.port=0",
        &format!("proxy.reverse.log.dir={}", logs.display()),
        &format!("proxy.reverse.ssl.certificate={}", server.certificate.display()),
        &format!("proxy.reverse.ssl.certificate-private-key={}", server.key.display()),
        "proxy.reverse.routes[0].path=/app",
        &format!("proxy.reverse.routes[0].target=http://{}/in", origin.address),
        "proxy.reverse.routes[1].path=/down",
        &format!("proxy.reverse.routes[1].target=http://{refused}"),
    ]);
    let [_, plain, secure] = proxy.listeners[..] else { panic!("{:?}", proxy.listeners) };
    let mut client = Client::connect(plain);
    for (path, status) in [("/app/x", 200), ("/down", 502)] {
        client.send(format!("GET {path}?card=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\n\r\n"));
        assert_eq!(client.answer().status, status);
    }
    let close = "Host: a.test\r\nConnection: close\r\n\r\n";
    for (version, path) in [("-tls1_2", "/app/y"), ("-tls1_3", "/down")] {
        s_client(secure, &[version], &format!("GET {path} HTTP/1.1\r\n{close}"));
    }
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    let pid = proxy.process.pid().as_raw_nonzero();
    let text = |name: &str| folder.text(&format!("made/log/{name}"));
    let written = |name: &str| text(name).lines().map(shape).collect::<Vec<_>>();
    let day = "[99/Mon/9999:99:99:99 +9999]";
    let with_day = |lines: Vec<String>| -> Vec<String> {
        let month = |line: String| match line.split_once('/') {
            Some((before, after)) => format!("{before}/Mon{}", &after[3..]).replace(" -9999]", " +9999]"),
            None => line,
        };
        lines.into_iter().map(month).collect()
    };
    assert_eq!(
        with_day(written("access_log")),
        [
            format!("999.9.9.9 - - {day} \"GET /app/x?card=*** HTTP/9.9\" 999 99 \"-\" \"u\""),
            format!("999.9.9.9 - - {day} \"GET /down?card=*** HTTP/9.9\" 999 99 \"-\" \"u\""),
        ]
    );
    assert_eq!(
        with_day(written("ssl_access_log")),
        [
            format!("999.9.9.9 - - {day} \"GET /app/y HTTP/9.9\" 999 9 \"-\" \"-\""),
            format!("999.9.9.9 - - {day} \"GET /down HTTP/9.9\" 999 99 \"-\" \"-\""),
        ]
    );
    let requests = text("ssl_request_log");
    assert!(
        requests.contains("127.0.0.1 TLSv1.2 ECDHE-") && requests.contains("127.0.0.1 TLSv1.3 TLS_"),
        "{requests}"
    );
    for name in ["error_log", "ssl_error_log"] {
        let errors = text(name);
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(
            errors.contains(&format!("] [proxy:error] [pid {pid}:tid "))
                && errors.contains("] [client 127.0.0.1:")
                && errors.ends_with(&format!("; target http://{refused}\n")),
            "{errors}"
        );
    }
}

#[test]
fn a_folder_that_cannot_be_used_ends_the_start() {
    let folder = Folder::new();
    fs::write(folder.path("file"), "").expect("the folder is writable");
    let log = folder.path("file/log");
    let mut proxy = Running::new(
        Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
            .args(["--server.address=127.0.0.1", "--server.port=0", "--proxy.reverse.port=0"])
            .arg(format!("--proxy.reverse.log.dir={}", log.display()))
            .current_dir(folder.path(""))
            .env_clear()
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path("errors")).expect("the folder is writable")),
    );
    assert_eq!(proxy.ended().code(), Some(1));
    assert_eq!(
        folder.text("errors"),
        format!(
            "proxy.reverse.log.dir: {} cannot be made: Not a directory (os error 20); let the user that runs apim-proxy \
             write there, name another folder, or set proxy.reverse.log.format=off\n",
            log.display()
        )
    );
}
