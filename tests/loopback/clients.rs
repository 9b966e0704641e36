//! Well-behaved clients in front of well-behaved origins: the programs that operators and their customers use.

use crate::origin::Origin;
use crate::process::{Folder, Nginx, Proxy, Rude, output, source};
use std::fs;
use std::path::Path;
use std::process::Command;

/// curl, quiet but for what it is asked to write.
fn curl(arguments: &[&str]) -> String {
    output(Command::new("curl").args(["-sS", "--max-time", "60", "--noproxy", "*"]).args(arguments))
}

fn target(address: std::net::SocketAddr) -> String {
    format!("x-target-host: http://{address}")
}

/// Bytes that look like nothing else, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(len / 8).flatten().collect()
}

fn same(found: &Path, expected: &[u8]) {
    let found = fs::read(found).unwrap_or_else(|error| panic!("{}: {error}", found.display()));
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "the bytes differ");
}

#[test]
fn curl_gets_a_page_and_its_head() {
    let (proxy, nginx) = (Proxy::start(&[]), Nginx::start());
    let (url, header) = (proxy.url("/1k"), target(nginx.address));
    assert_eq!(curl(&["-H", &header, &url]), "x".repeat(1024));
    // Both on one connection: the answer to HEAD has a length and no body.
    let shown = curl(&["-I", "-H", &header, "-w", "%{http_code} %{num_connects}\n", &url, &url]);
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("200 ")).collect();
    assert_eq!(lines, ["200 1", "200 0"], "{shown}");
    assert_eq!(shown.matches("Content-Length: 1024").count(), 2, "{shown}");
    assert_eq!(curl(&[&url]), "you have to include x-target-host header");
}

#[test]
fn fifty_megabytes_pass_both_ways_unchanged() {
    let (proxy, nginx, folder) = (Proxy::start(&[]), Nginx::start(), Folder::new());
    let body = noise(50_000_000);
    let (file, back, header) = (folder.path("file"), folder.path("back"), target(nginx.address));
    fs::write(&file, &body).expect("the folder is writable");
    let code = ["-o", "/dev/null", "-w", "%{http_code}", "-H", &header];
    let put = |name: &str, more: &[&str]| curl(&[&code, more, &[&proxy.url(name)]].concat());
    // With a length, then in chunks; the origin keeps what it got.
    assert_eq!(put("/up/length", &["-T", &file.to_string_lossy()]), "201");
    same(&nginx.folder.path("www/up/length"), &body);
    let chunked = ["-T", &file.to_string_lossy(), "-H", "Transfer-Encoding: chunked"];
    assert_eq!(put("/up/chunked", &chunked), "201");
    same(&nginx.folder.path("www/up/chunked"), &body);
    assert_eq!(curl(&["-H", &header, "-o", &back.to_string_lossy(), &proxy.url("/up/length")]), "");
    same(&back, &body);
    // And both at once, as an origin that answers what it reads.
    let rude = Rude::start();
    for framing in ["X-Nothing: x", "Transfer-Encoding: chunked"] {
        let data = format!("@{}", file.display());
        let url = proxy.url("/echo");
        curl(&[
            "--data-binary",
            &data,
            "-H",
            framing,
            "-H",
            &target(rude.address),
            "-o",
            &back.to_string_lossy(),
            &url,
        ]);
        same(&back, &body);
    }
}

#[test]
fn curl_waits_for_100_and_gets_it() {
    let (proxy, nginx, folder) = (Proxy::start(&[]), Nginx::start(), Folder::new());
    let (body, file) = (noise(100_000), folder.path("file"));
    fs::write(&file, &body).expect("the folder is writable");
    let heads = curl(&[
        "-T",
        &file.to_string_lossy(),
        "-H",
        "Expect: 100-continue",
        // Longer than any test: only the interim answer sets it going.
        "--expect100-timeout",
        "50",
        "-H",
        &target(nginx.address),
        "-D",
        "-",
        "-o",
        "/dev/null",
        &proxy.url("/up/expected"),
    ]);
    let statuses: Vec<&str> = heads.lines().filter(|line| line.starts_with("HTTP/")).collect();
    assert_eq!(statuses, ["HTTP/1.1 100 Continue", "HTTP/1.1 201 Created"]);
    same(&nginx.folder.path("www/up/expected"), &body);
}

