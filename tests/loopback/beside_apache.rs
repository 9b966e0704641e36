//! The reverse listener beside the real httpd: the same raw requests go through both to the same origin, and what the
//! origin saw and what the client got is compared. Where we differ on purpose the table says why, and the difference is
//! checked as well, so that the reason cannot outlive it.

use crate::process::{Folder, Proxy, Running, until};
use crate::raw::Client;
use crate::recorder::{Asked, Recorder};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Lines of an answer that matter; those of the connection, and httpd's own Date and Server, do not.
const MATTERS: &[&str] = &[
    "location",
    "content-location",
    "uri",
    "destination",
    "set-cookie",
    "via",
    "content-type",
    "content-length",
    "etag",
    "x-one",
    "x-two",
    "x-frame-options",
    "x-powered-by",
    "www-authenticate",
    "cache-control",
];
/// Lines of a request that belong to the connection to the origin: httpd writes `Connection: Keep-Alive`, we nothing, and
/// how a body is framed is each one's own.
const OF_THE_CONNECTION: &[&str] = &["connection", "content-length", "transfer-encoding"];

/// What is expected of a row.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Same,
    /// We do something else, because of this.
    Differs(&'static str),
}

use Expected::{Differs, Same};

type Headers = Vec<(String, String)>;

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What the origin saw: method, path, body, headers with lines of one name joined as httpd joins them.
    asked: Option<(String, Vec<u8>, BTreeMap<String, String>)>,
    status: u16,
    /// Headers and body of an answer of the origin; a proxy's own pages are its own.
    answer: Option<(Headers, Vec<u8>)>,
}

fn joined(asked: &Asked) -> BTreeMap<String, String> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &asked.headers {
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            let line = lines.entry(name.clone()).or_default();
            line.push_str(if line.is_empty() { "" } else { ", " });
            line.push_str(value);
        }
    }
    lines
}

fn ask(address: SocketAddr, origin: &Recorder, request: &str) -> Outcome {
    origin.take();
    let mut client = Client::connect(address);
    client.send(request);
    let answer = if request.starts_with("HEAD ") { client.head_answer() } else { client.answer() };
    let asked = origin.take();
    assert!(asked.len() <= 1, "one request became {asked:?}");
    let reached = !asked.is_empty();
    let mut lines: Headers = answer
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| MATTERS.contains(&name.as_str()))
        .collect();
    lines.sort();
    // Lines of one name are one list, but for cookies (RFC 9110 §5.3).
    lines.dedup_by(|second, first| {
        let one = second.0 == first.0 && first.0 != "set-cookie";
        if one {
            first.1 = format!("{}, {}", first.1, second.1);
        }
        one
    });
    Outcome {
        asked: asked.first().map(|asked| {
            let line = asked.line.trim_end_matches(" HTTP/1.1").to_owned();
            (line, asked.body.clone(), joined(asked))
        }),
        status: answer.status,
        answer: reached.then_some((lines, answer.body)),
    }
}

/// httpd with a configuration of its own.
struct Apache {
    _process: Running,
    address: SocketAddr,
}

impl Apache {
    fn start(folder: &Folder, body: &str) -> Self {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        let first = 20_000 + std::process::id() % 10_000;
        for _ in 0..100 {
            // Below the ephemeral range; whether it is free is for httpd to find out.
            let port = (first + TRIED.fetch_add(1, Ordering::Relaxed)) as u16;
            if let Some(process) = Self::try_start(folder, port, body) {
                return Self { _process: process, address: (Ipv4Addr::LOCALHOST, port).into() };
            }
        }
        panic!("httpd finds no port: {}", folder.text("error.log"));
    }

