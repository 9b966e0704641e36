//! Well-behaved clients of the TLS listener: curl, Python and Java, with certificates, in front of TLS origins.

use crate::pki::{KeyKind, Order};
use crate::process::{Folder, Nginx, Proxy, Rude, Running, output, source};
use crate::raw::Client;
use crate::tls::{PASSWORD, World, here, start, text};
use std::fs;
use std::path::Path;
use std::process::Command;

/// curl, quiet but for what it is asked to write.
fn curl(world: &World, arguments: &[&str]) -> String {
    let root = text(&world.root.certificate);
    let mut command = Command::new("curl");
    output(command.args(["-sS", "--max-time", "60", "--noproxy", "*", "--cacert", root]).args(arguments))
}

fn url(proxy: &Proxy, path: &str) -> String {
    format!("https://localhost:{}{path}", proxy.address.port())
}

/// The words by which curl shows the client's certificate from PEM files.
fn certificate(world: &World) -> [String; 4] {
    let chain = world.pki.pem("chain", &[&world.client, &world.middle]);
    ["--cert", text(&chain), "--key", text(&world.client.key)].map(str::to_owned)
}

fn sha256(file: &Path) -> String {
    let said = output(Command::new("sha256sum").arg(file));
    said.split(' ').next().expect("a sum").to_owned()
}

#[test]
fn curl_with_a_certificate_keeps_its_connection() {
    let world = World::new();
    let nginx = Nginx::start();
    let proxy = world.listener(&["server.ssl.client-auth=need"]);
    let p12 = world.pkcs12("curl", &[&world.client, &world.middle]);
    let p12 = ["--cert-type", "P12", "--cert", &format!("{}:{PASSWORD}", p12.display())].map(str::to_owned);
    let target = format!("x-target-host: http://{}", nginx.address);
    for certificate in [certificate(&world), p12] {
        for version in ["1.2", "1.3"] {
            let words: Vec<&str> = certificate.iter().map(String::as_str).collect();
            let page = url(&proxy, "/1k");
            let shown = curl(
                &world,
                &[
                    &words[..],
                    &["--tls-max", version, &format!("--tlsv{version}"), "-H", &target],
                    &["-o", "/dev/null", "-w", "%{http_code} %{num_connects} %{http_version}\n"],
                    &[&page, "-o", "/dev/null", &page, "-o", "/dev/null", &page],
                ]
                .concat(),
            );
            assert_eq!(shown, "200 1 1.1\n200 0 1.1\n200 0 1.1\n");
        }
    }
    proxy.counts("client_tls_full", 4);
}

#[test]
fn fifty_megabytes_pass_both_ways_through_tls() {
    let world = World::new();
    let folder = Folder::new();
    let (file, back) = (folder.path("file"), folder.path("back"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    let body: Vec<u8> = std::iter::repeat_with(next).take(6_250_000).flatten().collect();
    fs::write(&file, body).expect("the folder is writable");
    let sum = sha256(&file);
    let server = world.server_of_root();
    let (nginx, ports) = Nginx::with(1, |folder, ports| {
        format!(
            "server {{ listen 127.0.0.1:{} ssl; root {}; client_max_body_size 0;
                ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {};
                ssl_verify_client on; ssl_verify_depth 3; location /up {{ dav_methods PUT; }} }}",
            ports[0],
            folder.path("www").display(),
            server.certificate.display(),
            server.key.display(),
            world.root.certificate.display(),
        )
    });
    // One identity for both sides, as operators have it.
    let ours = world.pki.issue(&world.middle, &here().with("extendedKeyUsage=serverAuth,clientAuth"));
    let keys = world.pkcs12("ours", &[&ours, &world.middle]);
    let proxy = start(&keys, &world.root.certificate, &["server.ssl.client-auth=need"]);
    let target = format!("x-target-host: https://localhost:{}", ports[0]);
    let certificate = certificate(&world);
    let words: Vec<&str> = certificate.iter().map(String::as_str).chain(["-H", &target]).collect();
    for (name, version, framing) in
        [("length", "1.3", "X-Nothing: x"), ("chunked", "1.2", "Transfer-Encoding: chunked")]
    {
        let words = [&words[..], &["--tls-max", version]].concat();
        let path = format!("/up/{name}");
        let page = url(&proxy, &path);
        let put = ["-o", "/dev/null", "-w", "%{http_code}", "-H", framing, "-T", text(&file), &page];
        assert_eq!(curl(&world, &[&words[..], &put].concat()), "201");
        assert_eq!(sha256(&nginx.folder.path(&format!("www{path}"))), sum);
        assert_eq!(curl(&world, &[&words[..], &["-o", text(&back), &page]].concat()), "");
        assert_eq!(sha256(&back), sum);
    }
}

