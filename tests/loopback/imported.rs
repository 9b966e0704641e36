//! A configuration of httpd and what `import-httpd` makes of it: the real httpd with the one and ours with the other
//! lead the same requests to the same place.

use crate::beside_apache::{Apache, Expected, Expected::Same, compare};
use crate::process::{Folder, Proxy};
use crate::recorder::Recorder;
use apim_proxy::import::{Import, import};

/// Hosts, sections and paths that overlap in every way; `{o}` is the origin, `{port}` the one port.
const CONFIGURATION: &str = "
ProxyPass        /shared http://{o}/main
ProxyPassReverse /shared http://{o}/main
ProxyPass        /own http://{o}/main-own
ProxyPass        /first http://{o}/first
ProxyPass        /first/longer http://{o}/never
<Location /loc>
    ProxyPass http://{o}/loc
</Location>
<Location /loc/in>
    ProxyPass http://{o}/loc-in
</Location>
<Location /back/in>
    ProxyPass http://{o}/hidden
</Location>
<Location /back>
    ProxyPass http://{o}/back
</Location>
ProxyPass /loc/in/list http://{o}/never
ProxyPassMatch ^/m(/.*)?$ http://{o}/match$1
ProxyPassMatch ^/n/ http://{o}/whole
ProxyPass /shared/no !
RequestHeader set X-Set \"a b\"
RequestHeader unset X-Drop
Header append X-One all

<VirtualHost 127.0.0.1:{port}>
    ServerName one.test
    ProxyPass /all !
    ProxyPass /only/one http://{o}/one
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName two.test
    ServerAlias *.two.test
    ProxyPass /own http://{o}/never
    ProxyPass /two http://{o}/two
    <Location /loc>
        ProxyPass http://{o}/two-loc
    </Location>
    <Location /kept>
        ProxyPass http://{o}/kept
        ProxyPreserveHost On
    </Location>
</VirtualHost>
";

const PATHS: &[&str] = &[
    "/shared",
    "/shared/a?q",
    "/shared/no/x",
    "/sharedness",
    "/own/a",
    "/first/longer/a",
    "/loc",
    "/loc/a",
    "/loc/in/a",
    "/loc/in/list/a",
    "/back/in/a",
    "/m",
    "/m/a",
    "/mm",
    "/n/a",
    "/all/a",
    "/only/one/a",
    "/two/a",
    "/kept/a",
    "/none/a",
];

#[test]
fn the_same_requests_lead_to_the_same_place() {
    let (folder, origin) = (Folder::new(), Recorder::start());
    let apache = Apache::start(&folder, &CONFIGURATION.replace("{o}", &origin.address.to_string()));
    let file = folder.path("httpd.conf").to_string_lossy().into_owned();
    let imported = import(&Import { files: vec![file], ..Import::default() }).expect("httpd runs with it");
    assert_eq!(imported.lost, 0, "{}", imported.text);
    let own_port = format!("proxy.reverse.port={}", apache.address.port());
    let lines = imported.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    // httpd has its port, and the folder of its logs is no place for ours.
    let settings: Vec<&str> = lines
        .filter(|line| {
            !line.starts_with("proxy.reverse.log.dir=") && !line.starts_with("proxy.reverse.address=")
        })
        .map(|line| if line == own_port { "proxy.reverse.port=0" } else { line })
        .collect();
    let proxy = Proxy::start(&settings);
    let requests: Vec<String> = ["one.test", "other.test", "two.test", "A.two.test:8080"]
        .iter()
        .flat_map(|host| PATHS.iter().map(move |path| (host, path)))
        .map(|(host, path)| {
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Drop: 1\r\nX-Say: 302|Location: http://{{o}}/main/x|X-One: 1\r\n\r\n")
        })
        .collect();
    let rows: Vec<(&str, Expected)> = requests.iter().map(|request| (request.as_str(), Same)).collect();
    compare(&apache, proxy.listeners[1], &origin, &rows);
}