    fn try_start(folder: &Folder, port: u16, body: &str) -> Option<Running> {
        let at = folder.path("");
        // Nobody else's page holds the name of this folder.
        let token = at.display().to_string();
        fs::write(folder.path("httpd-token"), &token).expect("the folder is writable");
        let modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "headers"];
        let load = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        let text = format!(
            "ServerRoot {at}\nServerName front.test\nPidFile {at}/httpd.pid\nErrorLog {at}/error.log\nDocumentRoot {at}\n\
             Listen 127.0.0.1:{port}\n{}User nobody\nGroup nogroup\nProxyTimeout 20\n\
             ProxyPass /httpd-token !\n{}\n",
            modules.map(load).concat(),
            body.replace("{port}", &port.to_string()),
            at = at.display(),
        );
        fs::write(folder.path("httpd.conf"), text).expect("the folder is writable");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut process = Running::new(
            Command::new("apache2")
                .env("PATH", path)
                // One process, which ends with its test.
                .arg("-X")
                .arg("-f")
                .arg(folder.path("httpd.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        until("httpd answers or ends", || {
            if process.has_ended() {
                return Some(false);
            }
            let body =
                Client::try_connect((Ipv4Addr::LOCALHOST, port).into())?.ask_for_body("/httpd-token")?;
            (body == token.as_bytes()).then_some(true)
        })
        .then_some(process)
    }
}

