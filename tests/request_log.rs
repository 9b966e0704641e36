//! The legacy's loggers of single requests, as an operator sees them in the log: levels by the legacy's names, a real
//! worker, and the file. Alone in its process, because the logger is global.

#[allow(dead_code)] // other tests use the rest
#[path = "memory/world.rs"]
mod world;

use apim_proxy::logging::{Levels, flush, start};
use apim_proxy::request_log::RequestLog;
use apim_proxy::setting::Source;
use log::LevelFilter::{Debug, Off};
use std::fs;
use world::{Pair, Script};

/// Settings with the file in its place.
struct Settings {
    file: String,
    payload: bool,
    mask: bool,
}

impl Source for Settings {
    fn text(&self, key: &'static str) -> Option<&str> {
        match key {
            "logging.file.name" => Some(&self.file),
            "logging.pattern.file" => Some("%logger{0} %m%n"),
            "proxy.logging.include-payload" if self.payload => Some("true"),
            "proxy.logging.max-payload-length" => Some("40"),
            "proxy.logging.mask" if !self.mask => Some("false"),
            _ => None,
        }
    }
}

/// A form that holds secrets in every place, in two chunks, and an answer that holds some.
fn secret() -> Script {
    let body = "10\r\nid=a&secret=hush\r\n7\r\n&x=y&z=\r\n0\r\n\r\n";
    let headers = "Authorization: Bearer hush\r\nCookie: hush\r\nReferer: http://h/p?code=hush\r\nX-Auth-Token: hush\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
    Script {
        request: format!(
            "POST /oauth/token?state=hush&flag HTTP/1.1\r\nHost: proxy\r\nx-target-host: http://10.0.0.2:8080/base\r\n{headers}{body}"
        )
        .into(),
        forwarded: format!("POST /base/oauth/token?state=hush&flag HTTP/1.1\r\nHost: 10.0.0.2:8080\r\n{headers}{body}").into(),
        answer: b"HTTP/1.1 302 Moved \xec\r\nLocation: https://h/cb?code=hush\r\nSet-Cookie: hush\r\nContent-Length: 3\r\n\r\n\x00ab"
            .to_vec(),
    }
}

const MASKED: &str = "\
impl [id: 0] Connecting to http://10.0.0.2:8080 at 10.0.0.2:8080
RestTemplate HTTP POST http://10.0.0.2:8080/base/oauth/token?state=***&***
impl [id: 0] Connection established
headers http-outgoing-0 >> POST /base/oauth/token?state=***&*** HTTP/1.1
headers http-outgoing-0 >> Host: 10.0.0.2:8080
headers http-outgoing-0 >> Authorization: ***
headers http-outgoing-0 >> Cookie: ***
headers http-outgoing-0 >> Referer: http://h/p?code=***
headers http-outgoing-0 >> X-Auth-Token: ***
headers http-outgoing-0 >> Content-Type: application/x-www-form-urlencoded
headers http-outgoing-0 >> Transfer-Encoding: chunked
RestTemplate Response 302 Moved \\xec
headers http-outgoing-0 << HTTP/1.1 302 Moved \\xec
headers http-outgoing-0 << Location: https://h/cb?code=***
headers http-outgoing-0 << Set-Cookie: ***
headers http-outgoing-0 << Content-Length: 3
CommonsRequestLoggingFilter REQUEST DATA : POST /oauth/token?state=***&***, headers=[host:\"proxy\", x-target-host:\"http://10.0.0.2:8080/base\", \
authorization:\"***\", cookie:\"***\", referer:\"http://h/p?code=***\", x-auth-token:\"***\", content-type:\"application/x-www-form-urlencoded\", \
transfer-encoding:\"chunked\"], payload=id=***&secret=***&x=***&z=***
impl [id: 0] Connection can be kept alive
";

/// The same heads on the wire, and the bodies.
fn wire() -> String {
    let heads = MASKED.lines().filter_map(|line| line.strip_prefix("headers http-outgoing-0 "));
    let heads = heads.map(|line| line.split_at(3)).map(|(arrow, text)| (arrow.trim_end(), text));
    let rest = ["", "10", "id=a&secret=hush", "7", "&x=y&z=", "0", ""].map(|line| (">>", line));
    let line = |(arrow, text)| format!("wire http-outgoing-0 {arrow} \"{text}[\\r][\\n]\"\n");
    let lines: String = heads.chain(rest).chain([("<<", "")]).map(line).collect();
    lines.replace("\\xec", "[0xec]") + "wire http-outgoing-0 << \"[0x0]ab\"\n"
}

#[test]
fn requests_are_told_as_the_legacy_told_them_without_their_secrets() {
    let folder = std::env::temp_dir().join(format!("apim-request-log-{}", std::process::id()));
    let file = folder.join("apim.log");
    let settings = |payload, mask| Settings { file: file.display().to_string(), payload, mask };
    let levels = [
        ("org.springframework.web.client.RestTemplate", Debug),
        ("org.springframework.web.filter.CommonsRequestLoggingFilter", Debug),
        ("org.apache.http", Debug),
        ("apim_proxy", Off),
    ];
    start(&settings(true, true), Levels::new(levels)).unwrap();
    let run = |settings: &Settings, script| {
        let log = RequestLog::from(settings).unwrap();
        assert!(log.is_some(), "somebody listens");
        let mut pair = Pair::new(script, |config| config.request_log = log);
        pair.exchange();
        flush();
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        (text, pair)
    };
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };

    let (text, mut pair) = run(&settings(true, true), secret());
    assert_eq!(sorted(&text), sorted(&format!("{MASKED}{}", wire())), "{text}");
    assert_eq!(text.matches("hush").count(), 1, "the body on the wire");
    // A warm exchange leases the connection.
    pair.exchange();
    flush();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("impl [id: 0] Connection leased\n") && !text.contains("Connecting"), "{text}");
    fs::remove_file(&file).unwrap();

    let (text, _) = run(&settings(false, false), secret());
    assert!(text.contains("Authorization: Bearer hush\n") && text.contains("state=hush&flag\n"), "{text}");
    assert!(text.contains("transfer-encoding:\"chunked\"]\n"), "no payload unless it is asked for: {text}");
    fs::remove_dir_all(folder).unwrap();
}