#[test]
fn python_programs_are_served() {
    let (proxy, rude, origin) = (Proxy::start(&[]), Rude::start(), Origin::start());
    let said = output(
        Command::new("python3")
            .arg(source("client.py"))
            .args([proxy.address, rude.address, origin.address].map(|address| address.to_string())),
    );
    assert_eq!(said, "one connection\nchunks\nrequests ahead of their answers\n");
    assert_eq!(origin.seen(), (0..100).map(|n| format!("/{n}")).collect::<Vec<_>>(), "each once, in order");
}

#[test]
fn java_programs_are_served() {
    let (proxy, rude) = (Proxy::start(&[]), Rude::start());
    let said = output(
        Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .arg(source("Client.java"))
            .args([proxy.url(""), format!("http://{}", rude.address)]),
    );
    let parts = [
        "HttpURLConnection GET",
        "HttpURLConnection POST length",
        "HttpURLConnection POST chunked",
        "HttpURLConnection refusal",
        "HttpClient GET",
        "HttpClient POST length",
        "HttpClient POST chunked",
        "HttpClient POST expecting 100",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), parts);
}

#[test]
fn ab_speaks_http_1_0_and_keeps_its_connections() {
    let (proxy, nginx) = (Proxy::start(&[]), Nginx::start());
    let said = output(
        Command::new("ab")
            .args(["-q", "-k", "-n", "10000", "-c", "50", "-H", &target(nginx.address)])
            .arg(proxy.url("/1k")),
    );
    let figure = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(figure("Complete requests:"), Some("10000"), "{said}");
    assert_eq!(figure("Failed requests:"), Some("0"), "{said}");
    assert_eq!(figure("Non-2xx responses:"), None, "{said}");
    assert_eq!(figure("Keep-Alive requests:"), Some("10000"), "{said}");
    assert_eq!(figure("HTML transferred:"), Some("10240000 bytes"), "{said}");
}

#[test]
fn wrk_finds_no_fault() {
    let (proxy, nginx) = (Proxy::start(&[]), Nginx::start());
    let said = output(
        Command::new("wrk").args(["-t1", "-c64", "-d2s", "-H", &target(nginx.address)]).arg(proxy.url("/1k")),
    );
    assert!(said.contains(" requests in 2."), "{said}");
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
}

#[test]
fn h2load_finds_no_fault() {
    let (proxy, nginx) = (Proxy::start(&[]), Nginx::start());
    fs::write(nginx.folder.path("www/1m"), noise(1_000_000)).expect("the folder is writable");
    for (path, requests) in [("/1k", 10_000), ("/1m", 200)] {
        let said = output(
            Command::new("h2load")
                .args(["--h1", "-n", &requests.to_string(), "-c", "32", "-H", &target(nginx.address)])
                .arg(proxy.url(path)),
        );
        let line = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        assert_eq!(
            line("status codes:"),
            format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx"),
            "{said}"
        );
        assert!(
            line("requests:").ends_with(&format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout")),
            "{said}"
        );
    }
}

#[test]
fn names_are_resolved_and_every_address_is_tried() {
    let (proxy, nginx) = (Proxy::start(&["proxy.target.allow=localhost"]), Nginx::start());
    // Where this name is ::1 first, nobody listens there.
    let header = format!("x-target-host: http://LocalHost:{}", nginx.address.port());
    assert_eq!(curl(&["-H", &header, &proxy.url("/1k")]), "x".repeat(1024));
}

#[test]
fn our_own_listener_is_no_target() {
    let proxy = Proxy::start(&[]);
    let shown = curl(&["-D", "-", "-H", &target(proxy.address), &proxy.url("/")]);
    let lines: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("HTTP/") || line.starts_with("X-")).collect();
    assert_eq!(lines, ["HTTP/1.1 403 Forbidden", "X-Proxy-Error: target_denied"], "{shown}");
}