fn compare(apache: &Apache, ours: SocketAddr, origin: &Recorder, rows: &[(&str, Expected)]) {
    let mut wrong = Vec::new();
    for (request, expected) in rows {
        let bytes = request.replace("{o}", &origin.address.to_string());
        let (theirs, own) = (ask(apache.address, origin, &bytes), ask(ours, origin, &bytes));
        match expected {
            Same if theirs != own => wrong.push(format!("{bytes}\nhttpd: {theirs:#?}\nours:  {own:#?}")),
            Differs(why) if theirs == own => wrong.push(format!("{bytes}\nno longer differs, though {why}")),
            Same | Differs(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows\n\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
}

macro_rules! get {
    ($path:literal) => {
        concat!("GET ", $path, " HTTP/1.1\r\nHost: Pub.test:8080\r\n\r\n")
    };
    ($path:literal, $($line:literal),+) => {
        concat!("GET ", $path, " HTTP/1.1\r\nHost: Pub.test:8080\r\n", $($line, "\r\n",)+ "\r\n")
    };
}

const ESCAPES: &str = "escapes go on as the client wrote them: signatures are made over them";
const DISGUISED: &str = "servlet containers and Windows resolve dot segments in disguise";
const BOUNDARY: &str = "a URL that only begins with the same letters names another place";
const SLASH: &str = "no slash is doubled where path and URL end differently";

/// With httpd's defaults.
const DEFAULTS: &[(&str, Expected)] = &[
    (get!("/foo"), Same),
    (get!("/foo/"), Same),
    (get!("/foo/a"), Same),
    (get!("/foobar"), Same),
    (get!("/foo?x"), Same),
    (get!("/foo/a?b=%41&c=/../x//"), Same),
    (get!("/foo//a"), Same),
    (get!("//foo///a//b/"), Same),
    (get!("/foo/../x"), Same),
    (get!("/foo/a/../b"), Same),
    (get!("/foo/./a"), Same),
    (get!("/foo/a/."), Same),
    (get!("/foo/a/.."), Same),
    (get!("/foo/.."), Same),
    (get!("/../foo/a"), Same),
    (get!("/foo/../../foo"), Same),
    (get!("/foo/%2e%2e/x"), Same),
    (get!("/foo/%2E/a"), Same),
    (get!("/foo/.%2e/foo/a"), Same),
    (get!("/foo/%252e%252e/x"), Same),
    (get!("/%66oo/a"), Same),
    (get!("/foo/a%20b"), Same),
    (get!("/foo/%3F%23%25"), Same),
    (get!("/foo/%EC%9D%B4"), Same),
    (get!("/foo/$-_.+!*'(),;:@&=~"), Same),
    (get!("/foo/%41"), Differs(ESCAPES)),
    (get!("/foo/%ec"), Differs(ESCAPES)),
    (get!("/foo/[a]"), Differs(ESCAPES)),
    (get!("/foo/\"<>^`{|}"), Differs(ESCAPES)),
    (get!("/foo/a\\b"), Differs(ESCAPES)),
    (get!("/foo/a%5cb"), Differs(ESCAPES)),
    (get!("/foo/a%5Cb"), Same),
    (get!("/foo/%2f"), Same),
    (get!("/foo/%2F..%2F"), Same),
    (get!("/foo/%00"), Same),
    (get!("/foo/%zz"), Same),
    (get!("/foo/%"), Same),
    (get!("/foo/a#b"), Same),
    (get!("/foo/..;/x"), Differs(DISGUISED)),
    (get!("/foo/..\\x"), Differs(DISGUISED)),
    (get!("/foo/..%5cx"), Differs(DISGUISED)),
    (get!("/foo;a/b"), Same),
    (get!("/foo/a;b=c/d"), Same),
    (get!("/foo/.a"), Same),
    (get!("/foo/..a/..."), Same),
    (get!("/foo/priv"), Same),
    (get!("/foo/priv/x"), Same),
    (get!("/foo/%70riv/x"), Same),
    (get!("/foo/private"), Same),
    (get!("/sl/x"), Same),
    (get!("/sl/"), Same),
    (get!("/sl"), Same),
    (get!("/ns/x"), Same),
    (get!("/ns"), Same),
    (get!("/nsx"), Same),
    (get!("/none"), Same),
    (get!("/down/x"), Differs("what cannot be reached is 502 here, 503 there")),
    ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Differs("httpd speaks for itself")),
    ("OPTIONS /foo/a HTTP/1.1\r\nHost: h\r\n\r\n", Same),
    ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", Same),
    ("TRACE /foo HTTP/1.1\r\nHost: h\r\n\r\n", Differs("an echo shows what is not the client's")),
    ("HEAD /foo/a HTTP/1.1\r\nHost: h\r\n\r\n", Same),
    ("DELETE /foo/a HTTP/1.1\r\nHost: h\r\n\r\n", Same),
    ("POST /foo/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", Same),
    (
        "PUT /foo/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
        Same,
    ),
    (
        "GET http://abs.test/foo/a HTTP/1.1\r\nHost: other\r\nX-Say: 302 F|Location: http://{o}/bar/x\r\n\r\n",
        Same,
    ),
    ("GET /foo/a HTTP/1.0\r\nX-Say: 302 F|Location: http://{o}/bar/x\r\n\r\n", Same),
    ("GET /foo/a HTTP/1.0\r\nHost: pub.test\r\nConnection: keep-alive\r\n\r\n", Same),
    (
        "GET /foo/a HTTP/1.1\r\nHost: a.other.test\r\n\r\n",
        Differs("a route for any host knows one name of ours, whatever hosts other routes have"),
    ),
    ("GET /own/a HTTP/1.1\r\nHost: A.Other.test\r\nX-Say: 302 F|Location: http://{o}/mine/x\r\n\r\n", Same),
    ("GET /own/a HTTP/1.1\r\nHost: other.test:81\r\n\r\n", Same),
    ("GET /own/a HTTP/1.1\r\nHost: pub.test\r\n\r\n", Same),
    (
        get!(
            "/foo/a",
            "X-Forwarded-For: 1.1.1.1",
            "x-forwarded-for: 2.2.2.2",
            "X-Forwarded-Host: old",
            "X-Forwarded-Server: before",
            "Via: 1.0 x",
            "X-Forwarded-Proto: https"
        ),
        Same,
    ),
    (get!("/foo/a", "Connection: X-Mine, X-Forwarded-For", "X-Mine: 1", "X-Forwarded-For: 1.1.1.1"), Same),
    (
        get!("/foo/a", "TE: trailers", "Keep-Alive: 1", "Trailer: x", "A: 1", "B:  2 ", "A: 3"),
        Differs("a Trailer line is passed on"),
    ),
    (get!("/foo/a", "TE: trailers", "Keep-Alive: 1", "A: 1", "B:  2 ", "A: 3"), Same),
    (get!("/foo/a", "x-target-host: http://h", "x-reload-httpclient: true"), Same),
    (get!("/foo/a", "Cookie: a=b", "Authorization: Basic x", "Accept-Encoding: gzip"), Same),
    (
        get!("/foo/a", "Connection: Upgrade", "Upgrade: websocket"),
        Differs("a switch of protocols needs no setting here"),
    ),
    (get!("/foo/a", "X-Say: 302 F|Location: http://{o}/bar/x"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: http://{o}/bar"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: HTTP://{o}/BAR/x?y#z"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: http://{o}/barx"), Differs(BOUNDARY)),
    (get!("/foo/a", "X-Say: 302 F|Location: http://{o}/other"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: /bar/x"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: //{o}/bar/x"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: https://{o}/bar/x"), Same),
    (get!("/foo/a", "X-Say: 302 F|Location: http://{o}/sl/y"), Differs(SLASH)),
    (
        get!(
            "/foo/a",
            "X-Say: 200 OK|Content-Location: http://{o}/bar/x|URI: http://{o}/bar/y|Destination: http://{o}/bar"
        ),
        Same,
    ),
    (get!("/foo/a", "X-Say: 200 OK|Set-Cookie: a=b; Path=/bar; Domain=in.test|Set-Cookie: c=d"), Same),
    (get!("/foo/a", "X-Say: 200 OK|Set-Cookie: a=b;path=/bar/x;Secure"), Same),
    (get!("/foo/a", "X-Say: 200 OK|Set-Cookie: a=b; path=/barx"), Same),
    (get!("/foo/a", "X-Say: 200 OK|Set-Cookie: a=b; Domain=.in.test; Path=/x"), Same),
    (get!("/foo/a", "X-Say: 200 OK|Set-Cookie: a=b; DOMAIN=IN.TEST"), Same),
    (
        get!("/foo/a", "X-Say: 200 OK|Set-Cookie: path=/bar; x"),
        Differs("the name of a cookie is no attribute"),
    ),
    (
        get!("/foo/a", "X-Say: 404 Nope|Content-Type: text/plain|ETag: \"x\"|X-Powered-By: me|Via: 1.1 z"),
        Same,
    ),
    (get!("/foo/a", "X-Say: 204 No Content|X-One: 1"), Same),
    (get!("/foo/a", "X-Say: 304 Not Modified|ETag: \"x\""), Same),
    (get!("/foo/a", "X-Say: 500 Oops|X-One: 1|X-One: 2"), Same),
    (get!("/foo/a", "X-Say: 401 No|WWW-Authenticate: Basic realm=\"x\"|Cache-Control: no-store"), Same),
];

/// With everything set.
const SETTINGS: &[(&str, Expected)] = &[
    ("GET /p HTTP/1.1\r\nHost: pub.test\r\n\r\n", Same),
    (
        "GET /p HTTP/1.1\r\nHost: pub.test\r\nVia: 1.0 before\r\nX-Set: mine\r\nX-Gone: 1\r\nX-Append: one\r\nX-Add: one\r\n\r\n",
        Same,
    ),
    (
        "GET /p HTTP/1.1\r\nHost: pub.test\r\nX-Forwarded-For: 192.0.2.66\r\nX-Append: a\r\nX-Append: b\r\n\r\n",
        Same,
    ),
    (
        "GET /p HTTP/1.0\r\nHost: pub.test\r\n\r\n",
        Differs("Via names the version that the answer came in (RFC 9110 §7.6.3)"),
    ),
    ("GET /p HTTP/1.1\r\nHost: Pub.test\r\n\r\n", Same),
    (
        "GET /p HTTP/1.1\r\nHost: pub.test:81\r\n\r\n",
        Differs("our entry in Via is a name without the client's port"),
    ),
    (
        "GET /p HTTP/1.1\r\nHost: pub.test\r\nX-Say: 200 OK|Via: 1.1 behind|X-Powered-By: me|X-One: 1|X-Two: 1\r\n\r\n",
        Same,
    ),
    ("GET /p HTTP/1.1\r\nHost: pub.test\r\nX-Say: 302 F|Location: http://{o}/x\r\n\r\n", Differs(SLASH)),
];

#[test]
fn the_same_requests_come_to_the_same() {
    let (folder, origin) = (Folder::new(), Recorder::start());
    let o = origin.address;
    // A port that refuses: bound and never listened at.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    closed.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port is free");
    let down = closed.local_addr().expect("it is bound").as_socket().expect("an IPv4 socket");
    let apache = Apache::start(
        &folder,
        &format!(
            "ProxyPass /foo/priv !\nProxyPass /foo http://{o}/bar\nProxyPassReverse /foo http://{o}/bar\n\
             ProxyPass /sl/ http://{o}/sl\nProxyPassReverse /sl/ http://{o}/sl\nProxyPass /ns http://{o}/\n\
             ProxyPass /down http://{down}/ retry=0\nProxyPassReverseCookiePath /bar /foo\n\
             ProxyPassReverseCookieDomain in.test out.test\n\
             <VirtualHost 127.0.0.1:{{port}}>\nServerName front.test:80\n</VirtualHost>\n\
             <VirtualHost 127.0.0.1:{{port}}>\nServerName other.test:80\nServerAlias *.other.test\n\
             ProxyPass /own http://{o}/mine\nProxyPassReverse /own http://{o}/mine\n</VirtualHost>"
        ),
    );
    let ours = Proxy::start(&[
        "proxy.reverse.port=0",
        "proxy.reverse.server-name=front.test",
        "proxy.reverse.routes[0].path=/foo",
        &format!("proxy.reverse.routes[0].target=http://{o}/bar"),
        "proxy.reverse.routes[0].cookie-path=/bar /foo",
        "proxy.reverse.routes[0].cookie-domain=in.test out.test",
        "proxy.reverse.routes[1].path=/sl/",
        &format!("proxy.reverse.routes[1].target=http://{o}/sl"),
        "proxy.reverse.routes[2].path=/ns",
        &format!("proxy.reverse.routes[2].target=http://{o}/"),
        "proxy.reverse.routes[2].pass-reverse=off",
        "proxy.reverse.routes[3].path=/down",
        &format!("proxy.reverse.routes[3].target=http://{down}/"),
        "proxy.reverse.routes[4].path=/foo/priv",
        "proxy.reverse.routes[4].target=!",
        "proxy.reverse.routes[5].path=/own",
        &format!("proxy.reverse.routes[5].target=http://{o}/mine"),
        "proxy.reverse.routes[5].host=other.test,*.other.test",
    ]);
    compare(&apache, ours.listeners[1], &origin, DEFAULTS);
}

#[test]
fn the_same_settings_do_the_same() {
    let (folder, origin) = (Folder::new(), Recorder::start());
    let o = origin.address;
    let apache = Apache::start(
        &folder,
        &format!(
            "ProxyPass / http://{o}/\nProxyPassReverse / http://{o}\nProxyPreserveHost On\nProxyVia On\n\
             RequestHeader unset X-Gone\nRequestHeader set X-Set one\nRequestHeader append X-Append two\n\
             RequestHeader add X-Add three\nRequestHeader unset X-Forwarded-For\n\
             Header set X-Frame-Options DENY\nHeader unset X-Powered-By\nHeader append X-One 2\nHeader add X-Two 2"
        ),
    );
    let ours = Proxy::start(&[
        "proxy.reverse.port=0",
        "proxy.reverse.server-name=front.test",
        "proxy.reverse.via=on",
        "proxy.reverse.routes[0].path=/",
        &format!("proxy.reverse.routes[0].target=http://{o}/"),
        &format!("proxy.reverse.routes[0].pass-reverse=http://{o}"),
        "proxy.reverse.routes[0].preserve-host=true",
        "proxy.reverse.request-headers[0]=unset X-Gone",
        "proxy.reverse.request-headers[1]=set X-Set one",
        "proxy.reverse.request-headers[2]=append X-Append two",
        "proxy.reverse.request-headers[3]=add X-Add three",
        "proxy.reverse.request-headers[4]=unset X-Forwarded-For",
        "proxy.reverse.response-headers[0]=set X-Frame-Options DENY",
        "proxy.reverse.response-headers[1]=unset X-Powered-By",
        "proxy.reverse.response-headers[2]=append X-One 2",
        "proxy.reverse.response-headers[3]=add X-Two 2",
    ]);
    compare(&apache, ours.listeners[1], &origin, SETTINGS);
}