#[test]
fn python_programs_are_served_through_tls() {
    let world = World::new();
    let server = world.server_of_root();
    let rude = Rude::with(&[&server.certificate, &server.key]);
    let proxy = world.listener(&["server.ssl.client-auth=need"]);
    let chain = world.pki.pem("chain", &[&world.client, &world.middle]);
    let said = output(
        Command::new("python3")
            .arg(source("tls_client.py"))
            .arg(format!("localhost:{}", proxy.address.port()))
            .arg(format!("https://localhost:{}", rude.secure.port()))
            .args([&world.root.certificate, &chain, &world.client.key]),
    );
    assert_eq!(
        said,
        "TLSv1.2 one connection\nTLSv1.2 requests ahead of their answers\nTLSv1.2 small pieces\n\
         TLSv1.3 one connection\nTLSv1.3 requests ahead of their answers\nTLSv1.3 small pieces\n"
    );
}

#[test]
fn java_programs_are_served_through_tls_and_serve() {
    let world = World::new();
    // Java's own idea of both ends: keytool's stores, its HTTPS server in front of which we show a certificate.
    let server = world.pki.issue(&world.middle, &here().key(KeyKind::Rsa(2048)));
    let ours = world.pki.issue(&world.middle, &here().with("extendedKeyUsage=serverAuth,clientAuth"));
    let stores = [
        world.pkcs12("java-server", &[&server, &world.middle]),
        world.pkcs12("java-client", &[&world.client, &world.middle]),
        world.pkcs12("ours", &[&ours, &world.middle]),
    ];
    let [server, client, ours] = stores.each_ref().map(|store| {
        let name =
            format!("{}.jks", store.file_stem().and_then(|stem| stem.to_str()).expect("a name of ours"));
        world.join(&name, "JKS", &[store])
    });
    let trust = world.trust_jks("trust.jks", &[("root", &world.root)]);
    let trust_password = format!("server.ssl.trust-store-password={PASSWORD}");
    let java = |program: &str| {
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto"]).arg(source(program));
        command
    };
    let mut command = java("TlsOrigin.java");
    let (_origin, line) = Running::announced(command.args([&server, &trust]).arg(PASSWORD), "ports ");
    let ports: Vec<&str> = line.split_whitespace().skip(1).collect();
    let [target, sockets] = [ports[0], ports[1]].map(|port| format!("https://localhost:{port}"));
    let proxy = start(&ours, &trust, &[&trust_password, "server.ssl.client-auth=need"]);
    let said =
        output(java("TlsClient.java").args([&client, &trust]).args([PASSWORD, &url(&proxy, ""), &target]));
    let parts = [
        "TLSv1.2 HttpsURLConnection",
        "TLSv1.2 SSLSocket resumed",
        "TLSv1.3 HttpsURLConnection",
        "TLSv1.3 SSLSocket resumed",
        "HttpClient HTTP_1_1",
        "no certificate refused",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), parts);
    // The origin's versions, and what it says to a proxy whose certificate it does not trust or does not get.
    let stranger = world.pkcs12("stranger", &[&world.pki.self_signed(&Order::client("stranger"))]);
    let plain = ["server.ssl.enabled=false", &trust_password];
    for version in ["TLSv1.2", "TLSv1.3"] {
        let version = format!("proxy.ssl.client.tls-version={version}");
        let proxy = start(&ours, &trust, &[&plain[..], &[version.as_str()]].concat());
        let answer = Client::connect(proxy.address).get_from(&target, "/who");
        let name = version.rsplit('=').next().expect("a version");
        assert_eq!(answer.text(), format!("{name} CN=a server"));
        let proxy = start(&stranger, &trust, &[&plain[..], &[version.as_str()]].concat());
        // The HTTPS server hangs up without a word, in TLS 1.3 only when the request is there.
        let silent = (name == "TLSv1.2").then_some(&target);
        for target in [Some(&sockets), silent].into_iter().flatten() {
            let answer = Client::connect(proxy.address).get_from(target, "/who");
            assert_eq!(answer.refusal(), (502, Some("tls_client_cert_required")), "{name} {target}");
        }
    }
}
